"""Decontamination: which documents hold passages of which benchmark items.

Takes a folder of `<benchmark>/<split>.jsonl`; gives a `BenchmarkIndex`, which tells for each text of a
batch the items it shares a passage with. A passage is a run of 13 words or 20 Chinese characters (as
`TextBatch.words` has them: case, width, punctuation and white space folded), found by its hash; a shorter
field of an item is found as a whole. Benchmarks and documents go through the same code, so they agree.

One measure serves both languages and text that mixes them: a word counts 3 units, a Chinese character
2, and a passage is the shortest run of at least 39. So no document needs a language to be checked, and
an English question is found in a Chinese page. Chinese that holds a long foreign name or a date has fewer words
in as many characters, so there a run of words over 21 characters, punctuation counted, is a passage, too, if 4
are Chinese.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from xmodel_core.corpus.text import characters as c
from xmodel_core.corpus.text import kernels
from xmodel_core.corpus.text.batch import Array, SliceHashes, TextBatch, make_batch
from xmodel_core.corpus.text.characters import well_formed
from xmodel_core.errors import XmodelError
from xmodel_core.specs.benchmarks import Suite, read_items
from xmodel_core.specs.strict import Strict

WORD_UNITS, CHARACTER_UNITS = 3, 2
# 13 words, the field's usual length (Brown et al. 2020, appendix C). It makes 20 Chinese characters, not the 26 that
# two a word would give, because punctuation is folded away: 26 characters of running text hold 20 to 24 without it.
# Measured on 123,000 real documents: runs of 20 find as few strangers as runs of 26, runs of 18 find one in three
# statutes by the set phrases of the law.
PASSAGE_UNITS = 13 * WORD_UNITS
# In Chinese with names and figures in it a word of nine letters counts hardly more than a Chinese character, and much
# punctuation is folded away: 6 of 100 windows of 26 characters fell short of one. Measured by what the page shows,
# 1 of 100 does (formulas, lists of names), and of 67,978 Chinese documents 23 instead of 20 are found.
MIXED_CHARACTERS, MIXED_HAN = 21, 4
MIXED = PASSAGE_UNITS + 1  # stands in for the length of such a passage
# A field shorter than a passage is looked for whole, down to 8 words or 12 Chinese characters (Brown et al. take 8
# words as the least that is no coincidence; measured: 11 of the 123,000 documents hold such a field).
FIELD_UNITS = 8 * WORD_UNITS
START_UNITS = 16  # of a passage, by which it is looked for first; Chinese with a long name may have no more
# A run of figures and single letters (1 2 3 … under a page, 0 0 0 in a matrix) is nobody's: a passage has a word of two
# letters, or Chinese characters. Measured: 0.4 % of all benchmarks' passages go, half of them lists in code.
TELLING_WORDS = 1
# A passage in more different fields of one benchmark is its template, not an item. Different ones: a paragraph that
# stands under each of thirty questions is no template.
TEMPLATE_FIELDS = 20
EVALUATED_SPLITS = frozenset({"test", "validation", "val"})
BATCH_CHARACTERS = 1_000_000  # of fields laid out together: memory is bounded whatever the benchmark


class DecontaminateConfig(Strict):
    """Which benchmarks no document may hold passages of."""

    benchmarks: str | None = None
    """A folder of <benchmark>/<split>.jsonl; the splits test, validation and val count, and those that a suite of
    the recipe asks questions of. Without it nothing is checked."""


_UNITS_OF_CLASS = np.full(c.CLASSES, WORD_UNITS, np.uint8)
_UNITS_OF_CLASS[c.SINGLE_FIRST : c.SINGLE_LAST + 1] = CHARACTER_UNITS


def _units(batch: TextBatch) -> Array:
    """uint8 [words]: the units of each word."""
    return _UNITS_OF_CLASS[batch.classes[batch.words.starts]]


def _mixed(batch: TextBatch, units: Array, begins: Array) -> tuple[Array, Array, Array]:
    """(texts, ends, uint64 hashes) of the shortest runs of whole words over MIXED_CHARACTERS from each of these words
    on; the end is -1 where there is none, where too few are Chinese, or where the run has a passage's units anyway."""
    rule = (CHARACTER_UNITS, MIXED_HAN, START_UNITS, PASSAGE_UNITS)
    words = batch.words.slices
    return kernels.inked_runs(words, batch.classes, c.CONTROL, units, begins, MIXED_CHARACTERS, rule)


@dataclass(frozen=True)
class Hits:
    """The items whose passages stand in each text of a batch, laid out as Arrow lays out a list column."""

    offsets: Array
    """int32 [n + 1]: the items of text i are items[offsets[i] : offsets[i + 1]]."""
    items: Array
    """uint32: numbers of items, ascending in each text, each once."""


@dataclass(frozen=True)
class BenchmarkIndex:
    """The passages of all items, as hashes. Items are numbered over all benchmarks, by name, split and line."""

    benchmarks: tuple[str, ...]
    """Names, in order."""
    first_items: Array
    """int64 [benchmarks + 1]: benchmark i has the items first_items[i] to first_items[i + 1] - 1."""
    starts: Array
    """uint64, ascending: hashes of the first START_UNITS units of every passage."""
    start_lengths: Array
    """uint32: how long the passages with this start are; bit i stands for FIELD_UNITS + i units, the last for MIXED."""
    passages: Array
    """uint64, ascending: hashes of the passages."""
    passage_offsets: Array
    """int64 [passages + 1]: passage i belongs to passage_items[passage_offsets[i] : passage_offsets[i + 1]]."""
    passage_items: Array
    """uint32: numbers of items."""

    def hits(self, batch: TextBatch) -> Hits:
        """The items that each text shares a passage with."""
        words, units_of_word = batch.words.slices, _units(batch)
        begins, places = kernels.known_runs(words, units_of_word, START_UNITS, self._known_starts)
        lengths = self.start_lengths[places]
        texts, items = [np.zeros(0, np.int64)], [np.zeros(0, np.uint32)]
        for units in range(FIELD_UNITS, MIXED + 1):
            asked = begins[lengths >> np.uint32(units - FIELD_UNITS) & np.uint32(1) == 1]
            if not len(asked):
                continue
            if units == MIXED:
                found, ends, hashes = _mixed(batch, units_of_word, asked)
            else:
                found, ends, hashes = kernels.runs(words, units_of_word, asked, units)
            places, known = _places(self.passages, hashes)
            known &= ends >= 0
            places = places[known]
            which, item = _spread(self.passage_offsets[places + 1] - self.passage_offsets[places])
            texts.append(found[known].astype(np.int64)[which])
            items.append(self.passage_items[self.passage_offsets[places[which]] + item])
        pairs = np.unique((np.concatenate(texts) << 32) | np.concatenate(items).astype(np.int64))
        offsets = np.searchsorted(pairs >> 32, np.arange(batch.texts + 1)).astype(np.int32)
        return Hits(offsets, (pairs & 0xFFFFFFFF).astype(np.uint32))

    def per_benchmark(self, items: Array) -> dict[str, int]:
        """How many different ones of these items each benchmark has; benchmarks without any are left out."""
        owners = np.searchsorted(self.first_items, np.unique(items), "right") - 1
        counts = np.bincount(owners, minlength=len(self.benchmarks))
        return {name: int(count) for name, count in zip(self.benchmarks, counts, strict=True) if count}

    @cached_property
    def _known_starts(self) -> kernels.Known:
        return kernels.known(self.starts)

    def save(self, path: Path) -> None:
        """Writes one .npz; equal indexes give equal bytes."""
        with path.open("wb") as stream:
            np.savez(stream, benchmarks=np.array(self.benchmarks), **self._arrays())  # pyright: ignore[reportArgumentType]

    @classmethod
    def load(cls, path: Path) -> "BenchmarkIndex":
        """What `save` wrote."""
        with np.load(path) as arrays:
            read = {name: arrays[name] for name in arrays.files}
        return cls(benchmarks=tuple(map(str, read.pop("benchmarks"))), **read)

    def _arrays(self) -> dict[str, Array]:
        return {field.name: getattr(self, field.name) for field in fields(self) if field.name != "benchmarks"}


def _places(known: Array, hashes: Array) -> tuple[Array, Array]:
    """(where each hash stands in the ascending `known`, whether it does)."""
    if not len(known):
        return np.zeros(len(hashes), np.int64), np.zeros(len(hashes), bool)
    places = np.minimum(np.searchsorted(known, hashes), len(known) - 1)
    return places, known[places] == hashes


def _spread(counts: Array) -> tuple[Array, Array]:
    """(i, j) for every i in order and every j below counts[i]."""
    which = np.repeat(np.arange(len(counts)), counts)
    return which, np.arange(len(which)) - np.repeat(np.cumsum(counts) - counts, counts)


def splits_asked(suites: Iterable[Suite]) -> dict[str, set[str]]:
    """For each benchmark, by its folder's name, the splits that suites ask questions of (not those of the shots)."""
    splits: dict[str, set[str]] = {}
    for suite in suites:
        for task in suite.tasks:
            splits.setdefault(task.data.rsplit("/", 1)[-1], set()).add(task.split)
    return splits


def counted_files(folder: Path, evaluated_splits: Mapping[str, set[str]]) -> dict[str, list[Path]]:
    """The files that count, by benchmark. XmodelError: no such folder, nothing in it that counts."""
    if not folder.is_dir():
        raise XmodelError(
            "there is no folder of benchmarks",
            expected="a folder of <benchmark>/<split>.jsonl",
            where=folder,
            remedy="check corpus.decontaminate.benchmarks",
        )
    files: dict[str, list[Path]] = {}
    for path in sorted(folder.glob("*/*.jsonl")):
        if path.stem in EVALUATED_SPLITS | evaluated_splits.get(path.parent.name, set()):
            files.setdefault(path.parent.name, []).append(path)
    if not files:
        raise XmodelError(
            "a folder of benchmarks holds none",
            expected="<benchmark>/<split>.jsonl with a split that is evaluated: " + ", ".join(sorted(EVALUATED_SPLITS)),
            found=", ".join(sorted(path.name for path in folder.iterdir())[:10]) or "an empty folder",
            where=folder,
            remedy="check corpus.decontaminate.benchmarks",
        )
    return files


def build_index(folder: Path, evaluated_splits: Mapping[str, set[str]] = {}) -> BenchmarkIndex:
    """The index of a folder of `<benchmark>/<split>.jsonl`; `evaluated_splits` names splits beside EVALUATED_SPLITS.

    XmodelError: no such folder, nothing in it that counts, an empty file, or a line that is not an item: an item
    that cannot be read would be an item that is not kept out.
    """
    files = counted_files(folder, evaluated_splits)
    benchmarks = sorted(files)
    first_items = [0]
    parts = []
    for benchmark in benchmarks:
        items = [item for path in files[benchmark] for item in _read_items(path)]
        parts.append(_passages(items, first_items[-1]))
        first_items.append(first_items[-1] + len(items))
    assert first_items[-1] < 1 << 32
    starts, passages, owners, lengths = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    order = np.argsort(starts)
    starts, first_of_start = np.unique(starts[order], return_index=True)
    length_bits = np.uint32(1) << (lengths[order] - FIELD_UNITS).astype(np.uint32)
    order = np.lexsort((owners, passages))
    passages, offsets = np.unique(passages[order], return_index=True)
    return BenchmarkIndex(
        benchmarks=tuple(benchmarks),
        first_items=np.array(first_items, np.int64),
        starts=starts,
        start_lengths=np.bitwise_or.reduceat(length_bits, first_of_start) if len(starts) else length_bits,
        passages=passages,
        passage_offsets=np.append(offsets, len(owners)).astype(np.int64),
        passage_items=owners[order].astype(np.uint32),
    )


def _read_items(path: Path) -> list[list[str]]:
    """The fields of each item that hold text, as text."""
    return [[_text(value) or "" for value in item.values()] for _, item in read_items(path)]


def _text(value: Any) -> str | None:
    """The strings in a field, a line each, since they belong together: a dialogue is a list of turns."""
    if isinstance(value, str):
        return well_formed(value)
    if isinstance(value, dict):
        value = list(value.values())
    parts = [text for part in value if (text := _text(part)) is not None] if isinstance(value, list) else []
    return "\n".join(parts) if parts else None


def _passages(items: list[list[str]], first_item: int) -> tuple[Array, Array, Array, Array]:
    """(starts, passages, items, lengths) of one benchmark: one entry for each passage and item that it tells of."""
    owners_of: dict[str, set[int]] = {}
    for number, texts in enumerate(items, start=first_item):
        for text in texts:
            owners_of.setdefault(text, set()).add(number)
    texts = sorted(owners_of)
    entries = [_passages_of_fields(batch, first) for batch, first in _batches(texts)]
    field, starts, passages, lengths = (np.concatenate(arrays) for arrays in zip(*entries, strict=True))
    owners = [sorted(owners_of[text]) for text in texts]
    counts = np.array([len(numbers) for numbers in owners], np.int64)
    offsets, flat = np.cumsum(counts) - counts, np.array([number for numbers in owners for number in numbers], np.int64)

    # Each passage once a field; then those that too many fields share, or short fields that too many items have, go.
    order = np.lexsort((field, passages))
    again = np.zeros(len(order), bool)
    again[1:] = (np.diff(passages[order]) == 0) & (np.diff(field[order]) == 0)
    once = order[~again]
    _, kind, fields_with = np.unique(passages[once], return_inverse=True, return_counts=True)
    items_with = counts[field[once]]
    short = lengths[once] < PASSAGE_UNITS
    own = once[(fields_with[kind] <= TEMPLATE_FIELDS) & ~(short & (items_with > TEMPLATE_FIELDS))]

    which, owner = _spread(counts[field[own]])
    entry = own[which]
    return starts[entry], passages[entry], flat[offsets[field[entry]] + owner], lengths[entry]


def _batches(texts: list[str]) -> Iterator[tuple[list[str], int]]:
    """(texts, number of the first) in batches of bounded size."""
    first, size = 0, 0
    for index, text in enumerate(texts):
        if size and size + len(text) > BATCH_CHARACTERS:
            yield texts[first:index], first
            first, size = index, 0
        size += len(text) + 1
    yield texts[first:], first


def _passages_of_fields(texts: list[str], first: int) -> tuple[Array, Array, Array, Array]:
    """(number of the field, hash of the start, hash of the passage, its units) for each passage of each field."""
    batch = make_batch(texts)
    words, units_of_word, text = batch.words.slices, _units(batch), batch.words.text
    everywhere = np.arange(len(text), dtype=np.int32)
    _, ends, passages = kernels.runs(words, units_of_word, everywhere, PASSAGE_UNITS)
    begins = np.flatnonzero(ends >= 0)
    ends, passages, lengths = ends[begins], passages[begins], np.full(len(begins), PASSAGE_UNITS)
    # The short fields: from their first word to their last.
    field_begins, field_ends = words.offsets[:-1], words.offsets[1:]
    before = np.concatenate(([0], np.cumsum(units_of_word, dtype=np.int64)))
    units = before[field_ends] - before[field_begins]
    short = (units >= FIELD_UNITS) & (units < PASSAGE_UNITS)
    begins, ends = np.append(begins, field_begins[short]), np.append(ends, field_ends[short])
    passages = np.append(passages, SliceHashes(words.hashes).of(field_begins[short], field_ends[short]))
    lengths = np.append(lengths, units[short])
    _, mixed_ends, mixed_passages = _mixed(batch, units_of_word, everywhere)
    mixed = np.flatnonzero(mixed_ends >= 0)
    begins, ends = np.append(begins, mixed), np.append(ends, mixed_ends[mixed])
    passages, lengths = np.append(passages, mixed_passages[mixed]), np.append(lengths, np.full(len(mixed), MIXED))

    telling = np.concatenate(([0], np.cumsum(_telling(batch))))
    tells = telling[ends] - telling[begins] >= TELLING_WORDS
    begins, passages, lengths = begins[tells], passages[tells], lengths[tells]
    order = np.argsort(begins, kind="stable")
    begins, passages, lengths = begins[order], passages[order], lengths[order]
    _, start_ends, starts = kernels.runs(words, units_of_word, begins, START_UNITS)
    assert (start_ends >= 0).all()
    return text[begins] + first, starts, passages, lengths


def _telling(batch: TextBatch) -> Array:
    """bool for each word: two letters or more, or a Chinese character."""
    words = batch.words
    first = batch.classes[words.starts]
    letters = np.concatenate(([0], np.cumsum((batch.classes >= c.VOWEL) & (batch.classes <= c.WORD_LAST))))
    return (first >= c.SINGLE_FIRST) | (letters[words.ends] - letters[words.starts] >= 2)

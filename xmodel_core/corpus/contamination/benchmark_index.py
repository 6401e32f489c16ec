"""Decontamination: which documents hold passages of which benchmark items.

Takes a folder of `<benchmark>/<split>.jsonl`; gives a `BenchmarkIndex`, which finds for each text of a batch the items
that it shares a passage with (`passages` says what that is), by hashes. Benchmarks and documents go through the same
code, so they agree.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path

import numpy as np

from xmodel_core.corpus.contamination.benchmark_items import counted_files, fields_of_items
from xmodel_core.corpus.contamination.passages import (
    FIELD_UNITS,
    MIXED,
    START_UNITS,
    mixed_runs,
    passages_of_items,
    spread,
    units_of_words,
)
from xmodel_core.corpus.contamination.word_runs import HashIndex, find_runs, hash_runs, index_hashes
from xmodel_core.corpus.text.batch import Array, TextBatch


@dataclass(frozen=True)
class Hits:
    """The items with a passage in each text of a batch, in the form of an Arrow list column."""

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
        words, units_of_word = batch.words.slices, units_of_words(batch)
        begins, places = find_runs(words, units_of_word, START_UNITS, self._start_index)
        lengths = self.start_lengths[places]
        texts, items = [np.zeros(0, np.int64)], [np.zeros(0, np.uint32)]
        for units in range(FIELD_UNITS, MIXED + 1):
            candidates = begins[lengths >> np.uint32(units - FIELD_UNITS) & np.uint32(1) == 1]
            if not len(candidates):
                continue
            if units == MIXED:
                owners, ends, hashes = mixed_runs(batch, units_of_word, candidates)
            else:
                owners, ends, hashes = hash_runs(words, units_of_word, candidates, units)
            places, known = _places(self.passages, hashes)
            known &= ends >= 0
            places = places[known]
            which, item = spread(self.passage_offsets[places + 1] - self.passage_offsets[places])
            texts.append(owners[known].astype(np.int64)[which])
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
    def _start_index(self) -> HashIndex:
        return index_hashes(self.starts)

    def save(self, path: Path) -> None:
        """Writes one .npz; equal indexes give equal bytes."""
        with path.open("wb") as stream:
            np.savez(stream, benchmarks=np.array(self.benchmarks), **self._arrays())  # pyright: ignore[reportArgumentType]

    @classmethod
    def load(cls, path: Path) -> "BenchmarkIndex":
        """What `save` wrote."""
        with np.load(path) as arrays:
            saved = {name: arrays[name] for name in arrays.files}
        return cls(benchmarks=tuple(map(str, saved.pop("benchmarks"))), **saved)

    def _arrays(self) -> dict[str, Array]:
        return {field.name: getattr(self, field.name) for field in fields(self) if field.name != "benchmarks"}


def _places(ascending: Array, hashes: Array) -> tuple[Array, Array]:
    """(the place of each hash in the `ascending` ones, whether it is there)."""
    if not len(ascending):
        return np.zeros(len(hashes), np.int64), np.zeros(len(hashes), bool)
    places = np.minimum(np.searchsorted(ascending, hashes), len(ascending) - 1)
    return places, ascending[places] == hashes


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
        items = [item for path in files[benchmark] for item in fields_of_items(path)]
        parts.append(passages_of_items(items, first_items[-1]))
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

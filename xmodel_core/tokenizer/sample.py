"""Draws the text that a tokenizer learns from: documents in the order of their hashes, until each share is full.

Takes the kept documents without those held out; gives lines of text, streamed, and what was drawn of each share.
Which documents, and in which order, depends on their keys and the seed alone, not on files: SentencePiece breaks ties
by order of appearance, so another order would be another tokenizer. In memory at a time are the documents of one
range of hashes, at most `HELD_CHARACTERS` and a document more, and 16 MB of counts per share; what SentencePiece
itself holds grows with the sample (all its sentences, and for unigram a suffix array of some twenty bytes a character).
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from xmodel_core.artifacts import Artifact
from xmodel_core.errors import XmodelError
from xmodel_core.progress import Bar, track
from xmodel_core.tokenizer.config import TokenizerConfig
from xmodel_core.tokenizer.documents import DocumentFile, Files, hashes, held_out, held_out_below, read_documents

# A single book must not fill its language's sample.
LONGEST_EXCERPT_CHARACTERS = 100_000
# SentencePiece's lattice sums float32 scores over a sentence; over a line of a megabyte they would lose their digits.
LONGEST_LINE_CHARACTERS = 2_048
# Documents are counted by the upper bits of their hashes, so that drawing takes the same memory at any corpus size.
BUCKET_BITS = 20
# Each further range reads every document's key once more, and the texts of those drawn.
HELD_CHARACTERS = 32_000_000


def _buckets(source: str, ids: Sequence[str], seed: int) -> np.ndarray:
    return (hashes(source, ids, seed) >> np.uint64(64 - BUCKET_BITS)).astype(np.int64)


@dataclass(frozen=True)
class Draw:
    """Which documents a sample took: a rule, small enough to keep in a manifest."""

    seed: int
    last_buckets: dict[str, int]
    """Share (zh, en/web …) → the last bucket of hashes that is drawn from it."""
    held_out_sources: tuple[str, ...] = ()

    @classmethod
    def of(cls, tokenizer: Artifact) -> "Draw":
        """The draw of a finished tokenizer."""
        manifest = tokenizer.manifest()
        last = {share: drawn["last_bucket"] for share, drawn in manifest["facts"]["sample"].items()}
        return cls(manifest["config"]["seed"], last, tuple(manifest["config"]["held_out_sources"]))

    def takes(self, source: str, category: str, ids: Sequence[str], languages: Sequence[str]) -> np.ndarray:
        """[document] bool: whether the sample drew it, unless it is held out for validation."""
        if source in self.held_out_sources:
            return np.zeros(len(ids), bool)
        shares = {lang: share_of(lang, category, self.last_buckets) for lang in set(languages)}
        last = {lang: self.last_buckets[share] if share else -1 for lang, share in shares.items()}
        return _buckets(source, ids, self.seed) <= np.array([last[lang] for lang in languages], np.int64)


def share_of(lang: str, category: str, shares: Mapping[str, Any]) -> str | None:
    """The share that a document counts to: that of its language and category, else that of its language."""
    narrow = f"{lang}/{category}"
    return narrow if narrow in shares else lang if lang in shares else None


@dataclass(frozen=True)
class Sample:
    """The drawn documents, which can be read in the order of their hashes as often as needed."""

    files: Files
    categories: Mapping[str, str]
    bounds: Mapping[str, int]
    """Source → the bound of its held-out documents (see documents.py)."""
    draw: Draw
    ranges: tuple[int, ...]
    """The last bucket of each range of hashes whose documents are in memory at a time."""
    shares: dict[str, dict[str, float]]
    """Share → share (its part of the sample), wanted_characters, characters, documents, last_bucket."""

    @property
    def characters(self) -> int:
        """Characters of all texts."""
        return sum(int(drawn["characters"]) for drawn in self.shares.values())

    def texts(self) -> Iterator[str]:
        """The documents' texts, in the order of their hashes; very long ones are cut short."""
        first = 0
        for last in self.ranges:
            for *_, text in sorted(self._between(first, last)):
                yield text
            first = last + 1

    def lines(self) -> Iterator[str]:
        """Lines without their newline (it is a piece of its own); very long ones in slices."""
        for text in self.texts():
            for line in text.split("\n"):
                for start in range(0, len(line), LONGEST_LINE_CHARACTERS):
                    yield line[start : start + LONGEST_LINE_CHARACTERS]

    def _between(self, first: int, last: int) -> Iterator[tuple[int, str, str]]:
        """Hash, id and text of the drawn documents of these buckets; a row group without any is skipped."""
        for source in sorted(self.files):
            for file in self.files[source]:
                with pq.ParquetFile(file.stored.path) as parquet:
                    for group in range(parquet.num_row_groups):
                        keys = parquet.read_row_group(group, columns=["id", "lang"])
                        ids, languages = keys["id"].to_pylist(), keys["lang"].to_pylist()
                        buckets = _buckets(source, ids, self.draw.seed)
                        drawn = (first <= buckets) & (buckets <= last) & ~held_out(source, ids, self.bounds[source])
                        drawn &= self.draw.takes(source, self.categories.get(source, ""), ids, languages)
                        if not drawn.any():
                            continue
                        rows = np.flatnonzero(drawn)
                        texts = parquet.read_row_group(group, columns=["text"])["text"].take(rows)
                        chosen = [ids[row] for row in rows]
                        order = hashes(source, chosen, self.draw.seed).tolist()
                        cut = (text[:LONGEST_EXCERPT_CHARACTERS] for text in texts.to_pylist())
                        yield from zip(order, chosen, cut, strict=True)


def _effective_shares(counted: Mapping[str, np.ndarray], shares: Mapping[str, float]) -> dict[str, float]:
    """The part of the sample that each share with text gets: the part of a category without any goes to the rest of
    its language, that of a language without any to the other languages."""
    present = [share for share in sorted(shares) if shares[share] > 0 and counted[share].any()]
    of_language: dict[str, float] = {}
    for share in shares:
        of_language[share.partition("/")[0]] = of_language.get(share.partition("/")[0], 0) + shares[share]
    present_languages = {share.partition("/")[0] for share in present}
    total = sum(of_language[lang] for lang in sorted(present_languages))
    effective = {}
    for share in present:
        lang = share.partition("/")[0]
        beside = sum(shares[other] for other in present if other.partition("/")[0] == lang)
        effective[share] = shares[share] / beside * of_language[lang] / total
    return effective


def _no_text(shares: Mapping[str, float]) -> XmodelError:
    return XmodelError(
        "there is no text to train a tokenizer on",
        expected=f"kept documents in {', '.join(sorted(shares))}, as tokenizer.sample_shares asks",
        found="no documents, or all of them held out",
        remedy="`xmodel ledger @funnel` shows which stage drops the documents; or change tokenizer.sample_shares",
    )


def require_held_out(config: TokenizerConfig, sources: Iterable[str]) -> None:
    """XmodelError: a held-out source that is none of these."""
    if unknown := sorted(set(config.held_out_sources) - set(sources)):
        raise XmodelError(
            f"there is no source {unknown[0]} to hold out",
            expected=f"some of {', '.join(sorted(sources))}",
            where="tokenizer.held_out_sources",
            remedy="check the name",
        )


def draw_sample(files: Files, config: TokenizerConfig, categories: Mapping[str, str]) -> Sample:
    """Reads the documents once, to count their characters by hash, and draws until each share is full.

    `categories`: source → its category. XmodelError: no text, or a held-out source that the corpus lacks.
    """
    require_held_out(config, files)
    bounds = {source: held_out_below(of_source, config.validation_documents) for source, of_source in files.items()}
    counted = {share: np.zeros((2, 1 << BUCKET_BITS), np.int64) for share in config.sample_shares}
    free_files = [file for source in files if source not in config.held_out_sources for file in files[source]]
    with track("choose the tokenizer's sample", sum(file.documents for file in free_files), "documents") as bar:
        for file in free_files:
            _count(file, config.seed, categories.get(file.source, ""), bounds[file.source], counted, bar)
    effective = _effective_shares({share: counts[0] for share, counts in counted.items()}, config.sample_shares)
    if not effective:
        raise _no_text(config.sample_shares)
    drawn: dict[str, dict[str, float]] = {}
    held = np.zeros(1 << BUCKET_BITS, np.int64)
    for share, part in effective.items():
        characters, documents = counted[share]
        reached = np.cumsum(characters)
        last = min(int(np.searchsorted(reached, part * config.sample_characters)), len(reached) - 1)
        held[: last + 1] += characters[: last + 1]
        drawn[share] = {
            "share": part,
            "wanted_characters": round(part * config.sample_characters),
            "documents": int(documents[: last + 1].sum()),
            "characters": int(reached[last]),
            "last_bucket": last,
        }
    last_buckets = {share: int(of_share["last_bucket"]) for share, of_share in drawn.items()}
    draw = Draw(config.seed, last_buckets, config.held_out_sources)
    return Sample(files, categories, bounds, draw, _ranges(held), drawn)


def _count(
    file: DocumentFile, seed: int, category: str, held_out_below: int, counted: Mapping[str, np.ndarray], bar: Bar
) -> None:
    """Adds a file's documents to `counted`: share → characters and documents, by bucket."""
    for batch in read_documents(file):
        lengths = np.minimum(batch.characters, LONGEST_EXCERPT_CHARACTERS)
        shares = [share_of(lang, category, counted) for lang in batch.languages]
        buckets, free = _buckets(file.source, batch.ids, seed), ~held_out(file.source, batch.ids, held_out_below)
        for share in {share for share in shares if share}:
            of_share = free & np.array([one == share for one in shares])
            np.add.at(counted[share][0], buckets[of_share], lengths[of_share])
            np.add.at(counted[share][1], buckets[of_share], 1)
        bar.advance(len(batch.ids))


def _ranges(characters: np.ndarray) -> tuple[int, ...]:
    """The last bucket of each range that holds about `HELD_CHARACTERS`."""
    reached = np.cumsum(characters)
    steps = range(HELD_CHARACTERS, int(reached[-1]), HELD_CHARACTERS)
    ends = {int(np.searchsorted(reached, step)) for step in steps}
    return (*sorted(ends - {len(reached) - 1}), len(reached) - 1)

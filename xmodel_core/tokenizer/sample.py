"""The text that a tokenizer learns from: documents in the order of their hashes, until each language's share is full.

Takes the kept documents without those held out; gives lines of text and an account of them. Which
documents, and in which order, depends on their keys and the seed alone, not on files: SentencePiece
breaks ties by order of appearance, so another order would be another tokenizer.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from xmodel_core.errors import XmodelError
from xmodel_core.progress import Bar, track
from xmodel_core.tokenizer.config import TokenizerConfig
from xmodel_core.tokenizer.documents import DocumentFile, hashes, held_out, held_out_below, read_documents

# A book must not be the whole sample of its language.
LONGEST_EXCERPT_CHARACTERS = 100_000
# SentencePiece's lattice keeps float32 sums over a sentence; a line of a megabyte would drown its scores.
LONGEST_LINE_CHARACTERS = 2_048
# Documents are counted by the upper bits of their hashes, so that choosing them takes the same memory at any size.
BUCKET_BITS = 20


@dataclass
class Sample:
    """The chosen documents' texts in hash order, and what is in them per language."""

    texts: list[str]
    languages: dict[str, dict[str, float]] = field(default_factory=dict)

    @property
    def characters(self) -> int:
        """Characters of all texts."""
        return sum(len(text) for text in self.texts)

    def lines(self) -> Iterator[str]:
        """Lines without their ends (a newline is a piece of its own), the very long ones in slices."""
        for text in self.texts:
            for line in text.split("\n"):
                for start in range(0, len(line), LONGEST_LINE_CHARACTERS):
                    yield line[start : start + LONGEST_LINE_CHARACTERS]


def _bucket(priorities: np.ndarray) -> np.ndarray:
    return (priorities >> np.uint64(64 - BUCKET_BITS)).astype(np.int64)


def _choose(
    counted: Mapping[str, np.ndarray], shares: Mapping[str, float], characters: int
) -> tuple[dict[str, int], dict[str, dict[str, float]]]:
    """Per language the last bucket that is drawn, and what was wanted; shares are renormalised over what is present."""
    present = {lang: shares[lang] for lang in counted if shares[lang] > 0 and counted[lang].any()}
    if not present:
        raise XmodelError(
            "there is no text to train a tokenizer on",
            expected=f"kept documents in {', '.join(sorted(shares))}, as tokenizer.sample_shares asks",
            found="none that is not held out for validation",
            remedy="`xmodel ledger @funnel` shows which stage drops the documents; or change tokenizer.sample_shares",
        )
    last_buckets, account = {}, {}
    for lang in sorted(present):
        share = present[lang] / sum(present.values())
        reached = np.cumsum(counted[lang])
        last_buckets[lang] = min(int(np.searchsorted(reached, share * characters)), len(reached) - 1)
        account[lang] = {"share": share, "wanted_characters": round(share * characters)}
    return last_buckets, account


@dataclass(frozen=True)
class _Free:
    """Documents that may be drawn, with the hashes that order them."""

    priority: int
    bucket: int
    lang: str
    id: str
    text: str


def _free_documents(
    files: Mapping[str, Sequence[DocumentFile]], bounds: Mapping[str, int], seed: int, bar: Bar
) -> Iterator[_Free]:
    for source in sorted(files):
        for file in files[source]:
            for rows in read_documents(file):
                free = ~held_out(source, rows.ids, bounds[source])
                priorities = hashes(source, rows.ids, seed)
                buckets = _bucket(priorities)
                for row in np.flatnonzero(free):
                    text = rows.texts[row][:LONGEST_EXCERPT_CHARACTERS]
                    yield _Free(int(priorities[row]), int(buckets[row]), rows.languages[row], rows.ids[row], text)
                bar.advance(len(rows.ids))


def draw_sample(files: Mapping[str, Sequence[DocumentFile]], config: TokenizerConfig) -> Sample:
    """Reads the documents twice: to count them by hash, then to take those that the shares leave room for."""
    bounds = {source: held_out_below(found, config.validation_documents) for source, found in files.items()}
    shares = {str(lang): share for lang, share in config.sample_shares.items()}
    counted = {lang: np.zeros(1 << BUCKET_BITS, np.int64) for lang in shares}
    documents = sum(file.documents for found in files.values() for file in found)
    with track("choose the tokenizer's sample", 2 * documents, "documents") as bar:
        for document in _free_documents(files, bounds, config.seed, bar):
            if document.lang in counted:
                counted[document.lang][document.bucket] += len(document.text)
        last_buckets, account = _choose(counted, shares, config.sample_characters)
        drawn = [
            document
            for document in _free_documents(files, bounds, config.seed, bar)
            if document.bucket <= last_buckets.get(document.lang, -1)
        ]
    drawn.sort(key=lambda document: (document.priority, document.id))
    for lang, said in account.items():
        lengths = [len(document.text) for document in drawn if document.lang == lang]
        said.update(documents=len(lengths), characters=sum(lengths))
    return Sample([document.text for document in drawn], account)

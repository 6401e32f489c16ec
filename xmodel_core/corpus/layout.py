"""A batch of texts as flat arrays: characters, words, lines, and rolling hashes over each.

Takes texts; gives a `Layout` that every feature is counted from, so that text is decoded, split and
hashed once. A word is a run of letters and digits, or one Chinese character (or kana): English is
counted in words, Chinese in characters, and no segmenter is needed. No word or line crosses texts.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from xmodel_core.corpus.characters import (
    NEWLINE,
    SINGLE_FIRST,
    SINGLE_LAST,
    SPACE,
    WORD_FIRST,
    WORD_LAST,
    tables,
)

Array = np.ndarray

# An odd multiplier has an inverse modulo 2^64, so the hash of any slice comes from two prefix sums:
# hash(a..b) = (S[b] - S[a]) * inverse^a with S[i] = sum of value_j * base^j. Wrap-around is intended.
_BASE = 0x9E3779B97F4A7C15
_INVERSE = pow(_BASE, -1, 2**64)
_powers: dict[int, Array] = {}


def _power(base: int, count: int) -> Array:
    """base^0 .. base^(count-1) modulo 2^64; the longest so far is kept."""
    known = _powers.get(base)
    if known is None or len(known) < count:
        factors = np.full(max(count, 1 << 16), base, np.uint64)
        factors[0] = 1
        known = _powers[base] = np.cumprod(factors, dtype=np.uint64)
    return known[:count]


def mix(values: Array) -> Array:
    """Spreads uint64 values over all 64 bits (the finaliser of SplitMix64)."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


class SliceHashes:
    """Hashes of any slices of a sequence of uint64 values."""

    def __init__(self, values: Array) -> None:
        self._sums = np.zeros(len(values) + 1, np.uint64)
        np.cumsum(values * _power(_BASE, len(values)), out=self._sums[1:])

    def of(self, starts: Array, ends: Array) -> Array:
        """uint64 hashes of [start, end) for each pair; equal slices have equal hashes wherever they lie."""
        return mix((self._sums[ends] - self._sums[starts]) * _power(_INVERSE, len(self._sums))[starts])


def word_hash(word: str) -> int:
    """The hash that `Layout.words` gives to this word (lower case)."""
    codes = np.array([ord(character) for character in word], np.uint64)
    return int(SliceHashes(codes).of(np.array([0]), np.array([len(codes)]))[0])


@dataclass(frozen=True)
class Spans:
    """Slices of the batch's characters, in order: their ends, the text each lies in, and a hash."""

    starts: Array
    ends: Array
    text: Array
    hashes: Array

    def __len__(self) -> int:
        return len(self.starts)


@dataclass(frozen=True)
class Layout:
    """A batch of n texts laid out one after another, each followed by a newline of ours."""

    texts: int
    starts: Array
    """int64 [n + 1]: where each text begins; text i is codes[starts[i] : starts[i + 1] - 1]."""
    codes: Array
    """uint32: code points."""
    classes: Array
    """uint8: their classes."""
    words: Spans
    lines: Spans
    """Lines that are not blank, trimmed of blanks at both ends."""

    def per_text(self, text: Array, weights: Array | None = None) -> Array:
        """float64 [n]: for each text the number, or the sum of weights, of the items that lie in it."""
        return np.bincount(text, weights, minlength=self.texts).astype(np.float64)


def lay_out(texts: Sequence[str]) -> Layout:
    """The layout of some texts; memory is about 40 bytes per character."""
    table = tables()
    lengths = np.array([len(text) + 1 for text in texts], np.int64)
    starts = np.zeros(len(texts) + 1, np.int64)
    np.cumsum(lengths, out=starts[1:])
    joined = "\n".join(texts) + "\n"
    codes = np.frombuffer(joined.encode("utf-32-le"), np.uint32)
    classes = table.classes[codes]
    hashes = SliceHashes(table.folded[codes].astype(np.uint64))

    def spans(begins: Array, ends: Array) -> Spans:
        text = np.repeat(np.arange(len(texts)), np.diff(np.searchsorted(begins, starts)))
        return Spans(begins, ends, text, hashes.of(begins, ends))

    joins = (classes >= WORD_FIRST) & (classes <= WORD_LAST)
    single = (classes >= SINGLE_FIRST) & (classes <= SINGLE_LAST)
    # The last character is a newline, so the neighbour that np.roll brings around never joins.
    word_begins = np.flatnonzero(joins & ~np.roll(joins, 1) | single)
    word_ends = np.flatnonzero(joins & ~np.roll(joins, -1) | single) + 1

    inked = np.flatnonzero(classes > SPACE)
    line = np.cumsum(classes == NEWLINE, dtype=np.int32)[inked]
    changes = np.flatnonzero(np.diff(line)) + 1
    if len(inked):
        line_begins = inked[np.concatenate(([0], changes))]
        line_ends = inked[np.concatenate((changes - 1, [len(inked) - 1]))] + 1
    else:
        line_begins = line_ends = inked
    return Layout(len(texts), starts, codes, classes, spans(word_begins, word_ends), spans(line_begins, line_ends))

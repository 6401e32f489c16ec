"""A batch of texts as flat arrays: characters, words, lines, and rolling hashes over each.

Takes texts; gives a `TextBatch` that every feature is counted from, so that text is decoded, split and
hashed once. A word is a run of letters and digits, or one Chinese character (or kana): English is
counted in words, Chinese in characters, and no segmenter is needed. No word or line crosses texts.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from xmodel_core.corpus.text import characters as c
from xmodel_core.corpus.text import kernels
from xmodel_core.corpus.text.kernels import BASE, INVERSE, mix

Array = np.ndarray

# The hash of any slice comes from two prefix sums: hash(a..b) = (S[b] - S[a]) * inverse^a with
# S[i] = sum of value_j * base^j. Wrap-around is intended.
_powers: dict[int, Array] = {}


def _power(base: int, count: int) -> Array:
    """base^0 .. base^(count-1) modulo 2^64; the longest so far is kept."""
    known = _powers.get(base)
    if known is None or len(known) < count:
        factors = np.full(max(count, 1 << 16), base, np.uint64)
        factors[0] = 1
        known = _powers[base] = np.cumprod(factors, dtype=np.uint64)
    return known[:count]


class SliceHashes:
    """Hashes of any slices of a sequence of uint64 values."""

    def __init__(self, values: Array) -> None:
        self._sums = np.zeros(len(values) + 1, np.uint64)
        np.cumsum(values * _power(BASE, len(values)), out=self._sums[1:])

    def of(self, starts: Array, ends: Array) -> Array:
        """uint64 hashes of [start, end) for each pair; equal slices have equal hashes wherever they lie."""
        return mix((self._sums[ends] - self._sums[starts]) * _power(INVERSE, len(self._sums))[starts])


def word_hash(word: str) -> int:
    """The hash that `TextBatch.words` gives to this word (lower case)."""
    codes = np.array([ord(character) for character in word], np.uint64)
    return int(SliceHashes(codes).of(np.array([0]), np.array([len(codes)]))[0])


# What each class of characters does, for the kernels.
ROLES = np.zeros(c.CLASSES, np.uint8)
ROLES[c.WORD_FIRST : c.WORD_LAST + 1] |= kernels.JOINS
ROLES[c.SINGLE_FIRST : c.SINGLE_LAST + 1] |= kernels.SINGLE
ROLES[c.SPACE + 1 :] |= kernels.INKED
ROLES[c.NEWLINE] |= kernels.ENDS_LINE
ROLES[c.DIGIT] |= kernels.IS_DIGIT


@dataclass(frozen=True)
class Spans:
    """Slices of the batch's characters, in order: where they lie, and a hash."""

    slices: kernels.Slices

    @property
    def starts(self) -> Array:
        """int32: the first character of each."""
        return self.slices.starts

    @property
    def ends(self) -> Array:
        """int32: the character after the last."""
        return self.slices.ends

    @property
    def hashes(self) -> Array:
        """uint64"""
        return self.slices.hashes

    @cached_property
    def text(self) -> Array:
        """int64: the text each lies in."""
        return np.repeat(np.arange(len(self.slices.offsets) - 1), np.diff(self.slices.offsets))

    def __len__(self) -> int:
        return len(self.slices.starts)


@dataclass(frozen=True)
class TextBatch:
    """A batch of n texts laid out one after another, each followed by a newline of ours."""

    texts: int
    starts: Array
    """int64 [n + 1]: where each text begins; text i is codes[starts[i] : starts[i + 1] - 1]."""
    codes: Array
    """uint32: code points."""
    classes: Array
    """uint8: their classes."""
    bytes: Array
    """int64 [n]: the texts' sizes in UTF-8."""
    counts: Array
    """int64 [n, CLASSES]: characters of each class, our own newline behind each text not counted."""
    words: Spans
    lines: Spans
    """Lines that are not blank, trimmed of blanks at both ends."""


def make_batch(texts: Sequence[str]) -> TextBatch:
    """Splits and hashes texts; memory is 7 bytes per character and 16 per word, while features are counted 26 more."""
    table = c.tables()
    encoded = [text.encode() for text in texts]
    made = kernels.split(encoded, sum(map(len, texts)), table.classes, table.folded, ROLES)
    made.counts[:, c.NEWLINE] -= 1
    sizes = np.fromiter(map(len, encoded), np.int64, len(encoded))
    words, lines = Spans(made.words), Spans(made.lines)
    return TextBatch(len(texts), made.starts, made.codes, made.classes, sizes, made.counts, words, lines)

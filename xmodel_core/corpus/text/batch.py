"""A batch of texts as flat arrays: characters, words and lines, each word and line with its hash.

Takes texts; gives a `TextBatch` that every feature is counted from, so that text is decoded, split and
hashed once. A word is a run of letters and digits, or one Chinese character (or kana): English is
counted in words, Chinese in characters, and no segmenter is needed. No word or line crosses texts.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from xmodel_core.corpus.text import characters as char
from xmodel_core.corpus.text.splitting import ENDS_LINE, INKED, IS_DIGIT, JOINS, SINGLE, Slices, split

Array = np.ndarray

# What each class of characters does, for the
ROLES = np.zeros(char.CLASSES, np.uint8)
ROLES[char.WORD_FIRST : char.WORD_LAST + 1] |= JOINS
ROLES[char.SINGLE_FIRST : char.SINGLE_LAST + 1] |= SINGLE
ROLES[char.SPACE + 1 :] |= INKED
ROLES[char.NEWLINE] |= ENDS_LINE
ROLES[char.DIGIT] |= IS_DIGIT


@dataclass(frozen=True)
class Spans:
    """Slices of the batch's characters, in order: their positions and hashes."""

    slices: Slices

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
        """int64: the text that each is in."""
        return np.repeat(np.arange(len(self.slices.offsets) - 1), np.diff(self.slices.offsets))

    def sums(self, values: Array) -> Array:
        """int64 [n]: the sum, over each text, of one value for each slice."""
        return np.diff(np.concatenate(([0], np.cumsum(values, dtype=np.int64)))[self.slices.offsets])

    def __len__(self) -> int:
        return len(self.slices.starts)


@dataclass(frozen=True)
class TextBatch:
    """A batch of n texts laid out one after another, each followed by an added newline."""

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
    """int64 [n, CLASSES]: characters of each class, without the added newlines."""
    words: Spans
    lines: Spans
    """Lines that are not blank, trimmed of blanks at both ends."""


def make_batch(texts: Sequence[str]) -> TextBatch:
    """Splits and hashes texts. Memory: 7 bytes per character and 16 per word; counting features takes 26 more for each
    word of the longest text. UnicodeEncodeError: a lone surrogate."""
    table = char.tables()
    encoded = [text.encode() for text in texts]
    made = split(encoded, sum(map(len, texts)), table.classes, table.folded, ROLES)
    made.counts[:, char.NEWLINE] -= 1
    sizes = np.fromiter(map(len, encoded), np.int64, len(encoded))
    words, lines = Spans(made.words), Spans(made.lines)
    return TextBatch(len(texts), made.starts, made.codes, made.classes, sizes, made.counts, words, lines)

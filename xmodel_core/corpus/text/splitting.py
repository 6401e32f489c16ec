"""Texts in UTF-8 as code points, words and lines: one compiled loop that decodes, splits, counts and hashes.

Takes encoded texts and tables of characters; gives a `Split`. All results are whole numbers, made
one text after another, so a text's are the same in every batch and on every machine. One thread; the interpreter's
lock is released.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from xmodel_core.corpus.text.compiled import Compiled, helper
from xmodel_core.corpus.text.rolling_hash import BASE, mix

Array = np.ndarray

_ONE, _ZERO = np.uint64(1), np.uint64(0)
_6, _12, _18 = np.uint32(6), np.uint32(12), np.uint32(18)
_LOW_3, _LOW_4, _LOW_5, _LOW_6 = np.uint32(0x07), np.uint32(0x0F), np.uint32(0x1F), np.uint32(0x3F)

# Roles of a class of characters, as bits: joins into words, is a word by itself, is not blank, ends a line, is a digit.
JOINS, SINGLE, INKED, ENDS_LINE, IS_DIGIT = 1, 2, 4, 8, 16


class Slices(NamedTuple):
    """Slices of a batch's characters, in order."""

    starts: Array
    """int32: the first character of each."""
    ends: Array
    """int32: the character after the last."""
    hashes: Array
    """uint64: equal for slices that read the same once folded."""
    offsets: Array
    """int64 [n + 1]: text i has the slices offsets[i] to offsets[i + 1] - 1."""


@helper
def _decoded(data: Array, at: int) -> Any:
    """(code point, bytes) of the character at `at`, in UTF-8 that is known to be sound."""
    first = np.uint32(data[at])
    if first < 0x80:
        return first, 1
    second = np.uint32(data[at + 1]) & _LOW_6
    if first < 0xE0:
        return (first & _LOW_5) << _6 | second, 2
    third = np.uint32(data[at + 2]) & _LOW_6
    if first < 0xF0:
        return (first & _LOW_4) << _12 | second << _6 | third, 3
    return (first & _LOW_3) << _18 | second << _12 | third << _6 | np.uint32(data[at + 3]) & _LOW_6, 4


@Compiled
def _split(
    data: Array,
    ends: Array,
    class_of_code: Array,
    folded: Array,
    roles: Array,
    starts: Array,
    codes: Array,
    classes: Array,
    counts: Array,
    words: Slices,
    lines: Slices,
) -> None:
    at, position, word, line = 0, 0, 0, 0
    for text in range(len(ends)):
        starts[text], words.offsets[text], lines.offsets[text] = position, word, line
        word_start, line_start, line_end = -1, -1, -1
        word_hash, word_power = _ZERO, _ONE
        line_hash, line_power, line_hash_at_end = _ZERO, _ONE, _ZERO
        end = ends[text]
        while at < end:
            code, size = _decoded(data, at)
            at += size
            kind, value = class_of_code[code], np.uint64(folded[code])
            role = roles[kind]
            codes[position], classes[position] = code, kind
            counts[text, kind] += 1
            if role & JOINS:
                if word_start < 0:
                    word_start, word_hash, word_power = position, _ZERO, _ONE
                word_hash += value * word_power
                word_power *= BASE
            else:
                if word_start >= 0:
                    words.starts[word], words.ends[word], words.hashes[word] = word_start, position, mix(word_hash)
                    word += 1
                    word_start = -1
                if role & SINGLE:
                    words.starts[word], words.ends[word], words.hashes[word] = position, position + 1, mix(value)
                    word += 1
            if role & INKED:
                if line_start < 0:
                    line_start, line_hash, line_power = position, _ZERO, _ONE
                line_hash += value * line_power
                line_power *= BASE
                line_end, line_hash_at_end = position + 1, line_hash
            elif line_start >= 0:
                if role & ENDS_LINE:
                    lines.starts[line], lines.ends[line] = line_start, line_end
                    lines.hashes[line] = mix(line_hash_at_end)
                    line += 1
                    line_start = -1
                else:
                    line_hash += value * line_power
                    line_power *= BASE
            position += 1
    starts[-1], words.offsets[-1], lines.offsets[-1] = position, word, line


def _empty(size: int, texts: int) -> Slices:
    # As many as there could be; memory that is not written to is not used.
    return Slices(
        np.empty(size, np.int32), np.empty(size, np.int32), np.empty(size, np.uint64), np.empty(texts + 1, np.int64)
    )


def _used(slices: Slices) -> Slices:
    size = int(slices.offsets[-1])
    return Slices(slices.starts[:size], slices.ends[:size], slices.hashes[:size], slices.offsets)


class Split(NamedTuple):
    """A batch of n texts, each followed by a newline."""

    starts: Array
    """int64 [n + 1]: where each text begins; text i is codes[starts[i] : starts[i + 1] - 1]."""
    codes: Array
    """uint32: code points."""
    classes: Array
    """uint8: their classes."""
    counts: Array
    """int64 [n, classes]: how many characters of each class a text has, that newline included."""
    words: Slices
    lines: Slices
    """Lines that are not blank, trimmed of blanks at both ends."""


def split(texts: Sequence[bytes], characters: int, class_of_code: Array, folded: Array, roles: Array) -> Split:
    """Splits texts in UTF-8 that have `characters` characters together; `roles` has the bits of each class."""
    size = characters + len(texts)
    if size >= 2**31:
        raise ValueError(f"{size} characters in one batch; at most {2**31 - 1} are laid out together")
    result = Split(
        starts=np.empty(len(texts) + 1, np.int64),
        codes=np.empty(size, np.uint32),
        classes=np.empty(size, np.uint8),
        counts=np.zeros((len(texts), len(roles)), np.int64),
        words=_empty(size, len(texts)),
        lines=_empty(size // 2 + 1, len(texts)),
    )
    data = np.frombuffer(b"\n".join((*texts, b"")), np.uint8)
    ends = np.cumsum([len(text) + 1 for text in texts], dtype=np.int64)
    _split(data, ends, class_of_code, folded, roles, *result)
    return result._replace(words=_used(result.words), lines=_used(result.lines))

"""Counts for the features: compiled loops over the characters, words, lines and runs of words of each text.

Takes a `TextBatch`, the words and signs to look for, and limits per text; gives TALLY rows and the characters that
repeated runs of words cover. Everything is counted in whole numbers; what the counts mean is decided in `features`
and the rules.
"""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from xmodel_core.corpus.measure.repetition import Scratch, cover_repeated_runs, equal_pairs, group_equal, scratch
from xmodel_core.corpus.text.batch import ROLES, TextBatch
from xmodel_core.corpus.text.compiled import Compiled, helper
from xmodel_core.corpus.text.rolling_hash import BASE
from xmodel_core.corpus.text.splitting import INKED, IS_DIGIT, JOINS, SINGLE, Slices

Array = np.ndarray

_ONE, _ZERO = np.uint64(1), np.uint64(0)

# Kinds of signs, as bits of a code point. A run of equal marks counts once.
PARTICLE, BULLET, ENDS_SENTENCE, DIVIDER, MARK, COLON = 1, 2, 4, 8, 16, 32
_STOP, _SLASH, _ELLIPSIS = ord("."), ord("/"), ord("…")

_OF_WORDS = (
    *("word_characters", "lettered_words", "lettered_characters", "mixed_characters", "long_characters"),
    *("function_words", "function_kinds", "particles", "distinct_words", "notice_kinds"),
)
_OF_LINES = (
    *("line_characters", "finished_lines", "ellipsis_lines", "bullet_lines", "short_characters", "notice_characters"),
    *("duplicate_lines", "duplicate_characters"),
)
_OF_ORDER = ("ordered_words", "equal_words", "equal_neighbours")
TALLY = np.dtype([(name, np.int64) for name in (*_OF_WORDS, *_OF_ORDER, *_OF_LINES, "dividers", "marks", "urls")])
"""What `tally` counts of each text."""


class Vocabulary(NamedTuple):
    """Words and signs to look for. A hash table with open addressing; 0 is an empty place."""

    keys: Array
    """uint64 [power of two]"""
    functional: Array
    """bool: counted as a function word."""
    kind: Array
    """uint64: the bit of a function word whose presence counts by itself, else 0."""
    phrases: Array
    """int32 [places, 2]: the phrases that begin with this word, first and after the last."""
    phrase_offsets: Array
    """int32 [phrases + 1]: phrase i has the words phrase_words[phrase_offsets[i] : phrase_offsets[i + 1]]."""
    phrase_words: Array
    """uint64: hashes."""
    signs: Array
    """uint8 [code points]: PARTICLE, BULLET …"""


class Limits(NamedTuple):
    """Thresholds of the counts, in characters; what differs between languages is given per text."""

    short_line: Array
    """int64 [n]: an unfinished line below it is short."""
    notice_line: Array
    """int64 [n]: a line with a notice counts below it."""
    unit: Array
    """int64 [n]: words that make one word of a run (two for Chinese characters)."""
    counted_line: int
    """A shorter line may repeat without being counted as a duplicate."""
    counted_line_chinese: int
    """The same for a line that begins with a Chinese character."""
    long_word: int
    """A word of more is long."""
    ordered: Array
    """int64 [n]: words at a text's beginning whose order is measured."""


def vocabulary(
    functional: Iterable[int], kinds: Sequence[int], phrases: Iterable[Sequence[int]], signs: Array
) -> Vocabulary:
    """From hashes of words: function words, those of them whose kinds are counted, phrases; and signs."""
    ordered = sorted(tuple(phrase) for phrase in phrases)
    firsts = [phrase[0] for phrase in ordered]
    hashes = {*functional, *kinds, *firsts}
    places = 1 << (8 * len(hashes)).bit_length()  # at most an eighth full: most words miss at the first probe
    keys, phrase_range = np.zeros(places, np.uint64), np.zeros((places, 2), np.int32)
    is_functional, kind = np.zeros(places, bool), np.zeros(places, np.uint64)
    known = set(functional)
    for value in sorted(hashes):
        place = value % places
        while keys[place]:
            place = (place + 1) % places
        keys[place] = value
        is_functional[place] = value in known
        kind[place] = 1 << kinds.index(value) if value in kinds else 0
        if value in firsts:
            phrase_range[place] = firsts.index(value), firsts.index(value) + firsts.count(value)
    offsets = np.cumsum([0, *map(len, ordered)]).astype(np.int32)
    words = np.array([word for phrase in ordered for word in phrase], np.uint64)
    return Vocabulary(keys, is_functional, kind, phrase_range, offsets, words, signs)


class _Texts(NamedTuple):
    """What the loops read of a batch."""

    codes: Array
    classes: Array
    starts: Array
    roles: Array
    words: Slices
    lines: Slices


@helper
def _count_characters(texts: _Texts, text: int, known: Vocabulary, row: Any) -> None:
    codes, classes, roles = texts.codes, texts.classes, texts.roles
    dividers, marks, urls = 0, 0, 0
    begin, end = texts.starts[text], texts.starts[text + 1] - 1
    for position in range(begin, end):
        code = codes[position]
        sign = known.signs[code]
        if sign & (DIVIDER | MARK | COLON):
            if (
                sign & DIVIDER
                and (position == begin or not roles[classes[position - 1]] & INKED)
                and not roles[classes[position + 1]] & INKED
            ):
                dividers += 1
            if sign & MARK and (position == begin or codes[position - 1] != code):
                marks += 1
            if sign & COLON and codes[position + 1] == _SLASH and codes[position + 2] == _SLASH:
                urls += 1
    row.dividers, row.marks, row.urls = dividers, marks, urls


@helper
def _count_words(
    texts: _Texts, text: int, known: Vocabulary, long_word: int, seen: Array, noticed: Array, row: Any
) -> None:
    """`seen` [phrases]: the last text with each phrase. Sets `noticed` [lines of the text] for lines that hold one."""
    classes, roles, words, lines = texts.classes, texts.roles, texts.words, texts.lines
    first_word, after_words = words.offsets[text], words.offsets[text + 1]
    first_line = lines.offsets[text]
    for line in range(lines.offsets[text + 1] - first_line):
        noticed[line] = False
    mask = np.uint64(len(known.keys) - 1)
    line = first_line
    total, lettered, lettered_characters, mixed, long = 0, 0, 0, 0, 0
    functional, kinds, particles, notices = 0, _ZERO, 0, 0
    for word in range(first_word, after_words):
        word_start, word_end = words.starts[word], words.ends[word]
        length = word_end - word_start
        total += length
        role = roles[classes[word_start]]
        if role & JOINS:
            digits = 0
            for position in range(word_start, word_end):
                digits += (roles[classes[position]] & IS_DIGIT) != 0
            if not role & IS_DIGIT:
                lettered += 1
                lettered_characters += length
            if 0 < digits < length:
                mixed += length
            if length > long_word:
                long += length
        if known.signs[texts.codes[word_start]] & PARTICLE:
            particles += 1
        key = words.hashes[word]
        place = key & mask
        while known.keys[place] != _ZERO:
            if known.keys[place] == key:
                functional += known.functional[place]
                kinds |= known.kind[place]
                for phrase in range(known.phrases[place, 0], known.phrases[place, 1]):
                    offset = known.phrase_offsets[phrase]
                    size = known.phrase_offsets[phrase + 1] - offset
                    if word + size > after_words:
                        continue
                    same = True
                    for further in range(1, size):
                        same &= words.hashes[word + further] == known.phrase_words[offset + further]
                    while lines.ends[line] < word_end:
                        line += 1
                    if same and words.ends[word + size - 1] <= lines.ends[line]:  # not one that the next line ends
                        noticed[line - first_line] = True
                        notices += seen[phrase] != text
                        seen[phrase] = text
                break
            place = (place + _ONE) & mask
    row.word_characters, row.lettered_words, row.lettered_characters = total, lettered, lettered_characters
    row.mixed_characters, row.long_characters = mixed, long
    row.function_words, row.particles, row.notice_kinds = functional, particles, notices
    while kinds:
        row.function_kinds += 1
        kinds &= kinds - _ONE


@helper
def _count_lines(
    texts: _Texts, text: int, known: Vocabulary, limits: Limits, noticed: Array, scratch: Scratch, row: Any
) -> None:
    codes, lines = texts.codes, texts.lines
    first_line, after_lines = lines.offsets[text], lines.offsets[text + 1]
    group_equal(lines.hashes, first_line, after_lines - first_line, scratch)
    total, finished, ellipses, bullets, short, notice_characters, again, again_characters = 0, 0, 0, 0, 0, 0, 0, 0
    for line in range(first_line, after_lines):
        line_start, line_end = lines.starts[line], lines.ends[line]
        length = line_end - line_start
        total += length
        last = codes[line_end - 1]
        if known.signs[last] & ENDS_SENTENCE:
            finished += 1
        elif length < limits.short_line[text]:
            short += length
        stops = last == _STOP and line_end - texts.starts[text] > 1 and codes[line_end - 2] == _STOP
        if last == _ELLIPSIS or stops:
            ellipses += 1
        if known.signs[codes[line_start]] & BULLET:
            bullets += 1
        if noticed[line - first_line] and length < limits.notice_line[text]:
            notice_characters += length
        chinese = texts.roles[texts.classes[line_start]] & SINGLE
        counted = limits.counted_line_chinese if chinese else limits.counted_line
        if scratch.owner[line - first_line] != line - first_line and length >= counted:
            again += 1
            again_characters += length
    row.line_characters, row.finished_lines, row.ellipsis_lines, row.bullet_lines = total, finished, ellipses, bullets
    row.short_characters, row.notice_characters = short, notice_characters
    row.duplicate_lines, row.duplicate_characters = again, again_characters


@helper
def _count_neighbours(words: Slices, begin: int, ordered: int, scratch: Scratch, row: Any) -> None:
    for word in range(ordered - 1):
        scratch.keys[word] = words.hashes[begin + word] + words.hashes[begin + word + 1] * BASE
    row.ordered_words = ordered
    row.equal_words = equal_pairs(words.hashes, begin, ordered, scratch)
    row.equal_neighbours = equal_pairs(scratch.keys, 0, ordered - 1, scratch)


@Compiled
def _tally(
    texts: _Texts,
    known: Vocabulary,
    limits: Limits,
    runs: Array,
    tops: int,
    scratch: Scratch,
    seen: Array,
    noticed: Array,
    result: Array,
    covered: Array,
) -> None:
    for text in range(len(texts.starts) - 1):
        row = result[text]
        _count_characters(texts, text, known, row)
        _count_words(texts, text, known, limits.long_word, seen, noticed, row)
        _count_lines(texts, text, known, limits, noticed, scratch, row)
        begin, total = texts.words.offsets[text], texts.words.offsets[text + 1] - texts.words.offsets[text]
        ordered = min(limits.ordered[text], total)
        if ordered > 1:
            _count_neighbours(texts.words, begin, ordered, scratch, row)
        row.distinct_words = cover_repeated_runs(
            texts.words, begin, total, limits.unit[text], runs, tops, scratch, covered[text]
        )


def tally(
    batch: TextBatch, known: Vocabulary, limits: Limits, top_runs: Sequence[int], duplicate_runs: Sequence[int]
) -> tuple[Array, Array]:
    """(TALLY [n], int64 [n, sizes of runs]: characters that the commonest repeated run covers, for each length in
    words of `top_runs`; characters in runs seen before, each once, for `duplicate_runs`). Sizes ascend from 2 on."""
    result = np.zeros(batch.texts, TALLY)
    runs = np.array([*top_runs, *duplicate_runs], np.int64)
    assert runs[0] > 1 and (np.diff(runs) > 0).all()
    covered = np.zeros((batch.texts, len(runs)), np.int64)
    words, lines = batch.words.slices, batch.lines.slices
    most = max(int(np.diff(slices.offsets).max(initial=0)) for slices in (words, lines))
    _tally(
        _Texts(batch.codes, batch.classes, batch.starts, ROLES, words, lines),
        known,
        limits,
        runs,
        len(top_runs),
        scratch(most),
        np.full(len(known.phrase_offsets), -1, np.int64),
        np.empty(most, np.bool_),
        result,
        covered,
    )
    return result, covered

"""Features of lines by which programs are distinguished from prose, in one compiled loop.

Takes a `TextBatch` and the kinds of its words; gives `LineFeatures`: flags and counts per line. It only recognises and
counts: how much of a text is a program is decided in `code_share`.
"""

from functools import cache
from typing import NamedTuple

import numpy as np

from xmodel_core.corpus.text import characters as char
from xmodel_core.corpus.text.batch import ROLES, TextBatch
from xmodel_core.corpus.text.compiled import Compiled, helper
from xmodel_core.corpus.text.splitting import JOINS, SINGLE, Slices
from xmodel_core.corpus.text.word_kinds import (
    BRANCHES,
    CONSTANT,
    DECLARES,
    DEFINES,
    DIRECTS,
    FROM,
    IMPORTS,
    LEAVES,
    PROGRAM,
)

Array = np.ndarray

# Signs, as bits of a code point: part of a name in a program, blank, stop, bracket or comma, … and the characters at
# which an idiom is recognised.
WORD, BLANK, STOP, BRACKET, OPENS, COMPARES, ACCESSES, OPERATES, PIVOT = (1 << bit for bit in range(9))
# Flags of a line; SEEN is set for each line that was checked.
INDENTED, FENCE, ENTITY, BRACKETS, COMMENT, DEFINITION, IMPORT, BRANCH, JUMP, DECLARATION, STATEMENT = (
    1 << bit for bit in range(11)
)
ASSIGNMENT, CALL, TEX, SEEN = (1 << bit for bit in range(11, 15))

_ZERO = np.uint64(0)
_TAB, _LF, _SPACE, _BANG, _QUOTE, _HASH, _DOLLAR, _AND, _OPEN, _CLOSE, _STAR, _COMMA, _DOT, _SLASH = map(
    ord, '\t\n !"#$&()*,./'
)
_COLON, _SEMICOLON, _LESS, _EQUALS, _MORE, _ASK, _AT, _SQUARE, _BACKSLASH, _END_SQUARE, _LINE, _TICK = map(
    ord, ":;<=>?@[\\]_`"
)
_APOSTROPHE, _ZERO_DIGIT, _NINE, _LOWER_A, _CURLY, _END_CURLY, _TILDE = map(ord, "'09a{}~")
_A, _O, _Q, _S, _T, _U = map(np.uint32, map(ord, "aoqstu"))


class LineFeatures(NamedTuple):
    """Features of each line of a batch."""

    flags: Array
    """uint16 [lines]: INDENTED, FENCE …"""
    keywords: Array
    """int32 [lines]: words of the kind PROGRAM, and in capitals of the kind CONSTANT."""
    idioms: Array
    """int32 [lines]: calls, comparisons, assignments, indices and names with _ inside the line."""
    sizes: Array
    """int32 [lines]: characters, indentation included."""


@cache
def _signs() -> Array:
    """uint16 [code points]: what a character is in a program."""
    classes = char.tables().classes
    signs = np.where(ROLES[classes] & (JOINS | SINGLE), WORD, 0).astype(np.uint16)
    signs[classes <= char.SPACE] |= BLANK
    for characters, sign in (
        ("_", WORD),
        (".!?。", STOP),
        ("{}[]();,", BRACKET),
        ("=({;", OPENS),
        ("=!<>+-*/:", COMPARES),
        (".[]'\"", ACCESSES),
        ("-+*/%|&:<>", OPERATES),
        ("(={:;[_", PIVOT),
    ):
        signs[[ord(character) for character in characters]] |= sign
    return signs


@helper
def _skip(codes: Array, signs: Array, at: int, end: int, wanted: int) -> int:
    """The first position from `at` on whose character has none of the wanted signs."""
    while at < end and signs[codes[at]] & wanted:
        at += 1
    return at


@helper
def _assigns(codes: Array, signs: Array, start: int, end: int) -> bool:
    """Whether a line is names, perhaps with indices and commas between them, then = or += and a value, and no
    sentence."""
    first = signs[codes[start]]
    if not first & WORD or signs[codes[end - 1]] & STOP:
        return False
    at = _skip(codes, signs, start, end, WORD | ACCESSES)
    while True:
        at = _skip(codes, signs, at, end, BLANK)
        if at == end or codes[at] != _COMMA:
            break
        at = _skip(codes, signs, at + 1, end, BLANK)
        at = _skip(codes, signs, at, end, WORD | ACCESSES)
    if at + 1 < end and signs[codes[at]] & OPERATES:
        doubled = codes[at] == codes[at + 1]  # // << >>
        if not doubled and (codes[at] == _LESS or codes[at] == _MORE):
            return False
        at += 1 + doubled
    if at >= end or codes[at] != _EQUALS:
        return False
    at = _skip(codes, signs, at + 1, end, BLANK)
    return at < end - 1 and codes[at] != _EQUALS


@helper
def _idiom(codes: Array, signs: Array, at: int, start: int, end: int) -> bool:
    """Whether this character is used as in a program: f( a == b) a; x = y a[i] a_b."""
    code = codes[at]
    if at == start:
        return False
    before = codes[at - 1]
    # The character before, and over one blank.
    last = codes[at - 2] if signs[before] & BLANK and at - 2 >= start else before
    after = codes[at + 1] if at + 1 < end else np.uint32(_LF)
    if code == _OPEN:
        return (signs[last] & WORD) != 0
    if code == _EQUALS:
        if signs[before] & COMPARES:
            return True
        spaced = signs[before] & BLANK and signs[after] & BLANK and at + 2 < end
        return spaced != 0 and signs[last] & WORD != 0 and signs[codes[at + 2]] & WORD != 0
    if code in (_CURLY, _COLON):
        return last == _CLOSE
    if code == _SEMICOLON:
        return last == _CLOSE or (signs[last] & WORD != 0 and at + 1 < end and signs[after] & BLANK != 0)
    return signs[before] & WORD != 0 and signs[after] & WORD != 0  # [ and _


@Compiled
def _measure_lines(
    codes: Array,
    signs: Array,
    starts: Array,
    lines: Slices,
    words: Slices,
    kinds: Array,
    wanted: Array,
    text_limit: int,
    line_limit: int,
    result: LineFeatures,
) -> None:
    for text in range(len(wanted)):
        if not wanted[text]:
            continue
        begin = starts[text]
        word = words.offsets[text]
        after_words = words.offsets[text + 1]
        for line in range(lines.offsets[text], lines.offsets[text + 1]):
            start, line_end = lines.starts[line], lines.ends[line]
            if start - begin >= text_limit:
                break
            end = min(line_end, start + line_limit)
            margin = start
            while margin > begin and codes[margin - 1] != _LF:
                margin -= 1
            result.sizes[line] = line_end - margin
            flags, keywords, idioms, tex, closes = SEEN, 0, 0, 0, 0
            stops, opens, only_brackets, imports = False, False, True, False
            # Words: the first, and those that programs have.
            while word < after_words and words.starts[word] < start:
                word += 1
            kind = 0
            # A word of ours ends where a name continues with _; capitals begin sentences.
            if (
                word < after_words
                and words.starts[word] <= start + 2
                and words.ends[word] < len(codes)
                and codes[words.ends[word]] != _LINE
                and codes[words.starts[word]] >= _LOWER_A
            ):
                kind = kinds[word]
            first_end = words.ends[word] if word < after_words else start
            first_start = words.starts[word] if word < after_words else start
            while word < after_words and words.starts[word] < end:
                if (
                    kinds[word] & (PROGRAM if codes[words.starts[word]] >= _LOWER_A else CONSTANT)
                    and codes[words.ends[word]] != _LINE
                    and (words.starts[word] == start or codes[words.starts[word] - 1] != _LINE)
                ):
                    keywords += 1
                imports |= kinds[word] & IMPORTS != 0
                word += 1
            # Characters.
            run = -1  # where a run of word characters began
            for at in range(start, end):
                code = codes[at]
                sign = signs[code]
                if sign & WORD:
                    if run < 0:
                        run = at
                    only_brackets = False
                    if sign & PIVOT:
                        idioms += _idiom(codes, signs, at, start, end)
                    continue
                if code == _SEMICOLON and run >= 0:
                    lead = codes[run - 1] if run > start else np.uint32(_LF)
                    quot = at - run == 4 and codes[run] == _Q and codes[run + 1] == _U and codes[run + 2] == _O
                    if (
                        lead == _AND
                        or (lead == _HASH and _ZERO_DIGIT <= codes[run] <= _NINE)
                        or (quot and codes[run + 3] == _T)
                    ):
                        flags |= ENTITY
                run = -1
                if sign == BLANK:
                    continue
                stops |= sign & STOP != 0
                opens |= sign & OPENS != 0 and at >= first_end
                only_brackets &= sign & BRACKET != 0
                closes += code == _MORE
                if code == _DOLLAR:
                    tex += 1
                elif code == _BACKSLASH and at + 1 < end:
                    next_sign, next_code = signs[codes[at + 1]], codes[at + 1]
                    letter = next_sign & WORD and not (_ZERO_DIGIT <= next_code <= _NINE) and next_code != _LINE
                    tex += letter != 0 or (next_sign & BRACKET != 0 and next_code != _SEMICOLON and next_code != _COMMA)
                if sign & PIVOT:
                    idioms += _idiom(codes, signs, at, start, end)
            first = codes[start]
            second = codes[start + 1] if start + 1 < end else np.uint32(_LF)
            third = codes[start + 2] if start + 2 < end else np.uint32(_LF)
            last = codes[line_end - 1]
            before_last = codes[line_end - 2] if line_end - 1 > start else np.uint32(_LF)
            if signs[before_last] & BLANK and line_end - 3 >= start:
                over_blank = codes[line_end - 3]
            else:
                over_blank = before_last
            # The second word, and what follows it.
            at = first_end
            blank = at < end and signs[codes[at]] & BLANK != 0
            at = _skip(codes, signs, at, end, BLANK)
            token = at
            while at < end and (
                signs[codes[at]] & WORD or codes[at] == _DOT or codes[at] == _STAR or codes[at] == _CURLY
            ):
                at += 1
            named = at > token
            at = _skip(codes, signs, at, end, BLANK)
            follows = codes[at] if at < end else np.uint32(_LF)
            follows_as = at + 2 < end and follows == _A and codes[at + 1] == _S and signs[codes[at + 2]] & BLANK != 0

            if start - begin >= 1 and codes[start - 1] == _TAB:
                flags |= INDENTED
            if start - begin >= 2 and codes[start - 1] == _SPACE and codes[start - 2] == _SPACE:
                flags |= INDENTED
            if (first in (_TICK, _TILDE)) and second == first and third == first:
                flags |= FENCE
            if only_brackets:
                flags |= BRACKETS
            if (
                (first == _SLASH and (second in (_SLASH, _STAR)))
                or (first == _STAR and second == _SLASH)
                or (first == _HASH and second == _BANG and third == _SLASH)
                or (first == _HASH and kind & DIRECTS)
                or (first == _AT and first_start == start + 1 and (codes[first_end] == _OPEN or first_end >= end))
                or (first == _LESS and second == _ASK)
                or (first == _LESS and closes == 1 and last == _MORE and (second == _SLASH or signs[second] & WORD))
            ):
                flags |= COMMENT
            if first_start == start:
                if kind & DEFINES and blank and named and (follows in (_OPEN, _COLON, _CURLY) or last == _CURLY):
                    flags |= DEFINITION
                if kind & FROM and named and imports and not signs[last] & STOP:
                    flags |= IMPORT
                if kind & IMPORTS and blank and named and (at >= end or follows in (_SEMICOLON, _COMMA) or follows_as):
                    flags |= IMPORT
                if kind & BRANCHES and last == _COLON:
                    flags |= BRANCH
                if kind & LEAVES and not stops:
                    flags |= JUMP
                if kind & DECLARES and blank and opens:
                    flags |= DECLARATION
            if last == _SEMICOLON and (
                signs[before_last] & WORD or before_last in (_CLOSE, _END_SQUARE, _END_CURLY, _QUOTE, _APOSTROPHE)
            ):
                flags |= STATEMENT
            if last == _CURLY and (over_blank == _CLOSE or signs[over_blank] & WORD):
                flags |= STATEMENT
            if _assigns(codes, signs, start, end):
                flags |= ASSIGNMENT
            at = start
            while at < end and (signs[codes[at]] & WORD or codes[at] == _DOT):
                at += 1
            closing = last
            if last in (_SEMICOLON, _COMMA, _COLON):
                closing = before_last
            if at > start and at < end and codes[at] == _OPEN and closing == _CLOSE:
                flags |= CALL
            if tex > 1:
                flags |= TEX
            result.flags[line], result.keywords[line], result.idioms[line] = flags, keywords, idioms


def measure_lines(batch: TextBatch, kinds: Array, wanted: Array, text_limit: int, line_limit: int) -> LineFeatures:
    """Features of the lines that begin in the first `text_limit` characters of the wanted texts (bool [n]), by their
    first `line_limit` characters; zeros for all others. `kinds` is uint16 [words], as `kinds_of_words` gives it."""
    lines, words = batch.lines.slices, batch.words.slices
    size = len(lines.starts)
    result = LineFeatures(np.zeros(size, np.uint16), *(np.zeros(size, np.int32) for _ in range(3)))
    _measure_lines(batch.codes, _signs(), batch.starts, lines, words, kinds, wanted, text_limit, line_limit, result)
    return result

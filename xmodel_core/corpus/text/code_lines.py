"""What lines look like to somebody who tells programs from prose, and which words are telling: compiled loops.

Takes a batch's characters, words and lines; gives for each word its kinds, and for each line marks and counts.
They only look and count: what a mark says about a text is decided in `language`, which also brings the words
and signs. As in `kernels`, whatever other modules define comes as an argument.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from xmodel_core.corpus.text.compiled import Compiled, helper
from xmodel_core.corpus.text.kernels import Slices

Array = np.ndarray

# Kinds of words, as bits: telling of a language, of a program inside a line, and at the beginning of one.
ENGLISH, FOREIGN, PROGRAM, CONSTANT, DEFINES, FROM, IMPORTS, BRANCHES, LEAVES, DECLARES, DIRECTS = (
    1 << bit for bit in range(11)
)
# Signs, as bits of a code point: part of a name in a program, blank, stop, bracket or comma, … and what an idiom is
# recognised at.
WORD, BLANK, STOP, BRACKET, OPENS, COMPARES, ACCESSES, OPERATES, PIVOT = (1 << bit for bit in range(9))
# Marks of a line.
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


class WordKinds(NamedTuple):
    """Words that are looked for: hashes, open addressing; 0 is an empty place."""

    keys: Array
    """uint64 [power of two]"""
    kinds: Array
    """uint16: bits."""


class Marks(NamedTuple):
    """What each line of a batch looks like."""

    marks: Array
    """uint16: bits."""
    keywords: Array
    """int32: words of the kind PROGRAM, and in capitals of the kind CONSTANT."""
    idioms: Array
    """int32: calls, comparisons, assignments, indices and names with _ inside the line."""
    sizes: Array
    """int32: characters, indentation included."""


def word_kinds(kinds: Mapping[int, int]) -> WordKinds:
    """The table of these hashes."""
    places = 1 << (8 * len(kinds)).bit_length()  # an eighth full at most: nearly every word misses at the first look
    table = WordKinds(np.zeros(places, np.uint64), np.zeros(places, np.uint16))
    for key in sorted(kinds):
        place = key % places
        while table.keys[place]:
            place = (place + 1) % places
        table.keys[place], table.kinds[place] = key, kinds[key]
    return table


@Compiled
def _kinds(words: Slices, known: WordKinds, result: Array) -> None:
    mask = np.uint64(len(known.keys) - 1)
    for word in range(len(words.hashes)):
        key = words.hashes[word]
        place = key & mask
        while known.keys[place] != _ZERO and known.keys[place] != key:
            place = (place + np.uint64(1)) & mask
        result[word] = known.kinds[place] if known.keys[place] == key else 0


def kinds(words: Slices, known: WordKinds) -> Array:
    """uint16 [words]: the kinds of each word, 0 for one that is not known."""
    result = np.empty(len(words.starts), np.uint16)
    _kinds(words, known, result)
    return result


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
    """Whether this character stands as programs have it: f( a == b) a; x = y a[i] a_b."""
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
def _mark(
    codes: Array,
    signs: Array,
    starts: Array,
    lines: Slices,
    words: Slices,
    kinds: Array,
    wanted: Array,
    text_limit: int,
    line_limit: int,
    result: Marks,
) -> None:
    for text in range(len(wanted)):
        if not wanted[text]:
            continue
        begin = starts[text]
        word = words.offsets[text]
        after_words = words.offsets[text + 1]
        for line in range(lines.offsets[text], lines.offsets[text + 1]):
            start, whole_end = lines.starts[line], lines.ends[line]
            if start - begin >= text_limit:
                break
            end = min(whole_end, start + line_limit)
            margin = start
            while margin > begin and codes[margin - 1] != _LF:
                margin -= 1
            result.sizes[line] = whole_end - margin
            marks, keywords, idioms, tex, closes = SEEN, 0, 0, 0, 0
            stops, opens, only_brackets, imports = False, False, True, False
            # Words: the first, and those that programs have.
            while word < after_words and words.starts[word] < start:
                word += 1
            kind = 0
            # A word of ours ends where a name goes on with _; capitals begin sentences.
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
                        marks |= ENTITY
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
            last = codes[whole_end - 1]
            before_last = codes[whole_end - 2] if whole_end - 1 > start else np.uint32(_LF)
            if signs[before_last] & BLANK and whole_end - 3 >= start:
                over_blank = codes[whole_end - 3]
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
                marks |= INDENTED
            if start - begin >= 2 and codes[start - 1] == _SPACE and codes[start - 2] == _SPACE:
                marks |= INDENTED
            if (first in (_TICK, _TILDE)) and second == first and third == first:
                marks |= FENCE
            if only_brackets:
                marks |= BRACKETS
            if (
                (first == _SLASH and (second in (_SLASH, _STAR)))
                or (first == _STAR and second == _SLASH)
                or (first == _HASH and second == _BANG and third == _SLASH)
                or (first == _HASH and kind & DIRECTS)
                or (first == _AT and first_start == start + 1 and (codes[first_end] == _OPEN or first_end >= end))
                or (first == _LESS and second == _ASK)
                or (first == _LESS and closes == 1 and last == _MORE and (second == _SLASH or signs[second] & WORD))
            ):
                marks |= COMMENT
            if first_start == start:
                if kind & DEFINES and blank and named and (follows in (_OPEN, _COLON, _CURLY) or last == _CURLY):
                    marks |= DEFINITION
                if kind & FROM and named and imports and not signs[last] & STOP:
                    marks |= IMPORT
                if kind & IMPORTS and blank and named and (at >= end or follows in (_SEMICOLON, _COMMA) or follows_as):
                    marks |= IMPORT
                if kind & BRANCHES and last == _COLON:
                    marks |= BRANCH
                if kind & LEAVES and not stops:
                    marks |= JUMP
                if kind & DECLARES and blank and opens:
                    marks |= DECLARATION
            if last == _SEMICOLON and (
                signs[before_last] & WORD or before_last in (_CLOSE, _END_SQUARE, _END_CURLY, _QUOTE, _APOSTROPHE)
            ):
                marks |= STATEMENT
            if last == _CURLY and (over_blank == _CLOSE or signs[over_blank] & WORD):
                marks |= STATEMENT
            if _assigns(codes, signs, start, end):
                marks |= ASSIGNMENT
            at = start
            while at < end and (signs[codes[at]] & WORD or codes[at] == _DOT):
                at += 1
            closing = last
            if last in (_SEMICOLON, _COMMA, _COLON):
                closing = before_last
            if at > start and at < end and codes[at] == _OPEN and closing == _CLOSE:
                marks |= CALL
            if tex > 1:
                marks |= TEX
            result.marks[line], result.keywords[line], result.idioms[line] = marks, keywords, idioms


def mark(
    codes: Array,
    signs: Array,
    starts: Array,
    lines: Slices,
    words: Slices,
    kinds: Array,
    wanted: Array,
    text_limit: int,
    line_limit: int,
) -> Marks:
    """Marks of the lines that begin in the first `text_limit` characters of the wanted texts, by their first
    `line_limit` characters; nothing of the others. `signs` is uint16 [code points], `kinds` as `kinds` gives them."""
    size = len(lines.starts)
    result = Marks(np.zeros(size, np.uint16), *(np.zeros(size, np.int32) for _ in range(3)))
    _mark(codes, signs, starts, lines, words, kinds, wanted, text_limit, line_limit, result)
    return result

"""The compiled loops of the scan: they decode, split, count and hash; whatever is decided is decided elsewhere.

Takes a batch of texts in UTF-8, and as arrays all that is known about characters and words; gives
arrays. `split` finds words and lines, `tally` counts what the features are made of, `minhash` makes the
signatures. All of it is whole numbers, one text after another, so that a text's results are the same in
every batch and on every machine. One thread; the interpreter's lock is released.

The compiled code is kept between processes, and its key is this file alone: what other modules define
(classes of characters, limits, lists of words) is handed over as an argument, never read as a global.
"""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from xmodel_core.corpus.text.compiled import Compiled, helper

Array = np.ndarray

# An odd multiplier has an inverse modulo 2^64, so the hash of a run can be moved along by one item.
BASE = 0x9E3779B97F4A7C15
INVERSE = pow(BASE, -1, 2**64)
_BASE, _INVERSE, _ONE, _ZERO = np.uint64(BASE), np.uint64(INVERSE), np.uint64(1), np.uint64(0)
_MIX_1, _MIX_2 = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_THREE, _SEVEN = np.uint64(3), np.uint64(7)
_27, _30, _31, _32 = np.uint64(27), np.uint64(30), np.uint64(31), np.uint64(32)
_6, _12, _18 = np.uint32(6), np.uint32(12), np.uint32(18)
_LOW_3, _LOW_4, _LOW_5, _LOW_6 = np.uint32(0x07), np.uint32(0x0F), np.uint32(0x1F), np.uint32(0x3F)

# What a class of characters does, as bits: joins into words, is a word by itself, is not blank, ends a line, …
JOINS, SINGLE, INKED, ENDS_LINE, IS_DIGIT = 1, 2, 4, 8, 16
# What a code point is looked for as, as bits. A mark is counted once per run of it.
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


class Vocabulary(NamedTuple):
    """Words and signs that are looked for. A table of hashes, open addressing; 0 is an empty place."""

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
    """Where the tallies draw their lines, in characters; what differs between languages is given per text."""

    short_line: Array
    """int64 [n]: an unfinished line below it is short."""
    notice_line: Array
    """int64 [n]: a line with a notice counts below it."""
    unit: Array
    """int64 [n]: words that make one word of a run (two for Chinese characters)."""
    telling_line: int
    """A line seen before counts from here on."""
    telling_line_chinese: int
    """The same for a line that begins with a Chinese character."""
    long_word: int
    """A word of more is long."""
    ordered: Array
    """int64 [n]: so many words at a text's beginning are looked at for their order."""


def vocabulary(
    functional: Iterable[int], kinds: Sequence[int], phrases: Iterable[Sequence[int]], signs: Array
) -> Vocabulary:
    """From hashes of words: function words, those of them whose kinds are counted, phrases; and signs."""
    ordered = sorted(tuple(phrase) for phrase in phrases)
    firsts = [phrase[0] for phrase in ordered]
    hashes = {*functional, *kinds, *firsts}
    places = 1 << (8 * len(hashes)).bit_length()  # an eighth full at most: nearly every word misses at the first look
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


@helper
def mix(value: Any) -> Any:
    """Spreads a uint64, or an array of them, over all 64 bits (the finaliser of SplitMix64)."""
    value = (value ^ (value >> _30)) * _MIX_1
    value = (value ^ (value >> _27)) * _MIX_2
    return value ^ (value >> _31)


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
                word_power *= _BASE
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
                line_power *= _BASE
                line_end, line_hash_at_end = position + 1, line_hash
            elif line_start >= 0:
                if role & ENDS_LINE:
                    lines.starts[line], lines.ends[line] = line_start, line_end
                    lines.hashes[line] = mix(line_hash_at_end)
                    line += 1
                    line_start = -1
                else:
                    line_hash += value * line_power
                    line_power *= _BASE
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
    """Splits texts in UTF-8, of so many characters together; `roles` has the bits of each class."""
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


@helper
def _group(keys: Array, begin: int, size: int, places: Array, owner: Array, count: Array) -> int:
    """For each of `size` keys from `begin` on the position of the first that is equal, and there how many are; gives
    the number of different ones. `places` has room for half as many again."""
    room = size + (size >> 1) + 1
    for place in range(room):
        places[place] = 0
    different = 0
    for position in range(size):
        key = keys[begin + position]
        place = np.int64(((key * _BASE) >> _32) * np.uint64(room) >> _32)
        count[position] = 0
        # New or known is a coin's toss that no processor foresees, so both are done alike: an empty place holds us.
        while True:
            held = places[place]
            first = held - 1 if held else position
            if keys[begin + first] == key:
                break
            place = place + 1 if place + 1 < room else 0
        places[place] = first + 1
        owner[position] = first
        count[first] += 1
        different += first == position
    return different


@helper
def _equal(keys: Array, begin: int, size: int, places: Array, owner: Array, count: Array) -> int:
    """How many pairs of equal keys there are among `size` from `begin` on."""
    _group(keys, begin, size, places, owner, count)
    pairs = 0
    for position in range(size):
        pairs += count[position] * (count[position] - 1) >> 1
    return pairs


@helper
def _repetition(
    words: Slices,
    begin: int,
    total: int,
    unit: int,
    runs: Array,
    tops: int,
    keys: Array,
    at: Array,
    places: Array,
    owner: Array,
    count: Array,
    covered: Array,
    text: int,
) -> int:
    """Characters that repeated runs of words cover, for each size of runs; gives the number of different words.

    A run can repeat only where each shorter run inside it repeats, so each size looks only at what is left of
    the one before: most of a text is done with after its single words.
    """
    different = _group(words.hashes, begin, total, places, owner, count)
    left = 0
    for word in range(total):
        at[left], keys[left] = begin + word, words.hashes[begin + word]
        left += count[owner[word]] > 1
    size = 1  # of the runs at hand, in words
    for index in range(len(runs)):
        longer = runs[index] * unit
        step = longer - size
        power = _ONE
        for _ in range(size):
            power *= _BASE
        kept = 0
        for candidate in range(left - step):
            word = at[candidate]
            if at[candidate + step] == word + step:  # so all between are candidates too
                key, factor = keys[candidate], power
                for further in range(word + size, word + longer):
                    key += words.hashes[further] * factor
                    factor *= _BASE
                at[kept], keys[kept] = word, key
                kept += 1
        size = longer
        _group(keys, 0, kept, places, owner, count)
        left, most, duplicate, done = 0, 0, 0, 0
        for candidate in range(kept):
            first, word = owner[candidate], at[candidate]
            if count[first] == 1:
                continue
            if index < tops:
                if first == candidate:
                    characters = 0
                    for each in range(word, word + size):
                        characters += words.ends[each] - words.starts[each]
                    most = max(most, characters * count[first])
            elif first != candidate:
                for each in range(max(word, done), word + size):
                    duplicate += words.ends[each] - words.starts[each]
                done = word + size
            at[left], keys[left] = word, keys[candidate]
            left += 1
        covered[text, index] = most if index < tops else duplicate
    return different


@Compiled
def _tally(
    codes: Array,
    classes: Array,
    starts: Array,
    roles: Array,
    words: Slices,
    lines: Slices,
    known: Vocabulary,
    limits: Limits,
    runs: Array,
    tops: int,
    result: Array,
    covered: Array,
    keys: Array,
    at: Array,
    places: Array,
    owner: Array,
    count: Array,
    seen: Array,
    noticed: Array,
) -> None:
    mask = np.uint64(len(known.keys) - 1)
    for text in range(len(starts) - 1):
        row = result[text]
        # Characters.
        dividers, marks, urls = 0, 0, 0
        begin, end = starts[text], starts[text + 1] - 1
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

        # Words.
        first_word, after_words = words.offsets[text], words.offsets[text + 1]
        first_line, after_lines = lines.offsets[text], lines.offsets[text + 1]
        for line in range(after_lines - first_line):
            noticed[line] = False
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
                if length > limits.long_word:
                    long += length
            if known.signs[codes[word_start]] & PARTICLE:
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

        # Lines.
        _group(lines.hashes, first_line, after_lines - first_line, places, owner, count)
        total, finished, ellipses, bullets, short, noticed_characters, again, again_characters = 0, 0, 0, 0, 0, 0, 0, 0
        for line in range(first_line, after_lines):
            line_start, line_end = lines.starts[line], lines.ends[line]
            length = line_end - line_start
            total += length
            last = codes[line_end - 1]
            if known.signs[last] & ENDS_SENTENCE:
                finished += 1
            elif length < limits.short_line[text]:
                short += length
            if last == _ELLIPSIS or (last == _STOP and line_end - begin > 1 and codes[line_end - 2] == _STOP):
                ellipses += 1
            if known.signs[codes[line_start]] & BULLET:
                bullets += 1
            if noticed[line - first_line] and length < limits.notice_line[text]:
                noticed_characters += length
            chinese = roles[classes[line_start]] & SINGLE
            telling = limits.telling_line_chinese if chinese else limits.telling_line
            if owner[line - first_line] != line - first_line and length >= telling:
                again += 1
                again_characters += length
        row.line_characters, row.finished_lines, row.ellipsis_lines, row.bullet_lines = (
            total,
            finished,
            ellipses,
            bullets,
        )
        row.short_characters, row.notice_characters = short, noticed_characters
        row.duplicate_lines, row.duplicate_characters = again, again_characters

        # Neighbours.
        ordered = min(limits.ordered[text], after_words - first_word)
        if ordered > 1:
            for word in range(ordered - 1):
                keys[word] = words.hashes[first_word + word] + words.hashes[first_word + word + 1] * _BASE
            row.ordered_words = ordered
            row.equal_words = _equal(words.hashes, first_word, ordered, places, owner, count)
            row.equal_neighbours = _equal(keys, 0, ordered - 1, places, owner, count)

        row.distinct_words = _repetition(
            words,
            first_word,
            after_words - first_word,
            limits.unit[text],
            runs,
            tops,
            keys,
            at,
            places,
            owner,
            count,
            covered,
            text,
        )


def tally(
    codes: Array,
    classes: Array,
    starts: Array,
    roles: Array,
    words: Slices,
    lines: Slices,
    known: Vocabulary,
    limits: Limits,
    top_runs: Sequence[int],
    duplicate_runs: Sequence[int],
) -> tuple[Array, Array]:
    """(TALLY [n], int64 [n, sizes of runs]: characters that the commonest repeated run of so many words covers, for
    `top_runs`; characters in runs seen before, each once, for `duplicate_runs`). Sizes ascend from 2 on."""
    texts = len(starts) - 1
    result = np.zeros(texts, TALLY)
    runs = np.array([*top_runs, *duplicate_runs], np.int64)
    assert runs[0] > 1 and (np.diff(runs) > 0).all()
    covered = np.zeros((texts, len(runs)), np.int64)
    # Room for the text of most words or lines, for all texts one after another.
    most = max([int(np.diff(slices.offsets).max(initial=0)) for slices in (words, lines)])
    _tally(
        codes,
        classes,
        starts,
        roles,
        words,
        lines,
        known,
        limits,
        runs,
        len(top_runs),
        result,
        covered,
        np.empty(most, np.uint64),
        np.empty(most, np.int32),
        np.empty(most + most // 2 + 1, np.int32),
        np.empty(most, np.int32),
        np.empty(most, np.int32),
        np.full(len(known.phrase_offsets), -1, np.int64),
        np.empty(most, np.bool_),
    )
    return result, covered


class Known(NamedTuple):
    """Hashes that are looked for, for the eyes of processors: most strangers end at the sieve, which fits a cache."""

    hashes: Array
    """uint64, ascending."""
    firsts: Array
    """int32: the hashes whose high bits are i are hashes[firsts[i] : firsts[i + 1]]."""
    shift: int
    """Where these high bits begin."""
    sieve: Array
    """uint8: bits, eight to a byte; two of them, by a hash's high and low bits, are set for each hash (Bloom 1970)."""
    sieve_shift: int
    """Where its high bits begin."""


def known(hashes: Array, sieve_bits_per_hash: int = 8) -> Known:
    """Of uint64 hashes that ascend."""
    bits, sieve_bits = (max((len(hashes) * each).bit_length() - 1, 3) for each in (1, sieve_bits_per_hash))
    shift, sieve_shift = 64 - bits, 64 - sieve_bits
    firsts = np.searchsorted(hashes >> np.uint64(shift), np.arange((1 << bits) + 1, dtype=np.uint64)).astype(np.int32)
    sieve = np.zeros(1 << sieve_bits, bool)
    sieve[hashes >> np.uint64(sieve_shift)] = True
    sieve[hashes & np.uint64(len(sieve) - 1)] = True
    return Known(hashes, firsts, shift, np.packbits(sieve, bitorder="little"), sieve_shift)


@Compiled
def _known_runs(
    hashes: Array, sizes: Array, offsets: Array, size: int, known: Known, begins: Array, places: Array, found: Array
) -> None:
    count = 0
    low_bits = np.uint64(8 * len(known.sieve) - 1)
    for text in range(len(offsets) - 1):
        first, after = offsets[text], offsets[text + 1]
        end, held, run, power = first, 0, _ZERO, _ONE
        for begin in range(first, after):
            while held < size and end < after:
                held += sizes[end]
                run += hashes[end] * power
                power *= _BASE
                end += 1
            if held < size:
                break
            key = mix(run)
            high, low = key >> np.uint64(known.sieve_shift), key & low_bits
            if (
                known.sieve[high >> _THREE] >> np.uint8(high & _SEVEN) & 1
                and known.sieve[low >> _THREE] >> np.uint8(low & _SEVEN) & 1
            ):
                bucket = key >> np.uint64(known.shift)
                place, last = known.firsts[bucket], known.firsts[bucket + _ONE]
                while place < last and known.hashes[place] < key:
                    place += 1
                if place < last and known.hashes[place] == key:
                    begins[count], places[count] = begin, place
                    count += 1
            held -= sizes[begin]
            run = (run - hashes[begin]) * _INVERSE
            power *= _INVERSE
    found[0] = count


def known_runs(words: Slices, sizes: Array, size: int, known: Known) -> tuple[Array, Array]:
    """(int32 words, int32 places): where the shortest runs of at least `size` begin that lie in one text and are known,
    and where they stand among the known. `sizes` (uint8) says how long each word is."""
    begins, places = np.empty(len(words.starts), np.int32), np.empty(len(words.starts), np.int32)
    found = np.empty(1, np.int64)
    _known_runs(words.hashes, sizes, words.offsets, size, known, begins, places, found)
    return begins[: found[0]], places[: found[0]]


@Compiled
def _runs(
    hashes: Array, sizes: Array, offsets: Array, begins: Array, size: int, texts: Array, ends: Array, result: Array
) -> None:
    text = 0
    for index in range(len(begins)):
        begin = begins[index]
        while offsets[text + 1] <= begin:
            text += 1
        end, held, run, power = begin, 0, _ZERO, _ONE
        while held < size and end < offsets[text + 1]:
            held += sizes[end]
            run += hashes[end] * power
            power *= _BASE
            end += 1
        texts[index], ends[index], result[index] = text, end if held >= size else -1, mix(run)


def runs(words: Slices, sizes: Array, begins: Array, size: int) -> tuple[Array, Array, Array]:
    """(texts, ends, uint64 hashes) of the shortest runs of at least `size` from each of these words on, ascending; the
    end is -1 where the text ends before."""
    texts, ends = np.empty(len(begins), np.int32), np.empty(len(begins), np.int32)
    result = np.empty(len(begins), np.uint64)
    _runs(words.hashes, sizes, words.offsets, begins, size, texts, ends, result)
    return texts, ends, result


@Compiled
def _inked_runs(
    words: Slices,
    classes: Array,
    first_inked: int,
    sizes: Array,
    begins: Array,
    inked: int,
    rule: Array,
    texts: Array,
    ends: Array,
    result: Array,
) -> None:
    small, least_small, least, under = rule
    text = 0
    for index in range(len(begins)):
        begin = begins[index]
        while words.offsets[text + 1] <= begin:
            text += 1
        end, at, seen, held, smalls, run, power = begin, words.starts[begin], 0, 0, 0, _ZERO, _ONE
        while seen < inked and end < words.offsets[text + 1]:
            while at < words.ends[end]:
                seen += classes[at] >= first_inked
                at += 1
            held += sizes[end]
            smalls += sizes[end] == small
            run += words.hashes[end] * power
            power *= _BASE
            end += 1
        whole = seen >= inked and smalls >= least_small and least <= held < under
        texts[index], ends[index], result[index] = text, end if whole else -1, mix(run)


def inked_runs(
    words: Slices, classes: Array, first_inked: int, sizes: Array, begins: Array, inked: int, rule: tuple[int, ...]
) -> tuple[Array, Array, Array]:
    """`runs`, measured by what the page shows: the shortest with at least `inked` characters of a class from
    `first_inked` on, what lies between words counted. `rule` is (small, least_small, least, under): an end is -1, too,
    where fewer words are `small`, or the sizes' sum is not from `least` to `under` - 1."""
    texts, ends = np.empty(len(begins), np.int32), np.empty(len(begins), np.int32)
    result = np.empty(len(begins), np.uint64)
    _inked_runs(words, classes, first_inked, sizes, begins, inked, np.array(rule), texts, ends, result)
    return texts, ends, result


@Compiled
def _minhash(hashes: Array, offsets: Array, size: int, multipliers: Array, result: Array) -> None:
    entries = len(multipliers)
    power = _ONE  # of a shingle's last word
    for _ in range(size - 1):
        power *= _BASE
    for text in range(len(offsets) - 1):
        least = result[text]
        first, after = offsets[text], offsets[text + 1]
        shingle, factor = _ZERO, _ONE
        for word in range(first, min(first + size - 1, after)):
            shingle += hashes[word] * factor
            factor *= _BASE
        # A text of fewer words is one shingle.
        for last in range(first + size - 1, max(after, first + size) if after > first else first):
            if last < after:
                shingle += hashes[last] * power
            # Half of the hash: a processor multiplies eight numbers of 32 bits at once, of 64 bits one or two.
            value = np.uint32(mix(shingle) >> _32)
            for entry in range(entries):
                least[entry] = min(least[entry], np.uint32(value * multipliers[entry]))
            shingle = (shingle - hashes[last - size + 1]) * _INVERSE


def minhash(words: Slices, size: int, multipliers: Array) -> Array:
    """uint32 [n, multipliers]: for each multiplier (uint32, odd) the least product with the hash of a run of `size`
    words, modulo 2^32; all bits set for a text without words."""
    result = np.full((len(words.offsets) - 1, len(multipliers)), 0xFFFFFFFF, np.uint32)
    _minhash(words.hashes, words.offsets, size, multipliers, result)
    return result


@Compiled
def _shared(a: Array, a_offsets: Array, a_rows: Array, b: Array, b_offsets: Array, b_rows: Array, found: Array) -> None:
    for pair in range(len(found)):
        left, left_end = a_offsets[a_rows[pair]], a_offsets[a_rows[pair] + 1]
        right, right_end = b_offsets[b_rows[pair]], b_offsets[b_rows[pair] + 1]
        count = 0
        while left < left_end and right < right_end:
            if a[left] < b[right]:
                left += 1
            elif a[left] > b[right]:
                right += 1
            else:
                count += 1
                left += 1
                right += 1
        found[pair] = count


def jaccard(a: tuple[Array, Array], a_rows: Array, b: tuple[Array, Array], b_rows: Array) -> Array:
    """float64 [pairs]: |A ∩ B| / |A ∪ B| of the sets a_rows[i] of `a` and b_rows[i] of `b`; 0 where both are empty.
    Sets are (values, offsets): set r is values[offsets[r] : offsets[r + 1]], uint64, ascending, each value once."""
    (_, a_offsets), (_, b_offsets) = a, b
    found = np.empty(len(a_rows), np.int64)
    _shared(*a, a_rows, *b, b_rows, found)
    both = (a_offsets[a_rows + 1] - a_offsets[a_rows]) + (b_offsets[b_rows + 1] - b_offsets[b_rows]) - found
    return np.divide(found, both, out=np.zeros(len(found)), where=both > 0)

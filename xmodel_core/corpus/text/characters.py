"""Tables over code points: what a character is, and what it is folded to before hashing.

Takes nothing; gives arrays that numpy indexes with code points: a class (one byte each), a folded code point, and
whether a sentence may end there. Han characters are split into those common in both scripts, simplified only,
traditional only, and rare, so that one count serves the detection of the script and of gibberish.
"""

import re
import unicodedata
from functools import cache
from typing import NamedTuple

import numpy as np
import opencc

# The classes. Their order matters: 0-1 are blank, WORD_FIRST..WORD_LAST join into words,
# SINGLE_FIRST..SINGLE_LAST are words by themselves (Chinese is counted in characters).
NEWLINE, SPACE, CONTROL, DIGIT, VOWEL, CONSONANT, LATIN, CYRILLIC, LETTER, HANGUL = range(10)
KANA, HAN, HAN_SIMPLIFIED, HAN_TRADITIONAL, HAN_RARE = range(10, 15)
TERMINAL, PUNCTUATION, BRACKET, CODE_SYMBOL, SYMBOL, SEPARATOR = range(15, 21)
CLASSES = 21
WORD_FIRST, WORD_LAST = DIGIT, HANGUL
SINGLE_FIRST, SINGLE_LAST = KANA, HAN_RARE

_TERMINAL = ".!?…。！？；：;:\"'”’」』）)》．｡~～"  # what a sentence, a quotation or a clause ends with
_BRACKETS = "()"
_CODE = "{}[]=<>_&|*+\\/#@$^`;%"
_SEPARATORS = "»›•·▪■◆►▶☰→|｜"
CODE_POINTS = 0x110000
_LONE_SURROGATE = re.compile("[\ud800-\udfff]")


def well_formed(text: str) -> str:
    """The text as it is, but a lone surrogate (a JSON escape that is no character) becomes U+FFFD."""
    return text if text.isascii() else _LONE_SURROGATE.sub("\ufffd", text)


class Tables(NamedTuple):
    """Arrays of 0x110000 entries, indexed by code point."""

    classes: np.ndarray
    """uint8: one of the classes above."""
    folded: np.ndarray
    """uint32: NFKC where that is one character (width, compatibility forms), lower case, the traditional script as
    the simplified: a text in either is the same text to whatever is hashed."""
    ends_sentence: np.ndarray
    """bool: a line that ends with it looks finished."""


def _levels() -> tuple[set[str], set[str]]:
    """The everyday characters: level 1 of GB 2312 (simplified, 3,755) and of Big5 (traditional, 5,401)."""
    simplified = {bytes((0xA0 + row, 0xA0 + cell)) for row in range(16, 56) for cell in range(1, 95)}
    traditional = {bytes((a, b)) for a in range(0xA4, 0xC7) for b in (*range(0x40, 0x7F), *range(0xA1, 0xFF))}
    return (
        {c for code in simplified for c in code.decode("gb2312", "ignore")},
        {c for code in traditional for c in code.decode("big5", "ignore")},
    )


def _in(encoding: str, character: str) -> bool:
    try:
        character.encode(encoding)
    except UnicodeEncodeError:
        return False
    return True


def _class(character: str) -> int:
    category = unicodedata.category(character)
    code = ord(character)
    if character == "\n":
        return NEWLINE
    if character.isspace() or category in ("Zs", "Zl", "Zp") or category == "Cf":
        return SPACE  # zero-width and direction marks are blank too
    if character == "\ufffd":
        return CONTROL  # what a decoder leaves where it gave up
    if character in _SEPARATORS:
        return SEPARATOR
    if character in _BRACKETS:
        return BRACKET
    if character in _CODE:
        return CODE_SYMBOL
    if category[0] == "N":
        return DIGIT
    if category[0] in "LM":
        if code < 0x80:
            return VOWEL if character in "aeiouyAEIOUY" else CONSONANT
        if 0xAC00 <= code <= 0xD7A3 or 0x1100 <= code <= 0x11FF or 0x3130 <= code <= 0x318F:
            return HANGUL
        if 0x3040 <= code <= 0x30FF or 0x31F0 <= code <= 0x31FF or 0xFF66 <= code <= 0xFF9D:
            return KANA
        if 0x0400 <= code <= 0x052F:
            return CYRILLIC
        return LATIN if unicodedata.name(character, "").startswith(("LATIN", "FULLWIDTH LATIN")) else LETTER
    if character in _TERMINAL:
        return TERMINAL
    if category[0] == "P":
        return PUNCTUATION
    return SYMBOL if category[0] == "S" else CONTROL


def _folded(character: str) -> int:
    plain = unicodedata.normalize("NFKC", character).lower()
    return ord(plain) if len(plain) == 1 else ord(character)


@cache
def tables() -> Tables:
    """The tables, made once per process (about 0.2 s)."""
    classes = np.full(CODE_POINTS, CONTROL, np.uint8)
    folded = np.arange(CODE_POINTS, dtype=np.uint32)
    everyday_simplified, everyday_traditional = _levels()
    for code in (*range(0x3400), *range(0xA000, 0xD800), *range(0xF900, 0x10000), *range(0x1D400, 0x1FB00)):
        character = chr(code)
        classes[code] = _class(character)
        folded[code] = _folded(character)
    classes[0xD800:0xE000] = CONTROL
    classes[0xE000:0xF900] = CONTROL  # private use: what is left of broken fonts
    for first, last in ((0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xF900, 0xFAFF), (0x20000, 0x323AF)):
        classes[first : last + 1] = HAN_RARE
    classes[0x3007] = HAN
    traditional = "\n".join(map(chr, np.flatnonzero(classes == HAN_RARE).tolist()))  # one a line: no phrases
    simplified = opencc.OpenCC("t2s").convert(traditional)
    folded[[ord(character) for character in traditional]] = [ord(character) for character in simplified]
    for character in everyday_simplified | everyday_traditional:
        if classes[ord(character)] == HAN_RARE:
            simplified, traditional = _in("gb2312", character), _in("big5", character)
            kind = HAN if simplified and traditional else HAN_SIMPLIFIED if simplified else HAN_TRADITIONAL
            classes[ord(character)] = kind
    ends = np.zeros(CODE_POINTS, bool)
    ends[[ord(character) for character in _TERMINAL]] = True
    return Tables(classes, folded, ends)

"""A text as the detectors read it: one form for what is written in many, with the way back to the text's own places.

Takes a text; gives views of it. In the plain view full-width and mathematical letters and digits, dashes and blanks are
the ASCII ones, one character for one. In the joined view what is written inside numbers and addresses to no effect is
gone too: characters without a width anywhere, and between digits the long dashes and middle dots of prose, which join
the parts of a number as often as they separate two. A number may be whole in one view and part of a longer one in the
other, so both are asked.
"""

import re
import unicodedata
from collections.abc import Iterator, Sequence
from typing import NamedTuple

# Insides of character classes.
WIDE_DIGITS = "０-９𝟎-𝟿"
DASHES = "\u2010-\u2013\u2043\u2212\ufe58\ufe63\uff0d"
BLANKS = "\u00a0\u2000-\u200a\u202f\u205f\u3000"
LONG_DASHES = "\u2014\u2015\u2500\u2501\u2e3a\u2e3b\u30fc"
"""With what looks like one and is typed for one: the rule of a table, the long vowel of Japanese."""
MIDDLE_DOTS = "\u00b7\u2022\u2027\u2219\u22c5\u30fb\uff65"
WITHOUT_WIDTH = "\u00ad\u034f\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u2064\u2066-\u2069\ufe00-\ufe0f\ufeff\u20e3"
"""Soft hyphens, joiners, marks of direction, byte order marks, and what makes a digit an emoji."""
# Full-width punctuation stays what it is, but for what stands inside numbers and addresses.
_WIDE = "０-９＠-Ｚａ-ｚ＋．＿﹢﹫\U0001d400-\U0001d7ff"
_SEPARATING = LONG_DASHES + MIDDLE_DOTS


def _members(inside: str) -> list[str]:
    """The characters of a class, up to the last of the mathematical ones."""
    return re.findall(f"[{inside}]", "".join(map(chr, range(0x1D800))))


_FOLDED = {wide: unicodedata.normalize("NFKC", wide) for wide in _members(_WIDE)}
_FOLDED |= dict.fromkeys(_members(DASHES), "-") | dict.fromkeys(_members(BLANKS), " ")
_JOINING = frozenset(_members(_SEPARATING + WITHOUT_WIDTH))
_SPECIAL = re.compile(f"[{_WIDE}{DASHES}{BLANKS}{_SEPARATING}{WITHOUT_WIDTH}]")

# What the joined view leaves out: a dash or dot between digits, with blanks; else what has no width. The class at the
# beginning is what a search finds fast.
_INSIDE = re.compile(
    f"[{_SEPARATING}{WITHOUT_WIDTH}](?:"
    rf"(?:(?<=[0-9)）].)|(?<=[0-9)）] .))(?P<dash>(?<=[{_SEPARATING}])|[{WITHOUT_WIDTH} ]*[{_SEPARATING}])"
    f"[{LONG_DASHES}{WITHOUT_WIDTH}]{{0,6}} ?[{WITHOUT_WIDTH}]*(?=[0-9(（])"
    f"|(?<=[{WITHOUT_WIDTH}])[{WITHOUT_WIDTH}]*)"
)
# Four short parts are an IP address, whose points are points; in all other numbers a middle dot is as a dash.
_POINT = f"[{WITHOUT_WIDTH}]*[.{MIDDLE_DOTS}][{WITHOUT_WIDTH}]*"
_FOUR_PARTS = re.compile(f"[0-9](?<![0-9]{{2}})[0-9]{{0,2}}(?:{_POINT}[0-9]{{1,3}}){{3}}(?![0-9])")
_POINTS = frozenset(_members(MIDDLE_DOTS))
_AS_POINTS = str.maketrans(dict.fromkeys(MIDDLE_DOTS, "."))
_EMOJI_MARKS = re.compile("[\ufe00-\ufe0f\u20e3]*")


class View(NamedTuple):
    """What detectors read, the text it stands for, and the place in the text of each character that is read."""

    read: str
    text: str
    places: Sequence[int]

    def span(self, start: int, end: int) -> tuple[int, int]:
        """The span of the text that is [start, end) of what is read, with the marks of an emoji at its end."""
        last = self.places[end - 1] + 1
        emoji = _EMOJI_MARKS.match(self.text, last)
        return self.places[start], emoji.end() if emoji else last


def views(text: str) -> Iterator[View]:
    """The joined view where it differs, then the plain one."""
    plain = text
    if not text.isascii() and (found := set(_SPECIAL.findall(text))):
        for wide in found & _FOLDED.keys():
            plain = plain.replace(wide, _FOLDED[wide])
        if found & _JOINING:
            pointed = plain
            if found & _POINTS:
                pointed = _FOUR_PARTS.sub(lambda parts: parts.group().translate(_AS_POINTS), plain)
            if _INSIDE.search(pointed) or pointed != plain:
                yield _joined(pointed, text)
    yield View(plain, text, range(len(text)))


def _joined(plain: str, text: str) -> View:
    """The view in which what `_INSIDE` matches is a dash or nothing."""
    pieces: list[str] = []
    places: list[int] = []
    at = 0
    for match in _INSIDE.finditer(plain):
        dash = match["dash"] is not None
        start = match.start() - (dash and plain[match.start() - 1] == " ")
        pieces += [plain[at:start], "-" * dash]
        places += [*range(at, start), *[start] * dash]
        at = match.end()
    return View("".join([*pieces, plain[at:]]), text, [*places, *range(at, len(plain))])

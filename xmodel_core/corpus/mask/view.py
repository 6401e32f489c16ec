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
LONG_DASHES = "\u2014\u2015\u2500\u2501\u2e3a\u2e3b\u30fc一"
"""Between digits also the long vowel of Japanese and the Chinese numeral, which look like a dash and are typed as one."""
MIDDLE_DOTS = "\u00b7\u2022\u2027\u2219\u22c5\u30fb\uff65"
FULL_STOPS = "。｡"
WITHOUT_WIDTH = "\u00ad\u034f\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u2064\u2066-\u2069\ufe00-\ufe0f\ufeff\u20e3"
"""Soft hyphens, joiners, marks of direction, byte order marks, and what makes a digit an emoji."""

# Full-width punctuation stays what it is, but for what stands inside numbers and addresses.
_WIDE = "０-９＠-Ｚａ-ｚ＋．＿﹢﹫\U0001d400-\U0001d7ff"
_EVERY = "".join(map(chr, range(0x1D800)))
_FOLDED = {wide: unicodedata.normalize("NFKC", wide) for wide in re.findall(f"[{_WIDE}]", _EVERY)}
_FOLDED |= dict.fromkeys(re.findall(f"[{DASHES}]", _EVERY), "-") | dict.fromkeys(re.findall(f"[{BLANKS}]", _EVERY), " ")
_FOLDABLE = re.compile(f"[{_WIDE}{DASHES}{BLANKS}]")

# What the joined view leaves out or writes in another way. It begins with characters that a search finds fast.
_JOINABLE = re.compile(
    f"[0-9)）{WITHOUT_WIDTH}](?:(?<=[{WITHOUT_WIDTH}])| {{0,2}}[{LONG_DASHES}{MIDDLE_DOTS}{FULL_STOPS}]{{1,2}} {{0,2}}[0-9(（])"
)
_IGNORED = f"[{WITHOUT_WIDTH}]*"
_POINT = f"{_IGNORED}[.{MIDDLE_DOTS}{FULL_STOPS}]{_IGNORED}"
_FOUR_PARTS = re.compile(f"[0-9](?<![0-9]{{2}})[0-9]{{0,2}}(?:{_POINT}[0-9]{{1,3}}){{3}}(?![0-9])")
_AS_POINTS = str.maketrans(dict.fromkeys(MIDDLE_DOTS + FULL_STOPS, "."))
_BLANK = f"[ {WITHOUT_WIDTH}]*"
_INSIDE = re.compile(
    rf"(?<=[0-9)）]){_BLANK}(?P<dash>[{LONG_DASHES}]{_BLANK}[{LONG_DASHES}]?|[{MIDDLE_DOTS}]){_BLANK}(?=[0-9(（])"
    f"|[{WITHOUT_WIDTH}]+"
)
_EMOJI_MARKS = re.compile("[\ufe00-\ufe0f\u20e3]*")


class View(NamedTuple):
    """A text as detectors read it, the text, and the place in it of each character that is read."""

    read: str
    text: str
    places: Sequence[int]

    def span(self, start: int, end: int) -> tuple[int, int]:
        """The span of the text that is [start, end) of what is read, with the marks of an emoji at its end."""
        emoji = _EMOJI_MARKS.match(self.text, self.places[end - 1] + 1)
        return self.places[start], emoji.end() if emoji else self.places[end - 1] + 1


def views(text: str) -> Iterator[View]:
    """The joined view where it differs, then the plain one."""
    plain = text if text.isascii() else _FOLDABLE.sub(lambda wide: _FOLDED.get(wide.group(), wide.group()), text)
    if not text.isascii() and _JOINABLE.search(plain):
        yield _joined(plain, text)
    yield View(plain, text, range(len(text)))


def _joined(plain: str, text: str) -> View:
    # Four short parts are an IP address, whose points are points; in all other numbers a middle dot is as a dash.
    plain = _FOUR_PARTS.sub(lambda parts: parts.group().translate(_AS_POINTS), plain)
    pieces: list[str] = []
    places: list[int] = []
    at = 0
    for match in _INSIDE.finditer(plain):
        pieces.append(plain[at : match.start()])
        places += range(at, match.start())
        at = match.end()
        if match["dash"]:
            pieces.append("-")
            places.append(match.start())
    return View("".join([*pieces, plain[at:]]), text, [*places, *range(at, len(plain))])

"""A text as the detectors read it: one form for what is written in many, with the way back to the text's own places.

Takes a text; gives views of it. In the plain view full-width letters and digits, dashes and blanks are the ASCII ones, one
character for one. In the joined view what is written inside a number to no effect is gone too: characters without a
width anywhere, and between digits the long dash of prose, which joins the parts of a number as often as it separates
two. A number may be whole in one of the views and part of another in the other, so both are asked.
"""

import re
from bisect import bisect_right
from collections.abc import Iterator
from itertools import accumulate
from typing import NamedTuple

DASHES = "\u2010-\u2013\u2212\ufe58\ufe63\uff0d"
BLANKS = "\u00a0\u2000-\u200a\u202f\u205f\u3000"
WITHOUT_WIDTH = "\u00ad\u180e\u200b-\u200f\u202a-\u202e\u2060-\u2064\u2066-\u2069\ufe0f\ufeff\u20e3"
"""Soft hyphens, joiners, marks of direction, byte order marks, and what makes a digit an emoji."""
LONG_DASHES = "\u2014\u2015\u2500\u2e3a\u2e3b"
DOTS = "\u00b7\u2022\u2027\u2219\u30fb"
WIDE_DIGITS = "０-９𝟎-𝟿"


def _spread(ranges: str) -> Iterator[str]:
    """The characters of the inside of a character class."""
    at = 0
    while at < len(ranges):
        last = ranges[at + 2] if ranges[at + 1 : at + 2] == "-" else ranges[at]
        yield from map(chr, range(ord(ranges[at]), ord(last) + 1))
        at += 3 if last != ranges[at] else 1


# Full-width letters and digits, as Chinese input methods write them, mathematical digits, and the many dashes and blanks
# in numbers. Full-width punctuation stays what it is.
_FOLDED = {chr(wide): chr(wide - 0xFEE0) for wide in (*range(0xFF10, 0xFF1A), *range(0xFF20, 0xFF3B))}
_FOLDED |= {chr(wide): chr(wide - 0xFEE0) for wide in range(0xFF41, 0xFF5B)}
_FOLDED |= {chr(0x1D7CE + number): str(number % 10) for number in range(50)}
_FOLDED |= {"＋": "+", "﹢": "+", "．": ".", "＿": "_"}
_FOLDED |= dict.fromkeys(_spread(DASHES), "-") | dict.fromkeys(_spread(BLANKS), " ")
_FOLDABLE = re.compile(f"[{''.join(_FOLDED)}]")
_BETWEEN_DIGITS = re.compile(rf"(?<=[0-9{WIDE_DIGITS})）])(?:[{LONG_DASHES}]{{1,2}}|[{DOTS}])(?=[0-9{WIDE_DIGITS}(（])")
_JOINABLE = re.compile(f"[{WITHOUT_WIDTH}]|{_BETWEEN_DIGITS.pattern}")
_NO_WIDTH = re.compile(f"[{WITHOUT_WIDTH}]+")


class View(NamedTuple):
    """A text as detectors read it. `removed`: for each place of the view after which characters of the text are left
    out, how many are up to there."""

    text: str
    places: list[int] = []
    removed: list[int] = []

    def span(self, start: int, end: int) -> tuple[int, int]:
        """The span of the text that is [start, end) of the view."""
        return start + self._before(start), end + self._before(end - 1)

    def _before(self, place: int) -> int:
        at = bisect_right(self.places, place)
        return self.removed[at - 1] if at else 0


def _fold(text: str) -> str:
    return _FOLDABLE.sub(lambda wide: _FOLDED[wide.group()], text)


def views(text: str) -> Iterator[View]:
    """The joined view where it differs, then the plain one."""
    if text.isascii():
        yield View(text)
        return
    if _JOINABLE.search(text):
        yield _joined(text)
    yield View(_fold(text))


def _joined(text: str) -> View:
    cuts = [match.span() for match in _NO_WIDTH.finditer(text)]
    joined = _without(text, cuts)
    inner = []  # second dashes, at their places in what is joined so far
    for match in _BETWEEN_DIGITS.finditer(joined.text):
        if match.end() - match.start() == 2:
            inner.append((match.start() + 1, match.end()))
    dashes = _BETWEEN_DIGITS.sub(
        lambda match: ("." if match.group() in _DOTS else "-") * len(match.group()), joined.text
    )
    cuts += [joined.span(*cut) for cut in inner]
    whole = _without(text, sorted(cuts))
    return View(_fold(_without(dashes, inner).text), whole.places, whole.removed)


_DOTS = frozenset(DOTS)


def _without(text: str, cuts: list[tuple[int, int]]) -> View:
    """A text without some spans of it, which are in order."""
    pieces, at = [], 0
    for start, end in cuts:
        pieces.append(text[at:start])
        at = end
    removed = list(accumulate(end - start for start, end in cuts))
    places = [start - before for (start, _), before in zip(cuts, [0, *removed], strict=False)]
    return View("".join([*pieces, text[at:]]), places, removed)

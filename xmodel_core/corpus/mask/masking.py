"""Personal data in kept documents, masked by typed placeholders, in Chinese and English text.

Takes a text; gives the text with e-mail addresses, IP addresses, phone, identity, card, WeChat and QQ numbers
replaced, and what was replaced where. A number is masked for its form where the form proves it (check digits, an
area code and its punctuation), and for a word before it where it does not; most texts hold neither an @, nor long
numbers, nor such a word, and cost no more than finding that out (`_may_hold_any`). The detectors: `addresses`,
`messengers`, `identity`, `phones`.

What stays, beside what they say: numbers inside links, names, decimals and longer numbers, numbers that the text
itself calls an order, a serial, an ISBN.
"""

import re
from bisect import bisect
from collections.abc import Callable, Collection

from xmodel_core.corpus.mask.addresses import SPELT_AT, emails, ip_addresses
from xmodel_core.corpus.mask.identity import bank_cards, identity_numbers
from xmodel_core.corpus.mask.kinds import KINDS, PLACEHOLDERS, Edit, Kind
from xmodel_core.corpus.mask.messengers import qq_numbers, wechat_names
from xmodel_core.corpus.mask.numbers import Numbers, Spans, find_runs
from xmodel_core.corpus.mask.phones import phone_numbers
from xmodel_core.corpus.mask.view import (
    BLANKS,
    DASHES,
    LONG_DASHES,
    MIDDLE_DOTS,
    WIDE_DIGITS,
    WITHOUT_WIDTH,
    views,
)

# A word right before a number names it better than its form does: 微信13… is how somebody is found on WeChat.
_DETECTORS: tuple[tuple[Kind, Callable[[str, Numbers], Spans]], ...] = (
    ("email", emails),
    ("ip", ip_addresses),
    ("wechat", wechat_names),
    ("qq", qq_numbers),
    ("id_number", identity_numbers),
    ("bank_card", bank_cards),
    ("phone", phone_numbers),
)
_MAX_PASSES = 20


def _start(edit: Edit) -> int:
    return edit.start


def mask(text: str, kinds: Collection[Kind] = KINDS) -> tuple[str, list[Edit]]:
    """The text with personal data of these kinds replaced, and the replacements in order of place."""
    edits: list[Edit] = []
    masked = text
    # What is masked may free what was next to it (two numbers run together); so it is repeated until nothing is
    # found, and masking a masked text changes nothing. One pass does for nearly all; only a text written to be slow
    # needs more than a few.
    for _ in range(_MAX_PASSES):
        if not (new := _find_in_views(masked, kinds)):
            break
        edits = sorted(edits + _in_original(new, edits), key=_start)
        pieces, at = [], 0
        for edit in edits:
            pieces += [text[at : edit.start], PLACEHOLDERS[edit.kind]]
            at = edit.end
        masked = "".join([*pieces, text[at:]])
    return masked, edits


def _in_original(new: list[Edit], edits: list[Edit]) -> list[Edit]:
    """Replacements in a text masked by `edits`, at their positions in the original; both are in order."""
    moved: list[Edit] = []
    removed = done = 0  # characters that the replacements before this place took away
    for edit in new:
        while done < len(edits) and edits[done].start - removed < edit.start:
            removed += edits[done].end - edits[done].start - len(PLACEHOLDERS[edits[done].kind])
            done += 1
        moved.append(Edit(edit.kind, edit.start + removed, edit.end + removed))
    return moved


_SEPARATORS = "-. ()"
_WIDE_SEPARATORS = f"{_SEPARATORS}（）．{DASHES}{BLANKS}{LONG_DASHES}{MIDDLE_DOTS}{WITHOUT_WIDTH}{WIDE_DIGITS}"
# A number that may be somebody's: five digits, seven digits or separators, or the beginning of an IPv6 address. The
# look-ahead rejects most numbers at once.
_LONG_NUMBER = "{d}(?:(?={s}{{4}})(?:{d}{{4}}|{s}{{6}})|{h}{{3,5}}:{h}{{0,5}}:)"
_NARROW = re.compile(_LONG_NUMBER.format(d="[0-9]", s=f"[{_SEPARATORS}0-9]", h="[0-9A-Fa-f]"))
_WIDE = re.compile(
    _LONG_NUMBER.format(
        d=f"[0-9{WIDE_DIGITS}]", s=f"[{_WIDE_SEPARATORS}0-9]", h=f"[0-9A-Fa-f{WIDE_DIGITS}{WITHOUT_WIDTH}]"
    )
)
# WeChat names may hold no digit, so the words for WeChat count, too; most of the Chinese ones share a character.
_NARROW_WORDS = ("echat", "eChat", "ECHAT", "eixin", "(at)", "[at]")
_WIDE_WORDS = (*_NARROW_WORDS, "vx", "VX", "ｖ", "Ｖ", "加v", "加V", "＠", "﹫")
_WORDS_OF_LETTERS = ("微信", "薇信", "V信", "v信")


def _may_hold_any(text: str) -> bool:
    """A fast check that most texts fail; the detectors find nothing in those."""
    if "@" in text or ("<" in text and SPELT_AT.search(text)):
        return True
    numbers, words = (_NARROW, _NARROW_WORDS) if text.isascii() else (_WIDE, _WIDE_WORDS)
    # Numbers first: most long texts have one near their beginning.
    if numbers.search(text):
        return True
    for word in words:  # a loop is a third faster here than any()
        if word in text:
            return True
    return "信" in text and any(word in text for word in _WORDS_OF_LETTERS)


def _find_in_views(text: str, kinds: Collection[Kind]) -> list[Edit]:
    """What one pass finds in the first view in which it finds anything, in order of place."""
    if not _may_hold_any(text):
        return []
    for view in views(text):
        if edits := _find(view.read, kinds):
            return [Edit(edit.kind, *view.span(edit.start, edit.end)) for edit in edits]
    return []


def _find(text: str, kinds: Collection[Kind]) -> list[Edit]:
    """What a view holds, in order of place; what overlaps goes to the first of `_DETECTORS`."""
    numbers = find_runs(text)
    edits: list[Edit] = []  # in order of place, without overlap
    for kind, detector in _DETECTORS:
        if kind in kinds:
            for start, end in detector(text, numbers):
                at = bisect(edits, start, key=_start)
                if (at == 0 or edits[at - 1].end <= start) and (at == len(edits) or end <= edits[at].start):
                    edits.insert(at, Edit(kind, start, end))
    return edits

"""Personal data in kept documents, masked by typed placeholders, in Chinese and English text.

Takes a text; gives the text with e-mail addresses, IP addresses, phone, identity, card, WeChat and QQ numbers
replaced, and what was replaced where. A number is masked for its form where the form proves it (check digits, an
area code and its punctuation), and for a telling word before it where it does not; most texts hold neither an @,
nor long numbers, nor such a word, and cost no more than that look.

What stays: addresses that reach no machine of anybody's (loopback, private, reserved, documentation: they are
facts about networks), version and section numbers, numbers inside links, names, decimals and longer numbers,
numbers that the text itself calls an order, a serial, an ISBN. Mailboxes at example.com are masked: telling
them apart gains nothing, for a placeholder reads as well there. `git@host:path`, `user@localhost` and other
names that no mail server can resolve are not mailboxes. WeChat's public accounts are publications, so they stay.
"""

import re
from bisect import bisect
from collections.abc import Callable, Collection, Iterator
from datetime import date
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from typing import Literal, NamedTuple

from xmodel_core.specs.strict import Strict

Kind = Literal["email", "ip", "phone", "id_number", "bank_card", "wechat", "qq"]
KINDS: tuple[Kind, ...] = ("email", "ip", "phone", "id_number", "bank_card", "wechat", "qq")
# Words in angle brackets read like a form with the value left out, in both languages; they are plain ASCII, so any
# tokenizer has pieces for them; and no detector's alphabet holds a bracket, so a placeholder is never masked again.
PLACEHOLDERS: dict[Kind, str] = {kind: f"<{kind.upper()}>" for kind in KINDS}


class MaskConfig(Strict):
    """Which personal data is masked."""

    kinds: tuple[Kind, ...] = KINDS
    """Kinds to mask; what is left out stays in the documents."""


class Edit(NamedTuple):
    """One replacement: the characters [start, end) of the original text."""

    kind: Kind
    start: int
    end: int


_MOST_TURNS = 20


def _start(edit: Edit) -> int:
    return edit.start


def mask(text: str, kinds: Collection[Kind] = KINDS) -> tuple[str, list[Edit]]:
    """The text with personal data of these kinds replaced, and the replacements in order of place."""
    edits: list[Edit] = []
    masked = text
    # What is masked may free what stood beside it (two numbers run together); so until nothing is found, which
    # makes masking a masked text change nothing. One turn does for nearly all; only a text written to be slow needs
    # more than a few.
    for _ in range(_MOST_TURNS):
        if not (found := _find(masked, kinds)):
            break
        edits = sorted(edits + _in_original(found, edits), key=_start)
        pieces, at = [], 0
        for edit in edits:
            pieces += [text[at : edit.start], PLACEHOLDERS[edit.kind]]
            at = edit.end
        masked = "".join([*pieces, text[at:]])
    return masked, edits


def _in_original(found: list[Edit], edits: list[Edit]) -> list[Edit]:
    """Replacements found in a text masked by `edits`, in the original's places; both are in order."""
    moved: list[Edit] = []
    removed = done = 0  # characters that the replacements before this place took away
    for edit in found:
        while done < len(edits) and edits[done].start - removed < edit.start:
            removed += edits[done].end - edits[done].start - len(PLACEHOLDERS[edits[done].kind])
            done += 1
        moved.append(Edit(edit.kind, edit.start + removed, edit.end + removed))
    return moved


# --- the look that most texts end with -------------------------------------------------------------------------

_SEPARATORS = "-. ()"
_WIDE_SEPARATORS = _SEPARATORS + "０-９（）．－\u2010-\u2013\u2212\u00a0\u3000"
# A number worth a closer look: five digits, seven digits or separators, or the beginning of an IPv6 address. The
# look-ahead turns most numbers away at once.
_LONG_NUMBER = "{d}(?:(?={s}{{4}})(?:{d}{{4}}|{s}{{6}})|[0-9A-Fa-f]{{3}}:[0-9A-Fa-f]{{0,4}}:)"
_NARROW = re.compile(_LONG_NUMBER.format(d="[0-9]", s=f"[{_SEPARATORS}0-9]"))
_WIDE = re.compile(_LONG_NUMBER.format(d="[0-9０-９]", s=f"[{_WIDE_SEPARATORS}0-9]"))
# WeChat names may hold no digit, so the words for WeChat make a text worth a look, too.
_NARROW_WORDS = ("echat", "eChat", "ECHAT", "eixin", "(at)", "[at]")
_WIDE_WORDS = (*_NARROW_WORDS, "微信", "薇信", "vx", "VX", "ｖｘ", "ＶＸ", "V信", "v信", "加v", "加V", "＠")


def _worth_a_look(text: str) -> bool:
    if "@" in text or ("<" in text and _SPELT_AT.search(text)):
        return True
    numbers, words = (_NARROW, _NARROW_WORDS) if text.isascii() else (_WIDE, _WIDE_WORDS)
    # Numbers first: most long texts have one near their beginning.
    return bool(numbers.search(text)) or any(word in text for word in words)


# Full-width letters and digits, as Chinese input methods write them, and the many dashes and blanks that stand
# in numbers: one character for one, so that places stay. Full-width punctuation stays what it is.
_FOLDED = {chr(wide): chr(wide - 0xFEE0) for wide in (*range(0xFF10, 0xFF1A), *range(0xFF20, 0xFF3B))}
_FOLDED |= {chr(wide): chr(wide - 0xFEE0) for wide in range(0xFF41, 0xFF5B)}
_FOLDED |= {"＋": "+", "－": "-", "．": ".", "＿": "_"}
_FOLDED |= dict.fromkeys("\u2010\u2011\u2012\u2013\u2212", "-") | dict.fromkeys("\u00a0\u2002\u2003\u2009\u3000", " ")
_FOLDABLE = re.compile(f"[{''.join(_FOLDED)}]")


def _fold(text: str) -> str:
    return text if text.isascii() else _FOLDABLE.sub(lambda wide: _FOLDED[wide.group()], text)


def _find(text: str, kinds: Collection[Kind]) -> list[Edit]:
    """What is found in one go, in order of place; what overlaps goes to the first of `_DETECTORS`."""
    if not _worth_a_look(text):
        return []
    text = _fold(text)
    numbers = list(_RUN.finditer(text))
    found: list[Edit] = []  # in order of place, and apart
    for kind, detector in _DETECTORS:
        if kind in kinds:
            for start, end in detector(text, numbers):
                at = bisect(found, start, key=_start)
                if (at == 0 or found[at - 1].end <= start) and (at == len(found) or end <= found[at].start):
                    found.insert(at, Edit(kind, start, end))
    return found


# --- what stands around a number -------------------------------------------------------------------------------

_TELLING_LETTERS = re.compile(
    r"(?<![A-Za-z])(?:tele?|phone|mobile|mob|cell|fax|call|whatsapp|qq|wechat|[vw]x|[tpmf])$", re.IGNORECASE
)
_LETTERS_AFTER = re.compile(
    r"(?:q|wechat|weixin|[vw]x|e-?mail|fax|tel|phone|mobile|app|http|www|or|and)", re.IGNORECASE
)
_LINK = re.compile(r"(?:://|www\.|\.(?:com|cn|org|net|io)/|(?<![0-9])10\.[0-9]{4,9}/)[\x21-\x7e]*$")
_PHONE_PARAMETER = re.compile(r"(?:tel|phone|mobile)=$", re.IGNORECASE)
# Words that say what a number is, if it is none of ours. Chinese has a word for each sort of number.
_OTHER_NUMBER = re.compile(
    r"(?:(?:订单|訂單|运单|快递单|流水|序列|批次|货|型|版本|发票|合同|专利|备案|公告|文件|图书|单|單|(?<![证證卡])[编編])[号號]码?|条形?码|编码"
    r"|时间戳|第|isbn|issn|doi|arxiv|pmid|timestamp|uuid|sku"
    r"|(?:order|serial|invoice|tracking|ticket|part|model|item|product|transaction|patent|case|parcel|batch|receipt)"
    r"(?:\s+(?:number|no\.?|id|code))?)[\s:：#是为為(（]{0,4}(?:is\s)?$",
    re.IGNORECASE,
)
_QUANTITY = re.compile(
    r"\s?(?:元|块钱|[万萬亿億](?:[元美人个次多余]|$|[^\u4e00-\u9fff])|人(?!工)|个(?!人)|次(?!日)|字节|美元|%|％"
    r"|bytes?\b|sectors?\b|[KMGT]i?B\b|[=*^]\s?[0-9(])"
)


def _before(text: str, start: int, length: int) -> str:
    return text[max(0, start - length) : start]


def _after(text: str, end: int) -> str:
    return text[end : end + 12]


def _in_link(text: str, start: int) -> bool:
    near = _before(text, start, 160)
    return bool(_LINK.search(near)) and not _PHONE_PARAMETER.search(near)


def _stands_alone(text: str, start: int, end: int) -> bool:
    """Whether a number is no part of a name, a decimal, an amount, a link or a longer number."""
    last, first = text[start - 1 : start], text[end : end + 1]
    if last and (last in "_+$¥￥€£%#" or last.isdecimal()):
        return False
    if last in (".", "-", ",") and text[start - 2 : start - 1].isdecimal():
        return False
    if last.isascii() and last.isalpha() and not _TELLING_LETTERS.search(_before(text, start, 10)):
        return False
    if first and (first == "_" or first.isdecimal()):
        return False
    if (first == "." and text[end + 1 : end + 2].isdecimal()) or re.match("-[0-9A-Za-z]", text[end : end + 2]):
        return False
    if first.isascii() and first.isalpha() and not _LETTERS_AFTER.match(text, end):
        return False
    return not _QUANTITY.match(_after(text, end)) and not _in_link(text, start)


def _digits(text: str) -> str:
    return "".join(character for character in text if "0" <= character <= "9")


Numbers = list[re.Match[str]]
# No pattern that is searched for in a whole text begins with a look-behind, which would cost the fast search for
# its first character; runs of five digits and more are found once, and every other pattern is tried on them alone.
_RUN = re.compile(r"[0-9](?:[-. ()（）]{0,2}[0-9]){4,}")


def _in_runs(pattern: re.Pattern[str], text: str, numbers: Numbers) -> Iterator[re.Match[str]]:
    """Matches of a number's pattern in and about the runs of seven digits and more."""
    for run in numbers:
        start, end = run.span()
        if end - start >= 7:
            # A sign and a bracket may stand before the first digit; words and an extension may follow the last.
            for match in pattern.finditer(text, max(0, start - 3), min(len(text), end + 12)):
                if match.start() < end:
                    yield match


# --- the detectors: each gives the places of one kind ----------------------------------------------------------

Places = Iterator[tuple[int, int]]

_LOCAL_PART = re.compile(r"[A-Za-z0-9À-ɏ_.+%'-]+$")
_DOMAIN = re.compile(r"(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)+(?:xn--[A-Za-z0-9-]{2,}|[A-Za-z]{2,18})")
_SPELT_OUT = re.compile(r"[(\[]\s?at\s?[)\]]", re.IGNORECASE)
_NAME_BEFORE = re.compile(r"[A-Za-z0-9_.+-]{2,40}\s?$")
_OBFUSCATED = re.compile(
    r"[A-Za-z0-9_.+-]{2,40}\s?[(\[]\s?at\s?[)\]]\s?[A-Za-z0-9-]+(?:(?:\.|\s?[(\[]\s?dot\s?[)\]]\s?)[A-Za-z0-9-]+)*"
    r"(?:\.|\s?[(\[]\s?dot\s?[)\]]\s?)[A-Za-z]{2,18}",
    re.IGNORECASE,
)
_COMMON_ENDINGS = {"com", "cn", "net", "org", "edu", "gov"}
# Endings of file names and of code, and the names that never resolve (RFC 2606, RFC 6762; example.com does).
_NO_DOMAIN = re.compile(
    "png|jpe?g|gif|svg|webp|ico|bmp|jsx?|tsx?|s?css|html?|php|jsp|xml|json|ya?ml|txt|pdf|zip|tar|t?gz|jar|war|class"
    "|java|cpp|exe|dll|so|local(?:host|domain)?|internal|intranet|lan|invalid|test|example",
    re.IGNORECASE,
)
# A place on another machine (host:~/file, host:/file), a shell's prompt, a call or an index of code.
_NO_MAILBOX_AFTER = re.compile(r":[~/]|[(\[#$]|\s[^\s\]]{1,40}\]\s?[#$]")
_SERVICE_USERS = {"git", "hg", "svn"}
# Their addresses name algorithms of SSH (RFC 4251, section 6): aes256-gcm@openssh.com.
_NAMING_DOMAINS = {"openssh.com", "libssh.org", "lysator.liu.se"}


# How mailing lists and the authors of specifications write addresses: <jane at example.org>.
_SPELT_AT = re.compile(r"<([A-Za-z0-9_.+-]{2,40} (?:at|AT) [A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*\.[A-Za-z]{2,18})>")


def _emails(text: str, numbers: Numbers) -> Places:
    at = text.find("@")
    while at >= 0:
        domain = _DOMAIN.match(text, at + 1)
        local = domain and _LOCAL_PART.search(_before(text, at, 64))
        if local and domain:
            name = local.group().lstrip("'.-%+")
            start, end = at - len(name), domain.end()
            ending = domain.group().rpartition(".")[2].lower()
            ahead = text[end : end + 2]
            before = text[max(0, start - 1) : start]
            credentials = re.search(r"://[^\s/]*$", _before(text, start, 80))
            if (
                name.strip(".-'%")
                and before not in ("@", "/")
                and not credentials
                and not _NO_DOMAIN.fullmatch(ending)
                and name.lower() not in _SERVICE_USERS
                and domain.group() not in _NAMING_DOMAINS
                and not _NO_MAILBOX_AFTER.match(text, end)
                and (ending in _COMMON_ENDINGS or not re.match("[0-9_]", ahead))
            ):
                yield start, end
        at = text.find("@", at + 1)
    if "at)" in text or "at]" in text:
        for at in _SPELT_OUT.finditer(text):
            # From the beginning of the name on: a pattern that begins with any letter is slow in a whole text.
            local = _NAME_BEFORE.search(text, max(0, at.start() - 41), at.start())
            if local and (match := _OBFUSCATED.match(text, local.start())):
                yield match.span()
    if "<" in text:
        yield from (match.span(1) for match in _SPELT_AT.finditer(text))


_DOTTED = re.compile(r"\.[0-9]{1,3}\.[0-9]{1,3}\.[0-9]")
_IPV4 = re.compile(r"(?<![0-9A-Za-z_.-])(?:[0-9]{1,3}\.){3}[0-9]{1,3}(?![0-9A-Za-z_]|\.[0-9]|-[0-9]+(?![0-9.]))")
_IPV6 = re.compile(r"[23][0-9A-Fa-f]{3}(?<![0-9A-Za-z:.]....)(?::[0-9A-Fa-f]{0,4}){2,7}(?![0-9A-Za-z:])")
_TWO_COLONS = re.compile(":[0-9A-Fa-f]{0,4}:")
_VERSION_BEFORE = re.compile(
    r"(?:(?<![a-z])(?:v|ver\.?|version|release|build|edition|revision|firmware|section|chapter|update)|版本[号號]?|固件|第"
    r"|§|==|[A-Za-z]/)[\s:：是为為]*$",
    re.IGNORECASE,
)
_VERSION_AFTER = re.compile(r"\s?(?:版|章|节|節)|\s(?:version|release)|-(?:alpha|beta|rc)", re.IGNORECASE)
_HOST_BEFORE = re.compile(
    r"(?:(?<![a-z])(?:ip|ipv4|host|server|address|ping|ssh|dns|nameserver|client|proxy|gateway|from|curl)(?![a-z])"
    r"|地址|服务器|主机|代理|网关|://|@)[^0-9\n<>]{0,12}$",
    re.IGNORECASE,
)
_PORT_OR_PREFIX = re.compile(r":[0-9]{2,5}(?![0-9])|/[0-9]{1,2}(?![0-9])")
# A dotted number with three parts below this is a version or a section rather than an address.
_SMALL_PART = 20


def _addresses(text: str, numbers: Numbers) -> Places:
    for dots in _DOTTED.finditer(text):
        match = _IPV4.search(text, max(0, dots.start() - 3), dots.end() + 12)
        if not match:
            continue
        parts = match.group().split(".")
        before = _before(text, match.start(), 24)
        try:
            address = IPv4Address(match.group())
        except AddressValueError:  # a part above 255, or 01
            continue
        told = _HOST_BEFORE.search(before) or _PORT_OR_PREFIX.match(text, match.end())
        if (
            address.is_global
            and not address.is_multicast
            and not _VERSION_BEFORE.search(before)
            and not _VERSION_AFTER.match(text, match.end())
            and (told or sum(int(part) < _SMALL_PART for part in parts) < 3)
        ):
            yield match.span()
    # A colon is found faster than any of many digits.
    for match in _IPV6.finditer(text) if _TWO_COLONS.search(text) else ():
        try:
            public = IPv6Address(match.group()).is_global
        except AddressValueError:
            continue
        if public and len(re.findall("[0-9A-Fa-f]+", match.group())) > 2:  # 2006:: ends many a line of code
            yield match.span()


# The first two digits of an administrative division (GB/T 2260); 81 to 83 are residence permits.
_PROVINCE = re.compile("1[1-5]|2[1-3]|3[1-7]|4[1-6]|5[0-4]|6[1-5]|71|8[1-3]")
_IDENTITY = re.compile(r"(?<![0-9])([1-8][0-9]{5})([- ]?)((?:19|20)[0-9]{6})\2([0-9]{3}[0-9Xx])(?![0-9])")
_OLD_IDENTITY = re.compile(r"(?<![0-9])([1-8][0-9]{5})([0-9]{6})[0-9]{3}(?![0-9])")
_IDENTITY_WORD = re.compile(
    r"(?:身[份分][证證号號]|[证證]件[号號]|公民身[份分]|居民[证證]|(?<![a-z])(?:identity|id)\s(?:card|number|no))"
    r"[^0-9\n。<>]{0,12}$",
    re.IGNORECASE,
)
_WEIGHTS = tuple(2 ** (17 - place) % 11 for place in range(17))


def _born(year: str, month: str, day: str) -> bool:
    """Whether somebody alive when texts were written can have been born on this day."""
    try:
        return 1890 <= date(int(year), int(month), int(day)).year < 2030
    except ValueError:
        return False


def _identity_numbers(text: str, numbers: Numbers) -> Places:
    for match in _in_runs(_IDENTITY, text, numbers):
        region, _, birth, rest = match.groups()
        body = region + birth + rest[:3]
        check = "10X98765432"[sum(weight * int(digit) for weight, digit in zip(_WEIGHTS, body, strict=True)) % 11]
        if (
            _PROVINCE.match(region)
            and _born(birth[:4], birth[4:6], birth[6:])
            and rest[3].upper() == check
            and _stands_alone(text, *match.span())
            and not _OTHER_NUMBER.search(_before(text, match.start(), 28))
        ):
            yield match.span()
    for match in _in_runs(_OLD_IDENTITY, text, numbers):
        region, birth = match.groups()
        if (
            _PROVINCE.match(region)
            and _born("19" + birth[:2], birth[2:4], birth[4:])
            and _IDENTITY_WORD.search(_before(text, match.start(), 28))
            and _stands_alone(text, *match.span())
        ):
            yield match.span()


_CARD = re.compile(
    r"(?<![0-9])(?:[0-9]{13,19}"
    r"|[0-9]{4}([ -])[0-9]{4}\1[0-9]{4}\1[0-9]{4}(?:\1[0-9]{1,3})?"
    r"|[0-9]{4}([ -])[0-9]{6}\2[0-9]{4,5}"
    r"|[0-9]{6}[ -][0-9]{10,13})(?![0-9])"
)
# Issuers that stand for themselves, with their lengths (ISO/IEC 7812 registry): UnionPay, Visa, Mastercard,
# Discover, JCB. Shorter cards (American Express, Diners, old Visa) need their grouping or a telling word.
_ISSUER = re.compile(
    r"62[0-9]{14}(?:[0-9]{3})?|4[0-9]{15}|(?:5[1-5][0-9]{2}|222[1-9]|22[3-9][0-9]|2[3-6][0-9]{2}|27[01][0-9]|2720)[0-9]{12}"
    r"|(?:6011|64[4-9][0-9]|65[0-9]{2}|35(?:2[89]|[3-8][0-9]))[0-9]{12}"
)
_GROUPED_ISSUER = re.compile(r"3[47][0-9]{13}|3(?:0[0-5]|[68][0-9])[0-9]{11}")
_CARD_WORD = re.compile(
    r"(?:[银銀]行|卡[号號]|[信储儲借此该刷]\S{0,2}卡|[账帐賬帳][户戶号號]|[开開][户戶]|工行|农行|建行|中行|招行|汇款|转账|打款"
    r"|(?<![a-z])(?:card|account|acct|visa|mastercard|amex|unionpay|debit|credit)s?(?![a-z]))[^0-9\n。<>]{0,14}$",
    re.IGNORECASE,
)


def _luhn(digits: str) -> bool:
    total = 0
    for place, digit in enumerate(reversed(digits)):
        value = int(digit) << (place % 2)
        total += value - 9 if value > 9 else value
    return total % 10 == 0


def _bank_cards(text: str, numbers: Numbers) -> Places:
    for match in _in_runs(_CARD, text, numbers):
        digits = _digits(match.group())
        before = _before(text, match.start(), 28)
        told = _CARD_WORD.search(before)
        proven = _ISSUER.fullmatch(digits) or (not match.group().isdecimal() and _GROUPED_ISSUER.fullmatch(digits))
        grouped_with_more = re.search(r"[0-9][- ]$", before) or re.match(
            r"[- ][0-9]", text[match.end() : match.end() + 2]
        )
        if (
            (told or (proven and not grouped_with_more))
            and len(set(digits)) > 1
            and _luhn(digits)
            and not (len(digits) == 13 and digits[:3] in ("978", "979"))  # an ISBN
            and _stands_alone(text, *match.span())
            and not _OTHER_NUMBER.search(before)
        ):
            yield match.span()


# Numbers that their form proves. Mobiles are written in groups of 3-4-4, rarely otherwise.
_MOBILE = re.compile(
    r"(?<![0-9])(?:[(（]?(?:\+|00)?86[)）]?[- ]{0,2}|0)?"
    r"1[3-9][0-9](?:[0-9]{8}|([-. ])[0-9]{4}\1[0-9]{4}|([- ])[0-9]{3}\2[0-9]{5}|[0-9]([- ])[0-9]{3}\3[0-9]{4}"
    r"|[0-9]{4}[- ][0-9]{4}|[- ][0-9]{8})(?![0-9])"
)
# Area codes: 010, 02x, and 0 with three digits; then seven or eight digits that begin with 2 to 8, and an extension.
_LANDLINE = re.compile(
    r"(?<![0-9])(?:[(（]?(?:\+|00)?86[)）]?[- ]{0,2}[(（]?|[(（]?(?=0))"
    r"0?(?:10|2[0-57-9]|[3-9][0-9]{2})(?:[)）][- ]{0,2}|[- ]{1,2})"
    r"[2-8][0-9]{2,3}[- ]?[0-9]{4}(?:-[0-9]{1,6})?(?![0-9])"
)
# Hotlines (400, 800) in the groupings that are not the North American one; mobiles of Taiwan.
_SERVICE = re.compile(
    r"(?<![0-9])(?:[48]00-[0-9]{4}-[0-9]{3}|[48]00[0-9]-[0-9]{3}-[0-9]{3}|09[0-9]{2}-[0-9]{3}-[0-9]{3})(?![0-9])"
)
_NORTH_AMERICAN = re.compile(
    r"(?<![0-9])(?:\+?1[-. ]{1,2})?"
    r"(?:\([2-9][0-9]{2}\)[-. ]?[2-9][0-9]{2}[-. ]|[2-9][0-9]{2}([-.])[2-9][0-9]{2}\1)[0-9]{4}(?![0-9])"
)
_INTERNATIONAL = re.compile(r"(?<![0-9A-Za-z)+])\+([1-9][0-9]{0,2}(?:[-. ]?\(?[0-9]{1,4}\)?){2,6})(?![0-9])")
_COUNTRY = re.compile(
    r"7|2[07]|3[0-469]|4[013-9]|5[1-8]|6[0-6]|8[1246]|9[0-58]|2[1-689][0-9]|3[578][0-9]|42[0-9]|5[09][0-9]"
    r"|6[789][0-9]|8[0578][0-9]|9[679][0-9]"
)
# Numbers that a word before them calls a phone's.
_TOLD = re.compile(r"(?<![0-9])\+?[(（]?[0-9](?:[-. ()（）]{0,2}[0-9]){6,14}(?![0-9])")
_PHONE_WORD = re.compile(
    r"(?:[电電][话話]|手[机機]|[热熱][线線]|[专專][线線]|[传傳]真|座[机機]|[联聯][系络絡繫]方式|致[电電]|来电|[拨撥]打|短信|客服"
    r"|咨询|[请請][拨打撥]|(?<![a-z])(?:telephone|phone|tel|mobile|cell|cellphone|fax|hotline|whatsapp|dial"
    r"|call|ring)(?![a-z]));?[^0-9\n。；;,，<>]{0,10}$",
    re.IGNORECASE,
)
_NEXT_NUMBER = re.compile(r"[\s、,，/;；或or]{1,4}$")
_DATE = re.compile(r"(?:19|20)[0-9]{2}[-. ]?(?:0?[1-9]|1[0-2])[-. ]?(?:0?[1-9]|[12][0-9]|3[01])(?![0-9])")
_DECIMAL = re.compile(r"[0-9]+\.[0-9]+")


def _international(number: str) -> bool:
    """Whether a number after a + has a country's code and a length that goes with it."""
    digits = _digits(number)
    if digits[0] == "1":  # North America: an area code and an exchange that begin with 2 to 9
        return len(digits) == 11 and digits[1] >= "2" and digits[4] >= "2"
    grouped = len(re.findall("[0-9]+", number)) > 2
    return bool(_COUNTRY.match(digits)) and (9 if grouped else 10) <= len(digits) <= 15


def _phones(text: str, numbers: Numbers) -> Places:
    for pattern in (_MOBILE, _LANDLINE, _SERVICE, _INTERNATIONAL, _NORTH_AMERICAN):
        for match in _in_runs(pattern, text, numbers):
            start, end = _without_open_bracket(match)
            if (
                (pattern is not _INTERNATIONAL or _international(match.group()))
                and _stands_alone(text, start, end)
                and not _OTHER_NUMBER.search(_before(text, start, 28))
            ):
                yield start, end
    last = -1
    for match in _in_runs(_TOLD, text, numbers):
        start, end = _without_open_bracket(match)
        number, before = text[start:end], _before(text, start, 28)
        word = _PHONE_WORD.search(before)
        # Programs call and dial, too: after a verb a number must look like a phone's.
        if word and word.group()[:4].lower() in ("call", "dial", "ring") and number.isdecimal() and len(number) < 10:
            continue
        told = word or (last >= 0 and _NEXT_NUMBER.fullmatch(text[last:start]))
        if (
            told
            and not _OTHER_NUMBER.search(before)
            and not _DATE.match(number)
            and not _DECIMAL.fullmatch(number)
            and not set(_digits(number)) <= {"0", "1"}  # binary
            and _stands_alone(text, start, end)
        ):
            last = end
            yield start, end


def _without_open_bracket(match: re.Match[str]) -> tuple[int, int]:
    """The span of a match, less a bracket that opens before it and closes behind it."""
    start, end = match.span()
    if match.group()[0] in "(（" and not re.search("[)）]", match.group()):
        start += 1
    return start, end


# One of these stands where a name may follow; finding them first is thirty times faster than the pattern.
_WECHAT_WORDS = (
    "微",
    "薇信",
    "V信",
    "v信",
    "echat",
    "eChat",
    "ECHAT",
    "eixin",
    "vx",
    "VX",
    "wx",
    "WX",
    "加v",
    "加V",
    "加我",
)
_SLANG = {"vx", "wx", "wxid"}
_NUMBER_OF = r"(?:号码|號碼|账号|帐号|賬號|号|號|同号)"
_WECHAT = re.compile(
    r"(?P<word>微\s?信|薇信|(?<![a-z])v\s?信|(?<![a-z])(?:we\s?chat|weixin)|(?<![a-z0-9])(?:vx|wx|wxid)(?![a-z0-9_])"
    r"|加我?\s?v(?:x|信)?(?![a-z])|加我?微信?)"
    r"(?P<of>(?:客服|官方|咨询|反馈|联系|老师|\s?id(?=[\s:：]|[-_a-z0-9]{6})|\s(?:account|number|is)(?![a-z])|是|为|為|"
    + _NUMBER_OF
    + r"){0,3})"
    r"(?P<sign>[\s:：=「“\"'(（\[【]{0,4}(?:is\s|是|为)?)"
    r"(?P<name>[a-z](?:(?!qq)[-_a-z0-9]){5,24}|[1-9][0-9]{5,11})(?![-_a-z0-9@]|\.[a-z0-9]|\()",
    re.IGNORECASE,
)


def _after_word(word: str, text: str) -> Iterator[re.Match[str]]:
    at = text.find(word)
    while at >= 0:
        # The pattern's own word may begin a little before: 加vx, WeChat.
        for start in range(max(0, at - 2), at + 1):
            if match := _WECHAT.match(text, start, at + 64):
                yield match
                break
        at = text.find(word, at + len(word))


def _wechats(text: str, numbers: Numbers) -> Places:
    places = {match.start(): match for word in _WECHAT_WORDS for match in _after_word(word, text)}
    for match in places.values():
        word, of, sign, name = match.group("word", "of", "sign", "name")
        marked = re.search("[:：=「“【]", sign) or re.search(_NUMBER_OF, of) or (not word.isascii() and of)
        # Without a sign of a name, and after slang, only what no ordinary word looks like: 微信 Android, wx: width.
        if (re.search("[0-9_]", name) or (marked and word.lower() not in _SLANG)) and not (
            name[0].isdecimal() and _QUANTITY.match(_after(text, match.end()))
        ):
            yield match.span("name")


_QQ_NUMBER = re.compile(r"(?<![0-9])[1-9][0-9]{4,10}(?![0-9]|\.[0-9])")
_QQ_BEFORE = re.compile(
    r"(?:(?<![a-z])q\s?q|扣扣|企鹅号?|(?<![a-z])q(?=群)|[加+]我?q(?![a-z]))"
    r"(?:\s?[\u4e00-\u9fff]{0,3}群|客服|咨询|联系|在线|号码|號碼|账号|帐号|号|號|是|为|為|vip|\sis|\snumber|\sgroup){0,3}"
    r"[\s:：;；=#「“(（\[【\]]{0,4}$",
    re.IGNORECASE,
)
_GROUP_BEFORE = re.compile(r"群(?:[号號][码碼]?)?为?[\s:：;\[\]]{0,2}$")
_AND_QQ = re.compile(r"[\s、,，/和或]{1,3}")


def _qqs(text: str, numbers: Numbers) -> Places:
    if not numbers or not any(
        word in text for word in ("QQ", "qq", "Qq", "Q Q", "扣扣", "企鹅", "群", "加Q", "加q", "加我")
    ):
        return
    last = -1
    for run in numbers:
        for match in _QQ_NUMBER.finditer(text, run.start(), min(len(text), run.end() + 2)):
            start, end = match.span()
            before = _before(text, start, 24)
            long = end - start
            if (
                _QQ_BEFORE.search(before)
                or (8 <= long <= 10 and _GROUP_BEFORE.search(before))
                or (last >= 0 and long >= 7 and _AND_QQ.fullmatch(text, last, start))
            ) and not _QUANTITY.match(_after(text, end)):
                last = end
                yield start, end


# A word right before a number names it better than its form does: 微信13… is how somebody is found on WeChat.
_DETECTORS: tuple[tuple[Kind, Callable[[str, Numbers], Places]], ...] = (
    ("email", _emails),
    ("ip", _addresses),
    ("wechat", _wechats),
    ("qq", _qqs),
    ("id_number", _identity_numbers),
    ("bank_card", _bank_cards),
    ("phone", _phones),
)

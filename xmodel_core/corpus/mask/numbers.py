"""Numbers in a text: where they are, and what their surroundings say about them.

Takes a folded text; gives the runs of digits that detectors search in (`find_runs`, `in_runs`) and answers whether a
number may be somebody's: it is no part of a name, a link, an amount or a longer number (`stands_alone`), and no word
before it says that it is an order's, a serial or an ISBN (`OTHER_NUMBER`).
"""

import re
from collections.abc import Iterator

Spans = Iterator[tuple[int, int]]
"""[start, end) of what a detector found."""
Numbers = list[re.Match[str]]
"""The runs of digits of a text, in order."""
# No pattern that is searched for in a whole text begins with a look-behind, which would cost the fast search for
# its first character; runs of five digits and more are found once, and every other pattern is tried on them alone.
_RUN = re.compile(r"[0-9](?:[-. ()（）]{0,2}[0-9]){4,}")


def find_runs(text: str) -> Numbers:
    """Runs of at least five digits, with the separators among them."""
    return list(_RUN.finditer(text))


def in_runs(pattern: re.Pattern[str], text: str, numbers: Numbers) -> Iterator[re.Match[str]]:
    """Matches of a number's pattern in and about the runs of seven digits and more."""
    for run in numbers:
        start, end = run.span()
        if end - start >= 7:
            # A sign and a bracket may stand before the first digit; words and an extension may follow the last.
            for match in pattern.finditer(text, max(0, start - 3), min(len(text), end + 12)):
                if match.start() < end:
                    yield match


_LABEL_LETTERS = re.compile(
    r"(?<![A-Za-z])(?:tele?|phone|mobile|mob|cell|fax|call|whatsapp|qq|wechat|[vw]x|[tpmf])$", re.IGNORECASE
)
_LETTERS_AFTER = re.compile(
    r"(?:q|wechat|weixin|[vw]x|e-?mail|fax|tel|phone|mobile|app|http|www|or|and)", re.IGNORECASE
)
_LINK = re.compile(r"(?:://|www\.|\.(?:com|cn|org|net|io)/|(?<![0-9])10\.[0-9]{4,9}/)[\x21-\x7e]*$")
_PHONE_PARAMETER = re.compile(r"(?:tel|phone|mobile)=$", re.IGNORECASE)
# Words before a number that is nobody's. Chinese has a word for each sort of number.
OTHER_NUMBER = re.compile(
    r"(?:(?:订单|訂單|运单|快递单|流水|序列|批次|货|型|版本|发票|合同|专利|备案|公告|文件|图书|单|單|(?<![证證卡])[编編])[号號]码?|条形?码|编码"
    r"|时间戳|第|isbn|issn|doi|arxiv|pmid|timestamp|uuid|sku"
    r"|(?:order|serial|invoice|tracking|ticket|part|model|item|product|transaction|patent|case|parcel|batch|receipt)"
    r"(?:\s+(?:number|no\.?|id|code))?)[\s:：#是为為(（]{0,4}(?:is\s)?$",
    re.IGNORECASE,
)
QUANTITY = re.compile(
    r"\s?(?:元|块钱|[万萬亿億](?:[元美人个次多余]|$|[^\u4e00-\u9fff])|人(?!工)|个(?!人)|次(?!日)|字节|美元|%|％"
    r"|bytes?\b|sectors?\b|[KMGT]i?B\b|[=*^]\s?[0-9(])"
)


def text_before(text: str, start: int, length: int) -> str:
    """Up to `length` characters before a place."""
    return text[max(0, start - length) : start]


def text_after(text: str, end: int) -> str:
    """The 12 characters from a place on."""
    return text[end : end + 12]


def _in_link(text: str, start: int) -> bool:
    preceding = text_before(text, start, 160)
    return bool(_LINK.search(preceding)) and not _PHONE_PARAMETER.search(preceding)


def stands_alone(text: str, start: int, end: int) -> bool:
    """Whether a number is no part of a name, a decimal, an amount, a link or a longer number."""
    last, first = text[start - 1 : start], text[end : end + 1]
    if last and (last in "_+$¥￥€£%#" or last.isdecimal()):
        return False
    if last in (".", "-", ",") and text[start - 2 : start - 1].isdecimal():
        return False
    if last.isascii() and last.isalpha() and not _LABEL_LETTERS.search(text_before(text, start, 10)):
        return False
    if first and (first == "_" or first.isdecimal()):
        return False
    if (first == "." and text[end + 1 : end + 2].isdecimal()) or re.match("-[0-9A-Za-z]", text[end : end + 2]):
        return False
    if first.isascii() and first.isalpha() and not _LETTERS_AFTER.match(text, end):
        return False
    return not QUANTITY.match(text_after(text, end)) and not _in_link(text, start)


def digits_of(text: str) -> str:
    """The ASCII digits of a text."""
    return "".join(character for character in text if "0" <= character <= "9")

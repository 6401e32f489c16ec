"""WeChat names and QQ numbers, which only the words before them prove.

WeChat's public accounts are publications, so they stay.
"""

import re
from collections.abc import Iterator

from xmodel_core.corpus.mask.numbers import QUANTITY, Numbers, Spans, text_after, text_before

# One of these occurs where a name may follow; finding them first is thirty times faster than the pattern.
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


def wechat_names(text: str, numbers: Numbers) -> Spans:
    """WeChat names after a word for WeChat; the word itself stays."""
    present = [word for word in _WECHAT_WORDS if word in text]
    places = {match.start(): match for word in present for match in _after_word(word, text)}
    for match in places.values():
        word, of, sign, name = match.group("word", "of", "sign", "name")
        marked = re.search("[:：=「“【]", sign) or re.search(_NUMBER_OF, of) or (not word.isascii() and of)
        # Without a sign of a name, and after slang, only what no ordinary word looks like: 微信 Android, wx: width.
        if (re.search("[0-9_]", name) or (marked and word.lower() not in _SLANG)) and not (
            name[0].isdecimal() and QUANTITY.match(text_after(text, match.end()))
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


def qq_numbers(text: str, numbers: Numbers) -> Spans:
    """QQ numbers, and those of QQ groups, after a word for them; a list after such a word counts as a whole."""
    if not numbers or not any(
        word in text for word in ("QQ", "qq", "Qq", "Q Q", "扣扣", "企鹅", "群", "加Q", "加q", "加我")
    ):
        return
    last = -1
    for run in numbers:
        for match in _QQ_NUMBER.finditer(text, run.start(), min(len(text), run.end() + 2)):
            start, end = match.span()
            before = text_before(text, start, 24)
            long = end - start
            if (
                _QQ_BEFORE.search(before)
                or (8 <= long <= 10 and _GROUP_BEFORE.search(before))
                or (last >= 0 and long >= 7 and _AND_QQ.fullmatch(text, last, start))
            ) and not QUANTITY.match(text_after(text, end)):
                last = end
                yield start, end

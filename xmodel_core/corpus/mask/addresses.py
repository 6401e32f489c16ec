"""E-mail and IP addresses.

What stays: addresses that reach no machine of anybody's (loopback, private, reserved, documentation: they are facts
about networks), version and section numbers. Mailboxes at example.com are masked: telling them apart gains nothing,
for a placeholder reads as well there. `git@host:path`, `user@localhost` and other names that no mail server can
resolve are not mailboxes. Names of domains in other scripts (RFC 5890) run on into the words of a Chinese sentence, so
their endings are a list, and forms to fill in (学号@pku.edu.cn) are told from mailboxes by their plain domains.
"""

import re
from ipaddress import AddressValueError, IPv4Address, IPv6Address

from xmodel_core.corpus.mask.numbers import Numbers, Spans, text_before

_LOCAL_PART = re.compile(r"[A-Za-z0-9À-ɏ_.+%'-]+$")
_DOMAIN = re.compile(r"(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)+(?:xn--[A-Za-z0-9-]{2,}|[A-Za-z]{2,18})")
# Domains in other scripts, whose dots may be any of the four of RFC 3490. Endings: the registered ones that people use,
# countries and the general ones in Latin letters.
_WORLD_ENDINGS = (
    "公司|网络|網絡|网址|网站|中文网|商城|商标|商店|在线|中国|中國|香港|台湾|台灣|澳门|澳門|新加坡|政务|公益|机构|集团|企业|信息|我爱你"
    "|みんな|コム|ストア|한국|닷컴|닷넷|рф|укр|бел|срб|бг|мкд|мон|қаз|ею|онлайн|сайт|орг|дети|москва"
)
# No Latin letters after others: a list of contacts without blanks has @某某官方网站www.example.com.
_WORLD_LABEL = r"(?=[^\W_])[A-Za-z0-9À-ɏ-]{0,40}(?:[^\W_A-Za-z]|-){0,20}"
_WORLD_DOMAIN = re.compile(
    rf"(?:{_WORLD_LABEL}[.。｡])+(?:{_WORLD_ENDINGS}"
    r"|(?:[a-z]{2}|(?i:cn|com|net|org|edu|gov|info|biz|top|xyz|vip|club|site|shop|tech|wang|xn--[a-z0-9-]{2,}))"
    "(?![A-Za-z0-9-]))"
)
# What may follow an ending in another script: no letter of that script, but for a few words a sentence goes on with.
_WORLD_END = re.compile(r"(?![^\W\da-zA-Z_])|[的或和及与吧呢]|联系|电话|手机|微信")
_WORLD_LOCAL_PART = re.compile(r"[\w.+%'-]+$")
# Words that lead to an address, and run into its name in Chinese.
_LEAD_IN = re.compile(
    r".*(?:[到给給至是为為找]|[寄发發]往|联[系络]|聯[繫絡]|咨询|询问|邮[箱件址]|郵[箱件]|信箱|地址|投稿)(?=.)"
)
_SPELT_OUT = re.compile(r"[(\[]\s?at\s?[)\]]", re.IGNORECASE)
_NAME_BEFORE = re.compile(r"[A-Za-z0-9_.+-]{2,40}\s?$")
_LABEL = r"(?:[^\W_]|-)+"
_ENDING = f"(?:[A-Za-z]{{2,18}}|{_WORLD_ENDINGS})"
_DOT = r"(?:\.|\s?[(\[]\s?dot\s?[)\]]\s?)"
_OBFUSCATED = re.compile(
    rf"[A-Za-z0-9_.+-]{{2,40}}\s?[(\[]\s?at\s?[)\]]\s?{_LABEL}(?:{_DOT}{_LABEL})*{_DOT}{_ENDING}", re.IGNORECASE
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
SPELT_AT = re.compile(rf"<([A-Za-z0-9_.+-]{{2,40}} (?:at|AT) {_LABEL}(?:\.{_LABEL})*\.{_ENDING})>")


def _domain(text: str, start: int) -> re.Match[str] | None:
    """A domain that begins here. One in other scripts wins where the Latin one is no more than its beginning."""
    latin = _DOMAIN.match(text, start)
    if latin and latin.group().rpartition(".")[2].lower() in _COMMON_ENDINGS:
        return latin
    world = _WORLD_DOMAIN.match(text, start)
    return latin if not world or world.group().isascii() else world


def _name(before: str, domain: re.Match[str]) -> str:
    """The name of a mailbox at the end of what stands before its @; empty if there is none."""
    latin, where = _LOCAL_PART.search(before), domain.group()
    if where.isascii() and "xn--" not in where:
        return latin.group().lstrip("'.-%+") if latin else ""
    # Chinese words right before a Latin name are the sentence's, unless a sign joins them to it.
    named = latin and latin.group()[0] not in "._+-"
    # A name in Chinese before, or a full stop within, may be two sentences with @somebody between.
    ends = where[-1].isascii() or _WORLD_END.match(domain.string, domain.end())
    if not ends and (not named or "。" in where):
        return ""
    if latin and named:
        return latin.group().lstrip("'%")
    world = _WORLD_LOCAL_PART.search(before)
    return _LEAD_IN.sub("", world.group()).lstrip("'.-%+") if world else ""


def emails(text: str, numbers: Numbers) -> Spans:
    """Mailboxes: with an @, spelt out (jane (at) example (dot) org), and <jane at example.org>."""
    at = text.find("@")
    while at >= 0:
        domain = _domain(text, at + 1)
        name = _name(text_before(text, at, 64), domain) if domain else ""
        if domain and name:
            start, end = at - len(name), domain.end()
            ending = domain.group().rpartition(".")[2].lower()
            ahead = text[end : end + 2]
            before = text[max(0, start - 1) : start]
            credentials = re.search(r"://[^\s/]*$", text_before(text, start, 80))
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
        yield from (match.span(1) for match in SPELT_AT.finditer(text))


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


def ip_addresses(text: str, numbers: Numbers) -> Spans:
    """Public IPv4 and IPv6 addresses."""
    for dots in _DOTTED.finditer(text):
        match = _IPV4.search(text, max(0, dots.start() - 3), dots.end() + 12)
        if not match:
            continue
        parts = match.group().split(".")
        before = text_before(text, match.start(), 24)
        try:
            address = IPv4Address(match.group())
        except AddressValueError:  # a part above 255, or 01
            continue
        labelled = _HOST_BEFORE.search(before) or _PORT_OR_PREFIX.match(text, match.end())
        if (
            address.is_global
            and not address.is_multicast
            and not _VERSION_BEFORE.search(before)
            and not _VERSION_AFTER.match(text, match.end())
            and (labelled or sum(int(part) < _SMALL_PART for part in parts) < 3)
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

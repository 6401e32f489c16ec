"""E-mail and IP addresses.

What stays: addresses that reach no machine of anybody's (loopback, private, reserved, documentation: they are facts
about networks), version and section numbers. Mailboxes at example.com are masked: telling them apart gains nothing,
for a placeholder reads as well there. `git@host:path`, `user@localhost` and other names that no mail server can
resolve are not mailboxes.
"""

import re
from ipaddress import AddressValueError, IPv4Address, IPv6Address

from xmodel_core.corpus.mask.numbers import Numbers, Spans, text_before

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
SPELT_AT = re.compile(r"<([A-Za-z0-9_.+-]{2,40} (?:at|AT) [A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*\.[A-Za-z]{2,18})>")


def emails(text: str, numbers: Numbers) -> Spans:
    """Mailboxes: with an @, spelt out (jane (at) example (dot) org), and <jane at example.org>."""
    at = text.find("@")
    while at >= 0:
        domain = _DOMAIN.match(text, at + 1)
        local = domain and _LOCAL_PART.search(text_before(text, at, 64))
        if local and domain:
            name = local.group().lstrip("'.-%+")
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

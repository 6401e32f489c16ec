"""Bytes in, text out: the encoding of a page or file as browsers decide it, also where the declaration is wrong.

In this order: a byte order mark; UTF-8 where the bytes are valid as such (no other encoding of real text looks
like it by accident); what is declared (HTTP header, then the page's own head); what the bytes look like
(uchardet). A declared or guessed encoding must fit the bytes, else the next is tried. Labels mean what the WHATWG
Encoding Standard says; pages that declare gb2312 are GBK or GB18030 in truth, which contains both.
"""

import codecs
import re

from resiliparse.parse.encoding import detect_encoding, map_encoding_to_html5

MARKS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))
SUPERSETS = {"gbk": "gb18030", "gb2312": "gb18030", "big5": "big5hkscs"}  # Python's codecs that hold what the web's do
HEAD_BYTES = 1024
"""How far into a page its encoding may be declared (HTML Standard, 13.2.3.2)."""
CERTAIN_BYTES = 8
"""Bytes that continue a character and make valid UTF-8 certain: one or two characters of GBK may pass by accident."""
MAX_BROKEN_SHARE = 0.001
"""Of the characters: a page with a few broken bytes is still in its encoding (real pages cut a character in two)."""
_DECLARED = re.compile(
    rb"""(?:<meta[^>]{0,200}?charset|<\?xml[^>]{0,100}?encoding)\s*=\s*["']?\s*([\w.:-]{2,40})""", re.I
)


class Undecodable(Exception):
    """The bytes are text in no encoding that is known or declared."""


def _named(label: str | None) -> str | None:
    """Python's codec for a label of the web; None: no such label."""
    name = map_encoding_to_html5(label.strip().strip("\"'"), fallback_utf8=False) if label else None
    return SUPERSETS.get(name, name) if name else None


def _fits(text: str) -> bool:
    return text.count("\ufffd") <= MAX_BROKEN_SHARE * len(text)


def decode(data: bytes, declared: str | None = None) -> str:
    """The text of some bytes. `declared`: what came with them, such as the charset of an HTTP header.

    Undecodable: no encoding fits."""
    for mark, name in MARKS:
        if data.startswith(mark):
            text = data[len(mark) :].decode(name, "replace")
            if _fits(text):
                return text
    inside = _DECLARED.search(data[:HEAD_BYTES])
    names = [_named(declared), _named(inside[1].decode("ascii")) if inside else None]
    stated = [name for name in names if name]
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        pass
    else:
        if len(data) - len(text) >= CERTAIN_BYTES or not stated:
            return text
    for name in (*stated, "utf-8", _named(detect_encoding(data))):
        if name and _fits(text := data.decode(name, "replace")):
            return text
    raise Undecodable("bytes in no known encoding")

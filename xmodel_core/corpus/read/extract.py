"""A web page's bytes in, its main text out: three extractors, and cheap signals that decide which one is used.

English: resiliparse keeps nearly all of the main text in a tenth of trafilatura's time, but lets menus and teasers
through. turbohtml, which scores a page the way Readability does, is a second opinion; where it does not
agree with resiliparse, trafilatura decides. Chinese: the score is the most precise of all where it finds an
article, since Chinese portals name their boxes in pinyin, which rules made of English class names do not know; where
it finds none, trafilatura decides. Figures: tests/benchmarks/results/extraction_*.md. The same bytes give the same
text: nothing here looks at a clock, so pages that could take minutes are refused by what they hold.
"""

import logging
import re
from collections import Counter
from functools import cache
from types import ModuleType

import turbohtml
from resiliparse.extract.html2text import extract_plain_text

from xmodel_core.corpus.read.encoding import Undecodable, decode

MAX_PAGE_BYTES = 8_000_000
"""The largest of the real pages has 1.4 million."""
MAX_TAG_CHARACTERS = 200_000
"""A tag with more attributes takes the parsers time that grows with their square; real ones have up to 62,000."""
MIN_TAGS_TO_CHECK = 5_000
"""A page with fewer tags cannot be slow by its nesting."""
MAX_NESTING = 1_000
"""Open elements inside each other; resiliparse takes time that grows with the square. Browsers stop at 512."""
MAX_TAGS_FOR_TRAFILATURA = 30_000
"""Its time grows faster than the page; real pages have up to 9,200 tags."""
TRUSTED_AGREEMENT = 0.8
"""Of resiliparse's words, the share that the second opinion has too; from here on resiliparse is believed (measured:
from 0.5 to 0.9, F1 rises by 0.01 and the pages that trafilatura sees double)."""
LONG_TEXT_CHARACTERS = 40_000
"""A longer result of resiliparse is taken without a second opinion: menus are a small part of it, and trafilatura,
which is slowest there, changed no page's F1 (measured)."""
MAX_REPLACED_SHARE = 0.05
"""Of the characters, replacement characters: text that was broken before it reached us."""

MIN_SCORED_CHARACTERS = 100
"""A shorter result of the score means that it found no article."""
MIN_HAN_SHARE = 0.2
"""Of a text's characters: Chinese prose has 0.7 and more, with tables and English names among it 0.3."""

# Elements that close by themselves when the next one opens never nest, however many there are.
_NESTING = re.compile(
    r"<(/?)(?!(?:p|li|td|tr|th|dt|dd|option|br|hr|img|input|meta|link|source|area|col|wbr)\b)[a-zA-Z][^<>]*(?<!/)>"
)
_BLANK_LINES = re.compile(r"\n(?:[^\S\n]*\n){2,}")
_HAN = re.compile(r"[\u3400-\u9fff]")


class Unextractable(Exception):
    """No main text can be extracted from the page; the message says why."""


@cache
def _trafilatura() -> ModuleType:
    """Imported when the first page needs it: that takes two seconds."""
    import trafilatura

    # It logs an error per page without text; such a page is set aside here, with the reason.
    logging.getLogger("trafilatura").setLevel(logging.CRITICAL)
    return trafilatura


def _refuse_slow_pages(html: str, tags: int) -> None:
    """Unextractable: a parser would take minutes for the page."""
    # Most pages are shorter than such a tag.
    pieces = html.split("<") if len(html) > MAX_TAG_CHARACTERS else [""]
    if len(max(pieces, key=len)) > MAX_TAG_CHARACTERS and any(
        len(piece.partition(">")[0]) > MAX_TAG_CHARACTERS for piece in pieces
    ):
        raise Unextractable(f"a tag longer than {MAX_TAG_CHARACTERS:,} characters")
    if tags > MIN_TAGS_TO_CHECK:
        depth = 0
        for tag in _NESTING.finditer(html):
            depth = max(0, depth - 1) if tag[1] else depth + 1
            if depth > MAX_NESTING:
                raise Unextractable(f"elements nested deeper than {MAX_NESTING:,}")


def agreement(text: str, other: str) -> float:
    """Share of a text's words that another has too, each counted as often as it occurs; 0 for no words."""
    words = Counter(text.split())
    return (words & Counter(other.split())).total() / (words.total() or 1)


def _chinese(text: str) -> bool:
    """Is this much of a text Chinese characters (Japanese too, which is treated alike)?"""
    return len(_HAN.findall(text)) > MIN_HAN_SHARE * len(text)


def main_text(html: str) -> str:
    """The main text of a page, empty if there is none."""
    tags = html.count("<")
    _refuse_slow_pages(html, tags)
    scored = turbohtml.parse(html).main_text()
    if len(scored) >= MIN_SCORED_CHARACTERS and _chinese(scored):
        return scored
    text = extract_plain_text(html, main_content=True, alt_texts=False)
    if tags > MAX_TAGS_FOR_TRAFILATURA or len(text) > LONG_TEXT_CHARACTERS:
        return text
    if not _chinese(text) and agreement(text, scored) >= TRUSTED_AGREEMENT:
        return text
    return _trafilatura().extract(html, include_comments=False, fast=True) or text


def extract(page: bytes, charset: str | None = None) -> str:
    """The main text of a page. `charset`: what the HTTP header declares. Unextractable: the page has none."""
    if len(page) > MAX_PAGE_BYTES:
        raise Unextractable(f"a page longer than {MAX_PAGE_BYTES:,} bytes")
    try:
        text = _BLANK_LINES.sub("\n\n", main_text(decode(page, charset))).strip()
    except Undecodable as error:
        raise Unextractable(str(error)) from None
    except (Unextractable, MemoryError, KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # a panic in a library's compiled part is no Exception
        raise Unextractable(f"the extractor failed: {type(error).__name__}") from error
    if not text:
        raise Unextractable("no main text")
    if text.count("\ufffd") > MAX_REPLACED_SHARE * len(text):
        raise Unextractable("replacement characters instead of text")
    return text

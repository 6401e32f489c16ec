"""A web page's bytes in, its main text out: two extractors, and a cheap signal that says which one to trust.

Resiliparse keeps nearly all of the main text and takes a twentieth of trafilatura's time, but lets menus and teasers
through. So a second opinion is asked: turbohtml scores the page the way Readability does. Where it does not find
what resiliparse found, trafilatura, slower and more precise, decides. On the gold pages this reaches trafilatura
within 0.01 at three times its speed (tests/benchmarks/results/extraction_*.md). The same bytes give the same text:
nothing here looks at a clock, so pages that could take minutes are refused by what they hold.
"""

import logging
import re
from collections import Counter
from functools import cache
from types import ModuleType

import turbohtml
from resiliparse.extract.html2text import extract_plain_text

from xmodel_core.corpus.encoding import Undecodable, decode

MAX_PAGE_BYTES = 8_000_000
"""The largest of the real pages has 1.4 million."""
MAX_TAG_CHARACTERS = 200_000
"""A tag with more attributes takes the parsers time that grows with their square; real ones have up to 62,000."""
TAGS_WITHOUT_LOOKING = 5_000
MAX_NESTING = 1_000
"""Open elements inside each other; resiliparse takes time that grows with the square. Browsers stop at 512."""
MAX_TAGS_FOR_TRAFILATURA = 30_000
"""Its time grows faster than the page; real pages have up to 9,200 tags."""
TRUSTED_AGREEMENT = 0.8
"""Of resiliparse's words, the share that the second opinion has too; from here on resiliparse is believed (measured:
from 0.5 to 0.9, F1 rises by 0.01 and the pages that trafilatura sees double)."""
MAX_REPLACED_SHARE = 0.05
"""Of the characters, replacement characters: text that was broken before it reached us."""

_TAG = re.compile(r"<[a-zA-Z][^<>]*")
# Elements that close by themselves when the next one opens never nest, however many there are.
_NESTING = re.compile(
    r"<(/?)(?!(?:p|li|td|tr|th|dt|dd|option|br|hr|img|input|meta|link|source|area|col|wbr)\b)[a-zA-Z][^<>]*(?<!/)>"
)
_WORDS = re.compile(r"[\u3400-\u9fff]|[^\W\u3400-\u9fff]+")


class Unextractable(Exception):
    """The page has no main text that could be had, and why."""


@cache
def _trafilatura() -> ModuleType:
    """Loaded when the first page asks for it: that takes two seconds."""
    import trafilatura

    # It logs an error per page without text; such a page is set aside here, with why.
    logging.getLogger("trafilatura").setLevel(logging.CRITICAL)
    return trafilatura


def _refuse_what_takes_minutes(html: str, tags: int) -> None:
    if max(map(len, _TAG.findall(html)), default=0) > MAX_TAG_CHARACTERS:
        raise Unextractable(f"a tag longer than {MAX_TAG_CHARACTERS:,} characters")
    if tags > TAGS_WITHOUT_LOOKING:
        depth = 0
        for tag in _NESTING.finditer(html):
            depth = max(0, depth - 1) if tag[1] else depth + 1
            if depth > MAX_NESTING:
                raise Unextractable(f"elements nested deeper than {MAX_NESTING:,}")


def agreement(text: str, other: str) -> float:
    """Share of a text's words (Chinese: characters) that another has too, each as often as it stands there; 0 for
    no words."""
    words = Counter(_WORDS.findall(text))
    return (words & Counter(_WORDS.findall(other))).total() / (words.total() or 1)


def main_text(html: str) -> str:
    """The main text of a page, empty if there is none."""
    tags = html.count("<")
    _refuse_what_takes_minutes(html, tags)
    text = extract_plain_text(html, main_content=True, alt_texts=False)
    if agreement(text, turbohtml.parse(html).main_text()) >= TRUSTED_AGREEMENT or tags > MAX_TAGS_FOR_TRAFILATURA:
        return text
    return _trafilatura().extract(html, include_comments=False, fast=True) or text


def extract(page: bytes, charset: str | None = None) -> str:
    """The main text of a page. `charset`: what the HTTP header declares. Unextractable: there is none, and why."""
    if len(page) > MAX_PAGE_BYTES:
        raise Unextractable(f"a page longer than {MAX_PAGE_BYTES:,} bytes")
    try:
        text = main_text(decode(page, charset)).strip()
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

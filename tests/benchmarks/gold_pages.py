"""Real pages, what their extraction must give, and how near a text comes to it.

Takes $XMODEL_SHARED_DATA/web (else ../shared/data/web): pages in WARC files, `gold.jsonl.gz` with an English page's
complete text or segments of it, and `chinese_segments.jsonl` beside this module: segments of Chinese pages that must
and must not appear. Those are committed without text: a place in the page's visible text, a length, a hash.
"""

import gzip
import hashlib
import json
import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path

from fastwarc.warc import ArchiveIterator, WarcRecordType

from xmodel_core.corpus.read.encoding import decode

SEGMENTS = Path(__file__).parent / "chinese_segments.jsonl"
_WORDS = re.compile(r"[\u3400-\u9fff]|[^\W\u3400-\u9fff]+")
_HIDDEN = {"script", "style", "noscript", "template", "textarea", "title"}


def web() -> Path:
    return Path(os.environ.get("XMODEL_SHARED_DATA", "../shared/data")).resolve() / "web"


@dataclass(frozen=True)
class Page:
    """A page and what its text must be (`text`), or hold (`must`) and not hold (`must_not`)."""

    url: str
    source: str
    data: bytes
    text: str | None = None
    must: tuple[str, ...] = ()
    must_not: tuple[str, ...] = ()

    def f1(self, extracted: str) -> float:
        """Of words (each Chinese character is one), each counted as often as it occurs in both; of segments, where
        only those are known: 2tp / (2tp + fp + fn), a segment extracted that must not be there is a false positive."""
        if self.text is not None:
            a, b = (Counter(_WORDS.findall(text.lower())) for text in (extracted, self.text))
            return 2 * (a & b).total() / ((a.total() + b.total()) or 1)
        extracted = "".join(extracted.split())
        hits = sum("".join(segment.split()) in extracted for segment in self.must)
        wrong = sum("".join(segment.split()) in extracted for segment in self.must_not)
        return 2 * hits / ((hits + wrong + len(self.must)) or 1)


class _Visible(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.hidden: list[str] = []
        self.parts: list[str] = []

    def handle_starttag(self, tag: str, attrs: Sequence[tuple[str, str | None]]) -> None:
        if tag in _HIDDEN:
            self.hidden.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag in self.hidden:
            self.hidden.remove(tag)

    def handle_data(self, data: str) -> None:
        if not self.hidden:
            self.parts.append(data)


def visible_text(page: bytes) -> str:
    """What segments' places count in: a page's text outside scripts, styles and titles, without any white space."""
    parser = _Visible()
    parser.feed(decode(page))
    parser.close()
    return "".join("".join(parser.parts).split())


def digest(segment: str) -> str:
    return hashlib.sha256(segment.encode()).hexdigest()[:12]


def _segments(visible: str, places: list[tuple[int, int, str]], url: str) -> tuple[str, ...]:
    extracted = []
    for begin, length, expected in places:
        segment = visible[begin : begin + length]
        if digest(segment) != expected:
            raise ValueError(f"{url}: the text at {begin} is not what was marked")
        extracted.append(segment)
    return tuple(extracted)


def _all_pages() -> Iterator[tuple[str, bytes]]:
    for path in sorted((web() / "warc").glob("*.warc.gz")):
        with path.open("rb") as stream:
            for record in ArchiveIterator(stream, record_types=WarcRecordType.response):
                yield record.headers.get("WARC-Target-URI") or "", record.reader.read()


def english() -> list[Page]:
    """All pages in English that have gold."""
    with gzip.open(web() / "gold.jsonl.gz", "rt", encoding="utf-8", newline="\n") as stream:
        gold = {row["url"]: row for row in map(json.loads, stream) if row["lang"] == "en"}
    return [
        Page(
            url,
            row["source"],
            data,
            row.get("article_body") or row.get("expected_text"),
            tuple(row.get("with", ())),
            tuple(row.get("without", ())),
        )
        for url, data in _all_pages()
        if (row := gold.get(url))
    ]


def chinese() -> list[Page]:
    """The Chinese pages that are marked up. ValueError: a page is not the one that was marked."""
    marks = {row["url"]: row for row in map(json.loads, SEGMENTS.read_text(encoding="utf-8").splitlines())}
    pages = []
    for url, data in _all_pages():
        if row := marks.get(url):
            visible = visible_text(data)
            must, must_not = (_segments(visible, row[key], url) for key in ("must", "must_not"))
            pages.append(Page(url, "marked", data, None, must, must_not))
    return pages

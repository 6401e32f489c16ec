"""Web archives, pages and plain text: every record is a document, is set aside with why, or is counted by kind."""

import gzip
import io
import json
import runpy
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from xmodel_core.artifacts import Store
from xmodel_core.corpus.config import ScanConfig
from xmodel_core.corpus.measure.scan import scan_file
from xmodel_core.corpus.read import READERS
from xmodel_core.corpus.read.extract import extract
from xmodel_core.specs import RawFile

Row = dict[str, Any]


def record(kind: str, body: bytes, url: str = "https://x.test/", media: str = "text/plain", **headers: str) -> bytes:
    lines = [f"WARC-Type: {kind}", f"WARC-Target-URI: {url}", "WARC-Date: 2026-01-02T03:04:05Z"]
    lines += [f"Content-Type: {media}", *(f"{k.replace('_', '-')}: {v}" for k, v in headers.items())]
    return "\r\n".join(["WARC/1.0", *lines, f"Content-Length: {len(body)}", "", ""]).encode() + body + b"\r\n\r\n"


def response(body: bytes, media: str = "text/html; charset=utf-8", status: str = "200 OK", more: str = "") -> bytes:
    head = f"HTTP/1.1 {status}\r\nContent-Type: {media}\r\n{more}\r\n".encode()
    return record("response", head + body, media="application/http; msgtype=response")


@pytest.fixture(scope="session")
def page(text: Callable[..., str]) -> Callable[..., bytes]:
    """page(lang, seed=0, charset="utf-8", declared=True): a page with an article among menus."""

    def make(lang: str, seed: int = 0, charset: str = "utf-8", declared: bool = True) -> bytes:
        paragraphs = "".join(f"<p>{part}</p>" for part in text(lang, 24, seed).split("\n\n"))
        meta = f'<meta charset="{charset}">' if declared else ""
        return (
            f"<!DOCTYPE html><html><head>{meta}<title>t</title></head><body><nav><ul><li><a href=/a>Home</a></li></ul>"
            f"</nav><article><h1>Heading</h1>{paragraphs}</article><footer>All rights reserved</footer></body></html>"
        ).encode(charset)

    return make


def read(form: str, path: Path, config: ScanConfig | None = None) -> tuple[list[Row], dict[str, int]]:
    """Rows of a scanned file, through the scan stage, and what was counted as no document."""
    from xmodel_core.specs import Source

    source = Source(name="s", lang="en", category="web", license="CC0-1.0", uri=str(path), format=form)  # type: ignore[arg-type]
    target = path.parent / "scan.parquet"
    counts = scan_file(source, RawFile(path.name, str(path), 0, ""), config or ScanConfig(), target)
    rows = pq.read_table(target).to_pylist()
    assert counts["records"] == len(rows)
    assert all(bool(row["text"]) != bool(row["unreadable"]) for row in rows)
    return rows, counts["not_documents"]


def archive(place: Path, records: Iterable[bytes], packed: bool = True) -> Path:
    path = place / ("a.warc.gz" if packed else "a.warc")
    path.write_bytes(b"".join(gzip.compress(r, mtime=0) if packed else r for r in records))
    return path


@pytest.mark.parametrize("packed", [True, False])
def test_pages_are_documents_and_other_records_are_counted_by_kind(packed: bool, tmp_path: Path, page, text) -> None:
    records = [
        record("warcinfo", b"software: x\r\n"),
        response(page("en", 1)),
        record("request", b"GET / HTTP/1.1\r\n\r\n"),
        response(b"\x89PNG", "image/png"),
        response(page("en", 2), status="404 Not Found"),
        response(page("zh", 3, "gb18030", declared=False), "text/html; charset=gb2312"),
        record("resource", page("en", 4), media="text/html"),
        record("conversion", text("zh", 4).encode()),
        response(b"<html><body></body></html>"),
    ]
    rows, counted = read("warc", archive(tmp_path, records, packed))
    assert [row["raw_row"] for row in rows] == [1, 5, 6, 7, 8]
    assert [row["unreadable"] for row in rows] == [None] * 4 + ["no main text"]
    for row, (lang, seed) in zip(rows, (("en", 1), ("zh", 3), ("en", 4)), strict=False):
        assert all(part in row["text"] for part in text(lang, 24, seed).split("\n\n"))
        assert "All rights reserved" not in row["text"]
    assert rows[3]["text"] == text("zh", 4)
    assert (rows[0]["url"], json.loads(rows[0]["meta"])) == ("https://x.test/", {"date": "2026-01-02T03:04:05Z"})
    assert counted == {"request": 1, "response of image/png": 1, "response with status 404": 1, "warcinfo": 1}


def test_transfer_and_content_encodings_are_undone_and_broken_ones_named(tmp_path: Path, page) -> None:
    body = page("en", 1)
    packed = gzip.compress(body)
    chunked = b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
    records = [
        response(packed, more="Content-Encoding: gzip\r\n"),
        response(zlib.compress(body), more="Content-Encoding: deflate\r\n"),
        response(chunked, more="Transfer-Encoding: chunked\r\n"),
        response(body, more="Content-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n"),  # undone by the crawler
        response(packed[:200], more="Content-Encoding: gzip\r\n"),
        response(chunked[:200], more="Transfer-Encoding: chunked\r\n"),
        response(gzip.compress(b"<p>a " * 4_000_000), more="Content-Encoding: gzip\r\n"),
    ]
    rows, _ = read("warc", archive(tmp_path, records))
    assert len({row["text"] for row in rows[:4]}) == 1
    assert [row["unreadable"] for row in rows] == [
        *[None] * 4,
        "broken content encoding gzip",
        "badly chunked",
        "longer than 8,000,000 bytes",
    ]


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("damage", ["garbage", "too long", "endless header", "cut", "flip"])
def test_one_record_is_set_aside_for_a_damage_and_reading_continues(
    damage: str, packed: bool, tmp_path: Path, page
) -> None:
    good = [response(page("en", seed)) for seed in range(4)]
    bad = good[1]
    if damage == "too long":
        bad = bad.replace(b"Content-Length: ", b"Content-Length: 9")
    elif damage == "endless header":
        bad = b"WARC/1.0\r\nX: " + b"y" * 300_000 + b"\r\n\r\n"
    pack: Callable[[bytes], bytes] = (lambda r: gzip.compress(r, mtime=0)) if packed else bytes
    stored = [pack(r) for r in (good[0], bad, *good[2:])]
    if damage == "garbage":
        stored[1] = bytes(range(256)) * 3
    elif damage == "cut":
        stored[1] = stored[1][: len(stored[1]) // 2]
    elif damage == "flip":
        stored[1] = bytes([stored[1][0] ^ 0xFF]) + stored[1][1:]
    path = tmp_path / ("a.warc.gz" if packed else "a.warc")
    path.write_bytes(b"".join(stored))
    rows, counted = read("warc", path)
    assert [bool(row["unreadable"]) for row in rows] == [False, True, False, False]
    assert not counted


def test_a_store_that_fails_is_no_damaged_archive(tmp_path: Path, page, monkeypatch: pytest.MonkeyPatch) -> None:
    class Failing(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            if self.tell() > 500:
                raise OSError("connection lost")
            return super().read(min(size or 0, 400))

    complete = archive(tmp_path, [response(page("en", seed)) for seed in range(4)]).read_bytes()
    reader = READERS["warc"](str(tmp_path), "text", "id", ScanConfig())
    monkeypatch.setattr(reader.data_folder, "open", lambda *_: Failing(complete))
    with pytest.raises(OSError, match="connection lost"):
        list(reader.read_file("a.warc.gz"))


@pytest.mark.parametrize("charset", ["utf-8", "gb18030", "gbk", "utf-16"])
@pytest.mark.parametrize("form", ["html", "text"])
def test_encodings_are_found_declared_or_not(charset: str, form: str, tmp_path: Path, store: Store, page, text) -> None:
    for declared in (True, False):
        path = tmp_path / f"a.{'txt' if form == 'text' else 'html'}"
        path.write_bytes(page("zh", 1, charset, declared) if form == "html" else text("zh", 24, 1).encode(charset))
        ((row,), _) = read(form, path)
        assert all(part in row["text"] for part in text("zh", 24, 1).split("\n\n"))


def test_big5_is_found_declared_or_not(tmp_path: Path) -> None:
    sentence = "這座古老的橋樑在暴風雨以前被村莊裡的老師修好了，我們都記得那個漫長的冬天。"
    for declared in ("<meta charset=big5>", ""):
        path = tmp_path / "a.html"
        path.write_bytes(f"<html>{declared}<body>{f'<p>{sentence}</p>' * 9}</body></html>".encode("big5"))
        ((row,), _) = read("html", path)
        assert sentence in row["text"]


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"<html>" + b"<div>" * 20_000 + b"deep", "elements nested deeper than 1,000"),
        (b"<html><p " + b"a1=b " * 100_000 + b">x", "a tag longer than 200,000 characters"),
        (b"<p>a " * 2_000_000, "longer than 8,000,000 bytes"),
        (b"<html><body>\xff\xfe\x80\x81 \x80\xff" * 40, "bytes in no known encoding"),
        (b"<html><body><script>1</script></body></html>", "no main text"),
        (("<p>" + "\ufffd and " * 200).encode(), "replacement characters instead of text"),
        (gzip.compress(b"<p>cut off", mtime=0)[:15], "truncated gzip"),
    ],
)
def test_a_page_without_text_is_set_aside_with_why(data: bytes, why: str, tmp_path: Path) -> None:
    (tmp_path / "a.html").write_bytes(data)
    rows, _ = read("html", tmp_path / "a.html")
    assert [row["unreadable"] for row in rows] == [why]


# Documents, set aside, counted as no documents: what a reading of these files by eye gives.
CRAWL_SAMPLES = {
    "dupes.warc.gz": (1, 0, 24),
    "example-bad.warc.gz.bad": (1, 0, 5),
    "example-trunc.warc": (0, 2, 3),
    "example-wrong-chunks.warc.gz": (1, 0, 1),
    "example.warc.gz": (1, 0, 5),
    "iana.warc.gz": (16, 0, 327),
    "whirlwind.warc.gz": (1, 0, 3),
    "whirlwind.warc.wat.gz": (0, 0, 2),
    "whirlwind.warc.wet.gz": (1, 0, 1),
}


@pytest.mark.shared_data
@pytest.mark.parametrize("name", CRAWL_SAMPLES)
def test_every_record_of_the_crawl_samples_is_accounted_for(name: str, tmp_path: Path, shared_data: Path) -> None:
    path = tmp_path / name
    path.write_bytes((shared_data / "web/crawl_samples" / name).read_bytes())
    rows, counted = read("warc", path)
    aside = sum(bool(row["unreadable"]) for row in rows)
    assert (len(rows) - aside, aside, sum(counted.values())) == CRAWL_SAMPLES[name]


@pytest.mark.shared_data
def test_chinese_pages_give_what_was_marked_and_little_else(shared_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The segments are in tests/benchmarks without their text; each hash is checked against its page."""
    monkeypatch.setenv("XMODEL_SHARED_DATA", str(shared_data))
    gold = runpy.run_path(str(Path(__file__).parents[1] / "benchmarks/gold_pages.py"))
    pages = gold["chinese"]()
    assert len(pages) == 42
    assert sum(page.f1(extract(page.data)) for page in pages) / len(pages) >= 0.90

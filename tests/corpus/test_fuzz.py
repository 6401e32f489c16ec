"""Broken files of every format: no crash, no hang, and each row read is a document or is set aside with why."""

import gzip
import json
import random
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from xmodel_core.corpus.config import ScanConfig
from xmodel_core.corpus.read import READERS

Files = dict[str, bytes]
CONFIG = ScanConfig(max_document_chars=200_000)


def broken(data: bytes, rng: random.Random) -> bytes:
    """The bytes cut off, with flipped bits, with bytes put in, with pieces exchanged or repeated."""
    at = rng.randrange(len(data) + 1)
    match rng.randrange(5):
        case 0:
            return data[:at]
        case 1:
            flipped = bytearray(data)
            for _ in range(rng.choice((1, 3, 30)) if data else 0):
                flipped[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
            return bytes(flipped)
        case 2:
            return data[:at] + rng.randbytes(rng.choice((1, 10, 1000))) + data[at:]
        case 3:
            other = rng.randrange(len(data) + 1)
            return data[:at] + data[other:]
        case _:
            begin = rng.randrange(len(data) + 1)
            return data[:at] + data[begin : begin + rng.randrange(1, 5000)] + data[at:]


def check(form: str, name: str, data: bytes, place: Path) -> None:
    (place / name).write_bytes(data)
    reader = READERS[form](str(place), "text", "id", CONFIG)
    documents = list(reader.read_file(name))
    assert reader.records == len(documents)
    assert all(bool(document.text) != bool(document.metadata.get("unreadable")) for document in documents)
    assert all(document.text.encode() or document.metadata["unreadable"] for document in documents)
    rows = [document.metadata["raw_row"] for document in documents]
    assert rows == sorted(set(rows))
    if form == "warc":  # rows count every record, documents or not
        total = reader.records + reader.not_documents.total()
        assert not rows or rows[-1] < total


def fuzz(files: dict[str, tuple[str, bytes]], count: int, place: Path) -> None:
    rng = random.Random(7)
    names = sorted(files)
    for number in range(count):
        name = names[number % len(names)]
        form, data = files[name]
        check(form, name, broken(data, rng), place)


def parquet(texts: list[str]) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table({"id": [str(n) for n in range(len(texts))], "text": texts}), sink, row_group_size=5)
    return sink.getvalue().to_pybytes()


def packed(texts: list[str]) -> dict[str, tuple[str, bytes]]:
    lines = b"".join(json.dumps({"text": text}).encode() + b"\n" for text in texts)
    return {
        "a.jsonl": ("jsonl", lines),
        "b.jsonl.gz": ("jsonl", gzip.compress(lines)),
        "c.jsonl.zst": ("jsonl", zstandard.ZstdCompressor().compress(lines)),
        "d.parquet": ("parquet", parquet(texts)),
        "e.txt.gz": ("text", gzip.compress(texts[0].encode("gb18030"))),
        "f.txt": ("text", texts[0].encode()),
    }


@pytest.mark.timeout(120)
def test_broken_files_of_every_format_are_read_to_their_end(tmp_path: Path, text: Callable[..., str]) -> None:
    texts = [text(lang, 8, seed) for lang in ("en", "zh") for seed in range(8)]
    page = "<html><body>{}</body></html>".format("".join(f"<p>{part}</p>" for part in texts)).encode()
    http = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n" + page
    head = b"WARC/1.0\r\nWARC-Type: response\r\nContent-Type: application/http\r\nContent-Length: %d\r\n\r\n"
    record = head % len(http) + http + b"\r\n\r\n"
    files = packed(texts) | {
        "g.html": ("html", page),
        "h.html.gz": ("html", gzip.compress(page)),
        "i.warc": ("warc", record * 3),
        "j.warc.gz": ("warc", gzip.compress(record) * 3),
    }
    fuzz(files, 100, tmp_path)


@pytest.mark.shared_data
@pytest.mark.timeout(900)
@pytest.mark.parametrize("count", [10, pytest.param(500, marks=pytest.mark.exhaustive)])
def test_broken_files_made_of_real_ones_are_read_to_their_end(count: int, tmp_path: Path, shared_data: Path) -> None:
    samples = sorted((shared_data / "web/crawl_samples").iterdir())
    files = {f"{path.name}": ("warc", path.read_bytes()) for path in samples}
    with gzip.open(sorted((shared_data / "corpora").glob("zh_*/*.jsonl.gz"))[0], "rt", encoding="utf-8") as stream:
        texts = [json.loads(line)["text"] for _, line in zip(range(40), stream, strict=False)]
    files |= packed(texts)
    with gzip.open(shared_data / "web/warc/zh_pages-00000.warc.gz") as stream:
        pages = stream.read(1_500_000)
    files |= {"k.html": ("html", pages[pages.index(b"<") :][:300_000]), "l.warc": ("warc", pages)}
    fuzz(files, count, tmp_path)

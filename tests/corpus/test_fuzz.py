"""Broken files of every format: no crash, no hang, each row read is a document or is set aside with why, and what lies
whole before and after the damage is there, as a reader of ten lines finds it."""

import gzip
import io
import json
import random
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from xmodel_core.corpus.config import ScanConfig
from xmodel_core.corpus.read import READERS

CONFIG = ScanConfig(max_document_chars=200_000)
PACKERS = {"": bytes, ".gz": lambda data: gzip.compress(data, mtime=0), ".zst": zstandard.ZstdCompressor().compress}
MAGIC = (b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"PAR1")


def broken(data: bytes, rng: random.Random) -> bytes:
    """The bytes as they are, cut off, with flipped bits, with bytes put in, with pieces exchanged, repeated or lost."""
    at, other = sorted((rng.randrange(len(data) + 1), rng.randrange(len(data) + 1)))
    match rng.randrange(9):
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
            return data[:at] + data[other:]
        case 4:
            begin = rng.randrange(len(data) + 1)
            return data[:at] + data[begin : begin + rng.randrange(1, 5000)] + data[at:]
        case 5:
            return data[other:] + data[at:other] + data[:at]
        case 6:
            return data[:at] + bytes(min(other - at, 3000)) + data[at + min(other - at, 3000) :]
        case 7:
            return data + data[at:other]
        case _:
            return data


def whole_lines(data: bytes) -> Iterator[str]:
    """The texts of the lines that are JSON objects."""
    for line in data.split(b"\n"):
        with suppress(ValueError, RecursionError):
            record = json.loads(line)
            if isinstance(record, dict) and isinstance(text := record.get("text"), str) and text.strip():
                yield text


def begun_lines(packed: bytes) -> Iterator[str]:
    """The texts of the lines that gzip gives before it fails, byte by byte."""
    decoder, parts = zlib.decompressobj(wbits=31), []
    with suppress(zlib.error):
        for at in range(len(packed)):
            parts.append(decoder.decompress(packed[at : at + 1]))
    yield from whole_lines(b"".join(parts).rpartition(b"\n")[0])


def whole_groups(data: bytes) -> Iterator[str]:
    """The texts of the row groups that can be read."""
    with suppress(pa.ArrowException, OSError, UnicodeDecodeError):
        file = pq.ParquetFile(io.BytesIO(data))
        for group in range(file.num_row_groups):
            with suppress(pa.ArrowException, OSError, UnicodeDecodeError, KeyError):
                values = file.read_row_group(group, columns=["text"], use_threads=False).column("text").to_pylist()
                yield from (text for text in values if isinstance(text, str) and text.strip())


def expected(form: str, data: bytes, parts: dict[bytes, list[str]]) -> set[str]:
    """The texts that must be found. `parts`: pieces of the file that are whole by themselves, with their texts."""
    texts = {text for part, texts in parts.items() if part in data for text in texts}
    if form == "parquet" and data.startswith(b"PAR1"):
        texts |= set(whole_groups(data))
    elif form == "jsonl" and data.startswith(b"\x1f\x8b"):
        texts |= set(begun_lines(data))
    elif form == "jsonl" and not data.startswith(MAGIC):
        texts |= set(whole_lines(data))
    return {text for text in texts if len(text) <= CONFIG.max_document_chars}


def check(form: str, name: str, data: bytes, place: Path, wanted: set[str]) -> None:
    (place / name).write_bytes(data)
    reader = READERS[form](str(place), "text", "id", CONFIG)
    documents = list(reader.read_file(name))
    assert reader.records == len(documents)
    assert all(bool(document.text) != bool(document.metadata.get("unreadable")) for document in documents)
    assert all(document.text.encode() or document.metadata["unreadable"] for document in documents)
    for document in documents:
        document.id.encode()
        json.loads((document.metadata.get("meta") or "{}").encode(), parse_constant=pytest.fail)
    rows = [document.metadata["raw_row"] for document in documents]
    assert rows == sorted(rows)  # a line may hold several records
    if form == "warc":  # rows count every record, documents or not
        total = reader.records + reader.not_documents.total()
        assert not rows or rows[-1] < total
    lost = wanted - {document.text for document in documents}
    assert not lost, (name, len(lost), sorted(lost)[0][:60], [d.metadata.get("unreadable") for d in documents])


def fuzz(files: dict[str, tuple[str, bytes, dict[bytes, list[str]]]], count: int, place: Path) -> None:
    rng = random.Random(7)
    names = sorted(files)
    for number in range(count):
        name = names[number % len(names)]
        form, data, parts = files[name]
        damaged = broken(data, rng)
        if rng.random() < 0.2:
            damaged = broken(damaged, rng)
        if form == "text" or form == "html":
            parts = {data: parts[data]} if damaged == data and data in parts else {}
        check(form, name, damaged, place, expected(form, damaged, parts))


def parquet(texts: list[str]) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table({"id": [str(n) for n in range(len(texts))], "text": texts}), sink, row_group_size=5)
    return sink.getvalue().to_pybytes()


def packed(texts: list[str]) -> dict[str, tuple[str, bytes, dict[bytes, list[str]]]]:
    """Files of the texts: plain, packed in one piece, packed in several, under the suffix of another packing."""
    lines = [
        json.dumps({"text": text}, ensure_ascii=number % 2 > 0).encode() + b"\n" for number, text in enumerate(texts)
    ]
    data, files = b"".join(lines), {}
    cut = max(len(texts) // 3, 1)
    for suffix, pack in PACKERS.items():
        single = pack(data)
        files[f"a.jsonl{suffix}"] = ("jsonl", single, {single: texts})
        several = {pack(b"".join(lines[at : at + cut])): texts[at : at + cut] for at in range(0, len(texts), cut)}
        if suffix:
            files[f"b.jsonl{suffix}"] = ("jsonl", b"".join(several), several)
            files[f"c{suffix}.jsonl"] = ("jsonl", b"".join(several), several)
    table = parquet(texts)
    return files | {
        "d.parquet": ("parquet", table, {}),
        "e.jsonl": ("jsonl", table, {}),
        "f.parquet": ("parquet", data, {data: texts}),
        "g.txt.gz": ("text", gzip.compress(texts[0].encode("gb18030")), {}),
        "h.txt": ("text", texts[0].encode(), {}),
    }


@pytest.mark.timeout(600)
@pytest.mark.parametrize("count", [150, pytest.param(1000, marks=pytest.mark.exhaustive)])
def test_broken_files_of_every_format_give_whatever_lies_whole_in_them(
    count: int, tmp_path: Path, text: Callable[..., str]
) -> None:
    texts = [text(lang, 8, seed) for lang in ("en", "zh") for seed in range(8)]
    page = "<html><body>{}</body></html>".format("".join(f"<p>{part}</p>" for part in texts)).encode()
    http = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n" + page
    head = b"WARC/1.0\r\nWARC-Type: %s\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n"
    record = head % (b"response", b"application/http", len(http)) + http + b"\r\n\r\n"
    plain = [head % (b"conversion", b"text/plain", len(t.encode())) + t.encode() + b"\r\n\r\n" for t in texts]
    members = {gzip.compress(each, mtime=0): [t] for each, t in zip(plain, texts, strict=True)}
    files = packed(texts) | {
        "i.html": ("html", page, {}),
        "j.html.gz": ("html", gzip.compress(page), {}),
        "k.warc": ("warc", record * 3, {}),
        "l.warc.gz": ("warc", gzip.compress(record) * 3, {}),
        "m.warc": ("warc", b"".join(plain), {each: [t] for each, t in zip(plain, texts, strict=True)}),
        "n.warc.gz": ("warc", b"".join(members), members),
    }
    fuzz(files, count, tmp_path)


@pytest.mark.shared_data
@pytest.mark.timeout(900)
@pytest.mark.parametrize("count", [10, pytest.param(500, marks=pytest.mark.exhaustive)])
def test_broken_files_made_of_real_ones_are_read_to_their_end(count: int, tmp_path: Path, shared_data: Path) -> None:
    samples = sorted((shared_data / "web/crawl_samples").iterdir())
    files = {f"{path.name}": ("warc", path.read_bytes(), {}) for path in samples}
    with gzip.open(sorted((shared_data / "corpora").glob("zh_*/*.jsonl.gz"))[0], "rt", encoding="utf-8") as stream:
        texts = [json.loads(line)["text"] for _, line in zip(range(40), stream, strict=False)]
    files |= packed(texts)
    with gzip.open(shared_data / "web/warc/zh_pages-00000.warc.gz") as stream:
        pages = stream.read(1_500_000)
    files |= {"y.html": ("html", pages[pages.index(b"<") :][:300_000], {}), "z.warc": ("warc", pages, {})}
    fuzz(files, count, tmp_path)

"""Bad input: every record that cannot be read is counted, named and set aside; what surrounds it is read."""

import gzip
import json
import random
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from xmodel_core.artifacts import Store
from xmodel_core.corpus.config import CorpusConfig, ScanConfig
from xmodel_core.corpus.measure.scan import scan_file
from xmodel_core.errors import XmodelError
from xmodel_core.specs import RawFile

SHORT = ScanConfig(max_document_chars=2000)
PACKED: dict[str, Callable[[bytes], bytes]] = {
    "a.jsonl": bytes,
    "a.jsonl.gz": lambda data: gzip.compress(data, mtime=0),
    "a.jsonl.zst": lambda data: zstandard.ZstdCompressor().compress(data),
}
BAD_LINES = {
    "not json": (b"well, this is no JSON", "not JSON"),
    "half a record": (b'{"id": "half", "text": "It ends in the mid', "not JSON"),
    "nested too deep": (b"[" * 60_000, "not JSON"),
    "a list": (b'["text", "no object"]', "not a JSON object"),
    "invalid UTF-8": (b'{"id": "utf8", "text": "caf\xe9 au lait"}', "invalid UTF-8"),
    "null text": (b'{"id": "null", "text": null}', "'text' is null"),
    "empty text": (b'{"id": "empty", "text": ""}', "empty text"),
    "blank text": ('{"id": "blank", "text": " \\n\\t\u3000"}'.encode(), "empty text"),
    "no text": (b'{"id": "none", "body": "x"}', "no field 'text'"),
    "a number": (b'{"id": "number", "text": 7}', "'text' is int, not text"),
    "a list of numbers": (b'{"id": "list", "text": [1, 2]}', "'text' is a list of int, not text"),
    "an object": (b'{"id": "object", "text": {"body": "a"}}', "'text' is dict of body, not text"),
    "too long a text": (b'{"id": "long", "text": "' + b"word " * 401 + b'"}', "longer than 2,000 characters"),
    "too long a line": (b'{"id": "long", "text": "' + b"word " * 40_000 + b'"}', "longer than 89,536 bytes"),
}


@pytest.mark.parametrize("name", PACKED)
def test_each_kind_of_bad_record_is_named_and_its_neighbours_are_read(
    name: str, tmp_path: Path, store: Store, text, jsonl, source, scanned
) -> None:
    lines, wanted = [], []
    for number, (line, why) in enumerate(BAD_LINES.values()):
        good = {"id": f"good-{number}", "text": text("en", 3, number), "url": f"https://x.test/{number}", "n": number}
        lines += [good, line]
        wanted += [(good["id"], good["text"], None), (f"{name}:{2 * number + 1}", "", why)]
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / name).write_bytes(PACKED[name](jsonl(lines)))
    rows = scanned(source(tmp_path / "raw"), store, SHORT)
    assert [(row["id"], row["text"], row["unreadable"]) for row in rows] == wanted
    assert [row["raw_row"] for row in rows] == list(range(len(lines)))
    assert {(row["lang"], row["chars"], row["bytes"]) for row in rows if row["unreadable"]} == {("other", 0, 0)}
    assert [row["url"] for row in rows if not row["unreadable"]][:2] == ["https://x.test/0", "https://x.test/1"]
    assert [json.loads(row["meta"]) for row in rows if row["meta"]] == [{"n": n} for n in range(len(BAD_LINES))]


def test_blank_lines_and_a_byte_order_mark_are_no_records_and_rows_still_count_lines(
    tmp_path: Path, store: Store, source, scanned
) -> None:
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "a.jsonl").write_bytes(b'\xef\xbb\xbf{"text": "one"}\r\n\n   \n{"text": "two\\u2028"}')
    rows = scanned(source(tmp_path / "raw"), store)
    assert [(row["id"], row["raw_row"], row["text"]) for row in rows] == [
        ("a.jsonl:0", 0, "one"),
        ("a.jsonl:3", 3, "two\u2028"),
    ]


def test_a_lone_surrogate_becomes_the_replacement_character(tmp_path: Path, store: Store, source, scanned) -> None:
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "a.jsonl").write_bytes(
        b'{"id": "i\\ud800", "text": "half \\ud83d of a pair", "x": "\\udc00"}\n'
    )
    (row,) = scanned(source(tmp_path / "raw"), store)
    assert (row["id"], row["text"]) == ("i\ufffd", "half \ufffd of a pair")


def _packed_lines(text: Callable[..., str], jsonl: Callable[..., bytes]) -> tuple[list[str], bytes]:
    texts = [text("en", 4, number) for number in range(60)]
    return texts, jsonl({"id": f"d{number}", "text": text} for number, text in enumerate(texts))


@pytest.mark.parametrize("suffix", ["gz", "zst"])
@pytest.mark.parametrize("part", [0.02, 0.4, 0.75, 0.999])
def test_a_cut_off_archive_gives_its_complete_lines_and_one_named_record(
    suffix: str, part: float, tmp_path: Path, store: Store, text, jsonl, source, scanned
) -> None:
    texts, data = _packed_lines(text, jsonl)
    complete = PACKED[f"a.jsonl.{suffix}"](data)
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / f"a.jsonl.{suffix}").write_bytes(complete[: int(len(complete) * part)])
    *good, tail = scanned(source(tmp_path / "raw"), store)
    assert [row["text"] for row in good] == texts[: len(good)]
    kind = {"gz": "gzip", "zst": "zstd"}[suffix]
    assert tail["unreadable"] == f"truncated {kind} after line {len(good)}"
    assert tail["raw_row"] == len(good)


def test_what_is_complete_before_the_cut_is_not_lost(tmp_path: Path, store: Store, jsonl, source, scanned) -> None:
    rng = random.Random(3)
    records = [{"id": f"d{n}", "text": "".join(rng.choices("abcdefghij ", k=2000))} for n in range(200)]
    complete = gzip.compress(jsonl(records), mtime=0)
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "a.jsonl.gz").write_bytes(complete[: len(complete) // 2])
    assert 80 < len(scanned(source(tmp_path / "raw"), store)) < 120


def test_damage_inside_an_archive_ends_it_and_several_members_are_read(
    tmp_path: Path, store: Store, text, jsonl, source, scanned
) -> None:
    texts, data = _packed_lines(text, jsonl)
    (tmp_path / "raw").mkdir()
    complete = bytearray(gzip.compress(data, mtime=0))
    (tmp_path / "raw" / "a.jsonl.gz").write_bytes(gzip.compress(data[:900]) + gzip.compress(data[900:]) + bytes(512))
    complete[-8] ^= 1  # the checksum
    (tmp_path / "raw" / "b.jsonl.gz").write_bytes(complete)
    (tmp_path / "raw" / "c.jsonl.gz").write_bytes(gzip.compress(data, mtime=0) + b"no gzip")
    rows = scanned(source(tmp_path / "raw"), store)
    assert [row["text"] for row in rows] == [*texts, *texts, "", *texts, ""]
    assert [row["unreadable"] for row in rows if row["unreadable"]] == ["broken gzip after line 60"] * 2


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    lines=st.lists(st.one_of(st.binary(max_size=40), st.just(b'{"text": "good"}'), st.just(b""))), packed=st.booleans()
)
def test_whatever_the_bytes_each_line_that_is_not_blank_is_one_record(
    lines: list[bytes], packed: bool, tmp_path: Path, source
) -> None:
    data = b"\n".join(lines)
    # A file that begins as another format or encoding is read as that; a list may hold several records.
    others = (
        b"\x1f\x8b",
        b"\x28\xb5\x2f\xfd",
        b"PAR1",
        b"BZh",
        b"\xfd7z",
        b"PK",
        b"7z",
        b"\x04\x22",
        b"\xff\xfe",
        b"\xfe\xff",
    )
    if data.startswith(others) or data[1:4] == b"\x2a\x4d\x18" or b"\0" in data[:8] or b"{}" in data:
        return
    path = tmp_path / "a.jsonl"
    path.write_bytes(gzip.compress(data) if packed else data)
    raw = RawFile("a.jsonl", str(path), len(data), "")
    counts = scan_file(source(tmp_path, id_field=None), raw, ScanConfig(), tmp_path / "a.parquet")
    split = data.split(b"\n")
    punctuation = {b"[", b"]", b",", b"],"}
    rows = pq.read_table(tmp_path / "a.parquet").to_pylist()
    assert [row["raw_row"] for row in rows] == [
        number
        for number, line in enumerate(split)
        if line.strip(b"\xef\xbb\xbf\x1e \t\r\n\x0b\x0c") and line.strip() not in punctuation
    ]
    assert counts["records"] == len(rows)
    assert all(bool(row["text"]) != bool(row["unreadable"]) for row in rows)
    assert [row["raw_row"] for row in rows if row["text"] == "good"] == [
        number for number, line in enumerate(split) if line == b'{"text": "good"}'
    ]


def _strings(values: list[bytes]) -> pa.Array:
    """A string column of bytes that nobody checked."""
    return pa.Array.from_buffers(pa.string(), len(values), pa.array(values, pa.binary()).buffers())


def test_bad_rows_of_parquet_are_named_and_their_neighbours_are_read(
    tmp_path: Path, store: Store, text, source, scanned
) -> None:
    (tmp_path / "raw").mkdir()
    good = [text("en", 3, number).encode() for number in range(3)]
    column = _strings([good[0], b"caf\xe9", good[1], b"", b" " * 9, b"x" * 2001, good[2]])
    table = pa.table({"id": [f"d{number}" for number in range(7)], "text": column})
    table = pa.concat_tables([table, pa.table({"id": ["null"], "text": pa.array([None], pa.string())})])
    pq.write_table(table, tmp_path / "raw" / "a.parquet")
    pq.write_table(pa.table({"id": [1, 2], "text": [3, 4]}), tmp_path / "raw" / "b.parquet")
    rows = scanned(source(tmp_path / "raw", format="parquet"), store, SHORT)
    assert [row["unreadable"] for row in rows] == [
        None,
        "invalid UTF-8",
        None,
        "empty text",
        "empty text",
        "longer than 2,000 characters",
        None,
        "'text' is null",
        "'text' is int, not text",
        "'text' is int, not text",
    ]
    assert [row["text"].encode() for row in rows if not row["unreadable"]] == good
    assert [row["id"] for row in rows][-2:] == ["b.parquet:0", "b.parquet:1"]


@pytest.mark.parametrize("part", [0.0, 0.01, 0.5, 0.99])
def test_a_truncated_parquet_file_is_one_named_record_and_the_other_files_are_read(
    part: float, tmp_path: Path, store: Store, text, source, scanned
) -> None:
    (tmp_path / "raw").mkdir()
    table = pa.table({"id": ["a", "b"], "text": [text("en", 3, 1), text("en", 3, 2)]})
    pq.write_table(table, tmp_path / "raw" / "b.parquet")
    complete = (tmp_path / "raw" / "b.parquet").read_bytes()
    (tmp_path / "raw" / "a.parquet").write_bytes(complete[: int(len(complete) * part)])
    rows = scanned(source(tmp_path / "raw", format="parquet"), store)
    assert [row["id"] for row in rows] == ["a.parquet:0", "a", "b"]
    assert rows[0]["unreadable"] == "broken or truncated Parquet: its footer cannot be read"


def test_a_damaged_row_group_loses_its_own_rows_only(tmp_path: Path, store: Store, text, source, scanned) -> None:
    (tmp_path / "raw").mkdir()
    path = tmp_path / "raw" / "a.parquet"
    texts = [text("en", 3, number) for number in range(30)]
    table = pa.table({"text": texts})
    pq.write_table(table, path, row_group_size=10, compression="zstd", use_dictionary=False)
    damaged = bytearray(path.read_bytes())
    column = pq.ParquetFile(path).metadata.row_group(1).column(0)
    begin = column.data_page_offset
    for position in range(begin, begin + column.total_compressed_size):
        damaged[position] ^= 0x5A
    path.write_bytes(damaged)
    rows = scanned(source(tmp_path / "raw", format="parquet"), store)
    assert [row["raw_row"] for row in rows] == list(range(30))
    assert [row["text"] for row in rows] == texts[:10] + [""] * 10 + texts[20:]
    assert {row["unreadable"] for row in rows[10:20]} == {"broken Parquet row group"}


def test_each_repeated_id_after_the_first_gets_its_file_and_row(
    tmp_path: Path, store: Store, text, jsonl, source, corpus
) -> None:
    (tmp_path / "raw").mkdir()
    texts = [text("en", 12, number) for number in range(6)]
    same = [{"id": "same", "text": t} for t in texts]
    (tmp_path / "raw" / "a.jsonl").write_bytes(jsonl([same[0], {"id": "other", "text": texts[1]}, same[2]]))
    (tmp_path / "raw" / "b.jsonl").write_bytes(jsonl([same[3], b"broken", {"id": "same#b.jsonl:0", "text": texts[4]}]))
    decisions = corpus([source(tmp_path / "raw")], store).decisions
    assert [row["id"] for row in decisions] == [
        "same",
        "other",
        "same#a.jsonl:2",
        "same#b.jsonl:0#b.jsonl:0",  # an id of the source's own keeps its name
        "b.jsonl:1",
        "same#b.jsonl:0",
    ]


@pytest.mark.parametrize(
    "name",
    [None, "", True, 1.5, ["a"]],
    ids=["null", "empty", "bool", "float", "list"],
)
def test_a_record_without_a_usable_id_is_named_by_its_place(
    name: object, tmp_path: Path, store: Store, jsonl, source, scanned
) -> None:
    (tmp_path / "raw" / "deep").mkdir(parents=True)
    (tmp_path / "raw" / "deep" / "a.jsonl").write_bytes(jsonl([{"id": 7, "text": "x"}, {"id": name, "text": "y"}]))
    rows = scanned(source(tmp_path / "raw"), store)
    assert [row["id"] for row in rows] == ["7", "deep/a.jsonl:1"]


def test_without_an_id_field_documents_are_named_by_their_place(
    tmp_path: Path, store: Store, jsonl, source, scanned
) -> None:
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "a.jsonl").write_bytes(jsonl([{"id": "mine", "text": "x"}, {"text": "y"}]))
    rows = scanned(source(tmp_path / "raw", id_field=None), store)
    assert [row["id"] for row in rows] == ["a.jsonl:0", "a.jsonl:1"]
    assert [row["meta"] and json.loads(row["meta"]) for row in rows] == [{"id": "mine"}, None]


@pytest.mark.parametrize("form", ["jsonl", "parquet"])
def test_a_field_that_no_record_has_is_one_clear_error(
    form: str, tmp_path: Path, store: Store, jsonl, source, scanned
) -> None:
    (tmp_path / "raw").mkdir()
    records = [{"key": str(number), "content": "A text."} for number in range(3)]
    if form == "jsonl":
        (tmp_path / "raw" / "a.jsonl").write_bytes(jsonl(records))
    else:
        pq.write_table(pa.Table.from_pylist(records), tmp_path / "raw" / "a.parquet")
    with pytest.raises(XmodelError) as error:
        scanned(source(tmp_path / "raw", "news", format=form, text_field="contents"), store)
    message = str(error.value)
    for word in ("news", "'contents'", "content, key", str(tmp_path / "raw"), "did you mean text_field: content?"):
        assert word in message
    assert scanned(source(tmp_path / "raw", "news", format=form, text_field="content"), store)[2]["text"] == "A text."


def test_a_folder_without_files_of_the_format_is_one_clear_error(tmp_path: Path, store: Store, source, scanned) -> None:
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "notes.txt").write_text("not for us")
    with pytest.raises(XmodelError, match=r"source raw has no files[\s\S]*\.jsonl\.gz[\s\S]*none that match"):
        scanned(source(tmp_path / "raw"), store)


@pytest.mark.parametrize("data", [b"", b"\n \n", gzip.compress(b"")], ids=["nothing", "blank lines", "empty gzip"])
def test_files_without_a_record_make_an_empty_corpus(data: bytes, tmp_path: Path, store: Store, source, corpus) -> None:
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "a.jsonl").write_bytes(data)
    made = corpus([source(tmp_path / "raw")], store)
    assert (made.decisions, made.rows("documents"), made.ledger("document_flow")) == ([], [], [])


def test_an_unreadable_record_is_dropped_by_name_and_detail(
    tmp_path: Path, store: Store, text, jsonl, source, corpus
) -> None:
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "a.jsonl").write_bytes(jsonl([{"id": "good", "text": text("en")}, b"bad"]))
    good, bad = corpus([source(tmp_path / "raw")], store, CorpusConfig(scan=SHORT)).decisions
    assert good["kept"] and good["detail"] is None
    assert (bad["kept"], bad["stage"], bad["reason"], bad["detail"]) == (False, "read", "unreadable", "not JSON")
    assert (bad["raw_file"], bad["raw_row"], bad["chars"]) == ("a.jsonl", 1, 0)

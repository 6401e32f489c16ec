"""The entry points: the books close whatever the input is, and bytes depend on input and settings alone."""

import gzip
import random
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xmodel_core.artifacts import Store
from xmodel_core.corpus.config import CorpusConfig, EnglishRules, NearConfig
from xmodel_core.corpus.decide.decisions import STAGES
from xmodel_core.corpus.stage import funnel
from xmodel_core.specs import Source

# The tests share one built corpus.
pytestmark = pytest.mark.xdist_group("corpus stage")
Text = Callable[..., str]
Row = dict[str, Any]
KINDS = ("good", "copy", "near copy", "foreign", "short", "menu", "unreadable", "no JSON", "same id")


def records(kinds: list[tuple[str, int]], text: Text) -> list[Row | bytes]:
    """A record of each kind; the number says which text it holds."""
    made: list[Row | bytes] = []
    for place, (kind, number) in enumerate(kinds):
        key, base = f"{kind} {number} {place}", text("en", 30, number)
        made.append(
            {
                "good": {"id": key, "text": base},
                "copy": {"id": key, "text": base.replace(" ", "  ")},
                "near copy": {"id": key, "text": f"{base} And that was all, on day {place}."},
                "foreign": {"id": key, "text": text("zh", 8, number + 4)},
                "short": {"id": key, "text": f"Day {number}"},
                "menu": {"id": key, "text": "\n".join(f"Entry {chr(65 + number + n)}" for n in range(9))},
                "unreadable": {"id": key, "text": None},
                "no JSON": b'{"text": "cut',
                "same id": {"id": "same", "text": text("en", 9, 100 + number)},
            }[kind]
        )
    return made


def fill(folder: Path, text: Text, jsonl: Callable[..., bytes], order: int = 0) -> list[Path]:
    """Two English sources and a Chinese one, in files of every format; files are made in a shuffled order."""
    rng = random.Random(1)
    kinds = [[(rng.choice(KINDS), rng.randrange(8)) for _ in range(25)] for _ in range(4)]
    chinese = [{"key": f"z{n}", "body": text("zh", 8, n % 9)} for n in range(12)]
    table = pa.Table.from_pylist([{"id": f"p{n}", "text": text("en", 30, n + 5), "n": n} for n in range(6)])
    truncated = pa.BufferOutputStream()
    pq.write_table(table, truncated)
    files = {
        "first/b.jsonl": jsonl(records(kinds[0], text)),
        "first/deep/a.jsonl": jsonl(records(kinds[1], text)),
        "first/c.jsonl.gz": gzip.compress(jsonl(records(kinds[2], text)), mtime=0),
        "first/d.jsonl.gz": gzip.compress(jsonl(records(kinds[3], text)), mtime=0)[:-30],
        "second/a.parquet": truncated.getvalue().to_pybytes()[:-40],
        "second/b.parquet": truncated.getvalue().to_pybytes(),
        "third/a.jsonl": jsonl(chinese),
    }
    for name in sorted(files, key=lambda name: random.Random(f"{order} {name}").random()):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(files[name])
    return [folder / "first", folder / "second", folder / "third"]


def declared(folders: list[Path], source: Callable[..., Source]) -> list[Source]:
    first, second, third = folders
    chinese = {"lang": "zh", "text_field": "body", "id_field": "key", "category": "news"}
    return [source(first), source(second, format="parquet"), source(third, **chinese)]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory, text, jsonl, source, corpus) -> tuple[list[Source], Store, Any]:
    """Sources of every kind of record, a store, and the corpus of these sources in it; files stay as they are."""
    place = tmp_path_factory.mktemp("built")
    sources, store = declared(fill(place / "raw", text, jsonl), source), Store(place / "store")
    return sources, store, corpus(sources, store)


@pytest.fixture
def copied(built, tmp_path: Path, source, corpus) -> tuple[list[Source], Store, Any]:
    """A copy of `built` whose files may change."""
    place = built[1].root.path.parent
    shutil.copytree(place, tmp_path, dirs_exist_ok=True)
    folders = [tmp_path / "raw" / name for name in ("first", "second", "third")]
    sources, store = declared(folders, source), Store(tmp_path / "store")
    return sources, store, corpus(sources, store)


def check_books(made: Any) -> None:
    """Everything that must add up in a corpus, from its files and its ledger rows."""
    decisions, documents = made.decisions, made.rows("documents")
    scanned = [
        (files.source.name, raw.name, row["raw_row"])
        for files, scan in zip(made.sources, made.scans, strict=True)
        for index, raw in enumerate(files.files)
        for row in pq.read_table(scan.path / f"{files.source.name}-{index:05d}.parquet").to_pylist()
    ]
    assert [(row["source"], row["raw_file"], row["raw_row"]) for row in decisions] == scanned
    keys = [(row["source"], row["id"]) for row in decisions]
    assert len(set(keys)) == len(keys) == len(set(scanned))

    kept = [row for row in decisions if row["kept"]]
    assert [(row["source"], row["id"]) for row in documents] == [(row["source"], row["id"]) for row in kept]
    assert [len(row["text"]) for row in documents] == [row["chars"] for row in kept]
    assert all(row["stage"] is row["reason"] is row["kept_id"] is None for row in kept)
    dropped = [row for row in decisions if not row["kept"]]
    assert all(row["stage"] in STAGES and row["reason"] for row in dropped)
    assert [(row["source"], row["id"]) for row in made.rows("dropped")] == [
        (row["source"], row["id"]) for row in dropped
    ]
    _check_copies(decisions)
    _check_ledger(made, decisions, kept)


def _check_copies(decisions: list[Row]) -> None:
    by_key = {(row["source"], row["id"]): row for row in decisions}
    stands_for: Counter[tuple[str, str]] = Counter()
    for row in decisions:
        is_copy = row["reason"] in ("exact_copy", "near_copy")
        assert is_copy == (row["kept_id"] is not None) == (row["kept_source"] is not None)
        key = (row["kept_source"], row["kept_id"]) if is_copy else (row["source"], row["id"])
        stands_for[key] += 1
        # What all copies of a text lack to stay, the one that they point at lacks too.
        assert by_key[key]["kept"] or row["reason"] != "near_copy"
        assert by_key[key]["stage"] in (None, "language", "quality") or not is_copy
    assert {key: row["cluster_size"] for key, row in by_key.items() if row["kept"]} == {
        key: count for key, count in stands_for.items() if by_key[key]["kept"]
    }


def _check_ledger(made: Any, decisions: list[Row], kept: list[Row]) -> None:
    def total(rows: list[Row], what: str) -> Counter[tuple[str, ...]]:
        sums: Counter[tuple[str, ...]] = Counter()
        for row in rows:
            sums[row["source"], row["lang"]] += row[what] if what else 1
        return +sums

    flow, drops = made.ledger("document_flow"), made.ledger("document_drops")
    assert {row["corpus"] for row in flow + drops} <= {made.artifact.label}
    for docs, chars, each in (("docs_in", "chars_in", decisions), ("docs_out", "chars_out", kept)):
        end = [row for row in flow if row["stage"] == (STAGES[0] if docs == "docs_in" else STAGES[-1])]
        assert total(end, docs) == total(each, "")
        assert total(end, chars) == total(each, "chars")
    for row in flow:
        assert row["docs_in"] == row["docs_out"] + row["docs_dropped"]
        assert row["chars_in"] == row["chars_out"] + row["chars_dropped"] + row["chars_removed_in_kept"]
        dropped = [d for d in drops if all(d[key] == row[key] for key in ("stage", "source", "lang"))]
        assert (row["docs_dropped"], row["chars_dropped"]) == (
            sum(d["docs"] for d in dropped),
            sum(d["chars"] for d in dropped),
        )
    for before, after in pairwise(STAGES):
        for unit in ("docs", "chars"):
            out = total([row for row in flow if row["stage"] == before], f"{unit}_out")
            assert out == total([row for row in flow if row["stage"] == after], f"{unit}_in")
    wanted = Counter((row["stage"], row["source"], row["lang"], row["reason"]) for row in decisions if not row["kept"])
    assert {(d["stage"], d["source"], d["lang"], d["reason"]): d["docs"] for d in drops} == wanted


def test_the_books_close_over_every_kind_of_record(built) -> None:
    _, _, made = built
    check_books(made)
    reasons = Counter(row["reason"] for row in made.decisions)
    assert {None, "unreadable", "exact_copy", "wrong_language", "too_short", "menu", "near_copy"} == set(reasons)
    assert {row["lang"] for row in made.rows("documents")} == {"en", "zh"}
    facts = made.artifact.manifest()["facts"]["sources"]
    assert {name: fact["docs"] for name, fact in facts.items()} == Counter(
        row["source"] for row in made.rows("documents")
    )
    assert {row["source"]: row["files"] for row in made.ledger("sources")} == {"first": 4, "second": 2, "third": 1}


def test_documents_carry_the_fields_of_their_record(tmp_path: Path, store: Store, text, jsonl, source, corpus) -> None:
    (tmp_path / "raw").mkdir()
    record = {"id": 5, "text": text("zh"), "url": "https://x.test/5", "by": "王五", "year": 1998}
    (tmp_path / "raw" / "a.jsonl").write_bytes(jsonl([b"broken", record]))
    (row,) = corpus([source(tmp_path / "raw", lang="multi")], store).rows("documents")
    assert row == {
        "source": "raw",
        "id": "5",
        "text": text("zh"),
        "lang": "zh",
        "declared_lang": "multi",
        "script": "hans",
        "url": "https://x.test/5",
        "meta": '{"by": "\\u738b\\u4e94", "year": 1998}',
        "cluster_size": 1,
        "raw_file": "a.jsonl",
        "raw_row": 1,
    }


def test_the_character_that_tokenizers_keep_for_spaces_is_replaced_and_counted(
    tmp_path: Path, store: Store, text, jsonl, source, corpus
) -> None:
    (tmp_path / "raw").mkdir()
    blank = text("en", 30, 1) + " Name: ▁▁▁▁."
    (tmp_path / "raw" / "a.jsonl").write_bytes(jsonl([{"id": "1", "text": blank}, {"id": "2", "text": text("en", 30)}]))
    made = corpus([source(tmp_path / "raw")], store)
    assert {row["id"]: row["text"] for row in made.rows("documents")} == {
        "1": blank.replace("▁", "_"),
        "2": text("en", 30),
    }
    (edit,) = [row for row in made.ledger("edits") if row["kind"] == "reserved_character"]
    assert (edit["lang"], edit["docs"], edit["edits"], edit["chars"]) == ("en", 1, 4, 4)
    check_books(made)


kinds_of_records = st.lists(st.tuples(st.sampled_from(KINDS), st.integers(0, 3)), max_size=8)


files_of_records = st.lists(
    st.tuples(st.sampled_from(["one", "two"]), kinds_of_records, st.booleans()), min_size=1, max_size=4
)
Files = list[tuple[str, list[tuple[str, int]], bool]]


@settings(max_examples=4)
@given(files=files_of_records)
def test_whatever_is_mixed_the_books_close(files: Files, text, jsonl, source, corpus) -> None:
    check_a_mixture(files, text, jsonl, source, corpus)


@pytest.mark.exhaustive
@settings(max_examples=200)
@given(files=files_of_records)
def test_whatever_is_mixed_200_times_the_books_close(files: Files, text, jsonl, source, corpus) -> None:
    check_a_mixture(files, text, jsonl, source, corpus)


def check_a_mixture(files: Files, text, jsonl, source, corpus) -> None:
    with tempfile.TemporaryDirectory() as folder:
        for number, (name, kinds, packed) in enumerate(files):
            path = Path(folder) / name / f"{number}.jsonl"
            path.parent.mkdir(exist_ok=True)
            data = jsonl(records(kinds, text))
            path.write_bytes(gzip.compress(data) if packed else data)
        names = sorted({name for name, *_ in files})
        made = corpus([source(Path(folder) / name) for name in names], Store(Path(folder) / "store"))
        assert len(made.decisions) == sum(len(kinds) for _, kinds, _ in files)
        check_books(made)


@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_neither_workers_nor_the_order_of_discovery_nor_the_place_change_a_byte(
    workers: int, built, tmp_path: Path, text, jsonl, source, corpus
) -> None:
    _, _, one = built
    elsewhere = declared(fill(tmp_path / "elsewhere", text, jsonl, order=2), source)
    two = corpus(elsewhere, Store(tmp_path / "store"), workers=workers)
    assert one.artifact.label == two.artifact.label
    assert one.data() == two.data()
    assert len(one.data()) == 7 * 3 + len({row["reason"] for row in one.decisions} - {None, "unreadable"})
    assert [scan.path.name for scan in one.scans] == [scan.path.name for scan in two.scans]
    for table in ("document_flow", "document_drops"):
        assert one.ledger(table) == two.ledger(table)


def written(store: Store) -> dict[str, int]:
    return {
        path.relative_to(store.root.path).as_posix(): path.stat().st_mtime_ns for path in store.root.path.rglob("*")
    }


def test_building_twice_builds_nothing(built, corpus) -> None:
    sources, store, first = built
    before = written(store)
    assert corpus(sources, Store(store.root)).artifact == first.artifact
    assert written(store) == before


def test_an_unfinished_build_continues_from_its_finished_shards(copied, corpus) -> None:
    sources, store, first = copied
    data, rows = first.data(), first.artifact.manifest()["rows"]
    kept = written(store)
    for artifact in (first.artifact, first.scans[0]):
        (artifact.path / "manifest.json").unlink()
    lost = [first.artifact.path / "documents" / "first-00001.parquet", first.scans[0].path / "first-00002.parquet"]
    for path in lost:
        path.unlink()
    second = corpus(sources, store)
    again = second.artifact.manifest()["rows"]
    for row in (*rows["sources"], *again["sources"]):
        del row["uri"]  # the copy's is another
    assert (second.data(), again) == (data, rows)
    rewritten = {name for name, time in written(store).items() if time != kept[name] and name.endswith(".parquet")}
    assert rewritten == {path.relative_to(store.root.path).as_posix() for path in lost}


def test_other_thresholds_make_another_corpus_of_the_same_scans(built, corpus) -> None:
    sources, store, first = built
    other = corpus(sources, store, CorpusConfig(near=NearConfig(jaccard_threshold=1.0)))
    assert [scan.path for scan in other.scans] == [scan.path for scan in first.scans]
    assert other.artifact.path != first.artifact.path
    assert len(other.rows("documents")) > len(first.rows("documents"))
    check_books(other)


def test_one_more_document_scans_its_source_alone_again(copied, corpus) -> None:
    sources, store, first = copied
    folder = Path(sources[1].uri)
    (folder / "c.parquet").write_bytes((folder / "b.parquet").read_bytes())
    second = corpus(sources, store)
    same = [one.path == two.path for one, two in zip(first.scans, second.scans, strict=True)]
    assert same == [True, False, True]
    assert [row["reason"] for row in second.decisions if row["raw_file"] == "c.parquet"] == ["exact_copy"] * 6


def test_a_corrupt_file_is_set_aside_and_the_rest_is_built(built) -> None:
    _, _, made = built
    broken = [row for row in made.decisions if row["reason"] == "unreadable" and row["source"] == "second"]
    assert [(row["raw_file"], row["id"]) for row in broken] == [("a.parquet", "a.parquet:0")]
    assert "Parquet" in broken[0]["detail"]
    assert len([row for row in made.decisions if row["raw_file"] == "b.parquet"]) == 6
    tail = [row for row in made.decisions if row["raw_file"] == "d.jsonl.gz"][-1]
    assert tail["detail"].startswith("truncated gzip after line ")


def test_decisions_alone_give_the_rows_of_a_build_and_write_nothing(built, corpus) -> None:
    sources, store, made = built
    before = written(store)
    config = CorpusConfig(english=EnglishRules(min_words=150))
    rows = funnel("small", made.scanned, made.pairs, config)
    assert written(store) == before
    other = corpus(sources, store, config)
    flow = [row for row in other.ledger("document_flow") if row["stage"] != "mask"]  # masking decides nothing
    assert rows == {"document_flow": flow, "document_drops": other.ledger("document_drops")}
    assert rows["document_drops"] != made.ledger("document_drops")


@pytest.mark.parametrize("per_reason", [0, 2, 50])
def test_dropped_samples_are_complete_documents_and_bounded(per_reason: int, built, corpus) -> None:
    sources, store, _ = built
    made = corpus(sources, store, CorpusConfig(dropped_samples_per_reason=per_reason))
    reasons = Counter(row["reason"] for row in made.decisions if row["reason"] not in (None, "unreadable"))
    files = sorted((made.artifact.path / "dropped_samples").glob("*"))
    assert [path.name for path in files] == [f"{reason}.jsonl.gz" for reason in sorted(reasons)] * bool(per_reason)
    by_key = {(row["source"], row["id"]): row for row in made.decisions}
    for reason in reasons if per_reason else ():
        samples = made.samples(reason)
        assert len(samples) == min(per_reason, reasons[reason])
        for sample in samples:
            row = by_key[sample["source"], sample["id"]]
            assert (row["reason"], row["chars"]) == (reason, len(sample["text"]))
            assert (row["kept_source"], row["kept_id"]) == (sample["kept_source"], sample["kept_id"])


FOOTER = "Copyright the Harbour Gazette. All rights reserved."


def test_lines_that_a_source_repeats_leave_its_pages_and_are_counted(
    tmp_path: Path, store: Store, text, jsonl, source, corpus
) -> None:
    clean = [text("en", 12, seed) for seed in range(30)]
    pages = [{"id": f"p{n}", "text": f"{page}\n\n{FOOTER}"} for n, page in enumerate(clean)]
    mirror = [{"id": f"m{n}", "text": page} for n, page in enumerate(clean[:3])]
    for name, rows in (("pages", pages), ("mirror", mirror), ("sft", pages[3:20])):
        (tmp_path / name).mkdir()
        (tmp_path / name / "x.jsonl").write_bytes(jsonl(rows))
    sources = [source(tmp_path / "pages"), source(tmp_path / "mirror"), source(tmp_path / "sft", category="sft")]
    made = corpus(sources, store)
    documents = {row["id"]: row["text"] for row in made.rows("documents")}
    assert documents == {f"p{n}": page for n, page in enumerate(clean)}
    # Without its footer a page is what its mirror holds; an instruction's lines are its own, and are not counted.
    reasons = Counter((row["source"], row["reason"]) for row in made.decisions)
    assert reasons == {("pages", None): 30, ("mirror", "near_copy"): 3, ("sft", "exact_copy"): 17}
    assert [part.rescan is None for part in made.scanned] == [False, False, True]
    (flow,) = [row for row in made.ledger("document_flow") if (row["source"], row["stage"]) == ("pages", "lines")]
    lost = len(f"\n\n{FOOTER}")
    assert flow["chars_removed_in_kept"] == flow["chars_in"] - flow["chars_out"] == 30 * lost
    assert [row for row in made.ledger("edits") if row["kind"] == "boilerplate_line"] == [
        {
            "corpus": made.artifact.label,
            "source": "pages",
            "lang": "en",
            "kind": "boilerplate_line",
            "docs": 30,
            "edits": 30,
            "chars": 30 * lost,
        }
    ]


def test_a_new_source_costs_its_own_scan_and_the_documents_it_changes(
    copied, tmp_path: Path, text, jsonl, source, corpus
) -> None:
    sources, store, first = copied
    (tmp_path / "fourth").mkdir()
    (tmp_path / "fourth" / "a.jsonl").write_bytes(jsonl([{"id": "new", "text": text("en", 30, 400)}]))
    # The text is not read again where nothing changed: not even noticed that it is another by now.
    scan = first.scans[2].path / "third-00000.parquet"
    table = pq.read_table(scan)
    table = table.set_column(1, "text", pa.array(["another"] * len(table)))
    pq.write_table(table, scan)
    # A file that was damaged since is not taken over.
    (first.artifact.path / "documents" / "second-00001.parquet").write_bytes(b"damaged")
    before = written(store)
    second = corpus([*sources, source(tmp_path / "fourth")], store)
    made = {Path(name).parts[0]: Path(name).parts[1] for name in written(store).keys() - before.keys() if "/" in name}
    assert made.keys() == {"digests", "scans", "rescans", "pairs", "corpus"}
    assert made["scans"].startswith("fourth-")
    *old, new = second.rows("documents")
    assert new["id"] == "new" and "another" not in {row["text"] for row in old}
    shards = [f"documents-{name}" for name in ("first-00000", "second-00001", "third-00000")]
    receipts = [[made.artifact.receipts()[shard].files for shard in shards] for made in (first, second)]
    assert receipts[0] == receipts[1]

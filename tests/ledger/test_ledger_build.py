"""The ledger is built from receipts and manifests, sums over shards, names damaged inputs, and never blocks."""

import multiprocessing
import threading
from collections import Counter
from pathlib import Path

import pytest

from xmodel_core.artifacts import Identity, Store, write_shard
from xmodel_core.artifacts.sealed_json import open_json, seal_json
from xmodel_core.errors import XmodelError
from xmodel_core.ledger.build import refresh
from xmodel_core.ledger.query import contents, named_queries, run_query
from xmodel_core.ledger.tables import TABLES, Table


def fertility(store: Store, created_at: str, parts: list[tuple[int, int, int]]) -> None:
    """Token shards with (chars, bytes, tokens) per shard, of the same tokenizer and source each time."""
    build = store.build(Identity("shards", "wiki", 1, {"made": created_at}, {}))
    for number, (chars, size, tokens) in enumerate(parts):
        with write_shard(build.folder, f"documents-{number:05d}") as shard:
            row = {"tokenizer": "tok", "source": "wiki", "lang": "zh", "category": "web"}
            shard.rows("tokenizer_fertility", [{**row, "chars": chars, "bytes": size, "tokens": tokens}])
    path = build.commit().path / "manifest.json"
    path.write_bytes(seal_json({**open_json(path.read_bytes()), "created_at": created_at}))


def test_shards_are_summed_and_ratios_computed_after(tmp_path: Path) -> None:
    fertility(Store(tmp_path), "2026-01-01", [(100, 300, 50), (300, 900, 250)])
    refresh(tmp_path)
    _, rows = run_query(
        tmp_path, "select chars, tokens, tokens_per_char, bytes_per_token, category from tokenizer_fertility"
    )
    assert rows == [(400, 300, 0.75, 4.0, "web")]


def test_a_comparison_of_tokenizers_says_tokens_per_character(tmp_path: Path) -> None:
    build = Store(tmp_path).build(Identity("tokenizer_reports", "small", 1, {}, {}))
    key = {"report": "small", "tokenizer": "tok", "source": "wiki", "lang": "zh", "text": "unseen_source"}
    build.commit(rows={"tokenizer_comparison": [{**key, "docs": 2, "chars": 400, "bytes": 1200, "tokens": 300}]})
    refresh(tmp_path)
    rows = run_query(tmp_path, "select docs, tokens_per_char, bytes_per_token from tokenizer_comparison")[1]
    assert rows == [(2, 0.75, 4.0)]


def test_of_two_artifacts_that_speak_of_one_thing_the_newer_counts(tmp_path: Path) -> None:
    fertility(Store(tmp_path), "2026-01-02", [(10, 30, 5)])
    fertility(Store(tmp_path), "2026-01-01", [(100, 300, 50)])
    refresh(tmp_path)
    assert run_query(tmp_path, "select chars from tokenizer_fertility")[1] == [(10,)]


def test_an_unfinished_artifact_gives_no_rows_but_a_running_training_does(part, tmp_path: Path) -> None:
    store = Store(tmp_path)
    unfinished = store.build(Identity("corpus", "half", 1, {}, {}))
    with write_shard(unfinished.folder, "decide") as shard:
        shard.rows("document_drops", [{"corpus": "half", "stage": "read", "source": "a", "lang": "zh", "docs": 1}])
    run = store.build(Identity("runs", "now", 1, {}, {}))
    part(
        run.folder.path,
        "train_metrics",
        0,
        [{"run": "now", "step": 1, "loss": 9.0}, {"run": "now", "step": 2, "loss": 8.0}],
    )
    # After a resume the steps behind the checkpoint come again, in a later part.
    part(run.folder.path, "train_metrics", 1, [{"run": "now", "step": 2, "loss": 7.5}])
    refresh(tmp_path)
    assert run_query(tmp_path, "select count(*) from document_drops")[1] == [(0,)]
    assert run_query(tmp_path, "select step, loss from train_metrics")[1] == [(1, 9.0), (2, 7.5)]
    assert run_query(tmp_path, "select count(*) from artifacts")[1] == [(0,)]


def test_artifacts_know_their_place_and_inputs(books, tmp_path: Path) -> None:
    made = books.write(tmp_path)
    refresh(tmp_path)
    _, rows = run_query(tmp_path, "select path, label from artifacts where kind = 'plans'")
    assert rows == [(f"plans/{made['plan'].label}", made["plan"].label)]
    _, rows = run_query(
        tmp_path, "select fingerprint from artifact_inputs where label = $plan", {"plan": made["plan"].label}
    )
    assert {row[0] for row in rows} == {made["wiki"].fingerprint, made["news"].fingerprint}


def test_the_same_workspace_gives_the_same_rows(books, tmp_path: Path) -> None:
    for folder in ("a", "b"):
        books.write(tmp_path / folder)
        refresh(tmp_path / folder)
    for name, table in TABLES.items():
        columns = ", ".join(c for c in table.columns if c not in ("created_at", "seconds"))
        assert run_query(tmp_path / "a", f"select {columns} from {name}") == run_query(
            tmp_path / "b", f"select {columns} from {name}"
        )


@pytest.mark.parametrize(
    ("file", "damage"),
    [
        ("corpus/*/receipts/decide-wiki.json", "{"),
        ("corpus/*/receipts/decide-wiki.json", '{"shard": "x"}'),
        ("corpus/*/manifest.json", "not json"),
        ("corpus/*/manifest.json", '{"kind": "corpus"}'),
        ("runs/*/metrics/consumed/00000.parquet", "PAR1 cut off"),
        ("corpus/*/manifest.json", None),
    ],
)
def test_what_is_damaged_is_named_and_the_old_ledger_stays(
    file: str, damage: str | None, books, tmp_path: Path
) -> None:
    books.write(tmp_path)
    refresh(tmp_path)
    path = next(tmp_path.glob(file))
    if damage is None:  # a row that the ledger cannot hold
        manifest = open_json(path.read_bytes())
        damage = seal_json({**manifest, "rows": {"document_flow": [{"corpus": "x", "docs_in": "many"}]}}).decode()
    path.write_text(damage)
    with pytest.raises(XmodelError, match=path.name) as caught:
        refresh(tmp_path)
    assert caught.value.remedy
    assert run_query(tmp_path, "select count(*) from artifacts where kind = 'corpus'")[1] == [(1,)]
    assert not list(tmp_path.glob(".ledger-building-*"))


@pytest.mark.parametrize("rows", [{"no_table": [{"a": 1}]}, {"document_flow": [{"corpus": "x", "dosc_in": 1}]}])
def test_rows_that_the_contract_does_not_know_are_refused(rows: dict, tmp_path: Path) -> None:
    Store(tmp_path).build(Identity("corpus", "new", 1, {}, {})).commit(rows)
    with pytest.raises(XmodelError, match=r"no_table|dosc_in"):
        refresh(tmp_path)


def test_a_missing_workspace_or_ledger_is_one_clear_message(tmp_path: Path) -> None:
    with pytest.raises(XmodelError, match="no workspace"):
        refresh(tmp_path / "nowhere")
    with pytest.raises(XmodelError, match="no ledger yet"):
        run_query(tmp_path, "@funnel")


def _refresh_some(root: str, built) -> None:
    for _ in range(6):
        refresh(Path(root))
        built.put("built")


def test_readers_and_builders_in_two_processes_never_block_or_see_half(books, tmp_path: Path) -> None:
    books.write(tmp_path)
    refresh(tmp_path)
    context = multiprocessing.get_context("spawn")
    built = context.Queue()
    other = context.Process(target=_refresh_some, args=(str(tmp_path), built))
    other.start()
    assert built.get(timeout=300) == "built"  # from here on both are at work
    for _ in range(4):
        assert run_query(tmp_path, "select count(*) from document_flow")[1] == [(7,)]
        refresh(tmp_path)
    assert [built.get(timeout=300) for _ in range(5)] == ["built"] * 5
    other.join(timeout=300)
    assert other.exitcode == 0
    assert not list(tmp_path.glob(".ledger-building-*"))


def test_a_thread_sees_a_new_ledger_while_another_still_reads_the_old(books, tmp_path: Path) -> None:
    from xmodel_core.ledger.query import open_ledger

    books.write(tmp_path)
    refresh(tmp_path)
    with open_ledger(tmp_path) as old:
        Store(tmp_path).build(Identity("tokenizer", "later", 1, {}, {})).commit()
        thread = threading.Thread(target=refresh, args=(tmp_path,))
        thread.start()
        thread.join()
        count = "select count(*) from artifacts where kind = 'tokenizer'"
        assert run_query(tmp_path, count)[1] == [(1,)]
        assert old.execute(count).fetchall() == [(0,)]


def test_each_file_is_read_once_and_each_table_filled_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What keeps the ledger of many artifacts cheap."""
    store = Store(tmp_path)
    for number in range(60):
        build = store.build(Identity("corpus", f"c{number}", 1, {}, {}))
        rows = [
            {"corpus": f"c{number}", "stage": stage, "source": f"s{source}", "lang": lang, "docs_in": 1, "docs_out": 1}
            for stage in ("read", "exact", "lines", "quality", "mask")
            for source in range(8)
            for lang in ("zh", "en", "code")
        ]
        build.commit({"document_flow": rows})
    read: Counter[str] = Counter()
    read_bytes, fill = Path.read_bytes, Table.fill
    monkeypatch.setattr(Path, "read_bytes", lambda path: (read.update([str(path)]), read_bytes(path))[1])
    monkeypatch.setattr(Table, "fill", lambda table, source: (read.update([table.name]), fill(table, source))[1])
    refresh(tmp_path)
    manifests = {str(path): 1 for path in tmp_path.glob("corpus/*/manifest.json")}
    assert len(manifests) == 60 and read == {**manifests, "artifacts": 1, "document_flow": 1}
    assert run_query(tmp_path, "select count(*), sum(docs_in) from document_flow")[1] == [(7200, 7200)]
    read.clear()
    refresh(tmp_path)
    assert not read, "nothing was new"


def test_every_query_runs_and_says_what_it_is(books, tmp_path: Path) -> None:
    books.write(tmp_path)
    refresh(tmp_path)
    queries = named_queries()
    assert set(queries) == {
        "funnel",
        "drops",
        "mixture",
        "fertility",
        "tokenizers",
        "trials",
        "loss",
        "scores",
        "balance",
        "books",
    }
    for name, meaning in queries.items():
        assert meaning and not meaning.startswith(("select", "with"))
        assert run_query(tmp_path, f"@{name}")[0]
    _, listed = contents(tmp_path)
    assert {row[0] for row in listed} >= {*TABLES, "books", "@funnel"}


def test_the_mixture_query_puts_planned_beside_consumed(books, tmp_path: Path) -> None:
    books.write(tmp_path)
    refresh(tmp_path)
    columns, rows = run_query(tmp_path, "@mixture")
    picked = [
        {c: row[columns.index(c)] for c in ("source", "weight", "planned_tokens", "consumed_tokens")} for row in rows
    ]
    assert picked == [
        {"source": "wiki", "weight": 0.5, "planned_tokens": 512, "consumed_tokens": 512},
        {"source": "news", "weight": 0.5, "planned_tokens": 256, "consumed_tokens": 256},
    ]
    columns, rows = run_query(tmp_path, "@balance")
    assert [row[columns.index("chars")] for row in rows] == [805, 390]
    assert {row[columns.index("mixture_weight")] for row in rows} == {0.5}


@pytest.mark.parametrize(
    ("query", "says"),
    [("select * fro books", "syntax error"), ("@funel", "@funnel"), ("create table t (a int)", "read-only")],
)
def test_a_bad_query_is_one_clear_message(query: str, says: str, books, tmp_path: Path) -> None:
    books.write(tmp_path)
    refresh(tmp_path)
    with pytest.raises(XmodelError, match=says):
        run_query(tmp_path, query)

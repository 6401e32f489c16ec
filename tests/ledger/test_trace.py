"""One document traced: dropped or kept, its position among tokens, and the steps that consumed it."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from xmodel_core.artifacts import Artifact, Identity, Store, write_shard
from xmodel_core.errors import XmodelError
from xmodel_core.ledger.trace import trace


def ends(*lengths: int) -> bytes:
    return np.cumsum(lengths).astype("<u8").tobytes()


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    store = Store(tmp_path)
    corpus = store.build(Identity("corpus", "tiny", 1, {}, {}))
    rows = [
        ("wiki", "a", True, None, None, None),
        ("wiki", "b:1", False, "exact", "exact_copy", "a"),
        ("wiki", "c", True, None, None, None),
    ]
    decisions = [
        {"source": s, "id": i, "kept": k, "stage": stage, "reason": r, "kept_source": k_id and s, "kept_id": k_id}
        for s, i, k, stage, r, k_id in rows
    ]
    documents = [
        {"source": "wiki", "id": "a", "lang": "zh", "raw_row": 0},
        {"source": "wiki", "id": "c", "lang": "zh", "raw_row": 2},
    ]
    for folder, some in (("decisions", decisions), ("documents", documents)):
        (corpus.folder.path / folder).mkdir()
        pq.write_table(pa.Table.from_pylist(some), corpus.folder.path / folder / "wiki-00001.parquet")
    corpus.commit(facts={"sources": {"wiki": {"documents_digest": "d1", "docs": 2}}})
    for name, digest in (("mine", "d1"), ("older", "d0")):
        shards = store.build(Identity("shards", "wiki", 1, {"of": name}, {}))
        with write_shard(shards.folder, "all") as shard:
            shard.file("documents-00000.index").write_bytes(ends(40, 10))
            # `a` is held out: it takes no room among the train tokens.
            shard.file("documents-00001.index").write_bytes(ends(0, 30))
            shard.file("validation-00001.index").write_bytes(ends(7, 0))
        shards.commit(facts={"documents_digest": digest, "tokenizer": "t1"})
    return tmp_path


def test_a_kept_document_is_followed_to_its_steps(workspace: Path) -> None:
    asked: list[tuple[str, int, int]] = []

    def steps_of(shards: Artifact, start: int, end: int) -> list[dict]:
        asked.append((shards.name, start, end))
        return [{"run": "r", "step": 3}]

    (match,) = trace(workspace, "wiki:c", steps_of)
    assert (match["source"], match["id"], match["kept"]) == ("wiki", "c", True)
    assert (match["document"]["row"], match["document"]["raw_row"], match["document"]["lang"]) == (1, 2, "zh")
    (place,) = match["tokens"]
    assert (place["shard"], place["start"], place["end"], place["held_out"]) == ("documents-00001", 0, 30, False)
    assert asked == [("wiki", 50, 80)]  # after the fifty train tokens of documents-00000
    assert place["steps"] == [{"run": "r", "step": 3}]


def test_a_held_out_document_is_never_consumed(workspace: Path) -> None:
    (match,) = trace(workspace, "a", lambda *_: pytest.fail("held-out tokens are no supply"))
    (place,) = match["tokens"]
    assert (place["shard"], place["start"], place["end"], place["held_out"], place["steps"]) == (
        "validation-00001",
        0,
        7,
        True,
        [],
    )


def test_a_dropped_document_names_what_was_kept_instead(workspace: Path) -> None:
    for name in ("b:1", "wiki:b:1"):  # an id may hold a colon
        (match,) = trace(workspace, name)
        assert not match["kept"] and match["tokens"] == [] and match["document"] is None
        assert match["decision"] == {"stage": "exact", "reason": "exact_copy", "kept_source": "wiki", "kept_id": "a"}


def test_an_unknown_document_is_one_clear_message(workspace: Path, tmp_path: Path) -> None:
    with pytest.raises(XmodelError, match="no document wiki:zzz"):
        trace(workspace, "wiki:zzz")
    with pytest.raises(XmodelError, match="no corpus yet"):
        trace(tmp_path / "empty", "a")

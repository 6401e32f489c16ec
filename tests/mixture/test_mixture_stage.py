"""The stage: plan.json is written once from shards and mixture, and again only when one of its inputs changes."""

import json
from pathlib import Path
from typing import Any

import pytest

from xmodel_core.artifacts import Artifact, Identity, Store
from xmodel_core.errors import XmodelError
from xmodel_core.mixture.stage import build_plan
from xmodel_core.specs import Mixture, ScheduledPhase, Source

SCHEDULE = [ScheduledPhase("stable", 6, 10, 80), ScheduledPhase("decay", 4, 10, 80)]
TOKENS = {"wiki": 2000, "news": 500, "unused": 700}
SHARES: dict[str, Any] = {"wiki": 3, "zh/news": {"weight": 1, "max_epochs": 1}}


def source(name: str, **fields: Any) -> Source:
    spec = {"name": name, "lang": "zh", "category": name, "license": "CC0-1.0", "uri": f"raw/{name}"}
    return Source(**{**spec, **fields})


SOURCES = [source(name) for name in TOKENS]


def shards(store: Store, name: str, tokens: int) -> Artifact:
    return store.build(Identity("shards", name, 1, {}, {"documents": f"{name} {tokens}"})).commit(
        facts={"train_tokens": tokens, "dtype": "uint16"}
    )


def make(store: Store, tokens: dict[str, int] = TOKENS, shares: dict[str, Any] = SHARES, **changes: Any) -> Artifact:
    call = {"schedule": SCHEDULE, "sources": SOURCES, **changes}
    made = [shards(store, name, count) for name, count in tokens.items()]
    mixture = Mixture.model_validate({"phases": [{"name": "all", "sources": shares}], "description": "x"})
    return build_plan("small", mixture, shards=made, store=store, **call)


def test_the_plan_says_what_each_source_gives_and_from_which_shards(tmp_path: Path) -> None:
    made = make(Store(tmp_path))
    plan = json.loads((made.path / "plan.json").read_text(encoding="utf-8"))
    assert [(phase["sequence_length"], phase["global_batch_tokens"]) for phase in plan["phases"]] == [(10, 80)] * 2
    assert [(phase["name"], phase["first_step"], phase["steps"], phase["sequences"]) for phase in plan["phases"]] == [
        ("stable", 0, 6, 48),
        ("decay", 6, 4, 32),
    ]
    given = [{s["source"]: s["sequences"] for s in phase["sources"]} for phase in plan["phases"]]
    assert given == [{"wiki": 36, "news": 12}, {"wiki": 24, "news": 8}]
    assert set(plan["shards"]) == {"wiki", "news"}
    store = Store(tmp_path)
    assert plan["shards"]["wiki"] == {
        "label": store.artifacts("shards", "wiki")[0].label,
        "fingerprint": store.artifacts("shards", "wiki")[0].fingerprint,
        "dtype": "uint16",
    }
    assert made.manifest()["facts"] == {"steps": 10, "planned_tokens": 800}


def test_the_ledger_gets_a_row_for_each_phase_and_source(tmp_path: Path) -> None:
    made = make(Store(tmp_path))
    rows = made.manifest()["rows"]["mixture"]
    assert [(row["phase"], row["source"], row["planned_tokens"]) for row in rows] == [
        ("stable", "wiki", 360),
        ("stable", "news", 120),
        ("decay", "wiki", 240),
        ("decay", "news", 80),
    ]
    assert rows[1] == {
        "plan": made.label,
        "phase": "stable",
        "source": "news",
        "lang": "zh",
        "category": "news",
        "weight": 0.25,
        "supply_tokens": 500,
        "planned_tokens": 120,
        "epochs": 0.24,
        "max_epochs": 1.0,
    }


def test_a_plan_is_written_once(tmp_path: Path) -> None:
    first = make(Store(tmp_path))
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("plan*/**/*")}
    assert first.path / "plan.json" in before
    assert make(Store(tmp_path)) == first
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("plan*/**/*")} == before


def test_what_the_plan_does_not_use_changes_no_plan(tmp_path: Path) -> None:
    store = Store(tmp_path)
    first = make(store)
    assert make(store, {**TOKENS, "unused": 900}) == first
    assert make(store, {"wiki": 2000, "news": 500}) == first
    assert make(store, sources=[s.model_copy(update={"license": "MIT", "uri": "x"}) for s in SOURCES]) == first
    assert make(store, shares={"wiki": 3.0, "zh/news": {"weight": 1.0, "max_epochs": 1}}) == first
    elsewhere = make(Store(tmp_path / "elsewhere"))
    assert elsewhere.label == first.label
    assert (elsewhere.path / "plan.json").read_bytes() == (first.path / "plan.json").read_bytes()


@pytest.mark.parametrize(
    "changes",
    [
        {"tokens": {**TOKENS, "news": 510}},
        {"shares": {**SHARES, "wiki": 4}},
        {"shares": {**SHARES, "unused": 1}},
        {"schedule": [SCHEDULE[0]._replace(steps=5), SCHEDULE[1]._replace(steps=5)]},
        {"schedule": [SCHEDULE[0], SCHEDULE[1]._replace(name="anneal")]},
        {"schedule": [SCHEDULE[0], SCHEDULE[1]._replace(sequence_length=20)]},
        {"schedule": [SCHEDULE[0], SCHEDULE[1]._replace(global_batch_tokens=40)]},
        {"sources": [source("wiki", lang="en"), *SOURCES[1:]]},
    ],
    ids=["shards", "weights", "sources", "lengths", "phases", "sequence length", "batch", "language"],
)
def test_what_the_plan_is_made_of_makes_another(changes: dict[str, Any], tmp_path: Path) -> None:
    store = Store(tmp_path)
    first = make(store)
    assert make(store, **changes).path != first.path
    assert len(store.artifacts("plans")) == 2


def test_a_source_without_shards_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(XmodelError, match=r"uses news, and there are no token shards[\s\S]*wiki[\s\S]*tokenizer-train"):
        make(Store(tmp_path), {"wiki": 2000})


def test_an_impossible_plan_leaves_nothing_behind(tmp_path: Path) -> None:
    store = Store(tmp_path)
    with pytest.raises(XmodelError, match="asks for more tokens"):
        make(store, shares={"news": {"weight": 1, "max_epochs": 1}})
    assert not (tmp_path / "plans").exists()

"""A search depends on its recipe alone, continues where it was killed, and shows every trial."""

import json
import math
import os
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from tests.training.conftest import MODEL, TRAINING, Workspace, make_workspace
from xmodel_core.artifacts import Artifact, Store
from xmodel_core.cluster import open_cluster
from xmodel_core.cluster.config import ClusterConfig
from xmodel_core.errors import XmodelError
from xmodel_core.ledger.build import refresh
from xmodel_core.ledger.query import run_query
from xmodel_core.model.config import ModelConfig
from xmodel_core.search.config import SearchConfig
from xmodel_core.search.hparams import stage
from xmodel_core.search.proxies import ProxySpec
from xmodel_core.training.config import TrainingConfig

SCHEDULE: dict[str, Any] = {"warmup_steps": 2, "stable_steps": 6, "decay_steps": 2}
SEARCH: dict[str, Any] = {"trials": 9, "trials_per_round": 4, "startup_trials": 4, "seed": 3}
RESULTS = ("trials.parquet", "panels.png", "index.html")
A_SEARCH_THAT_STOPS = """
import sys, time
from tests.search.test_hparam_search import planned, search
from xmodel_core.training import proxy

train_proxy, calls = proxy.train_proxy, []

def three_trials(job):
    calls.append(job)
    if len(calls) > 3:
        time.sleep(600)  # in the middle of the fourth, to be killed
    return train_proxy(job)

proxy.train_proxy = three_trials
search(planned(sys.argv[1]))
"""


def planned(root: str | Path, **changes: Any) -> Workspace:
    return make_workspace(Store(root)).planned(**{**SCHEDULE, **changes})


def search(
    workspace: Workspace, workers: int = 1, model: ModelConfig = MODEL, ranges: dict | None = None, **changes: Any
) -> Artifact:
    training = {**TRAINING, **SCHEDULE, **changes}
    if changes:
        workspace = workspace.planned(**training)
    with open_cluster(ClusterConfig(workers=workers)) as cluster:
        inputs = workspace.inputs(model, TrainingConfig(**training), cluster)
        return stage.run(inputs, SearchConfig(**{**SEARCH, **(ranges or {})}))


def results(searched: Artifact) -> dict[str, bytes]:
    return {name: searched.file(name).read_bytes() for name in RESULTS}


def trials_of(searched: Artifact) -> list[dict[str, Any]]:
    return pq.read_table(searched.file("trials.parquet")).to_pylist()


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    """One whole search, by one worker, over Table 5."""
    return search(planned(tmp_path_factory.mktemp("searched")))


def test_the_rounds_and_the_seed_decide_what_is_tried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def losses_as_given(train: Any, specs: Sequence[ProxySpec], *_: Any, **__: Any) -> list[dict[str, Any]]:
        """In place of trainings, whose losses differ in their last bits from one CPU to another."""
        given = [round(4 + abs(spec.training.peak_lr - 0.02) + spec.row["scale_emb"] / 100, 4) for spec in specs]
        return [
            {**spec.row, "loss": loss, "diverged": False, "steps": 10} for spec, loss in zip(specs, given, strict=True)
        ]

    def tried(**ranges: Any) -> list[tuple]:
        config = SearchConfig(**{**SEARCH, "trials": 16, **ranges})
        with open_cluster(ClusterConfig(workers=1)) as cluster:
            inputs = workspace.inputs(MODEL, TrainingConfig(**{**TRAINING, **SCHEDULE}), cluster)
            rows, _ = stage.run_trials(workspace.store.build(stage.identity(inputs, config)), inputs, config)
        return [(row["peak_lr"], row["scale_emb"], row["scale_depth"]) for row in rows]

    monkeypatch.setattr(stage, "train_proxies", losses_as_given)
    workspace = planned(tmp_path)
    by_four, one_by_one = tried(), tried(trials_per_round=1)
    # The report's values and the four drawn at random are chosen before any loss is known.
    assert one_by_one[:5] == by_four[:5] and one_by_one[5:] != by_four[5:]
    assert tried(seed=4)[1] != by_four[1]


def test_every_trial_is_within_table_5_and_in_every_account(searched: Artifact) -> None:
    rows = trials_of(searched)
    assert [row["trial"] for row in rows] == list(range(10))
    report, *sampled = rows
    assert [row["sampled_by"] for row in rows] == ["report"] + ["random"] * 4 + ["tpe"] * 5
    assert [report[name] for name in ("scale_emb", "dim_model_base", "scale_depth", "peak_lr")] == [12, 256, 1.4, 0.01]
    for row in sampled:
        assert row["scale_emb"] in range(2, 21)
        assert row["dim_model_base"] in (32, 64, 128, 256, 512, 1024)
        assert row["scale_depth"] in [round(1 + 0.1 * step, 1) for step in range(41)]
        assert row["peak_lr"] in [round(0.001 * step, 3) for step in range(1, 101)]
    facts = searched.manifest()["facts"]
    best = min(sampled, key=lambda row: row["loss"])
    assert facts["best"] == best and facts["report"] == report and facts["trials"] == 9

    page = searched.file("index.html").read_text(encoding="utf-8")
    shown = re.findall(r'<td class="n">(\d+)<td>(?:report|random|tpe)<.*?<td class="n">([\d.]+)<td class="n q">', page)
    assert sorted(shown, key=lambda row: int(row[0])) == [(str(row["trial"]), f"{row['loss']:.4f}") for row in rows]
    assert "http" not in page
    assert searched.file("panels.png").read_bytes().startswith(b"\x89PNG")

    root = searched.folder.path.parents[1]
    refresh(root)
    columns, lines = run_query(root, "select * exclude (seconds) from trials order by trial")
    assert [dict(zip(columns, line, strict=True)) for line in lines] == [
        {"search": searched.label, **row} for row in rows
    ]
    columns, lines = run_query(root, "@trials")
    assert lines[0][columns.index("loss")] == round(min(row["loss"] for row in rows), 4)


def test_a_trial_is_a_training_with_its_hyperparameters(searched: Artifact, tmp_path: Path) -> None:
    row = trials_of(searched)[0]
    workspace = planned(tmp_path)
    model = MODEL.model_copy(update={name: row[name] for name in ("scale_emb", "dim_model_base", "scale_depth")})
    run = workspace.train(model, **SCHEDULE, peak_lr=row["peak_lr"], log_every_steps=1)
    refresh(tmp_path)
    _, losses = run_query(tmp_path, "select loss from train_metrics where run = $run order by step", {"run": run.label})
    assert row["loss"] == losses[-1][0]  # the last tenth of ten steps


@pytest.mark.slow
def test_killed_and_continued_by_two_workers_it_ends_the_same(searched: Artifact, tmp_path: Path) -> None:
    words = [sys.executable, "-c", A_SEARCH_THAT_STOPS, str(tmp_path)]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])}
    process = subprocess.Popen(words, env=environment, stderr=subprocess.DEVNULL)
    while len(done := list(tmp_path.glob("searches/*/receipts/trial-*.json"))) < 3:
        assert process.poll() is None, "the search ended with an error"
        time.sleep(0.05)
    process.kill()
    process.wait()
    assert not list(tmp_path.glob("searches/*/manifest.json"))
    kept = {path: path.read_bytes() for path in done}

    assert results(search(planned(tmp_path), workers=2)) == results(searched)
    assert {path: path.read_bytes() for path in done} == kept


def test_a_receipt_of_another_trial_is_not_used(tmp_path: Path) -> None:
    workspace = planned(tmp_path)
    first = search(workspace, ranges={"trials": 2})
    before = results(first)
    receipt = first.folder.path / "receipts" / "trial-00001.json"
    text = re.sub(r'"scale_emb": [\d.]+', '"scale_emb": 99.0', receipt.read_text())
    receipt.write_text(text.replace('"loss": ', '"loss": 1'))
    (first.folder.path / "manifest.json").unlink()
    assert results(search(workspace, ranges={"trials": 2})) == before


def test_diverged_trials_are_counted_and_named(tmp_path: Path) -> None:
    # At a base width of 10^18 the first step is 10^16 times too long.
    searched = search(planned(tmp_path), ranges={"dim_model_base": [8, 10**18], "trials": 4})
    rows, facts = trials_of(searched), searched.manifest()["facts"]
    wild = [row["trial"] for row in rows if row["dim_model_base"] == 10**18]
    assert wild and len(wild) < 4
    assert [row["trial"] for row in rows if row["diverged"]] == wild
    assert facts["diverged"] == len(wild) and facts["best"]["dim_model_base"] == 8
    assert all((row["loss"] is None) == row["diverged"] for row in rows)
    assert f"Diverged: {', '.join(map(str, wild))}." in searched.file("index.html").read_text(encoding="utf-8")
    with pytest.raises(XmodelError, match="all 2 trials diverged"):
        search(planned(tmp_path), ranges={"dim_model_base": [10**18], "trials": 2})


def test_repeated_sources_are_reported(searched: Artifact, tmp_path: Path) -> None:
    assert searched.manifest()["facts"]["repeated_sources"] == {}
    # 36 steps of 64 tokens, three quarters of them Chinese: 1,728 of 900 and 576 of 400.
    plan = planned(tmp_path, **TRAINING).plan
    assert stage.repeated_sources(json.loads(plan.file("plan.json").read_bytes())) == {"en_web": 1.44, "zh_web": 1.92}


def test_what_is_searched_is_no_part_of_the_identity(searched: Artifact, tmp_path: Path) -> None:
    model = MODEL.model_copy(update={"scale_emb": 3.0, "dim_model_base": 4})
    training = TrainingConfig(**{**TRAINING, **SCHEDULE, "peak_lr": 0.3, "workers": 2})
    with open_cluster(ClusterConfig(workers=2)) as cluster:
        same = stage.identity(planned(tmp_path).inputs(model, training, cluster), SearchConfig(**SEARCH))
    assert same.fingerprint == searched.fingerprint


def test_a_model_without_mup_is_refused(tmp_path: Path) -> None:
    plain = MODEL.model_copy(update={"scale_emb": None, "scale_depth": None, "dim_model_base": None})
    with pytest.raises(XmodelError, match=r"not in muP[\s\S]*model\.dim_model_base[\s\S]*xmodel2-nano"):
        search(planned(tmp_path), model=plain)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"trials": 0}, "trials"),
        ({"peak_lr": {"low": 0.1, "high": 0.01, "step": 0.01}}, "the range is empty"),
        ({"scale_emb": {"low": 2, "high": 20, "step": 5}}, "a whole number of steps"),
        ({"dim_model_base": []}, "dim_model_base"),
        ({"dim_model_base": [64, 32]}, "in ascending order"),
        ({"trial": 10}, "trial"),
    ],
)
def test_nonsense_is_refused(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SearchConfig.model_validate(wrong)


def test_the_price_is_that_of_all_trials() -> None:
    training = TrainingConfig(**{**TRAINING, **SCHEDULE})
    price = stage.price(MODEL, training, SearchConfig(**SEARCH), 64)
    assert price["trials"] == 10 and price["tokens"] == 10 * 640
    assert math.isclose(price["flops"], 6400 * (6 * price["parameters"] + 12 * 2 * 16 * 8))

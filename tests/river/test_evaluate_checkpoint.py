"""`xmodel evaluate --checkpoint`: any checkpoint, nothing else built, each booked under its own name and digest."""

import json
import shutil
from pathlib import Path

import pytest

from flows.river.checkpoints import find_checkpoints
from tests.conftest import Xmodel
from tests.river.conftest import SMALL
from xmodel_core.artifacts import Artifact, Store
from xmodel_core.errors import XmodelError
from xmodel_core.ledger.query import run_query
from xmodel_core.report import stage as report_stage

pytestmark = pytest.mark.xdist_group("river")


def run_label(workspace: Path) -> str:
    return Store(workspace).artifacts("runs")[0].label


def rows(workspace: Path, query: str) -> list[dict]:
    columns, values = run_query(workspace, query)
    return [dict(zip(columns, row, strict=True)) for row in values]


def kept_steps(workspace: Path) -> list[int]:
    return [row["step"] for row in rows(workspace, "select step from checkpoints where kept order by step")]


def test_what_names_a_checkpoint(river: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, label, steps = Store(river), run_label(river), kept_steps(river)
    newest, first = steps[-1], steps[0]
    for wanted in (label, "small", f"{label}@{newest}", str(river / "runs" / label)):
        [found] = find_checkpoints(wanted, store, "other")
        assert (found.run, found.step, found.name) == (label, newest, "small"), wanted
        assert (found.path / "model.safetensors").is_file()
    [found] = find_checkpoints(f"small@{first}", store, "small")
    assert (found.label, found.path.name) == (f"{label}@{first}", f"step-{first:08d}")
    assert [one.step for one in find_checkpoints("all", store, "small")] == steps

    # Elsewhere: a copy of a run's folder, a checkpoint alone, a name without a slash.
    shutil.copytree(river / "runs" / label, tmp_path / "mine" / label)
    [found] = find_checkpoints(str(tmp_path / "mine" / label), store, "small")
    assert (found.run, found.step, found.name) == (None, newest, label)
    [found] = find_checkpoints(f"{tmp_path}/mine/{label}/checkpoints/step-{first:08d}/", store, "small")
    assert (found.run, found.step, found.name) == (None, first, label)
    shutil.copytree(found.path, tmp_path / "small")
    monkeypatch.chdir(tmp_path)
    [found] = find_checkpoints("small", store, "small")
    assert (found.run, found.step, found.name) == (None, None, "small"), "a folder before a run"


def test_a_run_that_is_still_training_and_another_of_its_name(fresh_river: Path) -> None:
    store, label = Store(fresh_river), run_label(fresh_river)
    shutil.copytree(fresh_river / "runs" / label, fresh_river / "runs" / "small-00000000")
    (fresh_river / "runs" / "small-00000000" / "manifest.json").unlink()  # written when a run is finished
    [found] = find_checkpoints("small-0", store, "x")
    assert found.run == "small-00000000"
    assert {one.run for one in find_checkpoints("all", store, "small")} == {label, "small-00000000"}
    with pytest.raises(XmodelError, match=rf"2 runs begin with small(.|\n)*small-00000000, {label}"):
        find_checkpoints("small", store, "small")


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ("smal-1", "there is no checkpoint smal-1"),
        ("small@7", r"no checkpoint of step 7(.|\n)*expected: one of \d+"),
        ("small@", r"of step \(none given\)"),
        ("small@last", "of step last"),
        ("@120", "runs begin with"),
    ],
)
def test_what_names_none(river: Path, wanted: str, message: str) -> None:
    with pytest.raises(XmodelError, match=message):
        find_checkpoints(wanted, Store(river), "small")


def test_all_of_a_recipe_that_has_none(river: Path) -> None:
    with pytest.raises(XmodelError, match="no checkpoint of a run of the recipe quickstart"):
        find_checkpoints("all", Store(river), "quickstart")


def test_an_imported_checkpoint_is_evaluated_where_nothing_was_built(
    river: Path, tmp_path: Path, xmodel: Xmodel
) -> None:
    run, workspace = river / "runs" / run_label(river), tmp_path / "workspace"
    assert xmodel("export", run, tmp_path / "released", "--format", "minicpm").returncode == 0
    assert xmodel("import", tmp_path / "released", tmp_path / "ours").returncode == 0
    only = "evaluation.tasks=[world_cloze_zh, world_cloze_en]"
    done = xmodel("evaluate", SMALL, "--set", only, "--checkpoint", tmp_path / "ours", "--json", workspace=workspace)
    assert done.returncode == 0, done.stderr
    [evaluation] = json.loads(done.stdout)
    assert {path.name for path in workspace.iterdir() if path.is_dir()} == {"raw", "evaluations"}
    scores = rows(workspace, "select * from evals where metric = 'acc' order by task")
    assert [row["task"] for row in scores] == ["world_cloze_en", "world_cloze_zh"]
    for row in scores:
        assert (row["run"], row["step"], row["model"]) == (None, None, evaluation["checkpoint"])
        assert row["model"] == f"ours-{row['checkpoint_sha256'][:8]}"
    # What was exported and imported again answers as the run's own checkpoint did.
    own = rows(river, "select task, value from evals where metric = 'acc' and task like 'world_cloze%' order by task")
    assert own == [{"task": row["task"], "value": row["value"]} for row in scores]
    assert rows(workspace, "select * from books") == []
    board = rows(workspace, "select model, source from leaderboard where metric = 'acc'")
    assert {(row["model"], row["source"]) for row in board} == {(evaluation["checkpoint"], "this workspace")}


def of_step(workspace: Path, step: int) -> Artifact:
    evaluations = Store(workspace).artifacts("evaluations")
    return next(one for one in evaluations if one.manifest()["config"]["step"] == step)


@pytest.mark.slow
def test_checkpoints_of_runs_are_booked_once_each(fresh_river: Path, xmodel: Xmodel) -> None:
    label, steps = run_label(fresh_river), kept_steps(fresh_river)
    before = rows(fresh_river, "select * from evals order by all")
    only = ("evaluate", SMALL, "--set", "evaluation.threads=2", "--checkpoint")
    one = xmodel(*only, f"small@{steps[0]}", workspace=fresh_river)
    assert one.returncode == 0, one.stderr
    assert label in one.stdout and "world_cloze_en" in one.stdout
    assert report_stage.inputs_of(Store(fresh_river))["evaluation"] == of_step(fresh_river, steps[-1])
    every = xmodel(*only, "all", "--json", workspace=fresh_river)
    assert every.returncode == 0, every.stderr
    assert [made["checkpoint"] for made in json.loads(every.stdout)] == [label] * len(steps)
    after = rows(fresh_river, "select * from evals order by all")
    assert {row["step"] for row in after} == set(steps)
    assert [row for row in after if row["step"] == steps[-1]] == before, "the last was evaluated by the run itself"
    assert len({row["checkpoint_sha256"] for row in after}) == len(steps)
    assert len(Store(fresh_river).artifacts("evaluations")) == len(steps)
    assert rows(fresh_river, "select * from books") == []
    # The run's page shows the last step, as before.
    assert xmodel("run", SMALL, workspace=fresh_river).returncode == 0
    assert len(Store(fresh_river).artifacts("reports")) == 1


@pytest.mark.slow
def test_a_wrong_name_is_told_before_a_server_is_started(fresh_river: Path, xmodel_process: Xmodel) -> None:
    done = xmodel_process("evaluate", SMALL, "--checkpoint", "smal-", workspace=fresh_river)
    assert done.returncode == 1
    assert "there is no checkpoint smal-" in done.stderr and "Traceback" not in done.stderr

"""Two training workers on Ray, where one of them is killed, a node goes, a loss is not finite, or the disk is full: the
run goes on by itself, or ends with one message and goes on when it is run again; either way it is, but for times and
rates, bit for bit the run that nothing happened to.
"""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT, command_environment
from tests.ledger.test_full_disk import small_disk
from tests.training.conftest import MODEL, TRAINING, Trained, Workspace, make_workspace
from tests.training.test_training_run import everything
from xmodel_core.artifacts import Store

pytestmark = [pytest.mark.timeout(1800), pytest.mark.xdist_group("ray")]

# Checkpoints at 7, 14, 21, 24, 28, 35 and 36, validation at 12, 24 and 36.
MOMENTS = {
    "before the first checkpoint": ("step", 3, 1),
    "at a validation": ("validation", 12, 1),
    "while a checkpoint is written": ("checkpoint", 14, 0),
    "between checkpoints": ("step", 18, 0),
    "between a checkpoint's rows and its files": ("rows", 28, 0),
    "at the last step": ("step", 36, 1),
    "after the last checkpoint": ("end", 36, 0),
}
"""(moment, step, rank) of what is killed."""


class Ended:
    """How a run ended: what it printed on stdout, and on stderr."""

    def __init__(self, done: subprocess.CompletedProcess[str], workspace: Path) -> None:
        self.code, self.said, self.log, self.workspace = done.returncode, done.stdout, done.stderr, workspace

    def content(self) -> dict[str, Any]:
        (run,) = Store(self.workspace).artifacts("runs")
        return everything(run)


def words_of(workspace: Path, faults: list[dict[str, Any]], address: str | None = None) -> list[str]:
    training = {**TRAINING, "workers": 2}
    settings = {"model": MODEL.model_dump(mode="json"), "training": training, "faults": faults, "address": address}
    return [sys.executable, "-m", "tests.training.faulty_workers", str(workspace), json.dumps(settings)]


def train(workspace: Path, *faults: dict[str, Any]) -> Ended:
    done = subprocess.run(
        words_of(workspace, list(faults)), cwd=ROOT, env=command_environment(), capture_output=True, text=True
    )
    print(done.returncode, done.stdout, done.stderr)
    return Ended(done, workspace)


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Everything of a run of two workers that nothing happens to."""
    root = tmp_path_factory.mktemp("undisturbed")
    make_workspace(Store(root))
    ended = train(root)
    assert (ended.code, ended.said) == (0, "")
    return ended.content()


@pytest.mark.slow
@pytest.mark.parametrize("packing", ["concat", "best-fit"])
def test_two_workers_learn_the_same(
    undisturbed: dict[str, Any], trained_with: Callable[[str], Trained], workspace: Workspace, packing: str
) -> None:
    one = everything(trained_with(packing).run)
    two = undisturbed if packing == "concat" else everything(workspace.train(workers=2, packing=packing))
    for alone, together in zip(one["train_metrics"], two["train_metrics"], strict=True):
        assert alone["loss"] == pytest.approx(together["loss"], abs=1e-3)
    assert two["runs"][0]["world_size"] == 2


def kills(folder: Path, *names: str) -> list[dict[str, Any]]:
    described = [(name, *MOMENTS[name]) for name in names]
    return [
        {"act": "kill", "moment": moment, "step": step, "rank": rank, "marker": str(folder / name)}
        for name, moment, step, rank in described
    ]


@pytest.mark.parametrize(
    "names",
    [
        pytest.param(["while a checkpoint is written"], marks=pytest.mark.slow, id="one"),
        pytest.param(list(MOMENTS), marks=pytest.mark.exhaustive, id="seven in one run"),
    ],
)
def test_a_killed_worker_is_replaced_and_changes_no_bit(
    undisturbed: dict[str, Any], workspace: Workspace, tmp_path: Path, names: list[str]
) -> None:
    ended = train(tmp_path, *kills(tmp_path, *names))
    assert ended.code == 0, ended.log
    assert all((tmp_path / name).exists() for name in names)
    assert ended.log.count("training goes on from its newest checkpoint") == len(names)
    assert "Traceback" not in ended.log and ended.said == ""  # Ray itself would print a node's state
    assert ended.content() == undisturbed


@pytest.mark.exhaustive
def test_a_worker_that_dies_each_time_at_one_step_ends_with_one_message(workspace: Workspace, tmp_path: Path) -> None:
    ended = train(tmp_path, {"act": "kill", "moment": "step", "step": 10, "rank": 1})
    assert ended.code == 1 and ended.said.startswith("a training worker was lost")
    assert "Traceback" not in ended.said + ended.log


@contextmanager
def ray_nodes(count: int) -> Iterator[subprocess.Popen[str]]:
    words = [sys.executable, "-m", "tests.training.ray_nodes", str(count)]
    with subprocess.Popen(
        words, cwd=ROOT, env=command_environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process
        finally:
            assert process.stdin is not None
            process.stdin.close()
            process.wait()


@pytest.mark.exhaustive
def test_a_node_that_goes_is_replaced_by_another(
    undisturbed: dict[str, Any], workspace: Workspace, tmp_path: Path
) -> None:
    marker = tmp_path / "marker"
    fault = {"act": "wait", "moment": "step", "step": 17, "rank": 1, "marker": str(marker)}
    with ray_nodes(3) as nodes:
        assert nodes.stdin is not None and nodes.stdout is not None
        words = words_of(tmp_path, [fault], nodes.stdout.readline().strip())
        run = subprocess.Popen(
            words, cwd=ROOT, env=command_environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        while not (marker.exists() and marker.read_text()) and run.poll() is None:
            time.sleep(0.1)
        nodes.stdin.write(f"{marker.read_text()}\n")
        nodes.stdin.flush()
        said, log = run.communicate()
        print(said, log)
        ended = Ended(subprocess.CompletedProcess(words, run.returncode, said, log), tmp_path)
    assert ended.code == 0
    assert ended.log.count("training goes on from its newest checkpoint") == 1
    assert "Traceback" not in ended.log and ended.said == ""  # Ray itself would print a node's state
    assert ended.content() == undisturbed


@pytest.mark.exhaustive
def test_a_loss_that_is_not_finite_in_one_worker_ends_the_run_by_name(
    undisturbed: dict[str, Any], workspace: Workspace, tmp_path: Path
) -> None:
    ended = train(tmp_path, {"act": "diverge", "moment": "step", "step": 17, "rank": 1})
    assert ended.code == 1 and ended.said.startswith("training diverged") and "step 17" in ended.said
    assert "Traceback" not in ended.said + ended.log
    assert train(tmp_path).content() == undisturbed


@pytest.mark.exhaustive
@pytest.mark.parametrize(("moment", "step", "room"), [("step", 10, 0), ("checkpoint", 14, 0), ("step", 17, 20_000)])
def test_a_full_disk_is_one_message_and_with_room_the_run_goes_on(
    undisturbed: dict[str, Any], tmp_path: Path, moment: str, step: int, room: int
) -> None:
    with small_disk(tmp_path / "disk", 16 << 20) as disk:
        make_workspace(Store(disk))
        ballast = disk / "ballast"
        fault = {"act": "full", "moment": moment, "step": step, "rank": 0, "ballast": str(ballast), "room": room}
        ended = train(disk, fault)
        assert ended.code == 1 and ended.said.startswith("the disk is full")
        assert f"where: {disk}" in ended.said and "0 MiB free" in ended.said
        assert "Traceback" not in ended.said + ended.log
        ballast.unlink()
        again = train(disk)
        assert again.code == 0
        assert again.content() == undisturbed

"""SIGTERM and SIGINT at chosen moments of a run, one after another in one workspace: each ends it with its exit code,
one line and the checkpoint of the step reached; the run that is left alone then gives the bytes and the books of the
undisturbed one.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.conftest import ROOT, command_environment
from tests.river.conftest import SMALL
from tests.river.test_kill import data_of
from xmodel_core.artifacts import open_folder
from xmodel_core.artifacts.lease import lease_holder
from xmodel_core.training.stage import cpp_compiler

pytestmark = [pytest.mark.timeout(1800), pytest.mark.xdist_group("river")]

STAGES_FROM_THE_TOKENIZER = ("tokenizer", "shards", "plans", "runs", "evaluations", "reports")
CODES = {"SIGINT": 130, "SIGTERM": 143}
NO_CHECKPOINT = "finished stages are kept; run the same command again to continue"
SAVED = r"small-[0-9a-f]{8} is saved at step (\d+) of 120; run the same command again to continue"
TRAINED = r"small-[0-9a-f]{8} is trained to its end; run the same command again to continue"
COMMIT, SEAL = "xmodel_core.artifacts.store:Build.commit", "xmodel_core.training.checkpoint.save:seal"


@dataclass(frozen=True)
class Moment:
    """Signals of one run of the command, and what it says at its end; see `signalled`. The last signal is the one."""

    name: str
    signals: tuple[tuple[str, str, int], ...]
    says: str


# Checkpoints at 50, 80 (a phase's end), 100 and 120; validation at 60, 80 and 120.
MOMENTS = [
    Moment("the tokenizer is trained, not in place", (("SIGTERM", COMMIT, 1),), NO_CHECKPOINT),
    Moment("worker processes encode", (("SIGTERM", "xmodel_core.progress:_PlainBar.advance", 2),), NO_CHECKPOINT),
    Moment("the lease is taken", (("SIGTERM", "xmodel_core.training.stop:run_stoppable", 1),), NO_CHECKPOINT),
    Moment("the training's thread starts", (("SIGTERM", "xmodel_core.cluster.session:Cluster.train", 1),), SAVED),
    Moment("a model is loaded", (("SIGTERM", "xmodel_core.training.loop:make_optimizer", 1),), SAVED),
    Moment("between checkpoints", (("SIGTERM", "step", 20),), SAVED),
    Moment("a checkpoint is written", (("SIGTERM", SEAL, 1),), SAVED),
    Moment("validation", (("SIGTERM", "xmodel_core.training.loop:validate", 1),), SAVED),
    Moment("Ctrl-C", (("SIGINT", "step", 70),), SAVED),
    Moment("again while it is being saved", (("SIGTERM", "step", 84), ("SIGTERM", SEAL, 1)), NO_CHECKPOINT),
    Moment("the last steps", (("SIGTERM", "step", 118),), f"{SAVED}|{TRAINED}"),
    Moment("the run is put in place", (("SIGTERM", COMMIT, 1),), NO_CHECKPOINT),
    Moment("there is nothing left to train", (("SIGTERM", "xmodel_core.cluster.session:Cluster.train", 1),), TRAINED),
]


def command(workspace: Path, moment: Moment | None, *more: str) -> subprocess.CompletedProcess[str]:
    words = ["pretrain", str(SMALL), "--workspace", str(workspace), *more]
    done = subprocess.run(
        [sys.executable, "-m", "tests.river.signalled", json.dumps(moment.signals if moment else []), *words],
        cwd=ROOT,
        env=command_environment(),
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        start_new_session=True,  # a group of its own
    )
    print(moment and moment.name, done.returncode, done.stdout, done.stderr)
    return done


def command_on_ray(workspace: Path, number: int, group: bool, until: str) -> tuple[int, str]:
    """Trains with two workers; the signal comes when a file `until` is there, to the process, or to all of its group as
    Ctrl-C in a terminal. Gives its exit code and what it said."""
    words = ["pretrain", str(SMALL), "--workspace", str(workspace), "--set", "training.workers=2"]
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.river.signalled", "[]", *words],
        cwd=ROOT,
        env=command_environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    while number and process.poll() is None and not list(workspace.glob(until)):
        time.sleep(0.01)
    if number and process.poll() is None:
        (os.killpg if group else os.kill)(process.pid, number)
    said, _ = process.communicate()
    print(process.returncode, said)
    return process.returncode, said


def checkpoints(workspace: Path) -> list[int]:
    return sorted(
        int(path.parent.name.removeprefix("step-"))
        for path in workspace.glob("runs/*/checkpoints/step-*/manifest.json")
    )


def stopped_as_promised(workspace: Path, moment: Moment, *more: str) -> None:
    before = checkpoints(workspace)
    done = command(workspace, moment, *more)
    assert done.returncode == CODES[moment.signals[-1][0]]
    assert done.stdout.count("signalled at step") == len(moment.signals)
    said = [line for line in done.stderr.splitlines() if line.startswith("xmodel:")]
    word = "interrupted" if done.returncode == 130 else "terminated"
    assert len(said) == 1 and done.stderr.splitlines()[-1] == said[0] and "Traceback" not in done.stderr
    found = re.fullmatch(f"xmodel: {word}; (?:{moment.says})", said[0])
    assert found, said
    after = checkpoints(workspace)
    if step := next((group for group in found.groups() if group), None):  # where it is saved
        reached = int(done.stdout.split()[-1])
        assert after[-1] == int(step) >= max(reached, *before, 1)
    if not moment.signals[1:]:  # where it is not allowed to finish, the next run removes what is left
        assert not list(workspace.glob("runs/*/.partial/*"))
    for run in workspace.glob("runs/*"):
        assert lease_holder(open_folder(run)) is None and not (run / "stop").exists()


@pytest.mark.parametrize(
    "names",
    [
        pytest.param(["between checkpoints"], marks=pytest.mark.slow, id="one"),
        pytest.param([moment.name for moment in MOMENTS], marks=pytest.mark.exhaustive, id="all"),
    ],
)
def test_signals_stop_a_run_and_change_no_bit(
    river: Path, tmp_path: Path, ledger_of: Callable[[Path], dict[str, list[tuple]]], names: list[str]
) -> None:
    workspace = tmp_path / "workspace"
    gone = STAGES_FROM_THE_TOKENIZER if len(names) == len(MOMENTS) else STAGES_FROM_THE_TOKENIZER[3:]
    shutil.copytree(river, workspace, symlinks=True, ignore=shutil.ignore_patterns(*gone, "ledger*"))
    for moment in MOMENTS:
        if moment.name in names:
            stopped_as_promised(workspace, moment)
    assert command(workspace, None).returncode == 0
    assert not list(workspace.rglob("*~*"))
    expected, data = data_of(river), data_of(workspace)
    # Which older checkpoints are kept depends on where it stopped.
    wanted = {name for name in expected if "/checkpoints/" not in name or "/step-00000120/" in name}
    assert wanted <= data.keys()
    assert [name for name in data if data[name] != expected.get(name, data[name])] == []
    tables, expected_tables = ledger_of(workspace), ledger_of(river)
    for table in ("train_metrics", "consumed", "validation"):
        assert tables[table] == expected_tables[table] != []


@pytest.mark.exhaustive
@pytest.mark.skipif(cpp_compiler() is None, reason="compiling needs a C++ compiler")
def test_a_signal_while_it_compiles_changes_no_bit(river: Path, tmp_path: Path) -> None:
    undisturbed, workspace = tmp_path / "undisturbed", tmp_path / "workspace"
    for copy in (undisturbed, workspace):
        shutil.copytree(river, copy, ignore=shutil.ignore_patterns(*STAGES_FROM_THE_TOKENIZER[3:], "ledger*"))
    compiled = ("--set", "training.compile=true")
    assert command(undisturbed, None, *compiled).returncode == 0
    moment = Moment("it compiles", (("SIGTERM", "torch._inductor.compile_fx:compile_fx", 1),), SAVED)
    stopped_as_promised(workspace, moment, *compiled)
    assert command(workspace, None, *compiled).returncode == 0
    (final,) = undisturbed.glob("runs/*/checkpoints/step-00000120")
    for name in ("model.safetensors", "optimizer.pt"):
        assert (final / name).read_bytes() == (workspace / final.relative_to(undisturbed) / name).read_bytes()


@pytest.mark.exhaustive
@pytest.mark.xdist_group("ray")
def test_signals_stop_two_workers_on_ray_and_change_no_bit(
    river: Path, tmp_path: Path, ledger_of: Callable[[Path], dict[str, list[tuple]]]
) -> None:
    undisturbed, workspace = tmp_path / "undisturbed", tmp_path / "workspace"
    for copy in (undisturbed, workspace):
        shutil.copytree(river, copy, ignore=shutil.ignore_patterns(*STAGES_FROM_THE_TOKENIZER[3:], "ledger*"))
    assert command_on_ray(undisturbed, 0, False, "")[0] == 0
    steps = []
    for number, group, until in (
        (signal.SIGINT, True, "runs/*/metrics/runs/run.parquet"),
        (signal.SIGTERM, False, "runs/*/checkpoints/step-00000050"),
    ):
        code, said = command_on_ray(workspace, number, group, until)
        assert code == CODES[signal.Signals(number).name] and "Traceback" not in said
        found = re.fullmatch(f"xmodel: (?:interrupted|terminated); {SAVED}", said.splitlines()[-1])
        assert found and checkpoints(workspace)[-1] == int(found.group(1))
        steps.append(int(found.group(1)))
    assert steps[0] < steps[1] and steps[1] >= 50
    assert command_on_ray(workspace, 0, False, "")[0] == 0
    final = "runs/*/checkpoints/step-00000120/*"
    sides = [{path.name: path.read_bytes() for path in sorted(of.glob(final))} for of in (workspace, undisturbed)]
    for name in ("model.safetensors", "optimizer.pt"):
        assert sides[0][name] == sides[1][name]
    tables, expected = ledger_of(workspace), ledger_of(undisturbed)
    for table in ("train_metrics", "consumed", "validation"):
        assert tables[table] == expected[table] != []

"""kill -9 of the whole process group, at moments spread over a run: the next run ends 0, with the same bytes.

Documents, tokenizer, shards and token stream are byte for byte those of an unbroken run, the ledger row
for row but for times and rates, the final weights bitwise.
"""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

SMALL = Path(__file__).with_name("small.yaml")
MOMENTS = int(os.environ.get("XMODEL_KILL_MOMENTS", "4"))
STEPS = os.environ.get("XMODEL_KILL_STEPS", "300")
OVERRIDES = [f"training.stable_steps={STEPS}", "training.checkpoint_every_steps=50"]


def start(workspace: Path, home: Path) -> subprocess.Popen[bytes]:
    words = [sys.executable, "-m", "flows.cli", "run", str(SMALL), "--workspace", str(workspace)]
    for override in OVERRIDES:
        words += ["--set", override]
    environment = {**os.environ, "PREFECT_HOME": str(home)}
    with workspace.with_suffix(".log").open("ab") as log:
        return subprocess.Popen(
            words, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, env=environment
        )


def finish(workspace: Path, home: Path) -> None:
    code = start(workspace, home).wait()
    assert code == 0, workspace.with_suffix(".log").read_text()[-3000:]


def killed(workspace: Path, home: Path, after_seconds: float) -> bool:
    """Starts a run and kills its process group; False where the run was over before."""
    process = start(workspace, home)
    try:
        process.wait(after_seconds)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        return True
    assert process.returncode == 0, workspace.with_suffix(".log").read_text()[-3000:]
    return False


def data_of(workspace: Path) -> dict[str, bytes]:
    """Every byte that the second promise covers: data files and the final weights."""
    found = {}
    for kind in ("raw", "corpus", "tokenizer", "shards", "plans", "runs"):
        for path in sorted((workspace / kind).rglob("*")):
            named = path.relative_to(workspace).as_posix()
            # Manifests, receipts and states hold times; of the JSON files only the plan itself is data.
            times = path.suffix == ".json" and (path.name != "plan.json" or path.parent.name == "receipts")
            if path.is_file() and not times and "/metrics/" not in named and not path.name.startswith("."):
                found[named] = path.read_bytes()
    return found


@pytest.mark.slow
@pytest.mark.timeout(3000)
def test_killed_anywhere_the_next_run_is_the_unbroken_one(tmp_path: Path, ledger_of) -> None:
    whole, home = tmp_path / "whole", tmp_path / "prefect"
    started = time.monotonic()
    finish(whole, home)
    seconds = time.monotonic() - started
    expected_data, expected_ledger = data_of(whole), ledger_of(whole)
    assert any(name.endswith(".safetensors") for name in expected_data)
    for moment in range(MOMENTS):
        seconds_of_this = seconds * (moment + 0.5) / MOMENTS
        broken = tmp_path / f"broken-{moment}"
        while not killed(broken, home, after_seconds=seconds_of_this):
            # Faster than the unbroken run, which came first and met a cold machine: again, and earlier.
            shutil.rmtree(broken)
            seconds_of_this *= 0.8
        finish(broken, home)
        data = data_of(broken)
        assert data.keys() == expected_data.keys()
        assert [name for name in data if data[name] != expected_data[name]] == []
        ledger = ledger_of(broken)
        assert {t: r for t, r in ledger.items() if r != expected_ledger[t]} == {}
        print(f"killed at {seconds_of_this:.0f} of {seconds:.0f} s: the same")

"""kill -9 of the whole process group, once at each milestone of a run, in one workspace: the last run ends 0, with the
same bytes as the unbroken one.

Documents, tokenizer, shards and token stream are byte for byte those of an unbroken run, the ledger row
for row but for times and rates, the final weights bitwise.
"""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.conftest import command_environment
from tests.river.conftest import SMALL

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800), pytest.mark.xdist_group("river")]
MILESTONES = {
    "the first files are scanned": ("scans/*/receipts/*.json", 1),
    "near copies are known": ("pairs/*/manifest.json", 1),
    "the tokenizer is trained": ("tokenizer/*/manifest.json", 1),
    "the first checkpoint": ("runs/*/checkpoints/step-*", 1),
    "the second checkpoint": ("runs/*/checkpoints/step-*", 2),
    "the model is trained": ("runs/*/manifest.json", 1),
}
"""What is there in the workspace, and how often, at the moments of the kills; the river has work left at each."""


def reached(workspace: Path) -> list[str]:
    return [name for name, (pattern, count) in MILESTONES.items() if len(list(workspace.glob(pattern))) >= count]


def run_to_next_milestone(workspace: Path, home: Path) -> int:
    """Starts a run and kills it at the first milestone that was not reached before; the exit code of the command."""
    before = reached(workspace)
    words = [sys.executable, "-m", "flows.cli", "run", str(SMALL), "--workspace", str(workspace)]
    with workspace.with_suffix(".log").open("ab") as log:
        process = subprocess.Popen(
            words,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            env=command_environment(PREFECT_HOME=str(home)),
        )
        try:
            while process.poll() is None and reached(workspace) == before:
                time.sleep(0.01)
        finally:
            if len(before) < len(MILESTONES) and process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
        return process.wait()


def data_of(workspace: Path) -> dict[str, bytes]:
    """Every byte that the second promise covers: data files and the final weights."""
    data = {}
    for kind in ("raw", "corpus", "tokenizer", "shards", "plans", "runs"):
        for path in sorted((workspace / kind).rglob("*")):
            relative = path.relative_to(workspace).as_posix()
            # Manifests, receipts and states hold times; of the JSON files only the plan itself is data.
            times = path.suffix == ".json" and (path.name != "plan.json" or path.parent.name == "receipts")
            if path.is_file() and not times and "/metrics/" not in relative and not path.name.startswith("."):
                data[relative] = path.read_bytes()
    return data


def test_killed_again_and_again_the_last_run_is_the_unbroken_one(river: Path, tmp_path: Path, ledger_of) -> None:
    broken = tmp_path / "broken"
    codes = []
    while not codes or codes[-1] != 0:
        codes.append(run_to_next_milestone(broken, tmp_path / "prefect"))
        print(codes[-1], reached(broken))
        assert codes[-1] in (-signal.SIGKILL, 0), broken.with_suffix(".log").read_text()[-3000:]
    # Milestones may fall together on a busy machine, but not all of them.
    assert codes.count(-signal.SIGKILL) >= len(MILESTONES) - 2
    expected = data_of(river)
    assert any(name.endswith(".safetensors") for name in expected)
    data = data_of(broken)
    assert data.keys() == expected.keys()
    assert [name for name in data if data[name] != expected[name]] == []
    ledger, expected_ledger = ledger_of(broken), ledger_of(river)
    assert {table: rows for table, rows in ledger.items() if rows != expected_ledger[table]} == {}

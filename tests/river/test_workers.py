"""One worker, two processes or two on Ray, one of them killed half-way: the same bytes and the same ledger.

Through the real command, on a world in many small files. A killed worker needs nobody: the same command ends 0.
"""

import json
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from tests.conftest import Xmodel, command_environment
from tests.river.conftest import SMALL
from xmodel_core.corpus.measure.scan_task import run_scan_task
from xmodel_core.ledger.query import run_query

# Files enough that every scan of a chronicle is spread, and large enough that a worker can be met at work.
WORLD = ["sample_world.documents=2400", "sample_world.documents_per_file=60"]
KINDS = ("raw", "benchmarks", "scans", "rescans", "pairs", "corpus")
TIMES = ("created_at", "seconds", "seal")
pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800), pytest.mark.xdist_group("workers")]


@dataclass(frozen=True)
class Built:
    workspace: Path
    log: str
    killed: str
    """The command line of what was killed half-way; empty where nothing was."""
    left: list[psutil.Process]
    """Processes that outlived the command."""


def words_of(kind: str, workers: int) -> list[object]:
    overrides = (*WORLD, f"cluster.kind={kind}", f"cluster.workers={workers}")
    return ["xdata-build", SMALL, *(word for override in overrides for word in ("--set", override))]


def build_and_kill(workspace: Path, kind: str, workers: int) -> Built:
    """Runs `xmodel xdata-build` to its end; a worker gets SIGKILL in the middle of the first scan."""
    words = [sys.executable, "-m", "flows.cli", *words_of(kind, workers), "--workspace", workspace]
    seen: set[psutil.Process] = set()
    killed, log = "", workspace.with_suffix(".log")
    with log.open("wb") as stream:
        process = subprocess.Popen(
            list(map(str, words)),
            env=command_environment(),
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=stream,
        )
        while process.poll() is None:
            seen |= set(_descendants(process.pid))
            if not killed and _half_way(workspace):
                killed = _kill_one_at_work(process.pid, kind)
            time.sleep(0.5 if killed else 0.02)
    assert process.returncode == 0, log.read_text()[-3000:]
    _, left = psutil.wait_procs(seen, timeout=20)
    return Built(workspace, log.read_text(), killed, left)


def _descendants(process: int) -> list[psutil.Process]:
    try:
        return psutil.Process(process).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def _half_way(workspace: Path) -> bool:
    """Some files of a source are scanned, and some are not."""
    return any(
        any((scan / "receipts").glob("*.json")) and not (scan / "manifest.json").exists()
        for scan in workspace.glob("scans/*")
    )


def _kill_one_at_work(parent: int, kind: str) -> str:
    """The command line of the worker that was killed in the middle of a file; empty where none was met at work."""
    for process in _descendants(parent):
        try:
            if not _scans(process, kind):
                continue
            process.suspend()  # it may have finished since: only one that stands still can be looked at
            if _scans(process, kind):
                process.send_signal(signal.SIGKILL)
                return " ".join(process.cmdline()).strip() or kind
            process.resume()
        except psutil.NoSuchProcess:
            continue
    return ""


def _scans(process: psutil.Process, kind: str) -> bool:
    if kind == "ray":
        return process.cmdline()[:1] == [
            f"ray::{run_scan_task.__name__}"
        ]  # what Ray calls a worker while it runs this function
    # A worker of the pool is a child of the fork server; at work it writes aside, into a folder named after it.
    server = process.parent()
    return server is not None and "forkserver" in " ".join(server.cmdline()) and bool(_asides(process.pid))


def _asides(process: int) -> list[str]:
    descriptors = Path(f"/proc/{process}/fd")
    return [link for fd in descriptors.iterdir() if f"~{process}~" in (link := _target(fd))]


def _target(descriptor: Path) -> str:
    try:
        return str(descriptor.readlink())
    except OSError:
        return ""


def data_of(workspace: Path) -> dict[str, bytes]:
    """Every file of every artifact; of receipts and manifests everything but times."""
    contents = {}
    for path in sorted(path for kind in KINDS for path in (workspace / kind).rglob("*") if path.is_file()):
        content = path.read_bytes()
        if path.parent.name == "receipts" or path.name == "manifest.json":
            content = json.dumps({k: v for k, v in json.loads(content).items() if k not in TIMES}).encode()
        contents[path.relative_to(workspace).as_posix()] = content
    return contents


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory, xmodel: Xmodel) -> Path:
    """The workspace of one worker, which is the command itself."""
    workspace = tmp_path_factory.mktemp("workers") / "alone"
    done = xmodel(*words_of("local", 1), workspace=workspace)
    assert done.returncode == 0, done.stderr
    return workspace


def test_one_worker_spreads_nothing_and_closes_the_books(alone: Path, ledger_of) -> None:
    parquet = [name for name in data_of(alone) if name.endswith(".parquet")]
    assert len([name for name in parquet if name.startswith("scans/zh_chronicle")]) > 8
    assert any("/documents/" in name for name in parquet)
    assert any("/dropped/" in name for name in parquet)
    assert len(ledger_of(alone)["document_flow"]) > 50
    assert run_query(alone, "@books")[1] == []


@pytest.mark.parametrize("kind", ["local", "ray"])
def test_two_workers_one_killed_half_way_change_no_byte(kind: str, alone: Path, tmp_path: Path, ledger_of) -> None:
    built = build_and_kill(tmp_path / kind, kind, 2)
    assert built.killed, "the run was over before a worker could be killed"
    assert "Traceback" not in built.log
    assert built.left == []
    data, expected = data_of(built.workspace), data_of(alone)
    assert data.keys() == expected.keys()
    assert [name for name in data if data[name] != expected[name]] == []
    ledger, expected_ledger = ledger_of(built.workspace), ledger_of(alone)
    assert {table: rows for table, rows in ledger.items() if rows != expected_ledger[table]} == {}
    assert run_query(built.workspace, "@books")[1] == []

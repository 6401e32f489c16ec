"""The lease on a run's folder: one training at a time; the lock between processes: one holder at a time."""

import json
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest

from xmodel_core.artifacts import LocalFolder
from xmodel_core.artifacts.lock import exclusive, lease
from xmodel_core.errors import XmodelError


def held_by(folder: Path, **changes: object) -> None:
    holder = {"host": socket.gethostname(), "process": 1, "process_started": 0.0, "heartbeat": time.time()}
    (folder / "lease.json").write_text(json.dumps({**holder, **changes}))


def test_a_live_process_of_this_host_keeps_it(tmp_path: Path) -> None:
    other = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        held_by(tmp_path, process=other.pid, process_started=psutil.Process(other.pid).create_time())
        with pytest.raises(XmodelError, match=str(other.pid)), lease(LocalFolder(tmp_path)):
            pass
    finally:
        other.communicate(b"\n")


def test_a_dead_process_of_this_host_is_taken_over_at_once(tmp_path: Path) -> None:
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    held_by(tmp_path, process=dead.pid)
    with lease(LocalFolder(tmp_path)):
        assert json.loads((tmp_path / "lease.json").read_text())["process"] != dead.pid
    assert not (tmp_path / "lease.json").exists()


def test_a_process_number_used_again_is_no_holder(tmp_path: Path) -> None:
    other = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        held_by(tmp_path, process=other.pid, process_started=psutil.Process(other.pid).create_time() - 3600)
        with lease(LocalFolder(tmp_path)):
            pass
    finally:
        other.communicate(b"\n")


@pytest.mark.parametrize(("silent_seconds", "taken"), [(10, False), (600, True)])
def test_another_host_is_given_two_minutes(tmp_path: Path, silent_seconds: int, taken: bool) -> None:
    held_by(tmp_path, host="elsewhere", heartbeat=time.time() - silent_seconds)
    if taken:
        with lease(LocalFolder(tmp_path)):
            pass
    else:
        with pytest.raises(XmodelError, match="elsewhere"), lease(LocalFolder(tmp_path)):
            pass


def test_a_lock_has_one_holder_at_a_time_and_outlives_no_process(tmp_path: Path) -> None:
    file = tmp_path / "new folder" / ".lock"
    script = "import sys, pathlib; from xmodel_core.artifacts.lock import exclusive\n"
    script += "with exclusive(pathlib.Path(sys.argv[1])): print('held', flush=True); input()"
    other = subprocess.Popen([sys.executable, "-c", script, file], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert other.stdout is not None and other.stdin is not None
    assert other.stdout.readline() == b"held\n"
    order: list[str] = []

    def wait_for_it() -> None:
        with exclusive(file):
            order.append("taken")

    thread = threading.Thread(target=wait_for_it)
    thread.start()
    thread.join(timeout=0.2)
    order.append("killed")
    other.kill()
    thread.join(timeout=60)
    other.communicate()
    assert order == ["killed", "taken"]

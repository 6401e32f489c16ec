"""The lease on a run's folder: one holder at a time, whatever the race, the pause, the error or the store."""

import errno
import json
import os
import pickle
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from tests.artifacts.conditional_store import conditional_store
from xmodel_core.artifacts import LocalFolder, open_folder
from xmodel_core.artifacts import lease as lease_module
from xmodel_core.artifacts.lease import LEASE, lease, lease_holder
from xmodel_core.artifacts.process import ProcessId, this_process
from xmodel_core.errors import XmodelError

HOLD = """
import sys, pathlib
from xmodel_core.artifacts import LocalFolder
from xmodel_core.artifacts.lease import lease
with lease(LocalFolder(pathlib.Path(sys.argv[1])), float(sys.argv[2]), float(sys.argv[3])) as held:
    print("held", flush=True)
    for line in sys.stdin:
        held.check()
        print("checked", flush=True)
"""


class Other:
    """Another process that takes the lease and checks it when told."""

    def __init__(self, folder: Path, beat_seconds: float = 15.0, silent_after_seconds: float = 120.0) -> None:
        words = [sys.executable, "-c", HOLD, str(folder), str(beat_seconds), str(silent_after_seconds)]
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(words, stdin=pipe, stdout=pipe, stderr=pipe, text=True)
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "held\n"

    def check(self) -> str:
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return self.process.stdout.readline()


@pytest.fixture
def other(tmp_path: Path) -> Iterator[Callable[..., Other]]:
    started: list[Other] = []

    def start(*seconds: float) -> Other:
        started.append(Other(tmp_path, *seconds))
        return started[-1]

    yield start
    for each in started:
        each.process.kill()
        each.process.communicate()


def written(folder: Path, owner: ProcessId, heartbeat_age: float = 0.0) -> None:
    """A lease as another process leaves it."""
    record = {**asdict(owner), "token": "theirs", "heartbeat": time.time() - heartbeat_age}
    (folder / LEASE).write_text(json.dumps(record))


def test_it_names_its_holder_and_is_gone_afterwards(tmp_path: Path) -> None:
    folder = LocalFolder(tmp_path)
    with lease(folder) as held:
        record = json.loads((tmp_path / LEASE).read_text())
        holder = lease_holder(folder)
        assert (record["host"], record["process"]) == (socket.gethostname(), os.getpid())
        assert holder is not None and (holder.host, holder.process) == (socket.gethostname(), os.getpid())
        pickle.loads(pickle.dumps(held)).check()  # noqa: S301 - a worker of it, anywhere, may ask
    assert not (tmp_path / LEASE).exists() and lease_holder(folder) is None
    with pytest.raises(XmodelError, match="no lease"):
        held.check()


def test_a_live_process_keeps_it_and_a_killed_one_is_taken_over_at_once(
    tmp_path: Path, other: Callable[..., Other]
) -> None:
    first = other()
    named = rf"trained already(.|\n)*process {first.process.pid}"
    with pytest.raises(XmodelError, match=named), lease(LocalFolder(tmp_path)):
        pass
    assert first.check() == "checked\n", "a refused taker has changed nothing"
    first.process.kill()  # not waited for: a zombie holds nothing
    os.waitid(os.P_PID, first.process.pid, os.WEXITED | os.WNOWAIT)
    with lease(LocalFolder(tmp_path)) as held:
        held.check()


def test_threads_of_one_process_exclude_each_other(tmp_path: Path) -> None:
    begin, inside, most, granted = threading.Barrier(8), [0], [0], [0]

    def take() -> None:
        begin.wait()
        try:
            with lease(LocalFolder(tmp_path)):
                granted[0] += 1
                inside[0] += 1
                most[0] = max(most[0], inside[0])
                time.sleep(0.05)
                inside[0] -= 1
        except XmodelError as error:
            assert "trained already" in str(error)

    threads = [threading.Thread(target=take) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert granted[0] >= 1 and most == [1]


def test_what_this_process_could_not_remove_is_free_for_it(tmp_path: Path) -> None:
    written(tmp_path, this_process())
    with lease(LocalFolder(tmp_path)) as held:
        held.check()


@pytest.mark.parametrize("changes", [{"started": "1"}, {"process": 2**22 + 1}])
def test_a_process_number_used_again_is_no_holder(tmp_path: Path, changes: dict[str, Any]) -> None:
    written(tmp_path, ProcessId(**{**asdict(this_process()), "process": os.getppid(), **changes}))
    with lease(LocalFolder(tmp_path)):
        pass


@pytest.mark.parametrize("elsewhere", [{"host": "elsewhere"}, {"machine": "another boot or container"}])
@pytest.mark.parametrize(("silent_seconds", "taken"), [(10, False), (600, True)])
def test_another_machine_is_given_two_minutes(
    tmp_path: Path, elsewhere: dict[str, str], silent_seconds: int, taken: bool
) -> None:
    written(tmp_path, ProcessId(**{**asdict(this_process()), "process": 1, **elsewhere}), silent_seconds)
    assert (lease_holder(LocalFolder(tmp_path)) is None) == taken
    if taken:
        with lease(LocalFolder(tmp_path)) as held:
            held.check()
    else:
        with pytest.raises(XmodelError, match="trained already"), lease(LocalFolder(tmp_path)):
            pass


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b'{"host": "elsewhere"}', b"\xff\xfe"])
def test_a_damaged_lease_is_nobody_s(tmp_path: Path, data: bytes) -> None:
    (tmp_path / LEASE).write_bytes(data)
    with lease(LocalFolder(tmp_path)):
        pass


def test_a_holder_paused_for_longer_than_the_timeout_finds_out_before_it_writes(
    tmp_path: Path, other: Callable[..., Other]
) -> None:
    sleeper = other(0.1, 0.5)
    os.kill(sleeper.process.pid, signal.SIGSTOP)
    time.sleep(0.8)
    with lease(LocalFolder(tmp_path), 0.1, 0.5) as held:
        os.kill(sleeper.process.pid, signal.SIGCONT)
        assert sleeper.check() == ""
        _, message = sleeper.process.communicate()
        assert f"process {os.getpid()}" in message and "belongs to another process now" in message
        held.check()  # and it has neither overwritten nor removed ours


def test_a_paused_holder_whom_nobody_followed_goes_on(tmp_path: Path, other: Callable[..., Other]) -> None:
    sleeper = other(0.1, 0.5)
    os.kill(sleeper.process.pid, signal.SIGSTOP)
    time.sleep(0.8)
    os.kill(sleeper.process.pid, signal.SIGCONT)
    assert sleeper.check() == "checked\n"
    with pytest.raises(XmodelError, match="trained already"), lease(LocalFolder(tmp_path), 0.1, 0.5):
        pass


class Failing(LocalFolder):
    """A disk on which writes fail for a while."""

    failing = False

    def exchange(self, name: str, old: bytes | None, new: bytes | None) -> bool:
        if Failing.failing:
            raise OSError(errno.ENOSPC, "No space left on device")
        return super().exchange(name, old, new)


def test_the_heartbeat_survives_every_error(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with lease(Failing(tmp_path), 0.02):
        Failing.failing = True
        time.sleep(0.2)
        Failing.failing = False
        began = time.time()
        while json.loads((tmp_path / LEASE).read_text())["heartbeat"] < began:
            assert time.time() - began < 30, "no heartbeat after the error"
            time.sleep(0.01)
    warnings = [record.message for record in caplog.records if "no heartbeat" in record.message]
    assert len(warnings) == 1 and "No space left" in warnings[0]


@pytest.mark.slow
def test_on_a_store_with_conditional_writes_one_of_many_gets_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with conditional_store(monkeypatch) as store:
        folder = open_folder("s3://bucket/work")
        began, granted, refused = threading.Barrier(6), [], []

        def take() -> None:
            began.wait()
            try:
                with lease(folder, 0.05):
                    granted.append(store.objects["bucket/work/lease.json"])
                    time.sleep(0.3)  # over some heartbeats
            except XmodelError as error:
                refused.append(str(error))

        threads = [threading.Thread(target=take) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(granted) == 1 and len(refused) == 5 and store.objects == {}
        assert "advisory" not in caplog.text
        # A silent one is taken over, on the condition that it is still the one that was silent.
        with lease(folder) as silent:
            record = json.loads(store.objects["bucket/work/lease.json"])
            old = json.dumps({**record, "host": "elsewhere", "heartbeat": time.time() - 600}).encode()
            assert folder.exchange(LEASE, json.dumps(record).encode(), old)
            with lease(folder) as held:
                with pytest.raises(XmodelError, match="belongs to another process now"):
                    silent.check()
                held.check()


def test_where_the_store_ignores_conditions_it_says_so(
    object_store: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(lease_module, "SETTLE_SECONDS", 0.1)
    folder = open_folder("s3://bucket/work")
    with lease(folder) as held:
        held.check()
        assert folder.names("*") == [LEASE]
        with pytest.raises(XmodelError, match="trained already"), lease(folder):
            pass
    assert folder.names("*") == []
    assert "advisory" in caplog.text

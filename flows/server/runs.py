"""The processes of flow runs, found by their environment; runs whose process is gone; runs that are stopped.

Takes the server's address; gives its runs on this machine, whichever worker started them. A worker that was killed
leaves its runs alive: they are found here, left alone by `up`, and ended by `down`.
"""

import signal
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import psutil

from flows.server.process import Process
from flows.server.rest_api import call
from flows.server.settings import FLOW_RUN_ID, POOL, RUN_STOP_SECONDS, STOP_SECONDS

UNFINISHED = ["RUNNING", "PENDING", "CANCELLING"]


@dataclass(frozen=True)
class RunProcess:
    """The process of a flow run on this machine."""

    flow_run: str
    """The run's id."""
    process: Process
    orphan: bool
    """Whether the worker that started it is gone: it runs on and reports its states, but hears of no cancellation."""


def find_runs(api: str) -> list[RunProcess]:
    """The runs of the server at `api` that live on this machine, the oldest first."""
    runs = []
    for process in psutil.process_iter():
        try:
            environment = process.environ()
            if environment.get("PREFECT_API_URL") != api or FLOW_RUN_ID not in environment:
                continue
            # Its own processes (a pool, Ray) inherit the environment; they are not Prefect's.
            if not any("prefect.engine" in word or "prefect.runner" in word for word in process.cmdline()[1:4]):
                continue
            orphan = process.ppid() == 1 or "worker" not in psutil.Process(process.ppid()).cmdline()
            started = Process(process.pid, process.create_time())
        except psutil.Error:
            continue
        runs.append(RunProcess(environment[FLOW_RUN_ID], started, orphan))
    return sorted(runs, key=lambda run: run.process.started)


def stop_runs(runs: Sequence[RunProcess]) -> list[RunProcess]:
    """Ends runs: asked first, so that a training saves its checkpoint, and killed with all their processes after
    RUN_STOP_SECONDS. Returns those that had to be killed."""
    asked = {run: process for run in runs if (process := run.process.find())}
    for process in asked.values():
        # The run alone: it ends its own workers when it has saved what they know.
        process.send_signal(signal.SIGTERM)
    psutil.wait_procs(list(asked.values()), timeout=RUN_STOP_SECONDS)
    killed = [run for run in asked if run.process.find()]
    remaining = _processes_of({run.flow_run for run in runs})
    for process in remaining:
        process.kill()
    psutil.wait_procs(remaining, timeout=STOP_SECONDS)
    return killed


def _processes_of(flow_runs: Collection[str]) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(FLOW_RUN_ID) in flow_runs:
                found.append(process)
        except psutil.Error:
            continue
    return found


def mark_lost_runs(api: str, alive: Collection[str]) -> None:
    """Marks unfinished runs without a process `Crashed`: they would stay `Running` for ever and hold their deployment's
    only slot. One that had not begun when its worker died is scheduled again. `alive`: the ids of those that have a
    process."""
    message = "its process is gone; run it again to continue from the newest checkpoint and the finished stages"
    for run in _unfinished(api):
        if run["id"] in alive:
            continue
        if run["start_time"] is None and run["state_type"] == "PENDING":
            _set_state(api, run["id"], "SCHEDULED", "Scheduled", "its worker died before it began")
        else:
            _set_state(api, run["id"], "CRASHED", "Crashed", message)


def mark_stopped_runs(api: str, stopped: Collection[str]) -> None:
    """Says of these runs, and of any other that is not finished, that a person stopped them; one that finished
    meanwhile stays so."""
    message = "stopped by `xmodel down`; run it again to continue from the newest checkpoint and the finished stages"
    for run in {*stopped, *(run["id"] for run in _unfinished(api))}:
        state = call(api, f"/flow_runs/{run}", absent={}).get("state_type")
        if state not in ("COMPLETED", "FAILED", "CANCELLED", None):
            _set_state(api, run, "CANCELLED", "Cancelled", message)


def mark_cancelled_runs(api: str, ended: Collection[str]) -> None:
    """Says of cancelled runs that they have ended."""
    for run in ended:
        _set_state(api, run, "CANCELLED", "Cancelled", "cancelled; run it again to continue from the newest checkpoint")


def cancelling(api: str) -> set[str]:
    """The ids of runs that a person has asked to be cancelled."""
    return {run["id"] for run in _unfinished(api) if run["state_type"] == "CANCELLING"}


def _unfinished(api: str) -> list[dict[str, Any]]:
    in_pool = {"work_pools": {"name": {"any_": [POOL]}}}
    return call(api, "/flow_runs/filter", {**in_pool, "flow_runs": {"state": {"type": {"any_": UNFINISHED}}}})


def _set_state(api: str, run: str, kind: str, name: str, message: str) -> None:
    state = {"type": kind, "name": name, "message": message}
    call(api, f"/flow_runs/{run}/set_state", {"state": state, "force": True})


def pause_pool(api: str, paused: bool) -> None:
    """While the pool is paused, its worker starts no run."""
    call(api, f"/work_pools/{POOL}", {"is_paused": paused}, absent={}, method="PATCH")

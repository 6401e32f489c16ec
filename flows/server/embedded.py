"""A Prefect server for the time of one command, where no other is named.

Takes nothing; leaves PREFECT_API_URL of this process naming a server of its own that answers and that ends with the
process. Prefect would start the same server by itself, but only when the flow begins, and after loading the server's
code in this process too. Started first, it comes up while we import the flows, and a command saves seven seconds.
"""

import atexit
import importlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from flows.server import profile as prefect_profile
from flows.server.home import require_prefect_home
from flows.server.process import Process
from flows.server.rest_api import wait_until_healthy
from flows.server.settings import CLIENT_RETRIES, HOST, PRIVATE, START_SECONDS
from flows.server.state import exclusive, load_state, save_state
from xmodel_core.errors import XmodelError

STOP_SECONDS = 5.0
SECONDS_TO_ANSWER = 10.0


def quiet_prefect() -> None:
    """Sets Prefect's settings for a flow that a person runs in a shell; call it before `prefect` is imported.

    After `xmodel up`, the run appears in its UI. Otherwise, and where the profile names a server of ours that is gone
    (after a restart of the machine, say), `ensure_server` starts one for the time of the run. XmodelError where Prefect
    has no home that it could use.
    """
    require_prefect_home()
    quiet = {
        **PRIVATE,
        # Prefect's log lines would break progress bars in the terminal; errors are printed once, by `flows.cli`.
        "PREFECT_LOGGING_LEVEL": "CRITICAL",
        "PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW": "ignore",
        "PREFECT_SERVER_LOGGING_LEVEL": "CRITICAL",
    }
    for name, value in quiet.items():
        os.environ.setdefault(name, value)
    state = load_state()
    if state and state.profile and state.server.find():
        os.environ.setdefault("PREFECT_CLIENT_MAX_RETRIES", str(CLIENT_RETRIES))  # `up` may start it again meanwhile
    if state and state.profile and not state.server.find():
        with exclusive():
            prefect_profile.restore(state.profile)
            save_state(replace(state, profile=None))
        print("the server of `xmodel up` is gone; continuing without it (`xmodel up` starts it again)", file=sys.stderr)


def ensure_server() -> None:
    """Returns when a server answers: the one that the shell or the Prefect profile names, else one of our own.

    XmodelError where it does not answer, or does not start, with the end of its output.
    """
    from prefect.context import refresh_global_settings_context
    from prefect.settings import PREFECT_API_URL, get_current_settings

    if address := PREFECT_API_URL.value():
        _require_answer(address)
        return
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port = probe.getsockname()[1]
    output = tempfile.TemporaryFile()  # noqa: SIM115 (open for as long as the server runs)
    application = ["--factory", "prefect.server.api.server:create_app", "--lifespan", "on"]
    address = ["--host", HOST, "--port", str(port)]
    with _interrupts_withheld():
        server = subprocess.Popen(
            [sys.executable, "-m", "uvicorn", *application, *address, "--log-level", "error"],
            # With two underscores: Prefect's own names for a server that ends with its client; no schedules, no UI.
            env={
                **os.environ,
                "PREFECT_UI_ENABLED": "0",
                "PREFECT__SERVER_EPHEMERAL": "1",
                "PREFECT__SERVER_FINAL": "1",
                **get_current_settings().to_environment_variables(exclude_unset=True),
            },
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    started = Process.of(server.pid)
    # Before anything of Prefect registers: its queues are emptied first, then the server goes.
    atexit.register(_stop, server)
    os.environ["PREFECT_API_URL"] = f"http://{HOST}:{port}/api"
    refresh_global_settings_context()

    importlib.import_module("flows.river.xmodel")  # takes seconds, in which the server comes up
    if wait_until_healthy(os.environ["PREFECT_API_URL"], started):
        return
    output.seek(0)
    raise XmodelError(
        "the Prefect server did not start",
        expected=f"an answer within {START_SECONDS:.0f} s",
        found=output.read().decode(errors="replace")[-2000:].strip() or "no output",
        where=os.environ["PREFECT_API_URL"],
        remedy="`xmodel doctor` checks what is installed",
    )


@contextmanager
def _interrupts_withheld() -> Iterator[None]:
    """What is started in this block never sees Ctrl-C, which a terminal sends to all processes of its group: the server
    is needed for as long as this process takes to end."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _require_answer(address: str) -> None:
    """XmodelError where no server answers at an address; what it answers is Prefect's matter."""
    import httpx

    try:
        httpx.get(f"{address.rstrip('/')}/health", timeout=SECONDS_TO_ANSWER)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise server_is_gone(error) from error


def server_is_gone(error: Exception) -> XmodelError:
    """The one message about a server that the shell or the Prefect profile names and that does not answer."""
    named = "PREFECT_API_URL of this shell" if "PREFECT_API_URL" in os.environ else "the active Prefect profile"
    return XmodelError(
        "the Prefect server does not answer",
        expected=f"an answer of the server that {named} names",
        found=str(error) or type(error).__name__,
        where=prefect_address(),
        remedy="start it again (`xmodel up`, if it was ours); or unset PREFECT_API_URL, and xmodel uses one of its own",
    )


def prefect_address() -> str:
    """The address of the server that Prefect's clients use, without what a person may have put before an @ in it."""
    from prefect.settings import PREFECT_API_URL

    scheme, _, rest = str(PREFECT_API_URL.value()).partition("://")
    return f"{scheme}://{rest.rpartition('@')[2]}"


def _stop(server: subprocess.Popen[bytes]) -> None:
    server.terminate()
    try:
        server.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()

"""A Prefect server for the time of one command, where no other is named.

Takes nothing; leaves PREFECT_API_URL of this process pointing at a server of its own that answers and that ends
with the process. Prefect would start the same server by itself, but only when the flow begins, and after loading
the server's code here too: started first, it comes up while we import the flows, and a command saves seven seconds.
"""

import atexit
import importlib
import os
import socket
import subprocess
import sys
import tempfile

from flows.server.host import HOST, START_SECONDS, answers
from xmodel_core.errors import XmodelError

STOP_SECONDS = 5.0


def ensure_server() -> None:
    """Returns when a server answers, or at once where the shell or the Prefect profile names one.

    XmodelError where it does not start, with the last lines it said.
    """
    from prefect.context import refresh_global_settings_context
    from prefect.settings import PREFECT_API_URL, get_current_settings

    if PREFECT_API_URL.value():
        return
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port = probe.getsockname()[1]
    said = tempfile.TemporaryFile()  # noqa: SIM115 (open for as long as the server runs)
    application = ["--factory", "prefect.server.api.server:create_app", "--lifespan", "on"]
    address = ["--host", HOST, "--port", str(port)]
    server = subprocess.Popen(
        [sys.executable, "-m", "uvicorn", *application, *address, "--log-level", "error"],
        # The names with two underscores are Prefect's own for a server that ends with its client: no schedules, no UI.
        env={
            **os.environ,
            "PREFECT_UI_ENABLED": "0",
            "PREFECT__SERVER_EPHEMERAL": "1",
            "PREFECT__SERVER_FINAL": "1",
            **get_current_settings().to_environment_variables(exclude_unset=True),
        },
        stdin=subprocess.DEVNULL,
        stdout=said,
        stderr=subprocess.STDOUT,
    )
    # Before anything of Prefect registers: its queues are emptied first, then the server goes.
    atexit.register(_stop, server)
    os.environ["PREFECT_API_URL"] = f"http://{HOST}:{port}/api"
    refresh_global_settings_context()

    importlib.import_module("flows.river.xmodel")  # takes seconds, in which the server comes up
    if answers(os.environ["PREFECT_API_URL"], lambda: server.poll() is None):
        return
    said.seek(0)
    raise XmodelError(
        "Prefect's server does not start",
        expected=f"an answer within {START_SECONDS:.0f} s",
        found=said.read().decode(errors="replace")[-2000:].strip() or "nothing said",
        where=os.environ["PREFECT_API_URL"],
        remedy="`xmodel doctor` looks at what is installed",
    )


def _stop(server: subprocess.Popen[bytes]) -> None:
    server.terminate()
    try:
        server.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()

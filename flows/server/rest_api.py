"""Prefect's REST API, called without importing Prefect, so that `status` and `down` answer at once."""

import json
import time
import urllib.error
import urllib.request
from typing import Any
from urllib.parse import urlsplit

from flows.server.process import Process
from flows.server.settings import START_SECONDS
from xmodel_core.errors import TransientError

BUSY_SECONDS = 60.0


def call(api: str, path: str, body: Any = None, absent: Any = None, method: str | None = None) -> Any:
    """One call of the server's REST API; `absent`, where given, is returned for HTTP 404. `method`: else GET, or POST
    where there is a body. TransientError: no answer, or an error."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(api + path, data, {"Content-Type": "application/json"}, method=method)
    # Never through a proxy: the server is on this machine.
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    problem, deadline = "", time.monotonic() + BUSY_SECONDS
    while not problem:
        try:
            with direct.open(request, timeout=30) as reply:
                return json.loads(reply.read() or b"null")
        except urllib.error.HTTPError as error:
            with error:
                if error.code == 404 and absent is not None:
                    return absent
                if error.code == 503 and time.monotonic() < deadline:  # another writer holds its database
                    time.sleep(0.5)
                    continue
                problem = f"{error.code} {error.read().decode(errors='replace')[:500]}"
        except (OSError, ValueError) as error:
            problem = str(error)
    raise TransientError("the Prefect server does not answer", found=problem, where=api + path)


def wait_until_healthy(api: str, server: Process) -> bool:
    """Waits for a server; False where its process ended first or START_SECONDS passed. The answer of another process
    that took the port in the same moment does not count."""
    port = urlsplit(api).port or 80
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and server.find():
        try:
            call(api, "/health")
            if server.listens(port):
                return True
        except TransientError:
            pass
        time.sleep(0.05)
    return False

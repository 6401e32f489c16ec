"""A lease on a run's folder: one training at a time.

Takes a folder; holds `lease.json` with host, process and heartbeat while the work goes on.
A dead process on this host is taken over at once, a silent lease elsewhere after two minutes. On an
object store it is advisory: two that look at the same moment both see it free.
"""

import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import psutil

from xmodel_core.artifacts.folder import Folder
from xmodel_core.errors import TransientError, XmodelError

HEARTBEAT_EVERY_SECONDS = 15.0
SILENT_AFTER_SECONDS = 120.0
LEASE = "lease.json"


def _write(folder: Folder) -> None:
    process = psutil.Process()
    holder = {
        "host": socket.gethostname(),
        "process": process.pid,
        # A process number is used again after a restart; with its start time it is not.
        "process_started": process.create_time(),
        "heartbeat": time.time(),
    }
    folder.write(LEASE, json.dumps(holder).encode())


def _holder(folder: Folder) -> dict | None:
    """Who holds the lease now, or None where nobody alive does."""
    try:
        holder = json.loads(folder.read(LEASE) or b"")
    except (OSError, ValueError):
        return None
    if holder["host"] != socket.gethostname():
        return holder if time.time() - holder["heartbeat"] < SILENT_AFTER_SECONDS else None
    if holder["process"] == os.getpid():
        return None
    try:
        started = psutil.Process(holder["process"]).create_time()
    except psutil.NoSuchProcess:
        return None
    return holder if abs(started - holder["process_started"]) < 1 else None


@contextmanager
def lease(folder: Folder) -> Iterator[None]:
    """Holds the lease on `folder`; XmodelError naming the holder where somebody else has it."""
    if holder := _holder(folder):
        raise XmodelError(
            "this run is being trained already",
            expected="a run folder that nobody works on",
            found=f"process {holder['process']} on {holder['host']} holds it",
            where=f"{folder}/{LEASE}",
            remedy="wait for it, or stop it and run again",
        )
    _write(folder)
    stop = threading.Event()

    def beat() -> None:
        while not stop.wait(HEARTBEAT_EVERY_SECONDS):
            # A store that does not answer stops the training's own writes; the lease need not say it too.
            with suppress(TransientError):
                _write(folder)

    thread = threading.Thread(target=beat, name="lease-heartbeat", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
        folder.remove(LEASE)

"""Two locks: `exclusive` between processes of this machine, and `lease` on a folder between machines.

The first is the kernel's, on a file. The second is `lease.json` with host, process and heartbeat, in the folder while
the work runs: a dead process of this host is taken over at once, a silent lease of another host after two minutes.
On an object store a lease is advisory: two that check at the same moment both see it free.
"""

import fcntl
import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from xmodel_core.artifacts.folder import Folder
from xmodel_core.errors import TransientError, XmodelError

HEARTBEAT_EVERY_SECONDS = 15.0
SILENT_AFTER_SECONDS = 120.0
LEASE = "lease.json"


@contextmanager
def exclusive(file: Path) -> Iterator[None]:
    """Holds a lock file: one process or thread of this machine at a time. The kernel releases a dead one's lock."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _write(folder: Folder) -> None:
    process = psutil.Process()
    holder = {
        "host": socket.gethostname(),
        "process": process.pid,
        # Process ids are reused; with its start time a process is unique.
        "process_started": process.create_time(),
        "heartbeat": time.time(),
    }
    folder.write(LEASE, json.dumps(holder).encode())


def _holder(folder: Folder) -> dict | None:
    """The lease's holder; None if there is none or it is dead."""
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
    """Holds the lease on `folder` while the block runs. XmodelError, naming the holder: another process has it."""
    if holder := _holder(folder):
        raise XmodelError(
            "this run is being trained already",
            expected="a run folder that no other process trains in",
            found=f"process {holder['process']} on {holder['host']} holds it",
            where=f"{folder}/{LEASE}",
            remedy="wait for it, or stop it and run again",
        )
    _write(folder)
    stop = threading.Event()

    def beat() -> None:
        while not stop.wait(HEARTBEAT_EVERY_SECONDS):
            # If the store is down, the training's own writes fail and report it.
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

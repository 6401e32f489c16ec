"""Which process something belongs to, for as long as it lives: this one as a value, and whether another still runs.

Process ids are reused, host names are shared by containers, clocks are set: a process is its id together with its start
(in the kernel's ticks, where it tells them), on one boot of one machine, in one namespace of process ids.
"""

import hashlib
import os
import socket
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import psutil

BOOT = Path("/proc/sys/kernel/random/boot_id")
NAMESPACE = Path("/proc/self/ns/pid")


@dataclass(frozen=True)
class ProcessId:
    """A process among all of all machines. The fields are plain, to be written down."""

    host: str
    machine: str
    """Digest of the boot and the namespace that `process` counts in; '' where there is none: then the host counts."""
    process: int
    started: str

    def state(self) -> bool | None:
        """Whether it runs; None where that cannot be seen from here: it is, or may be, on another machine."""
        here = this_process()
        if (self.host, self.machine) != (here.host, here.machine):
            return None
        return _started(self.process) == self.started


@cache
def _machine() -> str:
    try:
        place = BOOT.read_text(encoding="ascii") + NAMESPACE.readlink().name
    except OSError:
        return ""
    return hashlib.sha256(place.encode()).hexdigest()[:12]


def _started(process: int) -> str | None:
    """When a process started; None if there is none, or it has ended and only waits for its parent."""
    try:
        text = Path(f"/proc/{process}/stat").read_text(encoding="ascii", errors="replace")
        state, *fields = text.rpartition(")")[2].split()
        return None if state in "ZX" else fields[18]
    except ProcessLookupError:
        return None
    except OSError:
        pass  # no such process, or a system without /proc
    try:
        found = psutil.Process(process)
        return None if found.status() == psutil.STATUS_ZOMBIE else f"{found.create_time():.0f}"
    except psutil.NoSuchProcess:
        return None


def this_process() -> ProcessId:
    """The calling process."""
    process = os.getpid()
    return ProcessId(socket.gethostname(), _machine(), process, str(_started(process)))

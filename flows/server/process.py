"""Processes that outlive the shell, remembered so that only our own are ever stopped."""

import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from flows.server.settings import STOP_SECONDS


@dataclass(frozen=True)
class Process:
    """A process of ours. The system reuses process ids: the start time (seconds since 1970) tells ours from a later
    one."""

    pid: int
    started: float

    @classmethod
    def of(cls, pid: int) -> "Process":
        """The process that has this id now."""
        return cls(pid, psutil.Process(pid).create_time())

    def find(self) -> psutil.Process | None:
        """The running process, or None."""
        try:
            process = psutil.Process(self.pid)
            alive = process.status() != psutil.STATUS_ZOMBIE and abs(process.create_time() - self.started) < 1.0
        except psutil.NoSuchProcess:
            return None
        return process if alive else None

    def listens(self, port: int) -> bool:
        """Whether the process, or one that it started, accepts connections on a port."""
        try:
            process = self.find()
            family = [process, *process.children(recursive=True)] if process else []
            sockets = [socket for one in family for socket in one.net_connections("tcp")]
        except psutil.NoSuchProcess:
            return False
        return any(socket.status == psutil.CONN_LISTEN and socket.laddr.port == port for socket in sockets)

    def stop(self) -> bool:
        """Stops the process and its descendants; returns whether it was running."""
        process = self.find()
        if process is None:
            return False
        # Runs have process groups of their own: they must be listed before their parent exits.
        family = [process, *process.children(recursive=True)]
        process.terminate()
        _, alive = psutil.wait_procs(family, timeout=STOP_SECONDS)
        for remaining in alive:
            remaining.kill()
        psutil.wait_procs(alive, timeout=STOP_SECONDS)
        return True


def spawn_prefect(arguments: Sequence[str], log: Path, environment: Mapping[str, str]) -> Process:
    """Starts `prefect …` in a session of its own, so that it outlives the shell; its output is appended to `log`, in
    whose folder it runs."""
    with log.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "prefect", "--no-prompt", *arguments],
            cwd=log.parent,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    return Process.of(process.pid)


def log_tail(log: Path) -> str:
    """The last lines of a log, for a message."""
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    return "the log ends:\n    " + "\n    ".join(lines[-8:])

"""The lease on a folder: one holder at a time among the processes of all machines that can write to it.

Takes a folder; gives a `Lease`, which its holder asks before each write whether the folder is still its own.
`lease.json` names the holder and carries a random token and a heartbeat. It changes only by `Folder.exchange`, which
replaces exactly what was read: whatever the race, one of several takers gets it, and nobody touches another's. A dead
process of this machine is taken over at once; a holder that is silent for two minutes (paused, cut off, on a machine
that is gone) wherever it is, and it finds out before it writes again. Machines' clocks must agree to within a minute.

A store that cannot exchange (an object store without conditional writes) makes the lease advisory: of two that take it
in the same second the last to write keeps it, and a holder that was paused may give a heartbeat over its successor's.
"""

import json
import logging
import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass

from xmodel_core.artifacts.folder import Folder
from xmodel_core.artifacts.process import ProcessId, this_process
from xmodel_core.errors import XmodelError

HEARTBEAT_EVERY_SECONDS = 15.0
SILENT_AFTER_SECONDS = 120.0
SETTLE_SECONDS = 1.0
"""On a store that cannot exchange: how long a taker waits to see whether another took it in the same moment."""
LEASE = "lease.json"

_log = logging.getLogger(__name__)
_held_here: set[str] = set()
"""Tokens of the leases that threads of this process hold: its own process id alone does not say that it holds one."""


class LeaseLost(XmodelError):
    """The lease that was granted is another's now, or gone."""


@dataclass(frozen=True)
class Holder:
    """Who holds a lease."""

    host: str
    process: int
    heartbeat_age_seconds: float

    def __str__(self) -> str:
        return f"process {self.process} on {self.host}"


@dataclass(frozen=True)
class _Record:
    """What lease.json says."""

    owner: ProcessId
    token: str
    heartbeat: float
    """Seconds since 1970."""

    @staticmethod
    def read(data: bytes | None) -> "_Record | None":
        """None: there is no lease, or nothing that could be one."""
        try:
            fields = json.loads(data or b"")
            owner = ProcessId(**{name: fields[name] for name in ("host", "machine", "process", "started")})
            return _Record(owner, str(fields["token"]), float(fields["heartbeat"]))
        except (ValueError, KeyError, TypeError):
            return None

    def written(self) -> bytes:
        return json.dumps({**asdict(self.owner), "token": self.token, "heartbeat": self.heartbeat}).encode()

    def age_seconds(self) -> float:
        return time.time() - self.heartbeat

    def is_live(self, silent_after_seconds: float) -> bool:
        if self.age_seconds() > silent_after_seconds or self.owner.state() is False:
            return False
        # A lease of this process that none of its threads holds could not be removed when its block ended.
        return self.token in _held_here or self.owner != this_process()

    @property
    def holder(self) -> Holder:
        return Holder(self.owner.host, self.owner.process, max(0.0, self.age_seconds()))


@dataclass(frozen=True)
class Lease:
    """A lease that was granted. A plain value: workers on any machine may be handed it, to ask it before they write."""

    folder: Folder
    token: str
    beat_seconds: float

    def check(self) -> None:
        """Returns while the folder is ours, and for a while after: a heartbeat that is due is given first, so that
        nobody finds this lease silent while the caller writes. LeaseLost: another process has it, or nobody."""
        while True:
            stored = self.folder.read(LEASE)
            record = _Record.read(stored)
            if record is None or record.token != self.token:
                raise LeaseLost(
                    "this run belongs to another process now",
                    expected="the lease that this process took when it began",
                    found=f"{record.holder} holds it" if record else "no lease",
                    where=f"{self.folder}/{LEASE}",
                    remedy="nothing: this process was silent for too long, and ends here without writing over the "
                    "other's work; if nobody trains the run now, run it again",
                )
            if record.age_seconds() < self.beat_seconds:
                return
            # Refused where another thread or worker gave the heartbeat, or another process took it over: look again.
            if self.folder.exchange(LEASE, stored, _Record(record.owner, self.token, time.time()).written()):
                return


def _take(folder: Folder, silent_after_seconds: float, token: str) -> None:
    while True:
        stored = folder.read(LEASE)
        record = _Record.read(stored)
        if record and record.is_live(silent_after_seconds):
            raise XmodelError(
                "this run is being trained already",
                expected="a run folder that no other process trains in",
                found=f"{record.holder} holds it",
                where=f"{folder}/{LEASE}",
                remedy="wait for it, or stop it and run again",
            )
        if folder.exchange(LEASE, stored, _Record(this_process(), token, time.time()).written()):
            return


def _settle(held: Lease) -> None:
    """Where the store cannot exchange: waits until another taker of the same moment has written too."""
    _log.warning("%s: this store has no conditional writes, so the lease on it is advisory", held.folder)
    time.sleep(SETTLE_SECONDS)
    held.check()


def _beat(held: Lease, stop: threading.Event) -> None:
    """Gives heartbeats until `stop`, or until the lease is another's. No error ends it: a full disk or an outage may
    pass, and where it does not, the holder's own writes and checks report it."""
    warned = False
    while not stop.wait(held.beat_seconds):
        try:
            held.check()
            warned = False
        except LeaseLost as lost:
            _log.warning("%s", lost)
            return
        except Exception as error:
            if not warned:
                warned = True
                _log.warning("%s: no heartbeat (%s: %s)", held.folder, type(error).__name__, error)


def _give_back(held: Lease) -> None:
    try:
        stored = held.folder.read(LEASE)
        while (record := _Record.read(stored)) and record.token == held.token:
            if held.folder.exchange(LEASE, stored, None):
                return
            stored = held.folder.read(LEASE)
    except (OSError, XmodelError) as error:
        # The work is done: a lease that stays is free for this process at once, for others when it ends.
        _log.warning("%s: the lease could not be removed (%s)", held.folder, error)


@contextmanager
def lease(
    folder: Folder,
    beat_seconds: float = HEARTBEAT_EVERY_SECONDS,
    silent_after_seconds: float = SILENT_AFTER_SECONDS,
) -> Iterator[Lease]:
    """Holds the lease on `folder` while the block runs. XmodelError, naming the holder: another process or thread has
    it. `beat_seconds`: between heartbeats; `silent_after_seconds`: after which another's lease is taken over."""
    held = Lease(folder, secrets.token_hex(16), beat_seconds)
    _held_here.add(held.token)  # before it is written: no thread of this process may take it for one that was left
    try:
        _take(folder, silent_after_seconds, held.token)
        if not folder.exchanges(LEASE):
            _settle(held)
        stop = threading.Event()
        thread = threading.Thread(target=_beat, args=(held, stop), name="lease-heartbeat", daemon=True)
        thread.start()
        try:
            yield held
        finally:
            stop.set()
            thread.join()
            _give_back(held)
    finally:
        _held_here.discard(held.token)


def lease_holder(folder: Folder, silent_after_seconds: float = SILENT_AFTER_SECONDS) -> Holder | None:
    """Who holds the lease on a folder; None where nobody does who lives and is heard."""
    record = _Record.read(folder.read(LEASE))
    return record.holder if record and record.is_live(silent_after_seconds) else None

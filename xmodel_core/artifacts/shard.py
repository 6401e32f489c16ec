"""One shard of an artifact: files written aside, put in place by rename, and a receipt last.

Takes a folder and a shard's name; gives a writer whose files appear whole or not at all.
The receipt says what went in, what came out and what was dropped; a shard that has one is done,
and a killed stage goes on from there. Works the same in a worker process: a folder is all it needs.
"""

import errno
import json
import os
import secrets
import shutil
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from xmodel_core.artifacts.fingerprint import file_digest
from xmodel_core.errors import XmodelError

PARTIAL = ".partial"
DISK_IS_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@dataclass(frozen=True)
class FileEntry:
    """One file of a shard: its path inside the artifact, its size and its content."""

    path: str
    bytes: int
    sha256: str


@dataclass(frozen=True)
class Receipt:
    """What one finished shard reports. `rows` are rows of the ledger's tables, `facts` plain JSON."""

    shard: str
    files: tuple[FileEntry, ...]
    rows: dict[str, list[dict[str, Any]]]
    facts: dict[str, Any]
    seconds: float


@dataclass
class ShardWriter:
    """Collects a shard's files, ledger rows and facts until the shard is put in place."""

    aside: Path
    facts: dict[str, Any] = field(default_factory=dict)
    _rows: dict[str, list[dict[str, Any]]] = field(default_factory=dict)

    def file(self, path: str) -> Path:
        """Where to write the file that will stand at `path` inside the artifact."""
        target = self.aside / path
        target.parent.mkdir(parents=True, exist_ok=True)
        return target

    def rows(self, table: str, rows: list[dict[str, Any]]) -> None:
        """Adds rows of a ledger table to the receipt."""
        self._rows.setdefault(table, []).extend(rows)


def receipt_path(folder: Path, shard: str) -> Path:
    """Where the receipt of a shard lies."""
    return folder / "receipts" / f"{shard}.json"


def read_receipt(path: Path) -> Receipt:
    """The receipt in a file; XmodelError where it cannot be read."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        return Receipt(**{**data, "files": tuple(FileEntry(**entry) for entry in data["files"])})
    except (ValueError, KeyError, TypeError) as error:
        raise XmodelError(
            "a receipt cannot be read",
            expected="the JSON that a finished shard leaves",
            found=error,
            where=path,
            remedy="delete this receipt; the next run builds its shard again",
        ) from error


@contextmanager
def naming_a_full_disk(folder: Path) -> Iterator[None]:
    """Turns 'no space left' into one clear message; what is finished stays finished."""
    try:
        yield
    except OSError as error:
        if error.errno not in DISK_IS_FULL:
            raise
        # The folder may not exist on the way up; the nearest that does says how full its disk is.
        free = shutil.disk_usage(next(p for p in (folder, *folder.parents) if p.exists())).free
        raise XmodelError(
            "the disk is full",
            expected="room for the next shard",
            found=f"{os.strerror(error.errno)}, {free / 2**20:.0f} MiB free",
            where=folder,
            remedy="make room and run again: finished shards are kept",
        ) from error


def new_aside(folder: Path) -> Path:
    """A fresh folder beside the finished files, named after this host and process."""
    aside = folder / PARTIAL / f"{socket.gethostname()}~{os.getpid()}~{secrets.token_hex(4)}"
    with naming_a_full_disk(folder):
        aside.mkdir(parents=True)
    return aside


def _put_on_disk(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_atomically(path: Path, data: bytes) -> None:
    """Puts a file in place whole: written aside in the same folder, synced, then renamed."""
    with naming_a_full_disk(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        aside = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
        try:
            with aside.open("wb") as stream:
                stream.write(data)
                stream.flush()
                os.fsync(stream.fileno())
            aside.replace(path)
        finally:
            aside.unlink(missing_ok=True)


@contextmanager
def write_shard(folder: Path, shard: str) -> Iterator[ShardWriter]:
    """Writes one shard: on a clean exit its files are renamed into `folder` and its receipt written last.

    On an exception nothing appears. Raises XmodelError where the disk is full.
    """
    started = time.monotonic()
    aside = new_aside(folder)
    try:
        with naming_a_full_disk(folder):
            writer = ShardWriter(aside)
            yield writer
            entries = []
            for path in sorted(p for p in aside.rglob("*") if p.is_file()):
                _put_on_disk(path)
                name = path.relative_to(aside).as_posix()
                entries.append(FileEntry(name, path.stat().st_size, file_digest(path)))
            for entry in entries:
                target = folder / entry.path
                target.parent.mkdir(parents=True, exist_ok=True)
                (aside / entry.path).replace(target)
            receipt = Receipt(shard, tuple(entries), writer._rows, writer.facts, round(time.monotonic() - started, 3))
            write_atomically(
                receipt_path(folder, shard), json.dumps(asdict(receipt), ensure_ascii=False, sort_keys=True).encode()
            )
    finally:
        shutil.rmtree(aside, ignore_errors=True)

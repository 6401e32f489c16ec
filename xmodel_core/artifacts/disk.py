"""What is put on a disk is whole: written aside in the same folder, synced, then renamed.

Takes bytes or a folder to work in; gives files that appear at once or not at all, folders beside the finished
files that are named after the process at work in them, and one clear message where a disk is full.
"""

import errno
import os
import secrets
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from xmodel_core.errors import XmodelError

PARTIAL = ".partial"
DISK_IS_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


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


def _alive(owner: str) -> bool:
    host, process, _ = owner.split("~")
    return host != socket.gethostname() or psutil.pid_exists(int(process))


def clear_dead_asides(folder: Path) -> None:
    """Removes what dead processes of this host left half-written."""
    for aside in (folder / PARTIAL).glob("*~*~*"):
        if not _alive(aside.name):
            shutil.rmtree(aside, ignore_errors=True)


def put_on_disk(path: Path) -> None:
    """Syncs a written file, so that its rename cannot come to the disk before its bytes."""
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

"""Atomic writes on a disk: a file is written in a staging folder of the same disk, synced, then renamed.

Takes bytes or a folder; gives files that appear whole or not at all, staging folders named after the process that
writes in them, and one clear message when a disk is full.
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
    """Turns 'no space left' into one clear message."""
    try:
        yield
    except OSError as error:
        if error.errno not in DISK_IS_FULL:
            raise
        # The folder may not exist yet: the nearest parent that does is on the same disk.
        free = shutil.disk_usage(next(p for p in (folder, *folder.parents) if p.exists())).free
        raise XmodelError(
            "the disk is full",
            expected="room for the next shard",
            found=f"{os.strerror(error.errno)}, {free / 2**20:.0f} MiB free",
            where=folder,
            remedy="make room and run again: finished shards are kept",
        ) from error


def new_staging_folder(folder: Path) -> Path:
    """A fresh staging folder inside `folder`, named after this host and process."""
    staging = folder / PARTIAL / f"{socket.gethostname()}~{os.getpid()}~{secrets.token_hex(4)}"
    with naming_a_full_disk(folder):
        staging.mkdir(parents=True)
    return staging


def _alive(owner: str) -> bool:
    host, process, _ = owner.split("~")
    return host != socket.gethostname() or psutil.pid_exists(int(process))


def remove_dead_staging(folder: Path) -> None:
    """Removes the staging folders of dead processes of this host."""
    for staging in (folder / PARTIAL).glob("*~*~*"):
        if not _alive(staging.name):
            shutil.rmtree(staging, ignore_errors=True)


def put_on_disk(path: Path) -> None:
    """Syncs a written file, so that its rename cannot reach the disk before its bytes."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_atomically(path: Path, data: bytes) -> None:
    """Writes a file whole or not at all: beside its place, synced, then renamed."""
    with naming_a_full_disk(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        staging = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
        try:
            with staging.open("wb") as stream:
                stream.write(data)
                stream.flush()
                os.fsync(stream.fileno())
            staging.replace(path)
        finally:
            staging.unlink(missing_ok=True)

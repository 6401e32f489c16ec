"""Atomic writes on a disk: a file is written in a staging folder of the same disk, synced, then renamed.

Takes bytes or a folder; gives files that appear whole or not at all, staging folders named after the process that
writes in them, and one clear message when a disk is full.
"""

import errno
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from xmodel_core.artifacts.process import ProcessId, this_process
from xmodel_core.errors import XmodelError

PARTIAL = ".partial"
MKDIR_TRIES = 20
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
    owner = this_process()
    name = "~".join((owner.host, owner.machine, str(owner.process), owner.started, secrets.token_hex(4)))
    staging = folder / PARTIAL / name
    with naming_a_full_disk(folder):
        for _ in range(MKDIR_TRIES):
            # A builder that has finished removes the empty folder of staging folders, perhaps just now.
            with suppress(FileNotFoundError):
                staging.mkdir(parents=True)
                return staging
        staging.mkdir(parents=True)
    return staging


def remove_dead_staging(folder: Path) -> None:
    """Removes the staging folders of processes that are known to have ended: those of this machine."""
    for staging in (folder / PARTIAL).glob("*~*~*~*~*"):
        host, machine, process, started, _ = staging.name.rsplit("~", 4)
        if ProcessId(host, machine, int(process), started).state() is False:
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

"""Atomic writes on a disk: a file is written in a staging folder of the same disk, synced, then renamed.

Takes bytes or a folder; gives files that appear whole or not at all, staging folders named after the process that
writes in them, and one clear message when a disk is full or may not be written.
"""

import errno
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from xmodel_core.artifacts.process import ProcessId, this_process
from xmodel_core.errors import XmodelError

PARTIAL = ".partial"
MKDIR_TRIES = 20
FULL = "the disk is full"
DISK_IS_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
NOT_ALLOWED = (errno.EACCES, errno.EPERM, errno.EROFS)


_SAYS_FULL = re.compile(
    # As SQLite says it, as the system does where only its text is passed on, and writes that came up short, which
    # numpy and torch report without the reason.
    "|".join(
        (
            r"disk is full",
            *(re.escape(os.strerror(code)) for code in DISK_IS_FULL),
            r"\d+ requested and \d+ written",
            r"PytorchStreamWriter failed writing",
            r"inline_container.*unexpected pos",
        )
    )
)


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def disk_error(error: BaseException, folder: Path | None = None) -> XmodelError | None:
    """The one message for what a full disk, or a missing permission, made some library raise; None for anything else.
    `folder`: what was written to, where the error does not name it."""
    if isinstance(error, XmodelError):
        return None
    for cause in _chain(error):
        code = cause.errno if isinstance(cause, OSError) else None
        if code in DISK_IS_FULL or (code is None and _SAYS_FULL.search(str(cause))):
            return _full(cause, folder or _place(cause))
    if isinstance(error, OSError) and error.errno in NOT_ALLOWED and (where := _place(error) or folder):
        return XmodelError(
            "permission denied",
            expected="a place that this user may read, and write where results go",
            found=os.strerror(error.errno),
            where=where,
            remedy="change its permissions, or choose another: --workspace for results, XMODEL_CACHE for the cache, "
            "PREFECT_HOME for Prefect's files, HOME for all that has no place of its own",
        )
    return None


def _place(error: BaseException) -> Path | None:
    named = error.filename if isinstance(error, OSError) else None
    return Path(os.fsdecode(named)) if isinstance(named, str | bytes) and named else None


def _full(cause: BaseException, folder: Path | None) -> XmodelError:
    why = os.strerror(cause.errno) if isinstance(cause, OSError) and cause.errno else str(cause)
    # The folder may not exist yet: the nearest parent that does is on the same disk.
    disk = next((p for p in (folder, *folder.parents) if p.exists()), None) if folder else None
    free = f", {shutil.disk_usage(disk).free / 2**20:.0f} MiB free" if disk else ""
    return XmodelError(
        FULL,
        expected="room for what is written next",
        found=f"{why}{free}",
        where=folder,
        remedy="make room and run again: what was finished is kept",
    )


@contextmanager
def naming_a_full_disk(folder: Path) -> Iterator[None]:
    """Turns what libraries raise on a full disk into one clear message."""
    try:
        yield
    except Exception as error:
        if (full := disk_error(error, folder)) and full.what == FULL:
            raise full from error
        raise


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


@contextmanager
def written_aside(folder: Path, name: str, data: bytes) -> Iterator[Path]:
    """A synced file in a staging folder of `folder`, to be renamed to `name`, whose folder exists. What a killed
    process leaves of it goes the way of all staging folders."""
    with naming_a_full_disk(folder):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        staging = new_staging_folder(folder)
        try:
            aside = staging / Path(name).name
            aside.write_bytes(data)
            put_on_disk(aside)
            yield aside
        finally:
            shutil.rmtree(staging, ignore_errors=True)
            with suppress(OSError):  # not empty while others write
                staging.parent.rmdir()

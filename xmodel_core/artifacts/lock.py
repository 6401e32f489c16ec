"""The one lock between processes and threads of a machine: the kernel's, on a file. It is freed with the process that
held it, however that ends.

Takes a file that is made for the purpose and stays; gives the time in which nobody else has it. On a disk that machines
share it reaches as far as the disk's own locks do: NFS passes it to the server, unless it is mounted with `nolock` or
`local_lock`.
"""

import errno
import fcntl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from xmodel_core.errors import TransientError, XmodelError

LOOK_EVERY_SECONDS = 0.02
NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)


@contextmanager
def exclusive(file: Path, wait_seconds: float | None = None) -> Iterator[None]:
    """Holds a lock file: one process or thread of this machine at a time.

    `wait_seconds`: how long to wait for another holder; without it, as long as that one lives. TransientError: it was
    not freed in that time (its process may be paused). XmodelError: the disk has no locks.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w") as lock:
        try:
            _take(lock, file, wait_seconds)
        except OSError as error:
            if error.errno not in NO_LOCKS:
                raise
            raise XmodelError(
                "this disk has no locks",
                expected="a file system on which flock(2) works",
                found=error,
                where=file,
                remedy="mount it with locks, or choose another folder",
            ) from None
        yield


def _take(lock: IO[str], file: Path, wait_seconds: float | None) -> None:
    if wait_seconds is None:
        return fcntl.flock(lock, fcntl.LOCK_EX)
    until = time.monotonic() + wait_seconds
    while True:
        try:
            return fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > until:
                raise TransientError(
                    "another process holds a lock and does not free it",
                    expected=f"the lock within {wait_seconds:.0f} s",
                    where=file,
                    remedy="let it go on if it is paused (`fg`, or kill -CONT), or end it; then run again",
                ) from None
        time.sleep(LOOK_EVERY_SECONDS)

"""The local cache of what lies on an object store: a file is fetched once, and is whole or absent.

Takes a key that stands for content (a sha256, or an address with its ETag) and a way to fetch it; gives the
path of the one copy on this machine. Several processes may ask at once: one fetches, the others wait for it.
The cache may be deleted whenever nothing runs: all of it can be fetched again.
"""

import fcntl
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from xmodel_core.artifacts.disk import naming_a_full_disk, new_aside, put_on_disk


def cache_root() -> Path:
    """$XMODEL_CACHE, else `xmodel` in the user's folder for caches."""
    chosen = os.environ.get("XMODEL_CACHE")
    return Path(chosen or Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache", "xmodel")).expanduser().absolute()


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """One process or thread at a time; the kernel lets go of a dead one's lock."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def cached(key: str, name: str, fetch: Callable[[Path], None]) -> Path:
    """The file or folder `name` that the key stands for; `fetch` writes it to the path it is given, once."""
    target = cache_root() / "objects" / key[:2] / key / name
    if target.exists():
        return target
    with naming_a_full_disk(cache_root()), _alone(target.parent):
        if not target.exists():
            aside = new_aside(cache_root())
            try:
                fetch(aside / name)
                for path in (aside / name).rglob("*") if (aside / name).is_dir() else [aside / name]:
                    put_on_disk(path)
                (aside / name).rename(target)
            finally:
                shutil.rmtree(aside, ignore_errors=True)
    return target


def adopt(key: str, path: Path) -> Path:
    """Keeps a file that was written here and is now on the object store, so that it need not be fetched."""

    def move(target: Path) -> None:
        path.replace(target)

    return cached(key, path.name, move)

"""The local cache of files on an object store: each is fetched once, and is whole or absent.

Takes a key that identifies content (a sha256, or an address with its ETag) and a function that fetches it; gives the
path of the one copy on this machine. When several processes ask at once, one fetches and the others wait.
The cache may be deleted whenever nothing runs: all of it can be fetched again.
"""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

from xmodel_core.artifacts.disk import naming_a_full_disk, new_staging_folder, put_on_disk
from xmodel_core.artifacts.lock import exclusive


def cache_root() -> Path:
    """$XMODEL_CACHE, else `xmodel` in the user's folder for caches."""
    chosen = os.environ.get("XMODEL_CACHE")
    return Path(chosen or Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache", "xmodel")).expanduser().absolute()


def cached(key: str, name: str, fetch: Callable[[Path], None]) -> Path:
    """The cached file or folder `name` of this key; `fetch` writes it to the path it is given, once."""
    target = cache_root() / "objects" / key[:2] / key / name
    if target.exists():
        return target
    with naming_a_full_disk(cache_root()), exclusive(target.parent / ".lock"):
        if not target.exists():
            staging = new_staging_folder(cache_root())
            try:
                fetch(staging / name)
                for path in (staging / name).rglob("*") if (staging / name).is_dir() else [staging / name]:
                    put_on_disk(path)
                (staging / name).rename(target)
            finally:
                shutil.rmtree(staging, ignore_errors=True)
    return target


def adopt(key: str, path: Path) -> Path:
    """Moves an uploaded file into the cache, so that it need not be fetched."""

    def move(target: Path) -> None:
        path.replace(target)

    return cached(key, path.name, move)

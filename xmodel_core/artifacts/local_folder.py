"""A folder of this machine: a file is its own path, and the atomic step is the rename."""

import contextlib
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from xmodel_core.artifacts.disk import (
    PARTIAL,
    naming_a_full_disk,
    new_staging_folder,
    put_on_disk,
    remove_dead_staging,
    written_aside,
)
from xmodel_core.artifacts.folder import FileEntry, Folder
from xmodel_core.artifacts.lock import exclusive

EXCHANGE_WAIT_SECONDS = 20.0
"""For one that is paused in the middle of an exchange."""


@dataclass(frozen=True)
class LocalFolder(Folder):
    """A folder of this machine, or of a disk that machines share."""

    at: Path

    def __str__(self) -> str:
        return str(self.at)

    @property
    def name(self) -> str:
        return self.at.name

    @property
    def path(self) -> Path:
        return self.at

    def __truediv__(self, name: str) -> "LocalFolder":
        return LocalFolder(self.at / name)

    def prepare(self) -> None:
        self.at.mkdir(parents=True, exist_ok=True)
        remove_dead_staging(self.at)

    def tidy(self) -> None:
        remove_dead_staging(self.at)
        with contextlib.suppress(OSError):  # not empty while another builder of the same artifact is at work
            (self.at / PARTIAL).rmdir()

    def staging(self) -> Path:
        return new_staging_folder(self.at)

    def put(self, staging: Path, entries: Sequence[FileEntry]) -> None:
        with naming_a_full_disk(self.at):
            self._put(staging, entries)

    def _put(self, staging: Path, entries: Sequence[FileEntry]) -> None:
        for entry in entries:
            target = self.at / entry.path
            target.parent.mkdir(parents=True, exist_ok=True)
            put_on_disk(staging / entry.path)
            (staging / entry.path).replace(target)

    def read(self, name: str) -> bytes | None:
        try:
            return (self.at / name).read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None

    def write(self, name: str, data: bytes) -> None:
        with written_aside(self.at, name, data) as staging:
            staging.replace(self.at / name)

    def exchange(self, name: str, old: bytes | None, new: bytes | None) -> bool:
        # Written before the lock is taken, which is then held for a comparison and a rename: a process that is paused
        # is hardly ever paused there.
        lock = self.at / f".{name}.lock"
        with written_aside(self.at, name, new or b"") as staging, exclusive(lock, EXCHANGE_WAIT_SECONDS):
            if self.read(name) != old:
                return False
            if new is None:
                self.remove(name)
            else:
                staging.replace(self.at / name)
            return True

    def exchanges(self, name: str) -> bool:
        return True

    def remove(self, name: str) -> None:
        (self.at / name).unlink(missing_ok=True)

    def remove_tree(self, name: str) -> None:
        shutil.rmtree(self.at / name, ignore_errors=True)

    def rename_tree(self, name: str, new_name: str, last: str) -> None:
        self.remove_tree(new_name)
        (self.at / name).rename(self.at / new_name)

    def size(self, name: str) -> int | None:
        try:
            return (self.at / name).stat().st_size
        except (FileNotFoundError, NotADirectoryError):
            return None

    def names(self, pattern: str) -> list[str]:
        return sorted(path.relative_to(self.at).as_posix() for path in self.at.glob(pattern))

    def versions(self, pattern: str) -> dict[str, str]:
        return {name: str((self.at / name).stat().st_mtime_ns) for name in self.names(pattern)}

    def sizes(self) -> dict[str, int]:
        sizes = {}
        for path in sorted(self.at.rglob("*")):
            with contextlib.suppress(FileNotFoundError):  # gone since it was listed
                if path.is_file():
                    sizes[path.relative_to(self.at).as_posix()] = path.stat().st_size
        return sizes

    def file(self, name: str, entry: FileEntry | None = None) -> Path:
        return self.at / name

    def files(self, pattern: str) -> dict[str, Path]:
        return {name: self.at / name for name in self.names(pattern)}

    def tree(self, name: str) -> Path:
        return self.at / name

    def put_tree(self, written: Path, name: str, last: str) -> None:
        for path in written.iterdir():
            put_on_disk(path)
        target = self.at / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.exists():
            shutil.rmtree(target)  # a rename replaces no folder that holds anything
        written.rename(target)

    def raw(self, name: str) -> Path | None:
        return path if (path := self.at / name).is_file() else None

    def working_folder(self) -> Path:
        return self.at

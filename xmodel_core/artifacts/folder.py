"""A folder of the workspace, wherever it lies: on this machine, or as a prefix on an object store.

Takes names inside the folder; gives bytes, and files as paths on this machine. In a local folder a file is
that path itself, and the atomic step is the rename; on an object store a file is fetched once into the local
cache, checked against its receipt, and the atomic step is the completed upload. A folder is a small value
that travels to any process on any machine: no connection is in it.
"""

import contextlib
import fnmatch
import hashlib
import json
import os
import shutil
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from xmodel_core.artifacts import remote
from xmodel_core.artifacts.cache import adopt, cache_root, cached
from xmodel_core.artifacts.disk import PARTIAL, clear_dead_asides, new_aside, put_on_disk, write_atomically
from xmodel_core.artifacts.fingerprint import file_digest
from xmodel_core.errors import XmodelError

AT_A_TIME = 16  # requests to an object store, where many are to be made

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True)
class FileEntry:
    """One file of a shard: its path inside the artifact, its size and its content."""

    path: str
    bytes: int
    sha256: str


class Folder(ABC):
    """What rooms may ask of a folder. `str(folder)` is its address, as people write it."""

    @property
    @abstractmethod
    def name(self) -> str:
        """The last part of its address."""

    @abstractmethod
    def __truediv__(self, name: str) -> "Folder":
        """A folder below."""

    @property
    @abstractmethod
    def path(self) -> Path:
        """The folder itself, where it is on this machine; what lies on an object store has none."""

    @abstractmethod
    def prepare(self) -> None:
        """Makes it ready to write to, and clears what dead processes of this host left half-written."""

    @abstractmethod
    def tidy(self) -> None:
        """Clears what dead processes of this host left half-written, when all is written."""

    @abstractmethod
    def aside(self) -> Path:
        """A fresh folder of this machine to write files in before they are put in place."""

    @abstractmethod
    def put(self, aside: Path, entries: Sequence[FileEntry]) -> None:
        """Puts written files in place under their names, each whole or not at all; they leave `aside`."""

    @abstractmethod
    def read(self, name: str) -> bytes | None:
        """A small file's bytes as they are now; None where there is none."""

    @abstractmethod
    def write(self, name: str, data: bytes) -> None:
        """Puts a small file in place, whole or not at all."""

    @abstractmethod
    def remove(self, name: str) -> None:
        """Removes a file; one that is not there is no error."""

    @abstractmethod
    def remove_tree(self, name: str) -> None:
        """Removes a folder below and everything in it."""

    @abstractmethod
    def size(self, name: str) -> int | None:
        """Bytes of a file; None where there is none."""

    @abstractmethod
    def names(self, pattern: str) -> list[str]:
        """The files whose names match, sorted; * matches inside one part of a name."""

    @abstractmethod
    def versions(self, pattern: str) -> dict[str, str]:
        """For each file that matches, what changes when it is written again."""

    @abstractmethod
    def file(self, name: str, entry: FileEntry | None = None) -> Path:
        """A file to open on this machine. `entry`: what its receipt says of it, which it is checked against where it
        has to be fetched. A file that is not there is a path that does not exist."""

    @abstractmethod
    def files(self, pattern: str) -> dict[str, Path]:
        """All files whose names match, to open on this machine, by name, sorted."""

    @abstractmethod
    def tree(self, name: str) -> Path:
        """A folder below, to open on this machine with all its files in it."""

    @abstractmethod
    def put_tree(self, written: Path, name: str, last: str) -> None:
        """Puts a written folder in place below. `last` is the file in it that makes the others count."""

    @abstractmethod
    def raw(self, name: str) -> Path | remote.RemoteFile | None:
        """A file as it lies there, not fetched, to be digested or read in parts; None where there is none."""

    @abstractmethod
    def working_folder(self) -> Path:
        """Where work that needs a local folder of its own, and its locks, lie on this machine."""


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
        clear_dead_asides(self.at)

    def tidy(self) -> None:
        clear_dead_asides(self.at)
        with contextlib.suppress(OSError):  # not empty while another builder of the same artifact is at work
            (self.at / PARTIAL).rmdir()

    def aside(self) -> Path:
        return new_aside(self.at)

    def put(self, aside: Path, entries: Sequence[FileEntry]) -> None:
        for entry in entries:
            target = self.at / entry.path
            target.parent.mkdir(parents=True, exist_ok=True)
            put_on_disk(aside / entry.path)
            (aside / entry.path).replace(target)

    def read(self, name: str) -> bytes | None:
        try:
            return (self.at / name).read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None

    def write(self, name: str, data: bytes) -> None:
        write_atomically(self.at / name, data)

    def remove(self, name: str) -> None:
        (self.at / name).unlink(missing_ok=True)

    def remove_tree(self, name: str) -> None:
        shutil.rmtree(self.at / name, ignore_errors=True)

    def size(self, name: str) -> int | None:
        try:
            return (self.at / name).stat().st_size
        except (FileNotFoundError, NotADirectoryError):
            return None

    def names(self, pattern: str) -> list[str]:
        return sorted(path.relative_to(self.at).as_posix() for path in self.at.glob(pattern))

    def versions(self, pattern: str) -> dict[str, str]:
        return {name: str((self.at / name).stat().st_mtime_ns) for name in self.names(pattern)}

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


@dataclass(frozen=True)
class RemoteFolder(Folder):
    """A prefix on an object store. What was fetched or written here is kept in the local cache: by its sha256
    where a receipt tells it, else by its address and ETag."""

    address: str

    def __str__(self) -> str:
        return self.address

    @property
    def name(self) -> str:
        return self.address.rpartition("/")[2]

    @property
    def path(self) -> Path:
        raise AssertionError(f"{self.address} is not a folder of this machine: ask for its files by name")

    def __truediv__(self, name: str) -> "RemoteFolder":
        return RemoteFolder(f"{self.address}/{name}")

    def prepare(self) -> None:
        cache_root().mkdir(parents=True, exist_ok=True)
        clear_dead_asides(cache_root())

    def tidy(self) -> None:
        clear_dead_asides(cache_root())

    def aside(self) -> Path:
        return new_aside(cache_root())

    def put(self, aside: Path, entries: Sequence[FileEntry]) -> None:
        def put_one(entry: FileEntry) -> None:
            remote.upload(aside / entry.path, f"{self.address}/{entry.path}")
            adopt(entry.sha256, aside / entry.path)

        all_at_once(put_one, entries)

    def read(self, name: str) -> bytes | None:
        return remote.read_bytes(f"{self.address}/{name}")

    def write(self, name: str, data: bytes) -> None:
        remote.write_bytes(f"{self.address}/{name}", data)

    def remove(self, name: str) -> None:
        remote.remove([f"{self.address}/{name}"])

    def remove_tree(self, name: str) -> None:
        remote.remove([file.address for file in remote.list_below(f"{self.address}/{name}")])

    def size(self, name: str) -> int | None:
        found = remote.look_at(f"{self.address}/{name}")
        return found.bytes if found else None

    def _matching(self, pattern: str) -> dict[str, remote.RemoteFile]:
        """Listed folder by folder along the pattern, so that what lies elsewhere is never listed."""
        *parents, last = pattern.split("/")
        folders = [self.address]
        for part in parents:
            if "*" in part:
                listed = all_at_once(lambda folder: remote.list_folder(folder)[0], folders)
                folders = [
                    f"{folder}/{name}"
                    for folder, names in zip(folders, listed, strict=True)
                    for name in names
                    if fnmatch.fnmatchcase(name, part)
                ]
            else:
                folders = [f"{folder}/{part}" for folder in folders]
        if "*" in last:
            listed = all_at_once(lambda folder: remote.list_folder(folder)[1], folders)
            found = [file for files in listed for file in files]
            found = [file for file in found if fnmatch.fnmatchcase(file.address.rpartition("/")[2], last)]
        else:
            found = [file for file in all_at_once(remote.look_at, [f"{f}/{last}" for f in folders]) if file]
        named = {file.address.removeprefix(f"{self.address}/"): file for file in found}
        return dict(sorted(named.items()))

    def names(self, pattern: str) -> list[str]:
        return list(self._matching(pattern))

    def versions(self, pattern: str) -> dict[str, str]:
        return {name: f"{file.version}:{file.bytes}" for name, file in self._matching(pattern).items()}

    def file(self, name: str, entry: FileEntry | None = None) -> Path:
        if entry is not None:
            return _fetched_as_promised(f"{self.address}/{name}", entry)
        found = remote.look_at(f"{self.address}/{name}")
        return _fetched(found) if found else cache_root() / "absent" / name

    def files(self, pattern: str) -> dict[str, Path]:
        found = self._matching(pattern)
        return dict(zip(found, all_at_once(_fetched, list(found.values())), strict=True))

    def tree(self, name: str) -> Path:
        files = remote.list_below(f"{self.address}/{name}")
        key = _key(*(f"{file.address}:{file.version}:{file.bytes}" for file in files))

        def gather(target: Path) -> None:
            target.mkdir()
            for file, path in zip(files, all_at_once(_fetched, files), strict=True):
                place = target / file.address.removeprefix(f"{self.address}/{name}/")
                place.parent.mkdir(parents=True, exist_ok=True)
                os.link(path, place)  # both are in the cache, hence on one disk

        return cached(key, name.rpartition("/")[2], gather)

    def put_tree(self, written: Path, name: str, last: str) -> None:
        self.remove(f"{name}/{last}")  # first, so that old and new files never count together
        self.remove_tree(name)
        entries = {entry.path: entry for entry in entries_below(written)}
        closing = entries.pop(last)
        (self / name).put(written, list(entries.values()))
        (self / name).put(written, [closing])

    def raw(self, name: str) -> remote.RemoteFile | None:
        return remote.look_at(f"{self.address}/{name}")

    def working_folder(self) -> Path:
        folder = cache_root() / "work" / _key(self.address)[:16]
        folder.mkdir(parents=True, exist_ok=True)
        return folder


def all_at_once(function: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
    """A function's results over some items, several of its requests to an object store under way at a time."""
    if len(items) <= 1:
        return [function(item) for item in items]
    with ThreadPoolExecutor(min(AT_A_TIME, len(items))) as pool:
        return list(pool.map(function, items))


def _key(*parts: str) -> str:
    # Two servers may hold buckets of one name.
    told = json.dumps([os.environ.get("AWS_ENDPOINT_URL", ""), *parts])
    return hashlib.sha256(told.encode()).hexdigest()


def _fetched(file: remote.RemoteFile) -> Path:
    """The local copy of what a listing told of."""

    def fetch(target: Path) -> None:
        remote.download(file.address, target)
        os.utime(target, (file.modified_seconds, file.modified_seconds))

    return cached(_key(file.address, file.version, str(file.bytes)), file.address.rpartition("/")[2], fetch)


def _fetched_as_promised(address: str, entry: FileEntry) -> Path:
    """The local copy of what a receipt tells of; a path that does not exist where it is gone."""

    def fetch(target: Path) -> None:
        remote.download(address, target)
        size = target.stat().st_size
        if size != entry.bytes or file_digest(target) != entry.sha256:
            raise XmodelError(
                "a file of the workspace is not what its receipt says",
                expected=f"{entry.bytes:,} bytes, sha256 {entry.sha256[:12]}…",
                found=f"{size:,} bytes",
                where=address,
                remedy="delete this file and its artifact's manifest, and run again: it is built anew",
            )

    try:
        return cached(entry.sha256, entry.path.rpartition("/")[2], fetch)
    except remote.ABSENCES:
        return cache_root() / "absent" / entry.path


Place = str | Path | Folder
"""Where a workspace is, as a person or a caller says it; `open_folder` makes a folder of it."""


def open_folder(place: Place) -> Folder:
    """The folder at a place: a path of this machine, or s3://bucket/prefix. XmodelError: any other address."""
    if isinstance(place, Folder):
        return place
    if "://" not in str(place):
        return LocalFolder(Path(place))
    address = str(place).rstrip("/")
    if not address.startswith(remote.S3) or not address.removeprefix(remote.S3):
        raise XmodelError(
            "this workspace cannot be used",
            expected="a folder, or s3://bucket/prefix",
            found=place,
            where="--workspace",
        )
    return RemoteFolder(address)


@dataclass(frozen=True)
class StoredFile:
    """One file of an artifact as its receipt tells of it: what a task carries to any process on any machine."""

    folder: Folder
    entry: FileEntry

    @property
    def bytes(self) -> int:
        """Its size."""
        return self.entry.bytes

    @property
    def path(self) -> Path:
        """The file to open on this machine, fetched if it must be; a path that does not exist where it is gone."""
        return self.folder.file(self.entry.path, self.entry)


def entries_below(aside: Path) -> Iterable[FileEntry]:
    """Every file that was written in a folder, with its size and content."""
    for path in sorted(p for p in aside.rglob("*") if p.is_file()):
        yield FileEntry(path.relative_to(aside).as_posix(), path.stat().st_size, file_digest(path))

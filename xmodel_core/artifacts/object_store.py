"""A folder on an object store: a file is fetched once into the local cache and checked against its receipt, and the
atomic step is the completed upload."""

import fnmatch
import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from xmodel_core.artifacts import remote
from xmodel_core.artifacts.cache import adopt, cache_root, cached
from xmodel_core.artifacts.disk import new_staging_folder, remove_dead_staging
from xmodel_core.artifacts.fingerprint import file_digest
from xmodel_core.artifacts.folder import FileEntry, Folder, entries_below
from xmodel_core.errors import XmodelError


@dataclass(frozen=True)
class RemoteFolder(Folder):
    """A prefix on an object store. Files that were fetched or written on this machine are kept in the local cache: by
    their sha256 where a receipt states it, else by address and ETag."""

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
        remove_dead_staging(cache_root())

    def tidy(self) -> None:
        remove_dead_staging(cache_root())

    def staging(self) -> Path:
        return new_staging_folder(cache_root())

    def put(self, staging: Path, entries: Sequence[FileEntry]) -> None:
        def put_one(entry: FileEntry) -> None:
            remote.upload(staging / entry.path, f"{self.address}/{entry.path}")
            adopt(entry.sha256, staging / entry.path)

        remote.in_parallel(put_one, entries)

    def read(self, name: str) -> bytes | None:
        return remote.read_bytes(f"{self.address}/{name}")

    def write(self, name: str, data: bytes) -> None:
        remote.write_bytes(f"{self.address}/{name}", data)

    def exchange(self, name: str, old: bytes | None, new: bytes | None) -> bool:
        address = f"{self.address}/{name}"
        # The version before the bytes: should the object change between, the version is too old, and refused.
        found = remote.stat(address)
        if (remote.read_bytes(address) if found else None) != old:
            return False
        if new is None:
            self.remove(name)  # few stores remove on a condition
            return True
        if not self.exchanges(name):
            remote.write_bytes(address, new)
            return True
        return remote.write_if(address, new, found.version if found else None) or remote.read_bytes(address) == new

    def exchanges(self, name: str) -> bool:
        return remote.writes_on_condition(self.address)

    def remove(self, name: str) -> None:
        remote.remove([f"{self.address}/{name}"])

    def remove_tree(self, name: str) -> None:
        remote.remove([file.address for file in remote.list_below(f"{self.address}/{name}")])

    def rename_tree(self, name: str, new_name: str, last: str) -> None:
        begin = f"{self.address}/{name}/"
        files = [file.address.removeprefix(begin) for file in remote.list_below(f"{self.address}/{name}")]
        for file in sorted(files, key=lambda file: file == last):
            remote.copy(begin + file, f"{self.address}/{new_name}/{file}")
        self.remove(f"{name}/{last}")
        self.remove_tree(name)

    def size(self, name: str) -> int | None:
        file = remote.stat(f"{self.address}/{name}")
        return file.bytes if file else None

    def _matching(self, pattern: str) -> dict[str, remote.RemoteFile]:
        """Lists folder by folder along the pattern, and no other folder."""
        *parents, last = pattern.split("/")
        folders = [self.address]
        for part in parents:
            if "*" in part:
                listed = remote.in_parallel(lambda folder: remote.list_folder(folder)[0], folders)
                folders = [
                    f"{folder}/{name}"
                    for folder, names in zip(folders, listed, strict=True)
                    for name in names
                    if fnmatch.fnmatchcase(name, part)
                ]
            else:
                folders = [f"{folder}/{part}" for folder in folders]
        if "*" in last:
            listed = remote.in_parallel(lambda folder: remote.list_folder(folder)[1], folders)
            files = [file for in_folder in listed for file in in_folder]
            files = [file for file in files if fnmatch.fnmatchcase(file.address.rpartition("/")[2], last)]
        else:
            files = [file for file in remote.in_parallel(remote.stat, [f"{f}/{last}" for f in folders]) if file]
        by_name = {file.address.removeprefix(f"{self.address}/"): file for file in files}
        return dict(sorted(by_name.items()))

    def names(self, pattern: str) -> list[str]:
        return list(self._matching(pattern))

    def versions(self, pattern: str) -> dict[str, str]:
        return {name: f"{file.version}:{file.bytes}" for name, file in self._matching(pattern).items()}

    def sizes(self) -> dict[str, int]:
        below = remote.list_below(self.address)
        return {file.address.removeprefix(f"{self.address}/"): file.bytes for file in below}

    def file(self, name: str, entry: FileEntry | None = None) -> Path:
        if entry is not None:
            return _fetched_and_checked(f"{self.address}/{name}", entry)
        file = remote.stat(f"{self.address}/{name}")
        return _fetched(file) if file else cache_root() / "absent" / name

    def files(self, pattern: str) -> dict[str, Path]:
        files = self._matching(pattern)
        return dict(zip(files, remote.in_parallel(_fetched, list(files.values())), strict=True))

    def tree(self, name: str) -> Path:
        files = remote.list_below(f"{self.address}/{name}")
        key = _key(*(f"{file.address}:{file.version}:{file.bytes}" for file in files))

        def gather(target: Path) -> None:
            target.mkdir()
            for file, path in zip(files, remote.in_parallel(_fetched, files), strict=True):
                place = target / file.address.removeprefix(f"{self.address}/{name}/")
                place.parent.mkdir(parents=True, exist_ok=True)
                os.link(path, place)  # both are in the cache, so on one disk

        return cached(key, name.rpartition("/")[2], gather)

    def put_tree(self, written: Path, name: str, last: str) -> None:
        self.remove(f"{name}/{last}")  # first, so that no reader takes old and new files together
        self.remove_tree(name)
        entries = {entry.path: entry for entry in entries_below(written)}
        closing = entries.pop(last)
        (self / name).put(written, list(entries.values()))
        (self / name).put(written, [closing])

    def raw(self, name: str) -> remote.RemoteFile | None:
        return remote.stat(f"{self.address}/{name}")

    def working_folder(self) -> Path:
        folder = cache_root() / "work" / _key(self.address)[:16]
        folder.mkdir(parents=True, exist_ok=True)
        return folder


def _key(*parts: str) -> str:
    # Two servers may have buckets of the same name.
    key = json.dumps([os.environ.get("AWS_ENDPOINT_URL", ""), *parts])
    return hashlib.sha256(key.encode()).hexdigest()


def _fetched(file: remote.RemoteFile) -> Path:
    """The local copy of a listed file."""

    def fetch(target: Path) -> None:
        remote.download(file.address, target)
        os.utime(target, (file.modified_seconds, file.modified_seconds))

    return cached(_key(file.address, file.version, str(file.bytes)), file.address.rpartition("/")[2], fetch)


def _fetched_and_checked(address: str, entry: FileEntry) -> Path:
    """The local copy of a file with a receipt; a path that does not exist if the file is gone."""

    def fetch(target: Path) -> None:
        remote.download(address, target)
        size = target.stat().st_size
        if size != entry.bytes or file_digest(target) != entry.sha256:
            raise XmodelError(
                "a file of the workspace differs from its receipt",
                expected=f"{entry.bytes:,} bytes, sha256 {entry.sha256[:12]}…",
                found=f"{size:,} bytes",
                where=address,
                remedy="delete this file and its artifact's manifest, and run again: it is built again",
            )

    try:
        return cached(entry.sha256, entry.path.rpartition("/")[2], fetch)
    except remote.ABSENCES:
        return cache_root() / "absent" / entry.path

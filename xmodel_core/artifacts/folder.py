"""What rooms may ask of a folder of the workspace, wherever it is: on this machine, or a prefix on an object store.

Takes names inside the folder; gives bytes, and files as paths on this machine. A folder is a small value that can be
sent to any process on any machine: it holds no connection. `local_folder` and `object_store` implement it, `place`
chooses between them.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from xmodel_core.artifacts.fingerprint import file_digest
from xmodel_core.artifacts.remote import RemoteFile


@dataclass(frozen=True)
class FileEntry:
    """One file of a shard: its path inside the artifact, its size and its digest."""

    path: str
    bytes: int
    sha256: str


class Folder(ABC):
    """A folder of the workspace. `str(folder)` is its address, as people write it."""

    @property
    @abstractmethod
    def name(self) -> str:
        """The last part of its address."""

    @abstractmethod
    def __truediv__(self, name: str) -> "Folder":
        """A subfolder."""

    @property
    @abstractmethod
    def path(self) -> Path:
        """The folder itself; AssertionError for one on an object store, which has no path."""

    @abstractmethod
    def prepare(self) -> None:
        """Makes it ready for writing, and removes the staging folders of dead processes of this host."""

    @abstractmethod
    def tidy(self) -> None:
        """Removes the staging folders of dead processes of this host, after the last write."""

    @abstractmethod
    def staging(self) -> Path:
        """A fresh folder of this machine in which files are written before they are put in place."""

    @abstractmethod
    def put(self, staging: Path, entries: Sequence[FileEntry]) -> None:
        """Moves written files from `staging` to their places, each whole or not at all."""

    @abstractmethod
    def read(self, name: str) -> bytes | None:
        """The current bytes of a small file; None if it does not exist."""

    @abstractmethod
    def write(self, name: str, data: bytes) -> None:
        """Writes a small file, whole or not at all."""

    @abstractmethod
    def exchange(self, name: str, old: bytes | None, new: bytes | None) -> bool:
        """Writes `new` (None: removes the file) if the file holds exactly `old` (None: does not exist), else changes
        nothing; whether it did. Of several that exchange the same, one succeeds, where `exchanges` says so."""

    @abstractmethod
    def exchanges(self, name: str) -> bool:
        """Whether `exchange` is one step for everybody here. Where it is not, another may write between the look and
        the write."""

    @abstractmethod
    def remove(self, name: str) -> None:
        """Removes a file; a missing one is no error."""

    @abstractmethod
    def remove_tree(self, name: str) -> None:
        """Removes a subfolder and everything in it."""

    @abstractmethod
    def rename_tree(self, name: str, new_name: str, last: str) -> None:
        """Gives a subfolder another name. `last`: the file that completes it, there last and gone first."""

    @abstractmethod
    def size(self, name: str) -> int | None:
        """A file's size in bytes; None if it does not exist."""

    @abstractmethod
    def names(self, pattern: str) -> list[str]:
        """Names of the files that match, sorted; * matches within one path component."""

    @abstractmethod
    def versions(self, pattern: str) -> dict[str, str]:
        """File that matches → a value that changes whenever the file is written again."""

    @abstractmethod
    def sizes(self) -> dict[str, int]:
        """Every file below, at any depth, with its size in bytes, sorted by name."""

    @abstractmethod
    def file(self, name: str, entry: FileEntry | None = None) -> Path:
        """A path of this machine to open a file at; one that does not exist if the file is missing.

        `entry`: size and digest from the file's receipt, checked when it has to be fetched. XmodelError: they differ.
        """

    @abstractmethod
    def files(self, pattern: str) -> dict[str, Path]:
        """Name of each file that matches → a path of this machine to open it at, sorted."""

    @abstractmethod
    def tree(self, name: str) -> Path:
        """A path of this machine that holds all files of a subfolder."""

    @abstractmethod
    def put_tree(self, written: Path, name: str, last: str) -> None:
        """Puts a written folder in place as the subfolder `name`. `last`: the file that completes it, written last."""

    @abstractmethod
    def raw(self, name: str) -> Path | RemoteFile | None:
        """A file without fetching it, to be digested or read in parts; None if it does not exist."""

    @abstractmethod
    def working_folder(self) -> Path:
        """A folder of this machine for work on this one that needs local files or locks."""


@dataclass(frozen=True)
class StoredFile:
    """One file of an artifact with its size and digest: what a task sends to any process on any machine."""

    folder: Folder
    entry: FileEntry

    @property
    def bytes(self) -> int:
        """Its size in bytes."""
        return self.entry.bytes

    @property
    def path(self) -> Path:
        """A path of this machine to open the file at, fetched if needed; it does not exist if the file is gone."""
        return self.folder.file(self.entry.path, self.entry)


def entries_below(staging: Path) -> Iterable[FileEntry]:
    """Every file of a folder, at any depth, with its size and digest, by name."""
    for path in sorted(p for p in staging.rglob("*") if p.is_file()):
        yield FileEntry(path.relative_to(staging).as_posix(), path.stat().st_size, file_digest(path))

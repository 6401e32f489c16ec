"""SHA-256 of raw files, remembered in the workspace: a file is read again only after it changed.

Takes files of this machine or of an object store; gives their digests in order. A digest is remembered under the
file's place, size and version (modification time, or ETag). The memory grows by small parts, `digests/*.jsonl`, a line
with its checksum for each digest. A part is written whole by whoever digested those files, so that any number of
processes, on folders and object stores alike, may add to it at once, and a killed run loses only what it was reading.
Many parts are merged into one. It is only a memory: what is lost or damaged is computed again.
"""

import json
import secrets
import time
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from xmodel_core.artifacts.fingerprint import file_digest, stream_digest
from xmodel_core.artifacts.folder import Folder
from xmodel_core.artifacts.remote import RemoteFile, open_stream

PARTS = "digests/*.jsonl"
MOST_PARTS = 16
"""More are merged into one."""
GROUP_BYTES, GROUP_FILES = 1 << 28, 1 << 10
"""Files that are digested and remembered together, at most: what a killed run reads again."""

RawFilePlace = Path | RemoteFile


class MapOverItems(Protocol):
    """`Cluster.map`, as far as it is asked for here."""

    def __call__(
        self,
        function: Callable[[Any], Any],
        items: Sequence[Any],
        progress: str,
        unit: str = ...,
        sizes: Sequence[float] | None = ...,
    ) -> list[Any]: ...


class FileState(NamedTuple):
    """Which file, and in which state: a digest is remembered under both."""

    file: RawFilePlace
    place: str
    bytes: int
    version: str


@dataclass(frozen=True)
class _Group:
    """Files to be digested together, in one task."""

    workspace: Folder
    files: tuple[FileState, ...]

    @property
    def bytes(self) -> int:
        return sum(file.bytes for file in self.files)


def _state(file: RawFilePlace) -> FileState:
    if isinstance(file, RemoteFile):
        return FileState(file, file.address, file.bytes, file.version)
    stat = file.stat()
    return FileState(file, str(file.resolve()), stat.st_size, str(stat.st_mtime_ns))


def size_of(file: RawFilePlace) -> int:
    """A file's size in bytes."""
    return file.bytes if isinstance(file, RemoteFile) else file.stat().st_size


def read_digest(file: RawFilePlace) -> str:
    """SHA-256, 64 hex digits, of a file's bytes, wherever it is."""
    if isinstance(file, RemoteFile):
        with open_stream(file.address) as stream:
            return stream_digest(stream)
    return file_digest(file)


def _digest_group(group: _Group) -> list[str]:
    """The digests of a group's files, remembered as one part."""
    digests = [read_digest(state.file) for state in group.files]
    _write_part(group.workspace, zip(group.files, digests, strict=True))
    return digests


def _write_part(workspace: Folder, digests: Iterable[tuple[FileState, str]]) -> None:
    lines = (json.dumps([state.place, state.bytes, state.version, digest]).encode() for state, digest in digests)
    part = b"".join(b"%08x %s\n" % (zlib.crc32(line), line) for line in lines)
    # In order of time: of two states of one file the later is the one that counts.
    workspace.write(PARTS.replace("*", f"{time.time_ns():020d}-{secrets.token_hex(4)}"), part)


def _read_line(line: bytes) -> tuple[str, tuple[int, str, str]] | None:
    """(place, (bytes, version, digest)) of a line; None where it is damaged."""
    checksum, _, text = line.partition(b" ")
    if checksum != b"%08x" % zlib.crc32(text):
        return None
    place, size, version, digest = json.loads(text)
    return place, (size, version, digest)


def _groups(workspace: Folder, files: Sequence[FileState]) -> Iterator[_Group]:
    group: list[FileState] = []
    size = 0
    for state in files:
        if group and (size + state.bytes > GROUP_BYTES or len(group) == GROUP_FILES):
            yield _Group(workspace, tuple(group))
            group, size = [], 0
        group.append(state)
        size += state.bytes
    if group:
        yield _Group(workspace, tuple(group))


class DigestMemory:
    """The remembered digests of a workspace, read once."""

    def __init__(self, workspace: Folder) -> None:
        self._workspace = workspace

    @cached_property
    def _remembered(self) -> dict[str, tuple[int, str, str]]:
        """place → bytes, version, digest."""
        remembered: dict[str, tuple[int, str, str]] = {}
        parts = self._workspace.files(PARTS)
        for _, path in sorted(parts.items()):
            try:
                lines = path.read_bytes().splitlines()
            except FileNotFoundError:  # merged by another process meanwhile: what it held is digested again
                continue
            remembered.update(entry for line in lines if (entry := _read_line(line)))
        if len(parts) > MOST_PARTS:
            # First the whole, then without its parts: at no time is anything in neither.
            states = ((FileState(Path(), place, size, version), d) for place, (size, version, d) in remembered.items())
            _write_part(self._workspace, states)
            for name in parts:
                self._workspace.remove(name)
        return remembered

    def _known(self, state: FileState) -> str | None:
        if isinstance(state.file, RemoteFile) and state.file.sha256:
            return state.file.sha256
        size, version, digest = self._remembered.get(state.place, (None, None, None))
        return digest if (size, version) == (state.bytes, state.version) else None

    def known(self, files: Sequence[RawFilePlace]) -> list[str | None]:
        """The digests as far as they are remembered or published; no file is read."""
        return [self._known(_state(file)) for file in files]

    def of(self, files: Sequence[RawFilePlace], map_over: MapOverItems | None = None) -> list[str]:
        """The digests of files; those that are not remembered are read, in the tasks of `map_over` where it is given
        and there is more than a little to read."""
        states = [_state(file) for file in files]
        unknown = list(dict.fromkeys(state for state in states if self._known(state) is None))
        groups = list(_groups(self._workspace, unknown))
        if map_over is None or len(groups) <= 1:
            made = [_digest_group(group) for group in groups]
        else:
            sizes = [group.bytes / 1e6 for group in groups]
            made = map_over(_digest_group, groups, "digest raw files", unit="MB", sizes=sizes)
        for group, digests in zip(groups, made, strict=True):
            for state, digest in zip(group.files, digests, strict=True):
                self._remembered[state.place] = (state.bytes, state.version, digest)
        # As read now, even if a file changed meanwhile: whoever reads it next is told.
        now = {state: self._known(state) for state in states}
        assert all(now.values())
        return [str(now[state]) for state in states]

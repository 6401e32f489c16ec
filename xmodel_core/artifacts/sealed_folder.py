"""A folder that lists its own files: name, size and sha256 of each, in a `manifest.json` that is written last.

Takes a written folder; gives that manifest, a check of the files against it, and one digest for all of them. A folder
without such a manifest (a released model, an import) passes the check: there is nothing to compare it with.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from xmodel_core.artifacts.fingerprint import file_digest, fingerprint
from xmodel_core.artifacts.folder import FileEntry, Folder, entries_below
from xmodel_core.errors import XmodelError

MANIFEST = "manifest.json"


class DamagedFolder(XmodelError):
    """A file of a sealed folder is missing, or is not the one that was written."""


@dataclass(frozen=True)
class Seal:
    """A folder's manifest."""

    files: Mapping[str, FileEntry]
    """By name. A sha256 is empty where an earlier version of Xmodel listed sizes alone."""
    created_at: str

    @property
    def bytes(self) -> int:
        """Of all files, the manifest aside."""
        return sum(entry.bytes for entry in self.files.values())


def seal(folder: Path) -> Seal:
    """Lists the files of a written folder in its manifest, and writes it."""
    created_at = datetime.now(UTC).isoformat(timespec="seconds")
    sealed = Seal({entry.path: entry for entry in _entries(folder)}, created_at)
    files = {name: {"bytes": entry.bytes, "sha256": entry.sha256} for name, entry in sealed.files.items()}
    text = json.dumps({"files": files, "created_at": created_at}, sort_keys=True)
    (folder / MANIFEST).write_text(text, encoding="utf-8")
    return sealed


def _entries(folder: Path) -> list[FileEntry]:
    return [entry for entry in entries_below(folder) if entry.path != MANIFEST]


def read_seal(data: bytes | None, where: object) -> Seal | None:
    """The manifest in these bytes; None where there are none. DamagedFolder, naming `where`: it cannot be read."""
    if data is None:
        return None
    try:
        record = json.loads(data)
        return Seal({name: _entry(name, listed) for name, listed in record["files"].items()}, record["created_at"])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DamagedFolder(
            "a folder's manifest cannot be read",
            expected="the files with their sizes and sha256",
            found=f"{type(error).__name__}: {error}",
            where=f"{where}/{MANIFEST}",
            remedy="restore it from a copy",
        ) from None


def _entry(name: str, listed: object) -> FileEntry:
    if isinstance(listed, int):  # before version 0.3: its size alone
        return FileEntry(name, listed, "")
    if not isinstance(listed, dict) or not isinstance(listed["bytes"], int) or not isinstance(listed["sha256"], str):
        raise ValueError(f"{name} is listed without size and sha256")
    return FileEntry(name, listed["bytes"], listed["sha256"])


def is_complete(folder: Folder, name: str) -> bool:
    """Whether the subfolder `name` is sealed and each file has its listed size. Cheap: no file is read."""
    try:
        sealed = read_seal(folder.read(f"{name}/{MANIFEST}"), name)
    except DamagedFolder:
        return False
    return sealed is not None and all(
        folder.size(f"{name}/{file}") == entry.bytes for file, entry in sealed.files.items()
    )


def sealed_files(folder: Path) -> Seal | None:
    """The manifest of a folder; None where it has none. DamagedFolder: it cannot be read."""
    path = folder / MANIFEST
    return read_seal(path.read_bytes(), folder) if path.is_file() else None


def verify(folder: Path, *names: str) -> None:
    """Compares files with the folder's manifest: those of these `names`, or all. DamagedFolder, naming the first file
    that is missing or differs. Does nothing where the folder has no manifest."""
    sealed = sealed_files(folder)
    if sealed is None:
        return
    for name in names or sorted(sealed.files):
        path, entry = folder / name, sealed.files.get(name)
        if entry is None:
            if path.exists():
                _refuse(path, "a file that the manifest lists", "a file that it does not list")
        elif not path.is_file():
            _refuse(path, f"{entry.bytes:,} bytes", "no such file")
        elif (size := path.stat().st_size) != entry.bytes:
            _refuse(path, f"{entry.bytes:,} bytes", f"{size:,} bytes")
        elif entry.sha256 and (sha256 := file_digest(path)) != entry.sha256:
            _refuse(path, f"sha256 {entry.sha256[:12]}…", f"sha256 {sha256[:12]}…")


def _refuse(path: Path, expected: str, found: str) -> None:
    raise DamagedFolder(
        "a file has changed since it was written",
        expected=f"{expected}, as {MANIFEST} lists",
        found=found,
        where=path,
        remedy="restore it from a copy, or use another checkpoint",
    )


def folder_digest(folder: Path) -> str:
    """SHA-256 over the names, sizes and digests of all files but the manifest, in the order of their names: from the
    manifest where there is one, so the files should be verified where they are read."""
    sealed = sealed_files(folder)
    if sealed is not None and all(entry.sha256 for entry in sealed.files.values()):
        entries = [sealed.files[name] for name in sorted(sealed.files)]
    else:
        entries = _entries(folder)
    return fingerprint([[entry.path, entry.bytes, entry.sha256] for entry in entries])

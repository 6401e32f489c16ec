"""The store: a workspace folder of artifacts, each at <kind>/<name>-<fingerprint8>/.

Takes identities, gives artifacts. An artifact is whole when its manifest is there; the manifest
is written last. Change anything that changes bytes and the identity is another, so only what
depends on it is built again; change nothing and nothing is.
"""

import contextlib
import json
import shutil
import socket
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psutil

from xmodel_core.artifacts.fingerprint import canonical_json, file_digest, fingerprint
from xmodel_core.artifacts.shard import PARTIAL, Receipt, read_receipt, receipt_path, write_atomically
from xmodel_core.errors import XmodelError

MANIFEST = "manifest.json"


@dataclass(frozen=True)
class Identity:
    """What an artifact is made of: never workers, hosts or places."""

    kind: str
    name: str
    version: int
    config: dict[str, Any]
    inputs: dict[str, str]

    @cached_property
    def fingerprint(self) -> str:
        return fingerprint([self.kind, self.name, self.version, self.config, self.inputs])

    @property
    def label(self) -> str:
        """The name by which folders and the ledger know it: <name>-<first 8 digits>."""
        return f"{self.name}-{self.fingerprint[:8]}"


@dataclass(frozen=True)
class Artifact:
    """A finished output of a stage."""

    kind: str
    name: str
    fingerprint: str
    path: Path

    @property
    def label(self) -> str:
        return self.path.name

    def manifest(self) -> dict[str, Any]:
        """The manifest; its `facts` are what the stage tells the next ones."""
        return read_manifest(self.path / MANIFEST)

    def receipts(self) -> dict[str, Receipt]:
        """The receipts of its shards, by shard name, sorted."""
        paths = sorted((self.path / "receipts").glob("*.json"))
        return {path.stem: read_receipt(path) for path in paths}


def read_manifest(path: Path) -> dict[str, Any]:
    """A manifest as plain JSON; XmodelError where it cannot be read."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise XmodelError(
            "a manifest cannot be read",
            expected="the JSON that a finished stage leaves",
            found=error,
            where=path,
            remedy="delete this manifest; the next run finishes the stage from its shards",
        ) from error


@dataclass
class Build:
    """An artifact in the making."""

    identity: Identity
    folder: Path
    _started: float = field(default_factory=time.monotonic)

    def finished(self, shard: str) -> Receipt | None:
        """The receipt of a shard that is done: its files are there at their sizes."""
        path = receipt_path(self.folder, shard)
        if not path.exists():
            return None
        receipt = read_receipt(path)
        for entry in receipt.files:
            file = self.folder / entry.path
            if not file.exists() or file.stat().st_size != entry.bytes:
                path.unlink()  # a file went missing after its receipt: the shard is built again
                return None
        return receipt

    def discard(self, shard: str) -> None:
        """Removes a finished shard that only the stage itself needed."""
        path = receipt_path(self.folder, shard)
        if path.exists():
            files = read_receipt(path).files
            path.unlink()
            for entry in files:
                (self.folder / entry.path).unlink(missing_ok=True)

    def commit(
        self, rows: dict[str, list[dict[str, Any]]] | None = None, facts: dict[str, Any] | None = None
    ) -> Artifact:
        """Writes the manifest: from now on the artifact is whole. `seconds` are those of its shards or its build,
        whichever is more, since a build may have gone on from an earlier one's shards."""
        shards = [read_receipt(path).seconds for path in (self.folder / "receipts").glob("*.json")]
        manifest = {
            "kind": self.identity.kind,
            "name": self.identity.name,
            "fingerprint": self.identity.fingerprint,
            "version": self.identity.version,
            "config": self.identity.config,
            "inputs": self.identity.inputs,
            "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "code_version": version("xmodel"),
            "seconds": round(max(time.monotonic() - self._started, sum(shards)), 3),
            "rows": rows or {},
            "facts": facts or {},
        }
        write_atomically(
            self.folder / MANIFEST, json.dumps(manifest, ensure_ascii=False, sort_keys=True, indent=1).encode()
        )
        with contextlib.suppress(OSError):  # not empty while another builder of the same artifact is at work
            (self.folder / PARTIAL).rmdir()
        return Artifact(self.identity.kind, self.identity.name, self.identity.fingerprint, self.folder)


def _alive(owner: str) -> bool:
    host, process, _ = owner.split("~")
    return host != socket.gethostname() or psutil.pid_exists(int(process))


class Store:
    """The artifacts of one workspace folder."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def folder(self, identity: Identity) -> Path:
        """Where an artifact of this identity lies, built or not."""
        return self.root / identity.kind / identity.label

    def find(self, identity: Identity) -> Artifact | None:
        """The artifact, if it is whole."""
        folder = self.folder(identity)
        if not (folder / MANIFEST).exists():
            return None
        return Artifact(identity.kind, identity.name, identity.fingerprint, folder)

    def build(self, identity: Identity) -> Build:
        """Opens an artifact for building: finished shards of an earlier try stay, what its dead
        processes left half-written goes. Another live builder of the same artifact is harmless."""
        folder = self.folder(identity)
        folder.mkdir(parents=True, exist_ok=True)
        for aside in (folder / PARTIAL).glob("*~*~*"):
            if not _alive(aside.name):
                shutil.rmtree(aside, ignore_errors=True)
        return Build(identity, folder)

    def artifacts(self, kind: str, name: str | None = None) -> list[Artifact]:
        """The whole artifacts of a kind (and name), the newest last."""
        found = []
        for path in (self.root / kind).glob(f"*/{MANIFEST}"):
            manifest = read_manifest(path)
            if name in (None, manifest["name"]):
                artifact = Artifact(kind, manifest["name"], manifest["fingerprint"], path.parent)
                found.append((manifest["created_at"], path.stat().st_mtime_ns, artifact))
        return [artifact for *_, artifact in sorted(found, key=lambda row: row[:2])]

    def explain(self, identity: Identity) -> str:
        """Why this artifact is reused or built, in a few words, against the newest of its name."""
        if self.find(identity):
            return "reused"
        if any((self.folder(identity) / "receipts").glob("*.json")):
            return "goes on from finished shards"
        earlier = self.artifacts(identity.kind, identity.name)
        if not earlier:
            return "new"
        manifest = earlier[-1].manifest()
        changed = [
            *(["room version"] if manifest["version"] != identity.version else []),
            *_differences(manifest["config"], identity.config),
            *(f"input {name}" for name in _differences(manifest["inputs"], identity.inputs)),
        ]
        return "changed: " + ", ".join(changed[:4]) + (" …" if len(changed) > 4 else "")

    def digest(self, path: Path) -> str:
        """SHA-256 of a raw file, remembered in the workspace by its place, size and modification time."""
        memory = self.root / "digests.json"
        stat = path.stat()
        key = f"{path.resolve()}:{stat.st_size}:{stat.st_mtime_ns}"
        if not hasattr(self, "_digests"):
            try:
                self._digests: dict[str, str] = json.loads(memory.read_text(encoding="utf-8"))
            except (OSError, ValueError):
                self._digests = {}  # only a memory: what is lost is read again
        if key not in self._digests:
            self._digests[key] = file_digest(path)
            write_atomically(memory, canonical_json(self._digests).encode())
        return self._digests[key]


def _differences(before: object, after: object, path: str = "") -> list[str]:
    """The dotted keys at which two plain values differ, with both values where they are short."""
    if isinstance(before, dict) and isinstance(after, dict):
        keys = sorted({*before, *after})
        return [
            line
            for key in keys
            for line in _differences(before.get(key), after.get(key), f"{path}.{key}" if path else key)
        ]
    if before == after:
        return []
    was, now = (json.dumps(value, ensure_ascii=False) for value in (before, after))
    return [f"{path} {was} → {now}" if len(was) + len(now) < 40 else path]

"""The store: a workspace of artifacts, each at <kind>/<name>-<fingerprint8>/, in a folder or on an object store.

Takes identities, gives artifacts. An artifact is complete when its manifest exists; the manifest is written last.
Whatever changes bytes changes the identity, so exactly what depends on the change is built again.
"""

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

from xmodel_core.artifacts.digests import DigestMemory
from xmodel_core.artifacts.fingerprint import file_digest, fingerprint
from xmodel_core.artifacts.folder import Folder, StoredFile
from xmodel_core.artifacts.manifest import MANIFEST, damaged_file, listed_receipts, read_manifest
from xmodel_core.artifacts.place import Place, open_folder
from xmodel_core.artifacts.remote import RemoteFile
from xmodel_core.artifacts.sealed_json import seal_json
from xmodel_core.artifacts.shard import Receipt, finished_shard, receipt_name
from xmodel_core.errors import XmodelError

WORK = ".work"
Digest = Callable[[Path | RemoteFile], str]
"""A file's sha256; `Store.digest` remembers those that it has computed."""


@dataclass(frozen=True)
class Identity:
    """Everything that determines an artifact's bytes: never workers, hosts or places."""

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
        """Its name in folders and in the ledger: <name>-<first 8 digits of the fingerprint>."""
        return f"{self.name}-{self.fingerprint[:8]}"


@dataclass(frozen=True)
class Artifact:
    """A finished output of a stage."""

    kind: str
    name: str
    fingerprint: str
    folder: Folder

    @property
    def label(self) -> str:
        return self.folder.name

    @property
    def path(self) -> Path:
        """Its folder on this machine, for a person to look into. Rooms open files by name, with `file`."""
        return self.folder.path

    def manifest(self) -> dict[str, Any]:
        """The manifest; its `facts` are for the stages that follow."""
        return read_manifest(self.folder.read(MANIFEST), self.folder)

    def receipts(self) -> dict[str, Receipt]:
        """The receipts of its shards, by shard name, sorted. XmodelError: one is missing, damaged or another's."""
        return listed_receipts(self.folder, self.manifest())

    def stored(self) -> dict[str, StoredFile]:
        """Name → every file of its receipts, in the form that is sent to tasks."""
        entries = [entry for receipt in self.receipts().values() for entry in receipt.files]
        return {entry.path: StoredFile(self.folder, entry) for entry in entries}

    def file(self, name: str) -> Path:
        """A path of this machine to open one of its files at, its bytes compared with its receipt: for small artifacts,
        whose files are read whole. XmodelError: it is missing or damaged."""
        entry = self.stored()[name].entry
        path = self.folder.file(name, entry)
        if (sha256 := file_digest(path) if path.is_file() else None) != entry.sha256:
            raise damaged_file(self.folder, entry, sha256)
        return path

    def verify(self, digests: DigestMemory) -> None:
        """Compares all its files with their receipts. XmodelError: one is missing or damaged."""
        files = self.stored()
        places = {name: raw for name in files if (raw := self.folder.raw(name))}
        known = dict(zip(places, digests.of(list(places.values())), strict=True))
        for name, stored in files.items():
            if (sha256 := known.get(name)) != stored.entry.sha256:
                raise damaged_file(self.folder, stored.entry, sha256)

    def files(self, pattern: str) -> dict[str, Path]:
        """Name of each file that matches → a path of this machine to open it at, sorted. * matches within one path
        component."""
        return self.folder.files(pattern)


@dataclass
class Build:
    """An artifact that is being built."""

    identity: Identity
    folder: Folder
    _started: float = field(default_factory=time.monotonic)

    def finished(self, shard: str) -> Receipt | None:
        """The receipt of a finished shard; None unless all its files exist at their sizes."""
        return finished_shard(self.folder, shard)

    @property
    def work(self) -> Folder:
        """For shards that only the stage itself uses: removed when the artifact is complete."""
        return self.folder / WORK

    def completed_by_another(self) -> Artifact | None:
        """The artifact, where another builder has completed it, and removed the shards of `work` on which this one may
        have failed."""
        if self.folder.size(MANIFEST) is None:
            return None
        self.folder.remove_tree(WORK)
        return Artifact(self.identity.kind, self.identity.name, self.identity.fingerprint, self.folder)

    def commit(
        self,
        rows: dict[str, list[dict[str, Any]]] | None = None,
        facts: dict[str, Any] | None = None,
        files: Sequence[str] = (),
    ) -> Artifact:
        """Writes the manifest, which completes the artifact. `files`: patterns of the files that no receipt names; the
        manifest lists their digests. Its `seconds` are those of its shards or of this build, whichever is more: a build
        may have resumed after shards of an earlier one. Where another builder has completed it first, its manifest
        stays."""
        if finished := self.completed_by_another():
            return finished
        artifact = Artifact(self.identity.kind, self.identity.name, self.identity.fingerprint, self.folder)
        receipts = listed_receipts(self.folder, {})
        seconds = [receipt.seconds for receipt in receipts.values()]
        manifest = {
            "kind": self.identity.kind,
            "name": self.identity.name,
            "fingerprint": self.identity.fingerprint,
            "version": self.identity.version,
            "config": self.identity.config,
            "inputs": self.identity.inputs,
            "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "code_version": version("xmodel"),
            "seconds": round(max(time.monotonic() - self._started, sum(seconds)), 3),
            "rows": rows or {},
            "facts": facts or {},
            "receipts": {shard: receipt.files_digest for shard, receipt in receipts.items()},
            "files": {
                name: {"bytes": path.stat().st_size, "sha256": file_digest(path)}
                for pattern in files
                for name, path in self.folder.files(pattern).items()
            },
        }
        self.folder.write(MANIFEST, seal_json(manifest, indent=1))
        self.folder.remove_tree(WORK)
        self.folder.tidy()  # a killed worker's shard may have been built by another
        return artifact


class Store:
    """The artifacts of one workspace."""

    def __init__(self, root: Place) -> None:
        self.root = open_folder(root)

    def folder(self, identity: Identity) -> Folder:
        """The folder of this identity's artifact, built or not."""
        return self.root / identity.kind / identity.label

    def find(self, identity: Identity) -> Artifact | None:
        """The artifact; None unless it is complete. XmodelError: its manifest is damaged, or another artifact's."""
        folder = self.folder(identity)
        if (data := folder.read(MANIFEST)) is None:
            return None
        if (found := read_manifest(data, folder)["fingerprint"]) != identity.fingerprint:
            raise XmodelError(
                "an artifact's folder holds another artifact",
                expected=f"fingerprint {identity.fingerprint}",
                found=found,
                where=f"{folder}/{MANIFEST}",
                remedy="delete this folder, or give the recipe another name",
            )
        return Artifact(identity.kind, identity.name, identity.fingerprint, folder)

    def build(self, identity: Identity) -> Build:
        """Opens an artifact for building: finished shards of an earlier attempt are kept, half-written files of its
        dead processes removed. Another live builder of the same artifact is harmless: same bytes, atomic writes."""
        folder = self.folder(identity)
        folder.prepare()
        return Build(identity, folder)

    def artifacts(self, kind: str, name: str | None = None) -> list[Artifact]:
        """The complete artifacts of a kind (and name), the newest last."""
        dated = []
        for place, path in self.root.files(f"{kind}/*/{MANIFEST}").items():
            folder = self.root / kind / place.split("/")[1]
            manifest = read_manifest(path.read_bytes(), folder)
            if name in (None, manifest["name"]):
                artifact = Artifact(kind, manifest["name"], manifest["fingerprint"], folder)
                dated.append((manifest["created_at"], path.stat().st_mtime_ns, artifact))
        return [artifact for *_, artifact in sorted(dated, key=lambda row: row[:2])]

    def explain(self, identity: Identity) -> str:
        """Why this artifact is reused or built, in a few words: the difference from the newest of its name."""
        if self.find(identity):
            return "reused"
        if self.folder(identity).names(receipt_name("*")):
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

    @cached_property
    def digests(self) -> DigestMemory:
        """The digests of raw files, remembered in the workspace."""
        return DigestMemory(self.root)

    def digest(self, file: Path | RemoteFile) -> str:
        """SHA-256 of a raw file, remembered in the workspace."""
        return self.digests.of([file])[0]


def _differences(before: object, after: object, path: str = "") -> list[str]:
    """The dotted keys at which two plain values differ, with both values where they are short."""
    if isinstance(before, dict) and isinstance(after, dict):
        keys = sorted({*before, *after})
        return [
            line
            for key in keys
            for line in _differences(before.get(key), after.get(key), f"{path}.{key}" if path else key)
        ]
    was, now = (json.dumps(value, ensure_ascii=False) for value in (before, after))
    if was == now:  # as JSON: a tuple comes back from a manifest as a list
        return []
    return [f"{path} {was} → {now}" if len(was) + len(now) < 40 else path]

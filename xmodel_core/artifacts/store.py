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

from xmodel_core.artifacts.fingerprint import canonical_json, file_digest, fingerprint, stream_digest
from xmodel_core.artifacts.folder import FileEntry, Folder, StoredFile
from xmodel_core.artifacts.place import Place, open_folder
from xmodel_core.artifacts.remote import RemoteFile, open_stream
from xmodel_core.artifacts.sealed_json import open_json, seal_json
from xmodel_core.artifacts.shard import Receipt, read_receipt, receipt_name
from xmodel_core.errors import XmodelError

MANIFEST = "manifest.json"
DIGESTS = "digests.json"
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

    def verify(self, digest: Digest) -> None:
        """Compares all its files with their receipts. XmodelError: one is missing or damaged."""
        for name, stored in self.stored().items():
            raw = self.folder.raw(name)
            if (sha256 := digest(raw) if raw else None) != stored.entry.sha256:
                raise damaged_file(self.folder, stored.entry, sha256)

    def files(self, pattern: str) -> dict[str, Path]:
        """Name of each file that matches → a path of this machine to open it at, sorted. * matches within one path
        component."""
        return self.folder.files(pattern)


def read_manifest(data: bytes | None, folder: Folder) -> dict[str, Any]:
    """The manifest of the artifact in `folder`. XmodelError: its bytes are damaged, or it is another artifact's."""
    try:
        values = open_json(data or b"")
        place = "{}/{}-{:.8}".format(*(values.get(key) for key in ("kind", "name", "fingerprint")))
        if "receipts" in values and not str(folder).endswith(f"/{place}"):
            raise ValueError(f"the manifest of {place}")
        return values
    except (ValueError, TypeError) as error:
        raise XmodelError(
            "a manifest cannot be read",
            expected="the JSON that a finished stage leaves",
            found=error,
            where=f"{folder}/{MANIFEST}",
            remedy="delete this manifest; the next run finishes the stage from its shards",
        ) from error


def _missing_receipt(folder: Folder, shard: str) -> XmodelError:
    return XmodelError(
        "a receipt is missing",
        expected="one for each shard that the manifest lists",
        where=f"{folder}/{receipt_name(shard)}",
        remedy=f"delete {folder.name}/{MANIFEST}; the next run builds the shard again",
    )


def listed_receipts(folder: Folder, manifest: dict[str, Any]) -> dict[str, Receipt]:
    """The receipts of a finished artifact, by shard, sorted. XmodelError: one is missing, damaged, or names other files
    than when the artifact was finished."""
    files = folder.files(receipt_name("*"))
    listed: dict[str, str] | None = manifest.get("receipts")
    receipts = {}
    for shard in sorted(path.stem for path in files.values()) if listed is None else sorted(listed):
        if (path := files.get(receipt_name(shard))) is None:
            raise _missing_receipt(folder, shard)
        receipts[shard] = read_receipt(path.read_bytes(), folder, shard)
        if listed is not None and receipts[shard].files_digest != listed[shard]:
            raise XmodelError(
                "a receipt is not the one that the artifact was finished with",
                expected=f"files with the digest {listed[shard][:12]}…, as its manifest says",
                found=f"{receipts[shard].files_digest[:12]}…",
                where=f"{folder}/{receipt_name(shard)}",
                remedy=f"delete it and {folder.name}/{MANIFEST}; the next run builds its shard again",
            )
    return receipts


def damaged_file(folder: Folder, entry: FileEntry, sha256: str | None) -> XmodelError:
    """What to say of a file that differs from its receipt; `sha256`: of what is there, None where nothing is."""
    return XmodelError(
        "a file of the workspace differs from its receipt",
        expected=f"{entry.bytes:,} bytes, sha256 {entry.sha256[:12]}…",
        found="no such file" if sha256 is None else f"sha256 {sha256[:12]}…",
        where=f"{folder}/{entry.path}",
        remedy=f"delete it and {folder.name}/{MANIFEST}; the next run builds it again",
    )


@dataclass
class Build:
    """An artifact that is being built."""

    identity: Identity
    folder: Folder
    _started: float = field(default_factory=time.monotonic)

    def finished(self, shard: str) -> Receipt | None:
        """The receipt of a finished shard; None unless all its files exist at their sizes."""
        name = receipt_name(shard)
        data = self.folder.read(name)
        if data is None:
            return None
        try:
            receipt = read_receipt(data, self.folder, shard)
        except XmodelError:
            self.folder.remove(name)  # no record of what was done: the shard is built again
            return None
        for entry in receipt.files:
            if self.folder.size(entry.path) != entry.bytes:
                self.folder.remove(name)  # a file went missing after its receipt: the shard is built again
                return None
        return receipt

    def discard(self, shard: str) -> None:
        """Removes a finished shard that only the stage itself used."""
        name = receipt_name(shard)
        if data := self.folder.read(name):
            files = read_receipt(data, self.folder, shard).files
            self.folder.remove(name)
            for entry in files:
                self.folder.remove(entry.path)

    def commit(
        self,
        rows: dict[str, list[dict[str, Any]]] | None = None,
        facts: dict[str, Any] | None = None,
        files: Sequence[str] = (),
    ) -> Artifact:
        """Writes the manifest, which completes the artifact. `files`: patterns of the files that no receipt names; the
        manifest lists their digests. Its `seconds` are those of its shards or of this build, whichever is more: a build
        may have resumed after shards of an earlier one."""
        artifact = Artifact(self.identity.kind, self.identity.name, self.identity.fingerprint, self.folder)
        receipts = listed_receipts(self.folder, {})
        manifest = {
            "kind": self.identity.kind,
            "name": self.identity.name,
            "fingerprint": self.identity.fingerprint,
            "version": self.identity.version,
            "config": self.identity.config,
            "inputs": self.identity.inputs,
            "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "code_version": version("xmodel"),
            "seconds": round(
                max(time.monotonic() - self._started, sum(receipt.seconds for receipt in receipts.values())), 3
            ),
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

    def digest(self, file: Path | RemoteFile) -> str:
        """SHA-256 of a raw file, remembered in the workspace under its place, size and version (modification time, or
        ETag on an object store)."""
        if isinstance(file, RemoteFile):
            if file.sha256:
                return file.sha256
            key = f"{file.address}:{file.bytes}:{file.version}"
        else:
            stat = file.stat()
            key = f"{file.resolve()}:{stat.st_size}:{stat.st_mtime_ns}"
        if not hasattr(self, "_digests"):
            try:
                self._digests: dict[str, str] = json.loads(self.root.read(DIGESTS) or b"{}")
            except ValueError:
                self._digests = {}  # only a cache: what is lost is computed again
        if key not in self._digests:
            if isinstance(file, RemoteFile):
                with open_stream(file.address) as stream:
                    self._digests[key] = stream_digest(stream)
            else:
                self._digests[key] = file_digest(file)
            self.root.write(DIGESTS, canonical_json(self._digests).encode())
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
    was, now = (json.dumps(value, ensure_ascii=False) for value in (before, after))
    if was == now:  # as JSON: a tuple comes back from a manifest as a list
        return []
    return [f"{path} {was} → {now}" if len(was) + len(now) < 40 else path]

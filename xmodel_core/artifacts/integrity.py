"""Whether every byte of a workspace is the one that was written: manifests, receipts, and all files that they list.

Takes a workspace; gives the damage, each with its file, what was expected, what is there and what to do. In two steps,
so that both spread over processes: `inspect` reads what an artifact lists and compares it with the names and sizes that
are there, `check` compares one file's sha256. Neither writes, and neither stops at the first damage.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from xmodel_core.artifacts.digests import read_digest
from xmodel_core.artifacts.folder import FileEntry, Folder
from xmodel_core.artifacts.manifest import MANIFEST, read_manifest
from xmodel_core.artifacts.sealed_folder import DamagedFolder, read_seal
from xmodel_core.artifacts.sealed_json import is_sealed
from xmodel_core.artifacts.shard import Receipt, read_receipt, receipt_name
from xmodel_core.errors import XmodelError

RECEIPT = re.compile(r"receipts/([^/]+)\.json")
PART = re.compile(r"metrics/[^/]+/step-(\d+)\.parquet")
CHECKPOINT = re.compile(r"(checkpoints/step-\d+)/" + re.escape(MANIFEST))
# A builder at work, or what training set aside and said so: nothing reads it as part of the artifact.
NOT_DATA = re.compile(r"(.*/)?\.[^/]*(/.*)?|lease\.json|progress\.json|ray/.*|checkpoints/damaged-.*")


@dataclass(frozen=True)
class Damage:
    """One file that is not what was written."""

    file: str
    """Its path in the workspace."""
    expected: str
    found: str
    delete: tuple[str, ...]
    """What to delete, in the workspace."""
    then: str
    """What brings it back."""

    def __str__(self) -> str:
        away = f"delete {' and '.join(self.delete)}, " if self.delete else ""
        return f"{self.file}: expected {self.expected}, found {self.found}; {away}{self.then}"


@dataclass(frozen=True)
class ListedFile:
    """A file whose bytes are to be compared with the digest that a receipt or manifest lists."""

    root: Folder
    entry: FileEntry
    if_damaged: Damage
    """What to say, but for what is found."""

    @property
    def name(self) -> str:
        """Its path in the workspace."""
        return self.if_damaged.file


@dataclass(frozen=True)
class ArtifactFiles:
    """An artifact's folder, finished or not, with the names and sizes of what is in it."""

    root: Folder
    place: str
    sizes: dict[str, int]


@dataclass
class Inspection:
    """What an artifact lists, against the names and sizes that are there."""

    place: str
    files: int = 0
    finished: bool = False
    sealed: bool = True
    """False: a part of it was written by 0.1.0, whose manifests and receipts carry no digest of themselves."""
    listed: list[ListedFile] = field(default_factory=list)
    damaged: list[Damage] = field(default_factory=list)


def artifact_folders(root: Folder) -> tuple[list[ArtifactFiles], list[str]]:
    """The artifacts of a workspace, finished or not, and the files that belong to none."""
    folders: dict[str, dict[str, int]] = {}
    others = []
    for name, size in root.sizes().items():
        kind, _, rest = name.partition("/")
        label, _, inside = rest.partition("/")
        if inside and not kind.startswith("."):
            folders.setdefault(f"{kind}/{label}", {})[inside] = size
        elif not name.startswith("."):
            others.append(name)
    found = []
    for place, sizes in folders.items():
        if MANIFEST in sizes or any(map(RECEIPT.fullmatch, sizes)) or any(map(CHECKPOINT.fullmatch, sizes)):
            found.append(ArtifactFiles(root, place, sizes))
        else:
            others += [f"{place}/{name}" for name in sizes if not NOT_DATA.fullmatch(name)]
    return found, others


def inspect(artifact: ArtifactFiles) -> Inspection:
    """Reads an artifact's manifest and receipts and compares the names and sizes that they list with what is there."""
    return _Inspector(artifact).run()


class _Inspector:
    """The inspection of one artifact."""

    def __init__(self, artifact: ArtifactFiles) -> None:
        self.artifact = artifact
        self.folder = artifact.root / artifact.place
        self.result = Inspection(artifact.place, len(artifact.sizes))
        self.accounted = {MANIFEST}
        self.lists_are_whole = True
        """Whether manifest and receipts are: else a file that they do not list may well belong to the artifact."""

    def run(self) -> Inspection:
        receipts, files = self._manifest()
        shards = [match[1] for name in self.artifact.sizes if (match := RECEIPT.fullmatch(name))]
        for shard in sorted({*shards, *(receipts or ())}):
            if receipt := self._receipt(shard, receipts):
                self._list(receipt.files)
        self._list(files)
        for name in self.artifact.sizes:
            if match := CHECKPOINT.fullmatch(name):
                self._checkpoint(match[1])
        if self.result.finished and self.lists_are_whole:
            for name in sorted(self.artifact.sizes.keys() - self.accounted):
                if not NOT_DATA.fullmatch(name):
                    self._extra(name, "no file")
        return self.result

    def _damage(self, name: str, expected: object, found: object) -> None:
        # One file may be named twice, by the receipt that lists it and by the manifest.
        damage = _damage_of(self.artifact, name, str(expected), str(found))
        if damage.file not in {known.file for known in self.result.damaged}:
            self.result.damaged.append(damage)

    def _extra(self, name: str, expected: str) -> None:
        file, size = f"{self.artifact.place}/{name}", self.artifact.sizes[name]
        self.result.damaged.append(Damage(file, expected, f"{size:,} bytes", (file,), "nothing reads it"))

    def _read(self, name: str) -> bytes | None:
        data = self.folder.read(name) if name in self.artifact.sizes else None
        if data is not None and not is_sealed(data):
            self.result.sealed = False
        return data

    def _manifest(self) -> tuple[dict[str, str] | None, list[FileEntry]]:
        """Shard → digest of its receipt's files, None where nothing says so; and the files that no receipt names."""
        data = self._read(MANIFEST)
        if data is None:
            return None, []
        self.result.finished = True
        try:
            manifest = read_manifest(data, self.folder)
        except XmodelError as error:
            self._damage(MANIFEST, error.expected, error.found)
            self.lists_are_whole = False
            return None, []
        if "receipts" not in manifest:
            self.lists_are_whole = False
            return None, []
        return manifest["receipts"], [FileEntry(name, **values) for name, values in manifest["files"].items()]

    def _receipt(self, shard: str, listed: dict[str, str] | None) -> Receipt | None:
        name = receipt_name(shard)
        self.accounted.add(name)
        data = self._read(name)
        if data is None:
            self._damage(name, "a receipt, as the manifest lists", "no such file")
            self.lists_are_whole = False
            return None
        if listed is not None and shard not in listed:
            self._extra(name, "no receipt that the manifest does not list")
            return None
        try:
            receipt = read_receipt(data, self.folder, shard)
        except XmodelError as error:
            self._damage(name, error.expected, error.found)
            self.lists_are_whole = False
            return None
        if listed is not None and receipt.files_digest != listed[shard]:
            found = f"files with the digest {receipt.files_digest[:12]}…"
            self._damage(name, f"{listed[shard][:12]}…, as the manifest lists", found)
            self.lists_are_whole = False
            return None
        return receipt

    def _checkpoint(self, name: str) -> None:
        manifest = f"{name}/{MANIFEST}"
        self.accounted.add(manifest)
        try:
            sealed = read_seal(self.folder.read(manifest), f"{self.folder}/{name}")
        except DamagedFolder as error:
            self._damage(manifest, error.expected, error.found)
            self.accounted.update(file for file in self.artifact.sizes if file.startswith(f"{name}/"))
            return
        if sealed is not None:
            self._list(FileEntry(f"{name}/{file}", entry.bytes, entry.sha256) for file, entry in sealed.files.items())

    def _list(self, entries: Iterable[FileEntry]) -> None:
        for entry in entries:
            self.accounted.add(entry.path)
            size = self.artifact.sizes.get(entry.path)
            if size is None:
                self._damage(entry.path, f"{entry.bytes:,} bytes", "no such file")
            elif size != entry.bytes:
                self._damage(entry.path, f"{entry.bytes:,} bytes", f"{size:,} bytes")
            elif entry.sha256:
                damage = _damage_of(self.artifact, entry.path, f"sha256 {entry.sha256[:12]}…", "")
                self.result.listed.append(ListedFile(self.artifact.root, entry, damage))
            else:
                self.result.sealed = False  # a checkpoint of 0.1.0 lists sizes alone


def check(file: ListedFile) -> Damage | None:
    """Reads a file once and compares its sha256. The damage; None where it is what was written."""
    raw = file.root.raw(file.name)
    found = "no such file" if raw is None else f"sha256 {(sha256 := read_digest(raw))[:12]}…"
    if raw is not None and sha256 == file.entry.sha256:
        return None
    return replace(file.if_damaged, found=found)


def _damage_of(artifact: ArtifactFiles, name: str, expected: str, found: str) -> Damage:
    """The damage to a file of an artifact, with what brings it back."""
    place = artifact.place
    file, manifest = f"{place}/{name}", f"{place}/{MANIFEST}"
    if name == MANIFEST:
        delete, then = (file,), "and the next run finishes the stage from its shards"
    elif name.startswith("checkpoints/"):
        checkpoint = "/".join(name.split("/")[:2])
        delete, then = (f"{place}/{checkpoint}", manifest), "and the next run trains on from the checkpoint before"
    elif part := PART.fullmatch(name):
        # A checkpoint comes after the rows up to its step, so those before this part's last step lack none of its rows.
        found_in = [match[1] for file in artifact.sizes if (match := CHECKPOINT.fullmatch(file))]
        later = [
            f"{place}/{checkpoint}" for checkpoint in found_in if int(checkpoint.rpartition("-")[2]) >= int(part[1])
        ]
        delete, then = (file, manifest, *later), "and the next run trains these steps again"
    else:
        delete, then = (file, manifest), "and the next run builds it again"
    return Damage(file, expected, found, delete, then)

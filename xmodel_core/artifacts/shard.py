"""One shard of an artifact: files written in a staging folder, put in place whole, and a receipt last.

Takes a folder and a shard's name; gives a writer whose files appear whole or not at all. The receipt says what went
in, what came out and what was dropped. A shard that has one is done, and a killed stage resumes after it. It works
the same in a worker process: a folder is all it needs.
"""

import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from xmodel_core.artifacts.disk import naming_a_full_disk
from xmodel_core.artifacts.fingerprint import fingerprint
from xmodel_core.artifacts.folder import FileEntry, Folder, entries_below
from xmodel_core.artifacts.sealed_json import open_json, seal_json
from xmodel_core.errors import XmodelError


@dataclass(frozen=True)
class Receipt:
    """What one finished shard reports. `rows` are rows of the ledger's tables, `facts` plain JSON."""

    shard: str
    files: tuple[FileEntry, ...]
    rows: dict[str, list[dict[str, Any]]]
    facts: dict[str, Any]
    seconds: float
    artifact: str = ""
    """Label of the artifact that it belongs to; empty in those of 0.1.0."""

    @property
    def files_digest(self) -> str:
        """Digest of its files' names, sizes and contents: the same for every builder of the shard."""
        return fingerprint([[entry.path, entry.bytes, entry.sha256] for entry in self.files])


@dataclass
class ShardWriter:
    """Collects a shard's files, ledger rows and facts until the shard is put in place."""

    staging: Path
    facts: dict[str, Any] = field(default_factory=dict)
    _rows: dict[str, list[dict[str, Any]]] = field(default_factory=dict)

    def file(self, path: str) -> Path:
        """Where to write the file that will be at `path` inside the artifact."""
        target = self.staging / path
        target.parent.mkdir(parents=True, exist_ok=True)
        return target

    def rows(self, table: str, rows: list[dict[str, Any]]) -> None:
        """Adds rows of a ledger table to the receipt."""
        self._rows.setdefault(table, []).extend(rows)


def receipt_name(shard: str) -> str:
    """The path of a shard's receipt inside the artifact."""
    return f"receipts/{shard}.json"


def read_receipt(data: bytes, folder: Folder, shard: str) -> Receipt:
    """The receipt of a shard of the artifact in `folder`. XmodelError: its bytes are damaged, or it is another's."""
    try:
        values = open_json(data)
        receipt = Receipt(**{**values, "files": tuple(FileEntry(**entry) for entry in values["files"])})
        if receipt.artifact not in ("", folder.name):
            raise ValueError(f"the receipt of {receipt.artifact}")
        if receipt.artifact and receipt.shard != shard:
            raise ValueError(f"the receipt of {receipt.shard}")
        return receipt
    except (ValueError, KeyError, TypeError) as error:
        raise XmodelError(
            "a receipt cannot be read",
            expected="the JSON that a finished shard leaves",
            found=error,
            where=f"{folder}/{receipt_name(shard)}",
            remedy=f"delete it and {folder.name}/manifest.json; the next run builds its shard again",
        ) from error


def finished_shard(folder: Folder, shard: str) -> Receipt | None:
    """The receipt of a finished shard; None where it is damaged, or a file of it is gone or of another size.

    A task asks again when its turn comes: another builder may have written its shard meanwhile."""
    name = receipt_name(shard)
    data = folder.read(name)
    if data is None:
        return None
    try:
        receipt = read_receipt(data, folder, shard)
    except XmodelError:
        return None  # a damaged receipt says nothing: the shard is built again
    whole = all(folder.size(entry.path) == entry.bytes for entry in receipt.files)
    return receipt if whole else None  # where a file went missing, the shard is built again and its receipt replaced


@contextmanager
def write_shard(folder: Folder, shard: str) -> Iterator[ShardWriter]:
    """Writes one shard: on a clean exit its files are put in place in `folder` and its receipt written last.

    On an exception nothing appears. XmodelError: the disk is full.
    """
    started = time.monotonic()
    staging = folder.staging()
    try:
        with naming_a_full_disk(staging.parents[1]):
            writer = ShardWriter(staging)
            yield writer
            entries = tuple(entries_below(staging))
            folder.put(staging, entries)
            seconds = round(time.monotonic() - started, 3)
            receipt = Receipt(shard, entries, writer._rows, writer.facts, seconds, folder.name)
            folder.write(receipt_name(shard), seal_json(asdict(receipt)))
    finally:
        shutil.rmtree(staging, ignore_errors=True)

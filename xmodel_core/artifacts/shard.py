"""One shard of an artifact: files written aside, put in place whole, and a receipt last.

Takes a folder and a shard's name; gives a writer whose files appear whole or not at all.
The receipt says what went in, what came out and what was dropped; a shard that has one is done,
and a killed stage goes on from there. Works the same in a worker process: a folder is all it needs.
"""

import json
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from xmodel_core.artifacts.disk import naming_a_full_disk
from xmodel_core.artifacts.folder import FileEntry, Folder, entries_below
from xmodel_core.errors import XmodelError


@dataclass(frozen=True)
class Receipt:
    """What one finished shard reports. `rows` are rows of the ledger's tables, `facts` plain JSON."""

    shard: str
    files: tuple[FileEntry, ...]
    rows: dict[str, list[dict[str, Any]]]
    facts: dict[str, Any]
    seconds: float


@dataclass
class ShardWriter:
    """Collects a shard's files, ledger rows and facts until the shard is put in place."""

    aside: Path
    facts: dict[str, Any] = field(default_factory=dict)
    _rows: dict[str, list[dict[str, Any]]] = field(default_factory=dict)

    def file(self, path: str) -> Path:
        """Where to write the file that will stand at `path` inside the artifact."""
        target = self.aside / path
        target.parent.mkdir(parents=True, exist_ok=True)
        return target

    def rows(self, table: str, rows: list[dict[str, Any]]) -> None:
        """Adds rows of a ledger table to the receipt."""
        self._rows.setdefault(table, []).extend(rows)


def receipt_name(shard: str) -> str:
    """What the receipt of a shard is called inside the artifact."""
    return f"receipts/{shard}.json"


def read_receipt(data: bytes, where: object) -> Receipt:
    """The receipt in some bytes; XmodelError naming where they lie if they cannot be read."""
    try:
        values = json.loads(data)
        return Receipt(**{**values, "files": tuple(FileEntry(**entry) for entry in values["files"])})
    except (ValueError, KeyError, TypeError) as error:
        raise XmodelError(
            "a receipt cannot be read",
            expected="the JSON that a finished shard leaves",
            found=error,
            where=where,
            remedy="delete this receipt; the next run builds its shard again",
        ) from error


@contextmanager
def write_shard(folder: Folder, shard: str) -> Iterator[ShardWriter]:
    """Writes one shard: on a clean exit its files are put in place in `folder` and its receipt written last.

    On an exception nothing appears. Raises XmodelError where the disk is full.
    """
    started = time.monotonic()
    aside = folder.aside()
    try:
        with naming_a_full_disk(aside.parents[1]):
            writer = ShardWriter(aside)
            yield writer
            entries = tuple(entries_below(aside))
            folder.put(aside, entries)
            receipt = Receipt(shard, entries, writer._rows, writer.facts, round(time.monotonic() - started, 3))
            data = json.dumps(asdict(receipt), ensure_ascii=False, sort_keys=True).encode()
            folder.write(receipt_name(shard), data)
    finally:
        shutil.rmtree(aside, ignore_errors=True)

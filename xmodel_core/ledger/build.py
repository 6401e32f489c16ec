"""Builds `ledger.duckdb` from what the stages left behind.

Takes a workspace: manifests, their receipts, and the metrics of runs, finished or not; gives a
fresh ledger put in place by one rename, or one upload. It is built aside under a lock, so no reader ever
blocks a run and no run a reader; what cannot be read is named, never left out in silence.
"""

import contextlib
import fcntl
import hashlib
import json
import os
import secrets
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from xmodel_core.artifacts import FileEntry, Folder, LocalFolder, Place, file_digest, open_folder
from xmodel_core.artifacts.shard import read_receipt
from xmodel_core.artifacts.store import MANIFEST, read_manifest
from xmodel_core.errors import XmodelError
from xmodel_core.ledger.tables import COUNT, FLAG, NUMBER, TABLES, Table

LEDGER = "ledger.duckdb"
LOCK = ".ledger.lock"
BUILDING = ".ledger-building-"
VIEWS_SQL = Path(__file__).with_name("views.sql")
ARROW = {COUNT: pa.int64(), NUMBER: pa.float64(), FLAG: pa.bool_()}


@dataclass
class _Arrived:
    """Rows of one table from one place: a receipt, a manifest, or a part of a run's metrics."""

    where: str
    age: int
    """The place in time of the artifact that gives them: of two that speak of the same thing, the newer counts."""
    rows: list[dict[str, Any]] | pa.Table


@dataclass
class _Books:
    """Everything that arrived, by table."""

    tables: dict[str, list[_Arrived]] = field(default_factory=lambda: {name: [] for name in TABLES})

    def add(self, table: str, where: str, age: int, rows: list[dict[str, Any]] | pa.Table) -> None:
        if table not in TABLES:
            raise XmodelError(
                "rows for a table that the ledger does not have",
                expected=f"one of {', '.join(TABLES)}",
                found=table,
                where=where,
                remedy="was it written by a newer version? then use that version; else delete the artifact's folder",
            )
        found = {key for row in rows for key in row} if isinstance(rows, list) else set(rows.column_names)
        if unknown := sorted(found - set(TABLES[table].columns)):
            raise XmodelError(
                f"rows of {table} with columns that the ledger does not have",
                expected=", ".join(TABLES[table].columns),
                found=", ".join(unknown),
                where=where,
                remedy="was it written by a newer version? then use that version; else delete the artifact's folder",
            )
        self.tables[table].append(_Arrived(where, age, rows))


def _schema(table: Table) -> pa.Schema:
    return pa.schema([(name, ARROW.get(kind, pa.string())) for name, kind in table.types.items()])


def _to_arrow(arrived: _Arrived, table: Table) -> pa.Table:
    schema = _schema(table)
    if isinstance(arrived.rows, list):
        return pa.Table.from_pylist(arrived.rows, schema)
    columns = [
        arrived.rows[name].cast(kind) if name in arrived.rows.column_names else pa.nulls(len(arrived.rows), kind)
        for name, kind in zip(schema.names, schema.types, strict=True)
    ]
    return pa.table(columns, schema=schema)


def _table_of(arrivals: list[_Arrived], table: Table) -> pa.Table:
    """All rows of one table, with their age and order; XmodelError naming the place of a value of the wrong type."""
    parts = []
    for arrived in arrivals:
        try:
            part = _to_arrow(arrived, table)
        except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError) as error:
            raise XmodelError(
                f"a row of {table.name} holds a value of the wrong type",
                expected=", ".join(f"{name} {kind}" for name, kind in table.types.items()),
                found=error,
                where=arrived.where,
                remedy="delete the artifact's folder; the next run builds it again",
            ) from None
        parts.append(part.append_column("_age", pa.array([arrived.age] * len(part), pa.int64())))
    whole = pa.concat_tables(parts)
    return whole.append_column("_order", pa.array(range(len(whole)), pa.int64()))


def _metrics_part(path: Path) -> pa.Table:
    try:
        return pq.ParquetFile(path).read()
    except (pa.ArrowInvalid, OSError) as error:
        if isinstance(error, FileNotFoundError):
            raise
        raise XmodelError(
            "a part of a run's metrics cannot be read",
            expected="a whole Parquet file",
            found=error,
            where=path,
            remedy="delete this part; its steps are then missing from the curves",
        ) from None


def _artifact_row(manifest: dict[str, Any], place: str) -> dict[str, Any]:
    row = {key: manifest[key] for key in ("kind", "name", "fingerprint", "created_at", "code_version", "seconds")}
    plain = {
        key: json.dumps(manifest[key], ensure_ascii=False, sort_keys=True) for key in ("config", "inputs", "facts")
    }
    return {**row, **plain, "path": place, "label": place.rpartition("/")[2]}


def _collect(root: Folder) -> _Books:
    """Reads the workspace. Only finished artifacts count, but for the metrics of a running training."""
    books = _Books()
    manifests = []
    for name, path in root.files(f"*/*/{MANIFEST}").items():
        manifest = read_manifest(path.read_bytes(), f"{root}/{name}")
        try:
            row = _artifact_row(manifest, name.rpartition("/")[0])
            manifests.append((str(row["created_at"]), row["path"], manifest, row))
        except (KeyError, TypeError) as error:
            raise XmodelError(
                "a manifest is not whole",
                expected="kind, name, fingerprint, created_at, code_version, seconds, config, inputs, facts",
                found=f"{type(error).__name__}: {error}",
                where=f"{root}/{name}",
                remedy="delete this manifest; the next run finishes the stage from its shards",
            ) from None
    for name, part in root.files("runs/*/metrics/*/*.parquet").items():
        # A training that goes on from a checkpoint takes back the parts after it: one may just have gone.
        with contextlib.suppress(FileNotFoundError):
            books.add(name.split("/")[3], f"{root}/{name}", 0, _metrics_part(part))
    for age, (_, place, manifest, row) in enumerate(sorted(manifests, key=lambda found: found[:2])):
        books.add("artifacts", f"{root}/{place}/{MANIFEST}", age, [row])
        for name, receipt_file in root.files(f"{place}/receipts/*.json").items():
            where = f"{root}/{name}"
            for table, rows in read_receipt(receipt_file.read_bytes(), where).rows.items():
                books.add(table, where, age, rows)
        for table, rows in manifest.get("rows", {}).items():
            books.add(table, f"{root}/{place}/{MANIFEST}", age, rows)
    return books


@contextlib.contextmanager
def _only_builder(root: Path) -> Iterator[None]:
    """One builder at a time, whatever the process or thread; the kernel lets go of a dead one's lock."""
    with (root / LOCK).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _write(books: _Books, path: Path) -> None:
    with contextlib.closing(duckdb.connect(path)) as connection:
        # One thread: sums of seconds come in one order, and tables of thousands of rows need no more.
        connection.execute("set threads = 1")
        connection.execute("begin")
        for name, table in TABLES.items():
            connection.execute(table.create)
            if arrivals := books.tables[name]:
                connection.register("arrived", _table_of(arrivals, table))
                connection.execute(table.fill("arrived"))
                connection.unregister("arrived")
        connection.execute(VIEWS_SQL.read_text(encoding="utf-8"))
        connection.execute("commit")


def _is_current(root: Path, ledger: Path) -> bool:
    """Whether nothing that the ledger is made of, this room's code included, was written since it was built."""
    if not ledger.exists():
        return False
    code = Path(__file__).parent.glob("*.*")
    folders = {path.parent.parent for path in root.glob(f"*/*/{MANIFEST}")}  # a kind's folder: artifacts come and go
    patterns = (f"*/*/{MANIFEST}", "*/*/receipts/*", "runs/*/metrics/*", "runs/*/metrics/*/*")
    told = (*code, *folders, *(path for pattern in patterns for path in root.glob(pattern)))
    built = ledger.stat().st_mtime_ns
    with contextlib.suppress(FileNotFoundError):  # a training is at work there
        return all(path.stat().st_mtime_ns < built for path in told)
    return False


def _told(root: Folder) -> str:
    """A digest of the names and versions of all that a ledger on an object store is made of, its code included."""
    patterns = (f"*/*/{MANIFEST}", "*/*/receipts/*", "runs/*/metrics/*/*")
    versions = [item for pattern in patterns for item in root.versions(pattern).items()]
    code = [(path.name, file_digest(path)) for path in sorted(Path(__file__).parent.rglob("*.*")) if path.is_file()]
    return hashlib.sha256(json.dumps([versions, code]).encode()).hexdigest()


def _no_workspace(root: Folder) -> XmodelError:
    return XmodelError(
        "there is no workspace here",
        expected="a folder that a run has written to",
        where=root,
        remedy="give --workspace, or start with `xmodel run`",
    )


def refresh(workspace: Place) -> Path:
    """Brings the ledger up to date with the workspace; returns its path on this machine. Nothing new costs nothing
    but, on an object store, a listing.

    XmodelError: no such workspace, or a manifest, receipt or metrics part that cannot be read.
    The ledger that was there stays in place until the new one is whole.
    """
    root = open_folder(workspace)
    if isinstance(root, LocalFolder):
        if not root.at.is_dir():
            raise _no_workspace(root)
        return _refresh_here(root.at)
    return _refresh_remote(root)


def _refresh_here(folder: Path) -> Path:
    ledger = folder / LEDGER
    with _only_builder(folder):
        if _is_current(folder, ledger):
            return ledger
        with _built(LocalFolder(folder), folder) as aside:
            aside.replace(ledger)
    return ledger


@contextlib.contextmanager
def _built(root: Folder, beside: Path) -> Iterator[Path]:
    """A new ledger, written aside in a folder of this machine; whoever takes it puts it in place."""
    for left_by_a_dead_builder in beside.glob(f"{BUILDING}*"):
        left_by_a_dead_builder.unlink()
    aside = beside / f"{BUILDING}{os.getpid()}-{secrets.token_hex(4)}.duckdb"
    try:
        started = time.time_ns()
        _write(_collect(root), aside)
        # What is written while the ledger is built may or may not be in it: it must count as newer.
        os.utime(aside, ns=(started, started))
        yield aside
    finally:
        aside.unlink(missing_ok=True)


def _refresh_remote(root: Folder) -> Path:
    """Builds the ledger on this machine and uploads it. What it was made of is remembered here: another machine that
    knows nothing builds it once more, which does no harm."""
    working = root.working_folder()
    memory = working / "ledger.json"
    with _only_builder(working):
        told = _told(root)
        try:
            known = json.loads(memory.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            known = {}
        if known != {"told": told, "ledger": root.versions(LEDGER)} or not known["ledger"]:
            if not root.names("*/*/*"):
                raise _no_workspace(root)
            with _built(root, working) as aside:
                whole = aside.parent / "ledger" / LEDGER
                whole.parent.mkdir(exist_ok=True)
                aside.rename(whole)
                root.put(whole.parent, [FileEntry(LEDGER, whole.stat().st_size, file_digest(whole))])
            memory.write_text(json.dumps({"told": told, "ledger": root.versions(LEDGER)}), encoding="utf-8")
    return root.file(LEDGER)

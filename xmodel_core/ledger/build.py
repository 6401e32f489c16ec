"""Builds `ledger.duckdb` from manifests, receipts and metrics.

Takes a workspace: manifests, their receipts, and the metrics of runs, finished or not; gives a fresh ledger put in
place by one rename, or one upload. It is built in a file of its own under a lock, so that readers and runs never
block each other. An input that cannot be read is an error that names it, never skipped.
"""

import contextlib
import hashlib
import json
import logging
import os
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from xmodel_core.artifacts import FileEntry, Folder, LocalFolder, Place, file_digest, open_folder
from xmodel_core.artifacts.disk import naming_a_full_disk, put_on_disk
from xmodel_core.artifacts.lock import exclusive
from xmodel_core.artifacts.sealed_rows import open_rows
from xmodel_core.artifacts.shard import receipt_name
from xmodel_core.artifacts.store import MANIFEST, damaged_file, listed_receipts, read_manifest
from xmodel_core.errors import TransientError, XmodelError
from xmodel_core.ledger.tables import COUNT, FLAG, NUMBER, TABLES, Table

LEDGER = "ledger.duckdb"
LOCK = ".ledger.lock"
MEMORY = "ledger.json"
WAIT_SECONDS = 60.0
"""For another builder of the same ledger."""
VIEWS_SQL = Path(__file__).with_name("views.sql")
ARROW = {COUNT: pa.int64(), NUMBER: pa.float64(), FLAG: pa.bool_()}

_log = logging.getLogger(__name__)


@dataclass
class _RowBatch:
    """Rows of one table from one file: a receipt, a manifest, or a part of a run's metrics."""

    where: str
    age: int
    """Rank by creation time of the artifact that wrote them; of two with rows for the same key, the newer counts."""
    rows: list[dict[str, Any]] | pa.Table


@dataclass
class _Collected:
    """All rows of the workspace, by table."""

    tables: dict[str, list[_RowBatch]] = field(default_factory=lambda: {name: [] for name in TABLES})

    def add(self, table: str, where: str, age: int, rows: list[dict[str, Any]] | pa.Table) -> None:
        if table not in TABLES:
            raise XmodelError(
                "rows for a table that the ledger does not have",
                expected=f"one of {', '.join(TABLES)}",
                found=table,
                where=where,
                remedy="was it written by a newer version? then use that version; else delete the artifact's folder",
            )
        columns = {key for row in rows for key in row} if isinstance(rows, list) else set(rows.column_names)
        if unknown := sorted(columns - set(TABLES[table].columns)):
            raise XmodelError(
                f"rows of {table} with columns that the ledger does not have",
                expected=", ".join(TABLES[table].columns),
                found=", ".join(unknown),
                where=where,
                remedy="was it written by a newer version? then use that version; else delete the artifact's folder",
            )
        self.tables[table].append(_RowBatch(where, age, rows))


def _schema(table: Table) -> pa.Schema:
    return pa.schema([(name, ARROW.get(kind, pa.string())) for name, kind in table.types.items()])


def _to_arrow(batch: _RowBatch, table: Table) -> pa.Table:
    schema = _schema(table)
    if isinstance(batch.rows, list):
        return pa.Table.from_pylist(batch.rows, schema)
    columns = [
        batch.rows[name].cast(kind) if name in batch.rows.column_names else pa.nulls(len(batch.rows), kind)
        for name, kind in zip(schema.names, schema.types, strict=True)
    ]
    return pa.table(columns, schema=schema)


def _table_of(batches: list[_RowBatch], table: Table) -> pa.Table:
    """All rows of one table, with their age and order. XmodelError, naming the file: a value of the wrong type."""
    parts = []
    for batch in batches:
        try:
            part = _to_arrow(batch, table)
        except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError) as error:
            raise XmodelError(
                f"a row of {table.name} holds a value of the wrong type",
                expected=", ".join(f"{name} {kind}" for name, kind in table.types.items()),
                found=error,
                where=batch.where,
                remedy="delete the artifact's folder; the next run builds it again",
            ) from None
        parts.append(part.append_column("_age", pa.array([batch.age] * len(part), pa.int64())))
    rows = pa.concat_tables(parts)
    return rows.append_column("_order", pa.array(range(len(rows)), pa.int64()))


def _artifact_row(manifest: dict[str, Any], place: str) -> dict[str, Any]:
    row = {key: manifest[key] for key in ("kind", "name", "fingerprint", "created_at", "code_version", "seconds")}
    plain = {
        key: json.dumps(manifest[key], ensure_ascii=False, sort_keys=True) for key in ("config", "inputs", "facts")
    }
    return {**row, **plain, "path": place, "label": place.rpartition("/")[2]}


def collect(root: Folder) -> _Collected:
    """Reads the workspace: finished artifacts, and the metrics of running trainings."""
    collected = _Collected()
    manifests = []
    sealed: dict[str, tuple[Folder, FileEntry]] = {}
    for name, path in root.files(f"*/*/{MANIFEST}").items():
        place = name.rpartition("/")[0]
        folder = root / place
        manifest = read_manifest(path.read_bytes(), folder)
        entries = [FileEntry(part, **entry) for part, entry in manifest.get("files", {}).items()]
        sealed |= {f"{place}/{entry.path}": (folder, entry) for entry in entries}
        try:
            row = _artifact_row(manifest, place)
            manifests.append((str(row["created_at"]), row["path"], manifest, row))
        except (KeyError, TypeError) as error:
            raise XmodelError(
                "a manifest is not complete",
                expected="kind, name, fingerprint, created_at, code_version, seconds, config, inputs, facts",
                found=f"{type(error).__name__}: {error}",
                where=f"{root}/{name}",
                remedy="delete this manifest; the next run finishes the stage from its shards",
            ) from None
    for name, part in root.files("runs/*/metrics/*/*.parquet").items():
        # A training that resumes from a checkpoint removes the parts after it: one may just have been removed.
        with contextlib.suppress(FileNotFoundError):
            data = part.read_bytes()
            if name in sealed and (sha256 := hashlib.sha256(data).hexdigest()) != sealed[name][1].sha256:
                raise damaged_file(*sealed[name], sha256)
            collected.add(name.split("/")[3], f"{root}/{name}", 0, open_rows(data, part))
    for age, (_, place, manifest, row) in enumerate(sorted(manifests, key=lambda dated: dated[:2])):
        collected.add("artifacts", f"{root}/{place}/{MANIFEST}", age, [row])
        for shard, receipt in listed_receipts(root / place, manifest).items():
            for table, rows in receipt.rows.items():
                collected.add(table, f"{root}/{place}/{receipt_name(shard)}", age, rows)
        for table, rows in manifest.get("rows", {}).items():
            collected.add(table, f"{root}/{place}/{MANIFEST}", age, rows)
    return collected


def write(collected: _Collected, path: Path) -> None:
    """Writes the ledger's file and looks whether all of it is there. XmodelError: it is not; on a full disk, that."""
    with naming_a_full_disk(path.parent):
        with contextlib.closing(duckdb.connect(path)) as connection:
            # One thread: sums of seconds are added in one order, and tables of thousands of rows need no more.
            connection.execute("set threads = 1")
            connection.execute("begin")
            for name, table in TABLES.items():
                connection.execute(table.create)
                if batches := collected.tables[name]:
                    connection.register("collected", _table_of(batches, table))
                    connection.execute(table.fill("collected"))
                    connection.unregister("collected")
            connection.execute(VIEWS_SQL.read_text(encoding="utf-8"))
            connection.execute("commit")
            # Committed rows are in a log beside the file until now, and closing says nothing where it cannot move them.
            connection.execute("checkpoint")
            written = _counts(connection)
        found = _counts_in(path)
    if found != written or path.with_name(f"{path.name}.wal").exists():
        raise XmodelError(
            "the ledger could not be written whole",
            expected=f"{sum(written.values()):,} rows in {len(written)} tables",
            found=f"{sum(found.values()):,} rows in {len(found)} tables" if found else "a file that cannot be opened",
            where=path.parent,
            remedy="run `xmodel ledger` again; the earlier ledger is still in place",
        )


def attach(connection: duckdb.DuckDBPyConnection, path: Path) -> None:
    """Opens a ledger's file, read-only, in a connection to a database in memory: DuckDB shares one instance per file
    within a process, so a thread that still reads the old ledger would make the next read the old one too."""
    connection.execute("set threads = 1")
    quoted = str(path).replace("'", "''")
    connection.execute(f"attach '{quoted}' as ledger (read_only)")
    connection.execute("use ledger")


def _counts(connection: duckdb.DuckDBPyConnection) -> dict[str, int]:
    rows = connection.execute(" union all ".join(f"select '{name}', count(*) from \"{name}\"" for name in TABLES))
    return dict(rows.fetchall())


def _counts_in(path: Path) -> dict[str, int]:
    """Table → rows of a ledger's file; empty where it cannot be opened, or is no ledger of this version."""
    try:
        with contextlib.closing(duckdb.connect()) as connection:
            attach(connection, path)
            return _counts(connection)
    except duckdb.Error:
        return {}


def is_current(root: Folder) -> bool:
    """Whether the ledger was built from what the workspace holds now, as far as this machine knows."""
    if isinstance(root, LocalFolder):
        return _is_current(root.at, root.at / LEDGER)
    known = _known_of(root)
    return bool(known.get("ledger")) and known == {"inputs": _inputs_digest(root), "ledger": root.versions(LEDGER)}


def _known_of(root: Folder) -> dict[str, Any]:
    """What this machine remembers of a ledger on an object store: the digest of its inputs, and its version."""
    try:
        return json.loads((root.working_folder() / MEMORY).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}


def _is_current(root: Path, ledger: Path) -> bool:
    """Whether no input of the ledger, this room's code included, was written since it was built, and it can be read:
    not where another program has it open for writing. A new file in its place is nobody's."""
    if not ledger.exists() or not _counts_in(ledger):
        return False
    code = Path(__file__).parent.glob("*.*")
    folders = {path.parent.parent for path in root.glob(f"*/*/{MANIFEST}")}  # a kind's folder: artifacts come and go
    patterns = (f"*/*/{MANIFEST}", "*/*/receipts/*", "runs/*/metrics/*", "runs/*/metrics/*/*")
    inputs = (*code, *folders, *(path for pattern in patterns for path in root.glob(pattern)))
    built = ledger.stat().st_mtime_ns
    with contextlib.suppress(FileNotFoundError):  # a training is at work there
        return all(path.stat().st_mtime_ns < built for path in inputs)
    return False


def _inputs_digest(root: Folder) -> str:
    """A digest of the names and versions of all inputs of a ledger on an object store, this room's code included."""
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
    """Brings the ledger up to date with the workspace; returns its path on this machine. If nothing is new, this costs
    no more than a listing.

    XmodelError: no such workspace, or a manifest, receipt or metrics part that cannot be read. The earlier ledger
    stays in place until the new one is complete.
    """
    root = open_folder(workspace)
    if isinstance(root, LocalFolder):
        if not root.at.is_dir():
            raise _no_workspace(root)
        return _refresh_here(root.at)
    return _refresh_remote(root)


def _refresh_here(folder: Path) -> Path:
    ledger = folder / LEDGER
    with _one_builder(folder / LOCK):
        if _is_current(folder, ledger):
            return ledger
        with _built(LocalFolder(folder), folder) as new:
            put_on_disk(new)
            new.replace(ledger)
    return ledger


@contextlib.contextmanager
def _one_builder(lock: Path) -> Iterator[None]:
    """Several that want it at once build it once. A builder that does not go on (it may be paused) is not waited for:
    each file is put in place whole, and the newest inputs count."""
    with naming_a_full_disk(lock.parent), contextlib.ExitStack() as held:
        try:
            held.enter_context(exclusive(lock, WAIT_SECONDS))
        except TransientError:
            _log.warning("%s: its builder has not answered for %.0f s; building it here", lock.parent, WAIT_SECONDS)
        yield


@contextlib.contextmanager
def _built(root: Folder, beside: Path) -> Iterator[Path]:
    """A new ledger in a folder of its own inside `beside`; the caller moves it into place."""
    around = LocalFolder(beside)
    around.prepare()
    staging = around.staging()
    try:
        started = time.time_ns()
        new = staging / LEDGER
        write(collect(root), new)
        # What is written while the ledger is built may or may not be in it: it must count as newer.
        os.utime(new, ns=(started, started))
        yield new
    finally:
        shutil.rmtree(staging, ignore_errors=True)
        around.tidy()


def _refresh_remote(root: Folder) -> Path:
    """Builds the ledger on this machine and uploads it. The digest of its inputs is remembered on this machine only:
    another one builds it once more, which is harmless."""
    working = root.working_folder()
    with _one_builder(working / LOCK):
        inputs = _inputs_digest(root)
        if not is_current(root):
            if not root.names("*/*/*"):
                raise _no_workspace(root)
            with _built(root, working) as new:
                root.put(new.parent, [FileEntry(LEDGER, new.stat().st_size, file_digest(new))])
            LocalFolder(working).write(MEMORY, json.dumps({"inputs": inputs, "ledger": root.versions(LEDGER)}).encode())
    return root.file(LEDGER)

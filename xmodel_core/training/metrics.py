"""A run's rows of the ledger, written while it runs as small complete Parquet files.

Takes rows; gives metrics/<table>/step-XXXXXXXX.parquet, each with the rows up to that step since the
part before. Parts end at fixed steps, and at every checkpoint just before it is in place: a run that continues
from a checkpoint removes the parts after it and writes them again under the same names.
"""

from datetime import UTC, datetime
from pathlib import PurePosixPath
from typing import Any

import pyarrow as pa

from xmodel_core.artifacts import Folder
from xmodel_core.artifacts.sealed_rows import open_rows, seal_rows

TEXT, COUNT, NUMBER = pa.string(), pa.int64(), pa.float64()
SCHEMAS = {
    "train_metrics": {
        **{"run": TEXT, "step": COUNT, "phase": TEXT, "tokens": COUNT},
        **dict.fromkeys(("loss", "lr", "grad_norm", "param_norm", "tokens_per_second", "mfu", "seconds"), NUMBER),
    },
    "consumed": {
        **{"run": TEXT, "step": COUNT, "phase": TEXT, "source": TEXT, "lang": TEXT},
        **{"tokens": COUNT, "epochs": NUMBER, "padding_tokens": COUNT},
    },
    "validation": {
        **{"run": TEXT, "step": COUNT, "source": TEXT, "lang": TEXT},
        **{"loss": NUMBER, "bits_per_byte": NUMBER},
    },
    "checkpoints": {
        **{"run": TEXT, "step": COUNT, "phase": TEXT, "tokens": COUNT, "path": TEXT, "bytes": COUNT},
        **{"created_at": TEXT, "kept": pa.bool_()},
    },
    "runs": {
        **dict.fromkeys(("run", "recipe", "plan", "tokenizer", "status", "started_at", "finished_at"), TEXT),
        **{"world_size": COUNT, "hardware": TEXT, "parameters": COUNT, "flops": NUMBER},
    },
}
"""The contract's columns of the tables that a run writes."""

RUN_ROW = "metrics/runs/run.parquet"
Row = dict[str, Any]


def part_name(table: str, step: int) -> str:
    """The name of the part of a table that ends with a step, below the run's folder."""
    return f"metrics/{table}/step-{step:08d}.parquet"


def write_rows(folder: Folder, name: str, table: str, rows: list[Row]) -> None:
    """Writes one Parquet file atomically."""
    folder.write(name, seal_rows(pa.Table.from_pylist(rows, pa.schema(SCHEMAS[table]))))


def read_rows(folder: Folder, name: str) -> list[Row]:
    """The rows of one part; none where there is no such part. XmodelError: it is damaged."""
    data = folder.read(name)
    return open_rows(data, f"{folder}/{name}").to_pylist() if data else []


def end_run_row(folder: Folder, status: str) -> None:
    """Sets the status of a run that ended before it was finished: `stopped` or `failed`. Does nothing where no worker
    has begun."""
    if rows := read_rows(folder, RUN_ROW):
        now = datetime.now(UTC).isoformat(timespec="seconds")
        write_rows(folder, RUN_ROW, "runs", [{**rows[0], "status": status, "finished_at": now}])


class Metrics:
    """Collects rows between parts. One per run: the first worker's."""

    def __init__(self, folder: Folder, resumed_at: int) -> None:
        """Removes what an interrupted run wrote after the step that it continues from."""
        self._folder = folder
        self._rows: dict[str, list[Row]] = {}
        for part in folder.names("metrics/*/step-*.parquet"):
            if int(PurePosixPath(part).stem.removeprefix("step-")) > resumed_at:
                folder.remove(part)
        for unfinished in folder.names("metrics/*/.step-*"):  # a kill in the middle of a write leaves one
            folder.remove(unfinished)

    def add(self, table: str, rows: list[Row]) -> None:
        """Keeps rows for the next part."""
        self._rows.setdefault(table, []).extend(rows)

    def put(self, step: int) -> None:
        """Writes everything collected, as the parts that end with `step`."""
        for table, rows in self._rows.items():
            write_rows(self._folder, part_name(table, step), table, rows)
        self._rows = {}

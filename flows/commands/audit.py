"""`xmodel audit`: a run's token stream read again and proved against its shards, document by document.

Takes a run's label; gives the counts of training/order/audit.py, after the shards were compared with their receipts and
the ledger's rows of `consumed` with the order.
"""

from dataclasses import asdict
from typing import Any

import pyarrow.parquet as pq
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from xmodel_core.artifacts import Artifact, Folder, Store
from xmodel_core.errors import XmodelError
from xmodel_core.progress import track


def _run(store: Store, label: str | None) -> Artifact:
    runs = store.artifacts("runs")
    found = [run for run in runs if label in (None, run.label)]
    if not found:
        raise XmodelError(
            f"there is no finished run {label}" if label else "there is no finished run yet",
            expected=f"one of {', '.join(run.label for run in runs)}" if runs else "a run of `xmodel run`",
            where=f"{store.root}/runs",
        )
    return found[-1]


def audit_run(root: Folder, label: str | None, steps: int | None) -> dict[str, Any]:
    """The audit of a run, by default the newest, as plain data. XmodelError names what does not add up."""
    from xmodel_core.training.order.audit import audit
    from xmodel_core.training.stage import stream_of, verify_shards

    store = Store(root)
    run = _run(store, label)
    verify_shards(store, run)
    stream = stream_of(store, run)
    upto = min(steps or stream.total_steps, stream.total_steps)
    result = None
    with track(f"audit {run.label}", stream.tokens_after(upto), "tokens") as bar:
        for tokens, found in audit(stream, upto):
            bar.advance(tokens)
            result = found
    assert result is not None
    rows = 0
    for part in run.files("metrics/consumed/*.parquet").values():
        for row in pq.read_table(part).to_pylist():
            if row["step"] <= upto:
                rows += 1
                if row["tokens"] != (expected := stream.consumed(row["step"])[row["source"]]):
                    raise XmodelError(
                        "the ledger's consumption is not the order's",
                        expected=f"{expected:,} tokens of {row['source']} after step {row['step']}",
                        found=f"{row['tokens']:,}",
                        where=part,
                    )
    return {"run": run.label, **asdict(result), "consumed_rows": rows}


def print_audit(found: dict[str, Any]) -> None:
    """The audit on the terminal."""
    console = Console()
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("source", no_wrap=True)
    for column in ("documents", "tokens", "read", "whole epochs", "documents after", "padding", "off share"):
        table.add_column(column, justify="right")
    for row in found["sources"]:
        counts = [row[key] for key in ("documents", "tokens", "read_tokens", "whole_epochs")]
        cells = [f"{value:,}" for value in (*counts, row["documents_in_part"], row["padding_tokens"])]
        table.add_row(row["source"], *cells, f"{row['largest_deviation']:.3f}")
    console.print(table)
    console.print(
        f"{found['run']}: {found['tokens']:,} tokens in {found['steps']:,} steps, no token repeated before an epoch's "
        f"end and none left out, every share within one sequence after every step, {found['consumed_rows']:,} rows of "
        f"the ledger's `consumed` agree\nsha256 {found['sha256']}",
        highlight=False,
    )

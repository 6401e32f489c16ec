"""`xmodel audit`: every file of the workspace verified; a run's token stream verified against its shards, document by
document.

Takes a run's label; gives the result of `training/order/audit.py`, after the shards were compared with their receipts
and the ledger's `consumed` rows with the order that the plan and seed give. Without a label it verifies the workspace
first, then the newest run. It writes nothing.
"""

import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from flows.commands.options import emit, json_option, workspace_option
from xmodel_core.errors import XmodelError

if TYPE_CHECKING:
    from xmodel_core.artifacts import Artifact, Folder, Store
    from xmodel_core.training.loader import TokenStream


@click.command()
@click.argument("run", required=False)
@click.option("--steps", type=click.IntRange(min=1), help="Audit only this many steps from the start.")
@workspace_option
@json_option
def audit(run: str | None, steps: int | None, workspace: str | None, as_json: bool) -> None:
    """Verify that what a workspace holds is what was written: every file of every artifact, the ledger, and the newest
    run's token stream. Exit code 1: something is damaged; each damage is one line that says what to do.

    With RUN, only that run: its tokens against its shards, every document, every source's share, and the sha256 of all
    tokens."""
    from flows.commands.audit_workspace import audit_workspace, lines_of
    from flows.river.session import workspace_folder
    from xmodel_core.artifacts import Store

    root = workspace_folder(workspace)
    if run is not None:
        emit(audit_run(root, run, steps), as_json, print_audit)
        return
    verified = audit_workspace(root)
    if not as_json:
        for line in lines_of(verified):
            click.echo(line)
    if verified["damaged"] or not Store(root).artifacts("runs"):
        stream: dict[str, Any] = {}
    else:
        stream = audit_run(root, None, steps)
        if not as_json:
            print_audit(stream)
    if as_json:
        emit({**stream, "workspace": verified}, as_json, print_audit)
    if verified["damaged"]:
        click.echo(f"xmodel: {len(verified['damaged']):,} files of the workspace are damaged", err=True)
        sys.exit(1)


def audit_run(root: "Folder", label: str | None, steps: int | None) -> dict[str, Any]:
    """The audit of a run, by default the newest, as plain data. XmodelError names what does not add up."""
    from xmodel_core.artifacts import Store
    from xmodel_core.artifacts.digests import read_digest
    from xmodel_core.progress import track
    from xmodel_core.training.order.audit import audit as audit_stream
    from xmodel_core.training.stage import stream_of, verify_shards

    store = Store(root)
    run = _find_run(store, label)
    verify_shards(store, run, read_digest)
    stream = stream_of(store, run)
    last_step = min(steps or stream.total_steps, stream.total_steps)
    result = None
    with track(f"audit {run.label}", stream.tokens_after(last_step), "tokens") as bar:
        for tokens, partial_result in audit_stream(stream, last_step):
            bar.advance(tokens)
            result = partial_result
    assert result is not None
    return {"run": run.label, **asdict(result), "consumed_rows": _verify_consumed(run, stream, last_step)}


def _find_run(store: "Store", label: str | None) -> "Artifact":
    runs = store.artifacts("runs")
    matching = [run for run in runs if label in (None, run.label)]
    if not matching:
        raise XmodelError(
            f"there is no finished run {label}" if label else "there is no finished run yet",
            expected=f"one of {', '.join(run.label for run in runs)}" if runs else "a run of `xmodel run`",
            where=f"{store.root}/runs",
        )
    return matching[-1]


def _verify_consumed(run: "Artifact", stream: "TokenStream", last_step: int) -> int:
    """Compares the run's `consumed` rows with what the stream consumed; returns how many were compared."""
    import pyarrow.parquet as pq

    compared = 0
    for part in run.files("metrics/consumed/*.parquet").values():
        for row in pq.read_table(part).to_pylist():
            if row["step"] > last_step:
                continue
            compared += 1
            if row["tokens"] != (expected := stream.consumed(row["step"])[row["source"]]):
                raise XmodelError(
                    "the ledger's consumed tokens differ from the order of training",
                    expected=f"{expected:,} tokens of {row['source']} after step {row['step']}",
                    found=f"{row['tokens']:,}",
                    where=part,
                )
    return compared


def print_audit(result: dict[str, Any]) -> None:
    """The audit on the terminal."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    console = Console()
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("source", no_wrap=True)
    for column in ("documents", "tokens", "read", "whole epochs", "documents after", "padding", "off share"):
        table.add_column(column, justify="right")
    for row in result["sources"]:
        counts = [row[key] for key in ("documents", "tokens", "read_tokens", "whole_epochs")]
        cells = [f"{value:,}" for value in (*counts, row["documents_in_part"], row["padding_tokens"])]
        table.add_row(row["source"], *cells, f"{row['largest_deviation']:.3f}")
    console.print(table)
    console.print(
        f"{result['run']}: {result['tokens']:,} tokens in {result['steps']:,} steps, no token repeated before an "
        "epoch's end and none left out, every share within one sequence after every step, "
        f"{result['consumed_rows']:,} rows of the ledger's `consumed` agree\nsha256 {result['sha256']}",
        highlight=False,
    )

"""`xmodel trace`: one document, from its source to the training steps that consumed it.

Takes `[SOURCE:]ID`; gives plain data per match. The ledger knows decisions, shards and offsets; which steps consumed
an offset is computed from each run's plan and seed, as the loader computes it.
"""

import json
from typing import TYPE_CHECKING, Any

import click

from flows.commands.options import emit, json_option, workspace_option

if TYPE_CHECKING:
    from xmodel_core.artifacts import Artifact, Folder, Store


@click.command()
@click.argument("document", metavar="[SOURCE:]ID")
@workspace_option
@json_option
def trace(document: str, workspace: str | None, as_json: bool) -> None:
    """Follow one document (every match of the id): source, decisions, shard and offset, training steps."""
    from flows.river.session import workspace_folder

    emit(trace_document(workspace_folder(workspace), document), as_json, print_trace)


class _Runs:
    """The token streams of this workspace's finished runs, asked which steps consumed a range of tokens."""

    def __init__(self, store: "Store") -> None:
        from xmodel_core.training.stage import VERSION, stream_of

        # The order of runs of another version is not known here.
        runs = [(run, run.manifest()) for run in store.artifacts("runs")]
        self._streams = [
            (run.label, manifest["inputs"], stream_of(store, run))
            for run, manifest in runs
            if manifest["version"] == VERSION
        ]
        self._plans = {plan.fingerprint: plan for plan in store.artifacts("plans")}

    def steps(self, shards: "Artifact", start: int, end: int) -> list[dict[str, Any]]:
        """Run and steps, for each run whose plan reads these shards."""
        return [
            {"run": label, "steps": stream.steps_of(shards.name, start, end)}
            for label, inputs, stream in self._streams
            if shards.fingerprint in self._plans[inputs["plan"]].manifest()["inputs"].values()
        ]


def trace_document(root: "Folder", document: str) -> list[dict[str, Any]]:
    """Every match of `[SOURCE:]ID` in the workspace's corpora. XmodelError where there is none."""
    from xmodel_core.artifacts import Store
    from xmodel_core.ledger.trace import trace as trace_in_ledger

    return trace_in_ledger(root, document, _Runs(Store(root)).steps)


def print_trace(matches: list[dict[str, Any]]) -> None:
    """Each match, a line per stage."""
    from rich.console import Console

    console = Console()
    for match in matches:
        console.print(f"[bold]{match['source']}:{match['id']}[/] in {match['corpus']}", highlight=False)
        decision = match["decision"]
        if not match["kept"]:
            instead = f", for {decision['kept_source']}:{decision['kept_id']}" if decision["kept_id"] else ""
            console.print(f"  dropped at {decision['stage']}: {decision['reason']}{instead}", highlight=False)
            continue
        document = match["document"]
        console.print(
            f"  read from {document['raw_file']}, row {document['raw_row']}; {document['lang']}, "
            f"one of {document['cluster_size']} copies; kept in {document['file']}, row {document['row']}",
            highlight=False,
        )
        for place in match["tokens"]:
            held = ", held out for validation" if place["held_out"] else ""
            console.print(
                f"  tokens {place['start']}–{place['end']} of {place['shards']}/{place['shard']}{held}", highlight=False
            )
            for run in place["steps"]:
                console.print(f"    consumed by {run['run']} at steps {json.dumps(run['steps'])}", highlight=False)

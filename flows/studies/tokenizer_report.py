"""Flow `tokenizer-report`: the recipe's tokenizer beside others, on documents that it did and did not learn from."""

from pathlib import Path
from typing import Any

from prefect import flow

from flows.river import tasks
from flows.river.session import ClusterKind, open_session
from xmodel_core.artifacts import Artifact


@flow(name="tokenizer-report", log_prints=False)
def tokenizer_report(
    recipe: str = "quickstart",
    overrides: list[str] | None = None,
    workspace: str | None = None,
    against: list[str] | None = None,
    cluster: ClusterKind | None = None,
) -> dict[str, Any]:
    """`against`: paths of .model or tokenizer.json files. Returns what `facts` says."""
    with open_session(recipe, overrides, workspace, "tokenizer", cluster) as session:
        tasks.build_stages(session, through="tokenizer")
        others = [Path(path).expanduser().resolve() for path in against or []]
        return facts(tasks.report_tokenizer(session, others))


def facts(report: Artifact) -> dict[str, Any]:
    """The report's label and place, its rows for the ledger, its longest pieces and its code."""
    manifest = report.manifest()
    rows = manifest["rows"]["tokenizer_comparison"]
    return {"report": report.label, "path": str(report.folder), "rows": rows, **manifest["facts"]}

"""Flow `tokenizer-report`: the recipe's tokenizer beside others, on documents that it did and did not learn from."""

from pathlib import Path
from typing import Any

from prefect import flow

from flows.river import stages
from flows.river.session import open_session
from flows.river.xmodel import to_corpus
from xmodel_core.artifacts import Artifact


@flow(name="tokenizer-report", log_prints=False)
def tokenizer_report(
    recipe: str = "quickstart",
    overrides: list[str] | None = None,
    workspace: str | None = None,
    against: list[str] | None = None,
) -> dict[str, Any]:
    """`against`: paths of .model or tokenizer.json files. Returns what `facts` says."""
    with open_session(recipe, overrides or [], workspace) as session:
        corpus = to_corpus(session)
        sources = [files.source for files in corpus.sources]
        tokenizer = stages.train_tokenizer(session, corpus.corpus, sources)
        others = [Path(path).expanduser().resolve() for path in against or []]
        return facts(stages.report_tokenizer(session, corpus.corpus, sources, tokenizer, others))


def facts(report: Artifact) -> dict[str, Any]:
    """The report's label and place, its rows for the ledger, its longest pieces and its code."""
    manifest = report.manifest()
    rows = manifest["rows"]["tokenizer_comparison"]
    return {"report": report.label, "path": str(report.folder), "rows": rows, **manifest["facts"]}

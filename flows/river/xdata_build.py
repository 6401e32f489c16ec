"""Flow `xdata-build`: sources to kept documents, and the balance of the corpus in the ledger."""

from typing import Any

from prefect import flow

from flows.river import tasks
from flows.river.session import ClusterKind, open_session


@flow(name="xdata-build", log_prints=False)
def xdata_build(
    recipe: str = "quickstart",
    overrides: list[str] | None = None,
    workspace: str | None = None,
    decisions_only: bool = False,
    cluster: ClusterKind | None = None,
) -> dict[str, Any]:
    """Returns the corpus's label and the mixture's shares; with `decisions_only` the rows of document_flow and
    document_drops that the thresholds would give, and no document is written."""
    with open_session(recipe, overrides, workspace, "near copies" if decisions_only else "corpus", cluster) as session:
        if decisions_only:
            tasks.build_stages(session, through="near copies")
            return tasks.preview_decisions(session)
        tasks.build_stages(session, through="corpus")
        return {"corpus": session.artifact("corpus").label, "mixture_shares": session.mixture_shares()}

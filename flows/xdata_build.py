"""Flow `xdata-build`: sources to kept documents, and the balance of the corpus in the ledger."""

from prefect import flow

from flows import stages
from flows.session import open_session
from flows.xmodel import to_corpus


@flow(name="xdata-build", log_prints=False)
def xdata_build(
    recipe: str = "quickstart",
    overrides: list[str] | None = None,
    workspace: str | None = None,
    decisions_only: bool = False,
) -> str:
    """Returns the corpus's label. `decisions_only`: what the thresholds would do, with no document written."""
    with open_session(recipe, overrides or [], workspace) as session:
        if decisions_only:
            return stages.preview_decisions(session)
        return to_corpus(session).corpus.label

"""Flow `pretrain`: token shards to checkpoints, beginning with the plan in exact tokens."""

from prefect import flow

from flows.river.session import open_session
from flows.river.xmodel import to_corpus, to_run, to_tokens


@flow(name="pretrain", log_prints=False)
def pretrain(recipe: str = "quickstart", overrides: list[str] | None = None, workspace: str | None = None) -> str:
    """Returns the run's label."""
    with open_session(recipe, overrides or [], workspace) as session:
        corpus = to_corpus(session)
        return to_run(session, corpus, to_tokens(session, corpus)).run.label

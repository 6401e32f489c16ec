"""Flow `evaluate`: a checkpoint to scores."""

from prefect import flow

from flows.river.session import checkpoint_folder, open_session
from flows.river.xmodel import to_corpus, to_run, to_scores, to_tokens


@flow(name="evaluate", log_prints=False)
def evaluate(
    recipe: str = "quickstart",
    overrides: list[str] | None = None,
    workspace: str | None = None,
    checkpoint: str | None = None,
) -> str:
    """Scores a checkpoint of the recipe's run, by default the last. Returns the run's label."""
    with open_session(recipe, overrides or [], workspace) as session:
        corpus = to_corpus(session)
        tokens = to_tokens(session, corpus)
        training = to_run(session, corpus, tokens)
        to_scores(session, corpus, training.run, checkpoint_folder(checkpoint) if checkpoint else None)
        return training.run.label

"""Flow `evaluate`: a checkpoint to scores."""

from prefect import flow

from flows.river import tasks
from flows.river.session import ClusterKind, checkpoint_folder, open_session


@flow(name="evaluate", log_prints=False)
def evaluate(
    recipe: str = "quickstart",
    overrides: list[str] | None = None,
    workspace: str | None = None,
    checkpoint: str | None = None,
    cluster: ClusterKind | None = None,
) -> str:
    """Scores a checkpoint of the recipe's run, by default the last. Returns the run's label."""
    with open_session(recipe, overrides, workspace, cluster) as session:
        session.checkpoint = checkpoint_folder(checkpoint) if checkpoint else None
        tasks.build_stages(session, through="evaluation")
        return session.artifact("run").label

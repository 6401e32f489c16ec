"""Flow `pretrain`: token shards to checkpoints, beginning with the plan in exact tokens."""

from prefect import flow

from flows.river import tasks
from flows.river.checkpoint_event import announce_checkpoints
from flows.river.session import ClusterKind, open_session


@flow(name="pretrain", log_prints=False)
def pretrain(
    recipe: str = "quickstart",
    overrides: list[str] | None = None,
    workspace: str | None = None,
    cluster: ClusterKind | None = None,
) -> str:
    """Returns the run's label."""
    with open_session(recipe, overrides, workspace, "run", cluster) as session:
        announce_checkpoints(session, recipe, overrides, final=True)
        tasks.build_stages(session, through="run")
        return session.artifact("run").label

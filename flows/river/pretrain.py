"""Flow `pretrain`: token shards to checkpoints, beginning with the plan in exact tokens."""

from prefect import flow

from flows.river import tasks
from flows.river.session import open_session


@flow(name="pretrain", log_prints=False)
def pretrain(recipe: str = "quickstart", overrides: list[str] | None = None, workspace: str | None = None) -> str:
    """Returns the run's label."""
    with open_session(recipe, overrides or [], workspace, "run") as session:
        tasks.build_stages(session, through="run")
        return session.artifact("run").label

"""Flow `tokenizer-train`: documents to a tokenizer and token shards."""

from prefect import flow

from flows.river import tasks
from flows.river.session import ClusterKind, open_session


@flow(name="tokenizer-train", log_prints=False)
def tokenizer_train(
    recipe: str = "quickstart",
    overrides: list[str] | None = None,
    workspace: str | None = None,
    cluster: ClusterKind | None = None,
) -> str:
    """Returns the tokenizer's label."""
    with open_session(recipe, overrides, workspace, "shards", cluster) as session:
        tasks.build_stages(session, through="shards")
        return session.artifact("tokenizer").label

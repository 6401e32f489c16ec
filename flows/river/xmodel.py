"""Flow `xmodel`: the whole pipeline, from raw documents to an evaluated model and its report.

The stages are in `stages.py`; the flows that stop earlier (xdata-build, tokenizer-train, pretrain, evaluate) build a
prefix of the same list.
"""

from typing import Any

from prefect import flow

from flows.river import tasks
from flows.river.checkpoint_event import announce_checkpoints
from flows.river.session import ClusterKind, open_session


@flow(name="xmodel", log_prints=False)
def xmodel(
    recipe: str = "quickstart",
    overrides: list[str] | None = None,
    workspace: str | None = None,
    cluster: ClusterKind | None = None,
) -> dict[str, Any]:
    """Raw documents in, an evaluated model and its report out. Returns the report's path and the stages' states."""
    with open_session(recipe, overrides, workspace, "report", cluster) as session:
        # Its own stage evaluates the last checkpoint.
        announce_checkpoints(session, recipe, overrides, final=not session.recipe.evaluation.suites)
        tasks.build_stages(session, through="report")
        tasks.close_the_books(session)
        return {"report": f"{session.artifact('report').folder}/index.html", "stages": session.stages()}

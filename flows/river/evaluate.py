"""Flow `evaluate`: checkpoints to scores."""

from typing import Any

from prefect import flow

from flows.river import tasks
from flows.river.session import ClusterKind, open_evaluation, open_session
from xmodel_core.evaluation.stage import booked_under


@flow(name="evaluate", log_prints=False)
def evaluate(
    recipe: str = "quickstart",
    overrides: list[str] | None = None,
    workspace: str | None = None,
    checkpoint: str | None = None,
    cluster: ClusterKind | None = None,
) -> list[dict[str, Any]]:
    """Scores the last checkpoint of the recipe's run, which is built if need be; or with `checkpoint` (a folder, an
    s3:// address, RUN, RUN@STEP or all) checkpoints that are there, and then builds nothing else. An evaluation that
    exists is found again; one that another process is at is waited for. Returns each evaluation's label and folder, the
    label of its run (of a checkpoint of no run here its name with the digest), and what its manifest says of gates, of
    tasks without data, and of items that were set aside."""
    if checkpoint:
        session = open_evaluation(recipe, overrides or [], workspace)
        evaluations = tasks.evaluate_checkpoints(session, checkpoint)
    else:
        with open_session(recipe, overrides, workspace, "evaluation", cluster) as session:
            tasks.build_stages(session, through="evaluation")
            built = session.built("evaluation")  # none where the recipe names no suite
            evaluations = [built] if built else []
    return [
        {
            "evaluation": made.label,
            "path": str(made.folder),
            "checkpoint": booked_under(made),
            **{name: made.manifest()["facts"][name] for name in ("gates", "skipped", "set_aside")},
        }
        for made in evaluations
    ]

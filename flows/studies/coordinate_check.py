"""Flow `coordinate-check`: do activations keep their size as the recipe's model grows wider, in muP and without."""

from typing import Any

from prefect import flow

from flows.river import tasks
from flows.river.session import ClusterKind, open_session
from xmodel_core.search.mup import coordinate_check as study
from xmodel_core.search.mup.scaled import Widths


@flow(name="coordinate-check", log_prints=False)
def coordinate_check(
    recipe: str = "quickstart",
    overrides: list[str] | None = None,
    workspace: str | None = None,
    widths: list[int] | None = None,
    steps: list[int] | None = None,
    seeds: int = 3,
    base_width: int | None = None,
    layers: int = 4,
    head_size: int = 32,
    cluster: ClusterKind | None = None,
) -> dict[str, Any]:
    """Returns the table of slopes, and where it and its pictures are."""
    steps = steps or [1, 2, 5, 10]
    compared = Widths(widths or [64, 128, 256, 512, 1024], base_width, layers, head_size)
    with open_session(recipe, overrides, workspace, "plan", cluster) as session:
        short = session.with_training(study.schedule(session.recipe.training, max(steps)))
        tasks.build_stages(short, through="plan")
        settings = {"widths": compared, "steps": steps, "seeds": seeds}
        checked = tasks.train_proxies(short, "check coordinates", study.run, settings)
        return {"check": checked.label, "path": str(checked.folder), **checked.manifest()["facts"]}

"""Flow `lr-transfer`: does the best learning rate of a narrow model serve the wide ones, in muP and without."""

from typing import Any

from prefect import flow

from flows.river import tasks
from flows.river.session import ClusterKind, open_session
from xmodel_core.search.mup import lr_transfer as study
from xmodel_core.search.mup.scaled import Parametrisation, Widths, of_length


@flow(name="lr-transfer", log_prints=False)
def lr_transfer(
    recipe: str = "quickstart",
    overrides: list[str] | None = None,
    workspace: str | None = None,
    widths: list[int] | None = None,
    rates: list[float] | None = None,
    parametrisations: list[Parametrisation] | None = None,
    steps: int = 128,
    seeds: int = 1,
    base_width: int | None = None,
    layers: int = 4,
    head_size: int = 32,
    cluster: ClusterKind | None = None,
) -> dict[str, Any]:
    """Trains `steps` steps: the recipe's schedule, shortened. Returns losses, best rates, and whether the best rate is
    on the grid's edge."""
    compared = Widths(widths or [64, 128, 256, 512], base_width, layers, head_size)
    with open_session(recipe, overrides, workspace, "plan", cluster) as session:
        short = session.with_training(of_length(session.recipe.training, steps))
        tasks.build_stages(short, through="plan")
        settings = {
            "widths": compared,
            "rates": rates or [2.0**-power for power in range(9, 3, -1)],
            "parametrisations": parametrisations or ["mup", "standard"],
            "seeds": seeds,
        }
        tested = tasks.train_proxies(short, "compare learning rates", study.run, settings)
        return {"transfer": tested.label, "path": str(tested.folder), **tested.manifest()["facts"]}

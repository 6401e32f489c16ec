"""Flow `hparam-search`: many small trainings of the recipe's model, to find how larger ones should be trained."""

from typing import Any

from prefect import flow

from flows.river import tasks, ui_artifacts
from flows.river.session import ClusterKind, open_session
from xmodel_core.search.hparams import stage


@flow(name="hparam-search", log_prints=False)
def hparam_search(
    recipe: str = "quickstart",
    overrides: list[str] | None = None,
    workspace: str | None = None,
    cluster: ClusterKind | None = None,
) -> dict[str, Any]:
    """The recipe's model and training are the proxy. Returns the best trial, the one at the report's values, what
    mattered, and where the page about it is."""
    with open_session(recipe, overrides, workspace, "plan", cluster) as session:
        stage.require_mup(session.recipe.model)
        tasks.build_stages(session, through="plan")
        settings = {"search": session.recipe.search}
        searched = tasks.train_proxies(session, "search hyperparameters", stage.run, settings)
        ui_artifacts.search(session.store.root, searched.label)
        ui_artifacts.send_the_rest()
        facts = searched.manifest()["facts"]
        return {"search": searched.label, "report_page": f"{searched.folder}/index.html", **facts}

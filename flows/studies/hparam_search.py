"""Flow `hparam-search`: many small trainings of the recipe's model, to find how larger ones should be trained."""

from typing import Any

from prefect import flow

from flows.river import ui_artifacts
from flows.river.session import open_session
from flows.river.xmodel import to_proxies
from xmodel_core.search.hparams import stage as door


@flow(name="hparam-search", log_prints=False)
def hparam_search(
    recipe: str = "quickstart", overrides: list[str] | None = None, workspace: str | None = None
) -> dict[str, Any]:
    """The recipe's model and training are the proxy. Returns the best trial, the one at the report's values, what
    mattered, and where the page about it lies."""
    with open_session(recipe, overrides or [], workspace) as session:
        door.require_mup(session.recipe.model)
        searched = to_proxies(session, "search hyperparameters", door.run, search=session.recipe.search)
        ui_artifacts.search(session.store.root, searched.label)
        facts = searched.manifest()["facts"]
        return {"search": searched.label, "report_page": f"{searched.folder}/index.html", **facts}

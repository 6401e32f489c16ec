"""`xmodel hparam-search`: many small trainings, to find how larger models should be trained."""

from collections.abc import Sequence

import click

from flows.commands.options import emit, in_prefect, json_option, recipe_options


@click.command("hparam-search")
@recipe_options
@json_option
def hparam_search(recipe: str, overrides: Sequence[str], workspace: str | None, as_json: bool) -> None:
    """Search peak_lr, scale_emb, dim_model_base and scale_depth on small models, over Xmodel-2's ranges."""
    from flows.commands.study_tables import search_price
    from flows.recipes import load_recipe
    from xmodel_core.search.hparams.stage import require_mup

    values, _ = load_recipe(recipe, overrides)
    require_mup(values.model)
    click.echo(search_price(values), err=True)
    _search(recipe=recipe, overrides=overrides, workspace=workspace, as_json=as_json)


@in_prefect("plan")
def _search(recipe: str, overrides: Sequence[str], workspace: str | None, as_json: bool) -> None:
    from flows.commands.study_tables import print_search
    from flows.studies.hparam_search import hparam_search as hparam_search_flow

    emit(hparam_search_flow(recipe, list(overrides), workspace), as_json, print_search)

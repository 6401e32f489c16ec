"""The verbs that train small models to learn how larger ones should be trained."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import click

from flows.commands.options import Command, in_prefect, json_option, recipe_options, tell

if TYPE_CHECKING:
    from xmodel_core.search.mup.scaled import Parametrisation


def proxy_options(widths: str) -> Callable[[Command], Command]:
    """The shapes of proxies, for every verb that compares widths."""

    def add(command: Command) -> Command:
        for option in (
            click.option("--head-size", type=click.IntRange(min=2), default=32, show_default=True),
            click.option("--layers", type=click.IntRange(min=1), default=4, show_default=True),
            click.option(
                "--base-width", type=click.IntRange(min=1), help="dim_model_base, where m is 1. Default: the narrowest."
            ),
            click.option(
                "--width", "widths", multiple=True, type=click.IntRange(min=2), help=f"Give several. Default: {widths}."
            ),
        ):
            command = option(command)
        return command

    return add


@click.command("coordinate-check")
@recipe_options
@proxy_options("64, 128, 256, 512, 1024")
@click.option(
    "--step",
    "steps",
    multiple=True,
    type=click.IntRange(min=1),
    help="Look after so many steps; give several. Default: 1, 2, 5, 10.",
)
@click.option("--seeds", type=click.IntRange(min=1), default=3, show_default=True, help="Trainings to average.")
@json_option
@in_prefect
def coordinate_check(
    recipe: str,
    overrides: Sequence[str],
    workspace: str | None,
    widths: Sequence[int],
    steps: Sequence[int],
    as_json: bool,
    **shape: Any,
) -> None:
    """Do activations keep their size as the model grows wider: slopes under muP and under the standard
    parametrisation."""
    from flows.commands.study_tables import print_coordinates
    from flows.studies.coordinate_check import coordinate_check as check

    found: Any = check(recipe, list(overrides), workspace, list(widths), list(steps), **shape)
    tell(found, as_json, print_coordinates)


@click.command("lr-transfer")
@recipe_options
@proxy_options("64, 128, 256, 512")
@click.option(
    "--rate",
    "rates",
    multiple=True,
    type=click.FloatRange(0, min_open=True),
    help="A peak_lr; give several. Default: 1/512, 1/256 … 1/16.",
)
@click.option(
    "--parametrisation",
    "parametrisations",
    multiple=True,
    type=click.Choice(["mup", "standard"]),
    help="Default: both.",
)
@click.option("--steps", type=click.IntRange(min=3), default=128, show_default=True, help="Of each training.")
@click.option("--seeds", type=click.IntRange(min=1), default=1, show_default=True, help="Trainings to average.")
@json_option
@in_prefect
def lr_transfer(
    recipe: str,
    overrides: Sequence[str],
    workspace: str | None,
    widths: Sequence[int],
    rates: Sequence[float],
    parametrisations: "Sequence[Parametrisation]",
    as_json: bool,
    **settings: Any,
) -> None:
    """Does the best learning rate of a narrow model serve the wide ones: losses over widths and rates."""
    from flows.commands.study_tables import print_transfer
    from flows.studies.lr_transfer import lr_transfer as test

    found: Any = test(recipe, list(overrides), workspace, list(widths), list(rates), list(parametrisations), **settings)
    tell(found, as_json, print_transfer)


@click.command("hparam-search")
@recipe_options
@json_option
def hparam_search(recipe: str, overrides: Sequence[str], workspace: str | None, as_json: bool) -> None:
    """Proxies over Xmodel-2's ranges: the best learning rate, scale_emb, dim_model_base, scale_depth."""
    from flows.commands.study_tables import search_price
    from xmodel_core.config import load_recipe
    from xmodel_core.search.hparams.stage import require_mup

    values, _ = load_recipe(recipe, overrides)
    require_mup(values.model)
    click.echo(search_price(values), err=True)
    _search(recipe=recipe, overrides=overrides, workspace=workspace, as_json=as_json)


@in_prefect
def _search(recipe: str, overrides: Sequence[str], workspace: str | None, as_json: bool) -> None:
    from flows.commands.study_tables import print_search
    from flows.studies.hparam_search import hparam_search as search

    found = search(recipe, list(overrides), workspace)
    tell(found, as_json, print_search)

"""`xmodel lr-transfer`: whether the best learning rate of a narrow model is also the best of the wide ones."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from flows.commands.options import emit, in_prefect, json_option, recipe_options
from flows.commands.width_options import width_options

if TYPE_CHECKING:
    from xmodel_core.search.mup.scaled import Parametrisation


@click.command("lr-transfer")
@recipe_options
@width_options("64, 128, 256, 512")
@click.option(
    "--rate",
    "rates",
    multiple=True,
    type=click.FloatRange(0, min_open=True),
    help="peak_lr to train with (repeatable). Default: 1/512, 1/256 … 1/16.",
)
@click.option(
    "--parametrisation",
    "parametrisations",
    multiple=True,
    type=click.Choice(["mup", "standard"]),
    help="Parametrisation to train in (repeatable). Default: both.",
)
@click.option(
    "--steps", type=click.IntRange(min=3), default=128, show_default=True, help="Length of each training in steps."
)
@click.option("--seeds", type=click.IntRange(min=1), default=1, show_default=True, help="Trainings to average over.")
@json_option
@in_prefect("plan")
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
    """Check whether the best learning rate of a narrow model transfers to wider ones: losses over widths and rates."""
    from flows.commands.study_tables import print_transfer
    from flows.studies.lr_transfer import lr_transfer as lr_transfer_flow

    grid = list(widths), list(rates), list(parametrisations)
    losses: Any = lr_transfer_flow(recipe, list(overrides), workspace, *grid, **settings)
    emit(losses, as_json, print_transfer)

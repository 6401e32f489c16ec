"""`xmodel coordinate-check`: whether activations keep their size as the model grows wider."""

from collections.abc import Sequence
from typing import Any

import click

from flows.commands.options import emit, in_prefect, json_option, recipe_options
from flows.commands.width_options import width_options


@click.command("coordinate-check")
@recipe_options
@width_options("64, 128, 256, 512, 1024")
@click.option(
    "--step",
    "steps",
    multiple=True,
    type=click.IntRange(min=1),
    help="Measure after this many steps (repeatable). Default: 1, 2, 5, 10.",
)
@click.option("--seeds", type=click.IntRange(min=1), default=3, show_default=True, help="Trainings to average over.")
@json_option
@in_prefect("plan")
def coordinate_check(
    recipe: str,
    overrides: Sequence[str],
    workspace: str | None,
    widths: Sequence[int],
    steps: Sequence[int],
    as_json: bool,
    **shape: Any,
) -> None:
    """Check that activations keep their size as the model grows wider: slopes under muP and under the standard
    parametrisation."""
    from flows.commands.study_tables import print_coordinates
    from flows.studies.coordinate_check import coordinate_check as coordinate_check_flow

    slopes: Any = coordinate_check_flow(recipe, list(overrides), workspace, list(widths), list(steps), **shape)
    emit(slopes, as_json, print_coordinates)

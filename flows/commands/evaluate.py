"""`xmodel evaluate`: checkpoints scored on the recipe's benchmark suites."""

from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any

import click

from flows.commands.options import emit, in_prefect, json_option, recipe_options


def of_known_checkpoints(command: Callable[..., None]) -> Callable[..., None]:
    """For `evaluate`: looks for the checkpoints first. A wrong path or name is told within a second or two."""

    @wraps(command)
    def after_a_look(*args: Any, **kwargs: Any) -> None:
        if wanted := kwargs["checkpoint"]:
            from flows.recipes import load_recipe
            from flows.river.checkpoints import find_checkpoints
            from flows.river.session import workspace_folder
            from xmodel_core.artifacts import Store

            recipe, _ = load_recipe(kwargs["recipe"], kwargs["overrides"])
            find_checkpoints(wanted, Store(workspace_folder(kwargs["workspace"])), recipe.name)
        command(*args, **kwargs)

    return after_a_look


@click.command()
@recipe_options
@click.option(
    "--checkpoint",
    metavar="PATH|RUN[@STEP]|all",
    help="A checkpoint that is there: a folder or s3:// address (of a run: its newest), also an imported one; RUN or "
    "RUN@STEP, a run of the workspace by the beginning of its label, finished or still training; all: each checkpoint "
    "of the runs of this recipe's name. Builds nothing else.",
)
@json_option
@of_known_checkpoints
@in_prefect("evaluation")
def evaluate(
    recipe: str, overrides: Sequence[str], workspace: str | None, checkpoint: str | None, as_json: bool
) -> None:
    """Score a checkpoint on the recipe's benchmark suites.

    Without --checkpoint: the last of the recipe's run, which is built where it is missing. Evaluations that exist are
    found again; one that another process is at is waited for.
    """
    from flows.commands.summary import print_evaluations
    from flows.river.evaluate import evaluate as evaluate_flow
    from flows.river.session import workspace_folder

    evaluations = evaluate_flow(recipe, list(overrides), workspace, checkpoint)
    emit(evaluations, as_json, lambda made: print_evaluations(workspace_folder(workspace), made))

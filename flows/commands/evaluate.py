"""`xmodel evaluate`: a checkpoint scored on the recipe's benchmark suites."""

from collections.abc import Sequence

import click

from flows.commands.options import in_prefect, recipe_options


@click.command()
@recipe_options
@click.option("--checkpoint", metavar="PATH", help="Checkpoint folder. Default: the last of the recipe's run.")
@in_prefect("evaluation")
def evaluate(recipe: str, overrides: Sequence[str], workspace: str | None, checkpoint: str | None) -> None:
    """Score a checkpoint on the recipe's benchmark suites."""
    from flows.commands.summary import print_queries
    from flows.river.evaluate import evaluate as evaluate_flow
    from flows.river.session import workspace_folder

    label = evaluate_flow(recipe, list(overrides), workspace, checkpoint)
    print_queries(workspace_folder(workspace), ["@scores"], run=label)

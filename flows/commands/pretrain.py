"""`xmodel pretrain`: a model trained on the recipe's token shards."""

from collections.abc import Sequence

import click

from flows.commands.options import in_prefect, recipe_options


@click.command()
@recipe_options
@in_prefect("run")
def pretrain(recipe: str, overrides: Sequence[str], workspace: str | None) -> None:
    """Plan the mixture in exact tokens, then train a model on the token shards."""
    from flows.commands.summary import print_queries
    from flows.river.pretrain import pretrain as pretrain_flow
    from flows.river.session import workspace_folder

    label = pretrain_flow(recipe, list(overrides), workspace)
    print_queries(workspace_folder(workspace), ["@mixture", "@loss"], run=label)

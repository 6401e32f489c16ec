"""`xmodel tokenizer-train`: a tokenizer trained on the corpus, and the corpus encoded as token shards."""

from collections.abc import Sequence

import click

from flows.commands.options import in_prefect, recipe_options


@click.command("tokenizer-train")
@recipe_options
@in_prefect("shards")
def tokenizer_train(recipe: str, overrides: Sequence[str], workspace: str | None) -> None:
    """Train the recipe's tokenizer and encode the documents as token shards."""
    from flows.commands.summary import print_queries
    from flows.river.session import workspace_folder
    from flows.river.tokenizer_train import tokenizer_train as tokenizer_train_flow

    label = tokenizer_train_flow(recipe, list(overrides), workspace)
    print_queries(workspace_folder(workspace), ["@fertility"], tokenizer=label)

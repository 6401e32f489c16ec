"""`xmodel run`: a recipe's whole pipeline, from raw documents to an evaluated model and its report."""

from collections.abc import Sequence

import click

from flows.commands.options import emit, in_prefect, json_option, recipe_options


@click.command()
@recipe_options
@json_option
@in_prefect("report")
def run(recipe: str, overrides: Sequence[str], workspace: str | None, as_json: bool) -> None:
    """Run the whole pipeline of a recipe: documents, tokenizer, shards, training, evaluation, report.

    Finished stages are reused. RECIPE is a name or a YAML file; default: quickstart.
    """
    from flows.commands.summary import print_summary, summary
    from flows.river.session import workspace_folder
    from flows.river.xmodel import xmodel

    made = xmodel(recipe, list(overrides), workspace)
    facts = {**summary(workspace_folder(workspace), made["report"]), "stages": made["stages"]}
    emit(facts, as_json, print_summary)

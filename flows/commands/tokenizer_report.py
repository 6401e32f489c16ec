"""`xmodel tokenizer-report`: the recipe's tokenizer compared with others."""

from collections.abc import Sequence
from functools import partial

import click

from flows.commands.options import emit, in_prefect, json_option, recipe_options


@click.command("tokenizer-report")
@recipe_options
@click.option(
    "--against", multiple=True, metavar="PATH", help="A tokenizer.model or tokenizer.json to compare (repeatable)."
)
@json_option
@in_prefect("tokenizer")
def tokenizer_report(
    recipe: str, overrides: Sequence[str], workspace: str | None, against: Sequence[str], as_json: bool
) -> None:
    """Compare the recipe's tokenizer with others, on text it was trained on and on held-out text."""
    from flows.commands.study_tables import print_tokenizers
    from flows.river.session import workspace_folder
    from flows.studies.tokenizer_report import tokenizer_report as tokenizer_report_flow

    comparison = tokenizer_report_flow(recipe, list(overrides), workspace, list(against))
    emit(comparison, as_json, partial(print_tokenizers, workspace_folder(workspace)))

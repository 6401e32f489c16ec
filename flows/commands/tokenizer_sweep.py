"""`xmodel tokenizer-sweep`: tokenizers of several sizes and Chinese shares, and their trade-off."""

from collections.abc import Sequence

import click

from flows.commands.options import emit, in_prefect, json_option, recipe_options


@click.command("tokenizer-sweep")
@recipe_options
@click.option(
    "--vocab-size",
    "vocab_sizes",
    multiple=True,
    type=click.IntRange(min=301),
    metavar="PIECES",
    help="Vocabulary size to train (repeatable). Default: half, once and twice the recipe's.",
)
@click.option(
    "--zh-share",
    "zh_shares",
    multiple=True,
    type=click.FloatRange(0, 1, True, True),
    metavar="SHARE",
    help="Chinese share of the sample's Chinese and English text (repeatable). Default: 0.3, 0.5, 0.7.",
)
@json_option
@in_prefect("corpus")
def tokenizer_sweep(
    recipe: str,
    overrides: Sequence[str],
    workspace: str | None,
    vocab_sizes: Sequence[int],
    zh_shares: Sequence[float],
    as_json: bool,
) -> None:
    """Train tokenizers of several sizes and Chinese shares; show the trade-off as a table and a plot."""
    from flows.commands.study_tables import print_sweep
    from flows.studies.tokenizer_sweep import tokenizer_sweep as tokenizer_sweep_flow

    sweep = tokenizer_sweep_flow(recipe, list(overrides), workspace, list(vocab_sizes), list(zh_shares))
    emit(sweep, as_json, print_sweep)

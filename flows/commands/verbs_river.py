"""The verbs that run the river, or a part of it, in Prefect."""

from collections.abc import Sequence
from functools import partial

import click

from flows.commands.options import in_prefect, json_option, recipe_options, tell


@click.command()
@recipe_options
@json_option
@in_prefect
def run(recipe: str, overrides: Sequence[str], workspace: str | None, as_json: bool) -> None:
    """The whole river; default recipe: quickstart."""
    from flows.commands.summary import print_summary, summary
    from flows.river.session import workspace_folder
    from flows.river.xmodel import xmodel

    report = xmodel(recipe, list(overrides), workspace)
    facts = summary(workspace_folder(workspace), report)
    tell(facts, as_json, print_summary)


@click.command()
@recipe_options
@json_option
def plan(recipe: str, overrides: Sequence[str], workspace: str | None, as_json: bool) -> None:
    """What would be built, what is reused and why; documents, tokens, parameters, FLOPs, hours."""
    from flows.commands.plan import plan as make_plan
    from flows.commands.plan import print_plan
    from flows.recipes import load_recipe
    from flows.river.session import workspace_folder

    values, path = load_recipe(recipe, overrides)
    planned = make_plan(values, path, workspace_folder(workspace))
    tell(planned, as_json, print_plan)


@click.command("xdata-build")
@recipe_options
@click.option("--decisions-only", is_flag=True, help="Show what the thresholds would do; write no documents.")
@in_prefect
def xdata_build(recipe: str, overrides: Sequence[str], workspace: str | None, decisions_only: bool) -> None:
    """Sources to kept documents."""
    from flows.commands.summary import print_balance, print_decisions, print_queries
    from flows.river.session import workspace_folder
    from flows.river.xdata_build import xdata_build as build

    built = build(recipe, list(overrides), workspace, decisions_only)
    if decisions_only:
        print_decisions(built)
    else:
        root = workspace_folder(workspace)
        print_queries(root, ["@funnel", "@drops"], corpus=built["corpus"])
        print_balance(root, built["corpus"], built["mixture_shares"])


@click.command("tokenizer-train")
@recipe_options
@in_prefect
def tokenizer_train(recipe: str, overrides: Sequence[str], workspace: str | None) -> None:
    """Documents to a tokenizer and token shards."""
    from flows.commands.summary import print_queries
    from flows.river.session import workspace_folder
    from flows.river.tokenizer_train import tokenizer_train as train

    label = train(recipe, list(overrides), workspace)
    print_queries(workspace_folder(workspace), ["@fertility"], tokenizer=label)


@click.command("tokenizer-report")
@recipe_options
@click.option("--against", multiple=True, metavar="PATH", help="Another tokenizer: a .model or a tokenizer.json.")
@json_option
@in_prefect
def tokenizer_report(
    recipe: str, overrides: Sequence[str], workspace: str | None, against: Sequence[str], as_json: bool
) -> None:
    """The recipe's tokenizer beside others, on text it did and did not learn from."""
    from flows.commands.study_tables import print_tokenizers
    from flows.river.session import workspace_folder
    from flows.studies.tokenizer_report import tokenizer_report as compare

    found = compare(recipe, list(overrides), workspace, list(against))
    tell(found, as_json, partial(print_tokenizers, workspace_folder(workspace)))


@click.command("tokenizer-sweep")
@recipe_options
@click.option(
    "--vocab-size",
    "vocab_sizes",
    multiple=True,
    type=click.IntRange(min=301),
    metavar="PIECES",
    help="A size to train; give several. Default: half, once and twice the recipe's.",
)
@click.option(
    "--zh-share",
    "zh_shares",
    multiple=True,
    type=click.FloatRange(0, 1, True, True),
    metavar="SHARE",
    help="Chinese part of the sample's Chinese and English; give several. Default: 0.3, 0.5, 0.7.",
)
@json_option
@in_prefect
def tokenizer_sweep(
    recipe: str,
    overrides: Sequence[str],
    workspace: str | None,
    vocab_sizes: Sequence[int],
    zh_shares: Sequence[float],
    as_json: bool,
) -> None:
    """Tokenizers of several sizes and balances; their trade-off as a table and a picture."""
    from flows.commands.study_tables import print_sweep
    from flows.studies.tokenizer_sweep import tokenizer_sweep as sweep

    found = sweep(recipe, list(overrides), workspace, list(vocab_sizes), list(zh_shares))
    tell(found, as_json, print_sweep)


@click.command()
@recipe_options
@in_prefect
def pretrain(recipe: str, overrides: Sequence[str], workspace: str | None) -> None:
    """Token shards to checkpoints."""
    from flows.commands.summary import print_queries
    from flows.river.pretrain import pretrain as train
    from flows.river.session import workspace_folder

    label = train(recipe, list(overrides), workspace)
    print_queries(workspace_folder(workspace), ["@mixture", "@loss"], run=label)


@click.command()
@recipe_options
@click.option("--checkpoint", metavar="PATH", help="A checkpoint folder; default: the last of the recipe's run.")
@in_prefect
def evaluate(recipe: str, overrides: Sequence[str], workspace: str | None, checkpoint: str | None) -> None:
    """A checkpoint to scores."""
    from flows.commands.summary import print_queries
    from flows.river.evaluate import evaluate as score
    from flows.river.session import workspace_folder

    label = score(recipe, list(overrides), workspace, checkpoint)
    print_queries(workspace_folder(workspace), ["@scores"], run=label)

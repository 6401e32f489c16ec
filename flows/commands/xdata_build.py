"""`xmodel xdata-build`: the recipe's sources, cleaned to a corpus of documents."""

from collections.abc import Sequence

import click

from flows.commands.options import in_prefect, recipe_options


@click.command("xdata-build")
@recipe_options
@click.option("--decisions-only", is_flag=True, help="Show what the thresholds would drop; write no documents.")
@in_prefect("corpus")
def xdata_build(recipe: str, overrides: Sequence[str], workspace: str | None, decisions_only: bool) -> None:
    """Build a corpus of clean documents from the recipe's sources."""
    from flows.commands.summary import print_balance, print_decisions, print_queries
    from flows.river.session import workspace_folder
    from flows.river.xdata_build import xdata_build as xdata_build_flow

    result = xdata_build_flow(recipe, list(overrides), workspace, decisions_only)
    if decisions_only:
        print_decisions(result)
    else:
        root = workspace_folder(workspace)
        print_queries(root, ["@funnel", "@drops"], corpus=result["corpus"])
        print_balance(root, result["corpus"], result["mixture_shares"])

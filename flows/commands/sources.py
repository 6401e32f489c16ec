"""`xmodel sources`: the sources that the specs declare, and whether they are valid and available."""

import sys
from collections.abc import Sequence
from typing import Any

import click

from flows.commands.options import emit, json_option, set_option


@click.command()
@click.argument("action", required=False, type=click.Choice(["check"]))
@click.option("--recipe", help="Only the sources of this recipe.")
@set_option
@json_option
def sources(action: str | None, recipe: str | None, overrides: Sequence[str], as_json: bool) -> None:
    """List the declared sources. `check`: verify the specs, and that each source is available. Exit code 1: something
    is wrong. --set overrides the recipe of --recipe."""
    from flows.commands.sources_check import check, declared

    rows, problems = check(recipe, overrides) if action == "check" else (declared(recipe, overrides), [])

    def show(_: object) -> None:
        print_sources(rows)
        for line in problems:
            click.echo(line)

    emit([*rows, *({"problem": line} for line in problems)], as_json, show)
    if problems or any(row.get("problem") for row in rows):
        sys.exit(1)


def print_sources(rows: list[dict[str, Any]]) -> None:
    """The rows as a table, then each problem in full."""
    from flows.commands.summary import print_table

    columns = ["family", "name", "lang", "category", "license", "published_tokens", "uri"]
    if rows and "state" in rows[0]:
        columns = ["family", "name", "lang", "state", "reached", "uri"]
    print_table(columns, [[row[column] for column in columns] for row in rows])
    for row in rows:
        if row.get("problem"):
            click.echo(row["problem"])

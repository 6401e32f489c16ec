"""What several verbs share: their options, how they run in Prefect, how they answer.

Nothing heavy is imported before a verb needs it, so `--help` answers at once.
"""

import json
from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

import click

Command = TypeVar("Command", bound=Callable[..., Any])
Found = TypeVar("Found")


def workspace_option(command: Command) -> Command:
    """--workspace: where artifacts and the ledger lie."""
    return click.option(
        "--workspace",
        metavar="PLACE",
        help="Where artifacts lie: a folder or s3://…; else $XMODEL_WORKSPACE, else ./workspace.",
    )(command)


def recipe_options(command: Command) -> Command:
    """The recipe, its overrides and the workspace, for every verb that runs part of the river."""
    command = click.argument("recipe", default="quickstart")(command)
    command = click.option(
        "--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Change a field, e.g. training.peak_lr=0.005."
    )(command)
    return workspace_option(command)


def json_option(command: Command) -> Command:
    """--json: for scripts."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON.")(command)


def tell(found: Found, as_json: bool, show: Callable[[Found], None]) -> None:
    """What a verb found: for scripts, or shown to a person."""
    click.echo(json.dumps(found, ensure_ascii=False, indent=1, default=str)) if as_json else show(found)


def in_prefect(run: Callable[..., None]) -> Callable[..., None]:
    """For a verb that is a flow: the recipe is checked first, and a server is there."""

    @wraps(run)
    def verb(*args: Any, **kwargs: Any) -> None:
        from flows.river.preflight import check

        check(kwargs["recipe"], kwargs["overrides"])
        from flows.server.host import quiet_prefect

        quiet_prefect()
        from flows.server.embedded import ensure_server

        ensure_server()
        run(*args, **kwargs)

    return verb

"""What several commands share: their options, how they print a result, how they start a Prefect flow.

Nothing heavy is imported before a command runs, so `--help` answers at once.
"""

import json
from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

import click

Command = TypeVar("Command", bound=Callable[..., Any])
Result = TypeVar("Result")


def workspace_option(command: Command) -> Command:
    """--workspace: the place of artifacts and ledger."""
    return click.option(
        "--workspace",
        metavar="PLACE",
        help="Folder or s3:// prefix of all artifacts. Default: $XMODEL_WORKSPACE, else ./workspace.",
    )(command)


def recipe_options(command: Command) -> Command:
    """The recipe, its overrides and the workspace, for every command that works on a recipe."""
    command = click.argument("recipe", default="quickstart")(command)
    command = click.option(
        "--set",
        "overrides",
        multiple=True,
        metavar="KEY=VALUE",
        help="Override a recipe field, e.g. training.peak_lr=0.005 (repeatable).",
    )(command)
    return workspace_option(command)


def json_option(command: Command) -> Command:
    """--json: the result for scripts."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON.")(command)


def emit(result: Result, as_json: bool, show: Callable[[Result], None]) -> None:
    """Prints a command's result: as JSON, or by `show` for a person."""
    if as_json:
        click.echo(json.dumps(result, ensure_ascii=False, indent=1, default=str))
    else:
        show(result)


def in_prefect(command: Callable[..., None]) -> Callable[..., None]:
    """For a command that runs a flow: checks the recipe first, then makes sure that a Prefect server answers."""

    @wraps(command)
    def with_server(*args: Any, **kwargs: Any) -> None:
        from flows.recipes import load_recipe
        from flows.river.preflight import check, check_evaluation

        # A checkpoint that is there needs the recipe's suites alone.
        needed = check_evaluation if kwargs.get("checkpoint") else check
        needed(*load_recipe(kwargs["recipe"], kwargs["overrides"]))
        from flows.server.embedded import ensure_server, quiet_prefect, server_is_gone

        quiet_prefect()
        ensure_server()
        from httpx import TransportError

        try:
            command(*args, **kwargs)
        except TransportError as error:  # Prefect's client: our own calls report what they were about
            raise server_is_gone(error) from error

    return with_server

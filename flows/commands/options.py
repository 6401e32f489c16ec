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


def _assignments(_: click.Context, __: click.Parameter, values: tuple[str, ...]) -> tuple[str, ...]:
    for value in values:
        key, equals, _value = value.partition("=")
        if not equals or not all(part.strip() for part in key.split(".")):
            raise click.BadParameter(f"{value!r} is not of the form KEY=VALUE, e.g. training.peak_lr=0.005")
    return values


def set_option(command: Command) -> Command:
    """--set: overrides of a recipe. A value that is not KEY=VALUE is a wrong call."""
    return click.option(
        "--set",
        "overrides",
        multiple=True,
        metavar="KEY=VALUE",
        callback=_assignments,
        help="Override a recipe field, e.g. training.peak_lr=0.005 (repeatable).",
    )(command)


def recipe_options(command: Command) -> Command:
    """The recipe, its overrides and the workspace, for every command that works on a recipe."""
    return workspace_option(set_option(click.argument("recipe", default="quickstart")(command)))


UNREAD = "As of other commands; this one reads no {}, so it changes nothing."


def with_every_option(command: click.Command) -> click.Command:
    """The command with --workspace and --set, which every command takes so that the same words serve a whole script:
    where it has no use for one, the form alone is checked."""
    taken = {name for parameter in command.params for name in parameter.opts}
    form = {"multiple": True, "metavar": "KEY=VALUE", "callback": _assignments}
    unread = {
        "--workspace": click.Option(
            ["--workspace"], metavar="PLACE", expose_value=False, help=UNREAD.format("workspace")
        ),
        "--set": click.Option(["--set", "_overrides"], expose_value=False, help=UNREAD.format("recipe"), **form),
    }
    command.params += [option for name, option in unread.items() if name not in taken]
    return command


def json_option(command: Command) -> Command:
    """--json: the result for scripts."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON.")(command)


def emit(result: Result, as_json: bool, show: Callable[[Result], None]) -> None:
    """Prints a command's result: as JSON, or by `show` for a person."""
    if as_json:
        click.echo(json.dumps(result, ensure_ascii=False, indent=1, default=str))
    else:
        show(result)


def in_prefect(through: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """For a command that runs a flow up to this stage: checks the recipe first, and what its stages need, then makes
    sure that a Prefect server answers."""

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        @wraps(command)
        def with_server(*args: Any, **kwargs: Any) -> None:
            from flows.river.session import check_recipe

            alone = kwargs.get("checkpoint") is not None
            checked = check_recipe(kwargs["recipe"], kwargs["overrides"], kwargs["workspace"], through, alone)
            for need in checked.left_out:
                click.echo(f"without: {need}", err=True)
            from flows.server.embedded import ensure_server, quiet_prefect, server_is_gone

            quiet_prefect()
            ensure_server()
            from httpx import TransportError

            try:
                command(*args, **kwargs)
            except TransportError as error:  # Prefect's client: our own calls report what they were about
                raise server_is_gone(error) from error

        return with_server

    return decorate

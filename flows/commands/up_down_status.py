"""`xmodel up`, `down` and `status`: Prefect's server, a worker and the deployments on this machine."""

from dataclasses import asdict

import click

from flows.commands.options import emit, json_option, workspace_option


@click.command()
@workspace_option
@click.option("--port", type=click.IntRange(1, 65535), help="The server's port. Default: 4200, or the next free one.")
def up(workspace: str | None, port: int | None) -> None:
    """Start a Prefect server with its UI, a worker and the deployments, unless they are up already."""
    from flows.river.session import workspace_folder
    from flows.server.host import up as start_all

    click.echo(start_all(workspace_folder(workspace), port))


@click.command()
def down() -> None:
    """Stop what `up` started and restore the Prefect profile."""
    from flows.server.host import down as stop_all

    click.echo(stop_all())


@click.command()
@json_option
def status(as_json: bool) -> None:
    """Show the server, the worker, the deployments and the latest runs."""
    from flows.server.status import status as read_status

    current = read_status()
    emit(asdict(current), as_json, lambda _: click.echo(current))

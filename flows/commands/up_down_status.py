"""`xmodel up`, `down` and `status`: Prefect's server, a worker and the deployments on this machine."""

import os
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
    """Stop what `up` started and restore the Prefect profile.

    Runs are asked first, so that a training saves its checkpoint; what has not ended after five minutes is killed.
    """
    from flows.server.host import down as stop_all

    click.echo(stop_all())


@click.command()
@workspace_option
@json_option
def status(workspace: str | None, as_json: bool) -> None:
    """Show server, worker, deployments, the runs, and who is at work in the workspace."""
    from flows.river.session import workspace_folder
    from flows.server.status import status as read_status

    chosen = bool(workspace or os.environ.get("XMODEL_WORKSPACE"))
    current = read_status(workspace_folder(workspace), chosen)
    emit(asdict(current), as_json, lambda _: click.echo(current))

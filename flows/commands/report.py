"""`xmodel report`: the page about a finished run, written now if it is not there yet."""

import click

from flows.commands.options import workspace_option


@click.command()
@click.argument("run", required=False)
@workspace_option
def report(run: str | None, workspace: str | None) -> None:
    """Write one self-contained HTML page about a run and print its path. Default: the newest run."""
    from flows.river.session import workspace_folder
    from xmodel_core.artifacts import Store
    from xmodel_core.ledger.build import refresh
    from xmodel_core.report import stage as report_stage

    root = workspace_folder(workspace)
    refresh(root)
    store = Store(root)
    parts = report_stage.inputs_of(store, run)
    written = report_stage.run(parts["run"].name, parts, store)
    click.echo(f"{written.folder}/index.html")

"""`xmodel ledger`: SQL over everything that a workspace holds."""

import click

from flows.commands.options import emit, json_option, workspace_option


@click.command()
@click.argument("query", required=False)
@workspace_option
@json_option
def ledger(query: str | None, workspace: str | None, as_json: bool) -> None:
    """Run a query on the ledger: SQL text or @NAME. Without one, show the ledger's path and its tables."""
    from flows.commands.summary import print_table
    from flows.river.session import workspace_folder
    from xmodel_core.ledger.build import refresh
    from xmodel_core.ledger.query import contents, run_query

    root = workspace_folder(workspace)
    path = refresh(root)
    columns, rows = run_query(root, query) if query else contents(root)

    def show(_: object) -> None:
        if not query:
            click.echo(f"{root}/{path.name}")
        print_table(columns, rows)

    emit([dict(zip(columns, row, strict=True)) for row in rows], as_json, show)

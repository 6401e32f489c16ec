"""The verbs around the river: what is declared, what was made of it, and the servers it runs on."""

import sys
from pathlib import Path

import click

from flows.commands.options import json_option, tell, workspace_option


@click.command()
@workspace_option
@click.option("--port", type=int, help="The server's port; default: 4200, or the next that is free.")
def up(workspace: str | None, port: int | None) -> None:
    """Prefect server with its UI, a worker, the deployments."""
    from flows.river.session import workspace_folder
    from flows.server.host import up as start

    click.echo(start(workspace_folder(workspace), port))


@click.command()
def down() -> None:
    """Stop what `up` started and restore the Prefect profile."""
    from flows.server.host import down as stop

    click.echo(stop())


@click.command()
@json_option
def status(as_json: bool) -> None:
    """Server, worker, deployments and the latest runs."""
    from dataclasses import asdict

    from flows.server.host import status as ask

    now = ask()
    tell(asdict(now), as_json, lambda _: click.echo(now))


@click.command()
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--name", required=True, help="The folder to write and the recipe's name.")
def init(paths: tuple[Path, ...], name: str) -> None:
    """Write NAME/recipe.yaml, sources.yaml and mixture.yaml for files of your own."""
    from flows.commands.init import init as write

    for path in write(list(paths), name):
        click.echo(f"wrote {path}")
    click.echo(
        f"\nRead them, change what you like, then:\n  xmodel plan {name}/recipe.yaml\n  xmodel run {name}/recipe.yaml"
    )


@click.command()
@click.argument("action", required=False, type=click.Choice(["check"]))
@click.option("--recipe", help="Only the sources of this recipe.")
@json_option
def sources(action: str | None, recipe: str | None, as_json: bool) -> None:
    """What the specs declare; `check`: whether it holds together and is there."""
    from flows.commands.sources import check, declared, print_sources

    rows, wrong = check(recipe) if action == "check" else (declared(recipe), [])

    def show(_: object) -> None:
        print_sources(rows)
        for line in wrong:
            click.echo(line)

    tell([*rows, *({"problem": line} for line in wrong)], as_json, show)
    if wrong or any(row.get("problem") for row in rows):
        sys.exit(1)


@click.command()
@click.argument("query", required=False)
@workspace_option
@json_option
def ledger(query: str | None, workspace: str | None, as_json: bool) -> None:
    """A query ("SQL" or @NAME) and its table; without one, the path and the tables."""
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

    tell([dict(zip(columns, row, strict=True)) for row in rows], as_json, show)


@click.command()
@click.argument("document", metavar="[SOURCE:]ID")
@workspace_option
@json_option
def trace(document: str, workspace: str | None, as_json: bool) -> None:
    """One document's way: source, each decision, shard and offset, the steps that consumed it."""
    from flows.commands.trace import print_trace, trace_document
    from flows.river.session import workspace_folder

    found = trace_document(workspace_folder(workspace), document)
    tell(found, as_json, print_trace)


@click.command()
@click.argument("run", required=False)
@click.option("--steps", type=click.IntRange(min=1), help="Only the first so many steps.")
@workspace_option
@json_option
def audit(run: str | None, steps: int | None, workspace: str | None, as_json: bool) -> None:
    """Prove a run's token stream against its shards: every document, every share, its sha256; default: the newest."""
    from flows.commands.audit import audit_run, print_audit
    from flows.river.session import workspace_folder

    found = audit_run(workspace_folder(workspace), run, steps)
    tell(found, as_json, print_audit)


@click.command()
@click.argument("run", required=False)
@workspace_option
def report(run: str | None, workspace: str | None) -> None:
    """One self-contained HTML page about a run; default: the newest."""
    from flows.commands.report import report_of
    from flows.river.session import workspace_folder

    click.echo(report_of(workspace_folder(workspace), run))


@click.command()
@workspace_option
@json_option
def doctor(workspace: str | None, as_json: bool) -> None:
    """What is installed, reachable, too small; what to do about it."""
    from flows.commands.doctor import doctor as examine
    from flows.commands.doctor import print_findings
    from flows.river.session import workspace_folder

    findings = examine(workspace_folder(workspace))
    tell(findings, as_json, print_findings)
    if any(finding["state"] == "fail" for finding in findings):
        sys.exit(1)

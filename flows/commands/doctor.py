"""`xmodel doctor`: what is installed, reachable or too small on this machine, and what to do about it."""

import sys

import click

from flows.commands.options import emit, json_option, workspace_option


@click.command()
@workspace_option
@json_option
def doctor(workspace: str | None, as_json: bool) -> None:
    """Check what is installed, reachable or too small, and say what to do about it. Exit code 1: something fails."""
    from flows.commands.doctor_checks import run_checks
    from flows.river.session import workspace_folder

    findings = run_checks(workspace_folder(workspace))
    emit(findings, as_json, print_findings)
    if any(finding["state"] == "fail" for finding in findings):
        sys.exit(1)


def print_findings(findings: list[dict[str, str]]) -> None:
    """The findings as a table, each remedy under its finding."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    colours = {"ok": "green", "warn": "yellow", "fail": "red"}
    table = Table(show_header=False, box=None, pad_edge=False)
    for finding in findings:
        table.add_row(
            f"[{colours[finding['state']]}]{finding['state']}[/]",
            f"[bold]{finding['what']}[/]",
            escape(finding["found"]),
        )
        if finding["remedy"]:
            table.add_row("", "", f"[dim]→ {escape(finding['remedy'])}[/]")
    Console().print(table)

"""`xmodel doctor`: what is installed, reachable or too small on this machine, and what to do about it."""

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from flows.commands.options import emit, json_option, set_option, workspace_option

if TYPE_CHECKING:
    from xmodel_core.artifacts import Folder


@click.command()
@click.option("--recipe", help="Check also what this recipe needs.")
@set_option
@workspace_option
@json_option
def doctor(recipe: str | None, overrides: Sequence[str], workspace: str | None, as_json: bool) -> None:
    """Check what is installed, reachable or too small, and say what to do about it. Exit code 1: something fails. --set
    overrides the recipe of --recipe."""
    from flows.commands.doctor_checks import run_checks
    from flows.river.session import workspace_folder

    root = workspace_folder(workspace)
    findings = run_checks(root)
    if recipe:
        findings += _needs(recipe, overrides, root)
    emit(findings, as_json, print_findings)
    if any(finding["state"] == "fail" for finding in findings):
        sys.exit(1)


def _needs(recipe: str, overrides: Sequence[str], root: "Folder") -> list[dict[str, str]]:
    """What the recipe needs and is not here, as findings."""
    from flows.recipes import load_recipe
    from flows.river.preflight import missing_needs
    from flows.river.session import Session
    from xmodel_core.artifacts import Store

    needs = missing_needs(Session(*load_recipe(recipe, overrides), Store(root)), "report")
    lacking = [
        {"what": need.stage, "state": "fail" if need.required else "warn", "found": need.what, "remedy": need.remedy}
        for need in needs
    ]
    return lacking or [{"what": recipe, "state": "ok", "found": "everything that it needs is here", "remedy": ""}]


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

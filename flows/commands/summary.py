"""What the terminal shows when a run is done: funnel, mixture, fertility, loss, scores, the paths of the artifacts.

Takes a workspace whose ledger is up to date; prints tables. Every figure is one of the report room's facts:
nothing is counted here.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from xmodel_core.artifacts import Folder, Place, Store
from xmodel_core.report import facts

TITLES = {
    "@funnel": "documents and characters, stage by stage",
    "@drops": "what was dropped, and why",
    "@fertility": "tokenizer: fewer tokens per character is better",
    "@mixture": "mixture: planned and consumed tokens",
    "@loss": "training",
}


def cell_text(value: Any) -> str:
    """A value as a table's cell."""
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return str(value)


def print_table(columns: Sequence[str], rows: Sequence[Sequence[Any]], title: str | None = None) -> None:
    """A table on the terminal, numbers to the right."""
    table = Table(title=title, title_justify="left", header_style="bold", title_style="bold cyan")
    for index, column in enumerate(columns):
        numeric = any(isinstance(row[index], int | float) for row in rows)
        table.add_column(column, justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        table.add_row(*(cell_text(value) for value in row))
    console = Console()
    # In a log file or a pipe there is no width to keep to, and a folded table cannot be read.
    Console(width=None if console.is_terminal else 200).print(table)


def print_queries(root: Place, names: Sequence[str], **labels: str) -> None:
    """The tables of named queries, about the artifacts that `labels` name by column (corpus=…, run=…)."""
    for name in names:
        _print_rows(facts.table(root, name, **labels), TITLES[name])


def print_scores(root: Place, checkpoints: Sequence[str]) -> None:
    """The scores of runs (or of checkpoints of no run here) among the published ones of the same tasks."""
    rows = facts.leaderboard(root, *checkpoints).rows
    columns = ["model", "step", "suite", "task", "metric", "shots", "value", "stderr", "n", "source"]
    cells = [[row["run"] or row["model"], *(row[column] for column in columns[1:])] for row in rows]
    print_table(columns, cells, "scores, with standard errors, and published ones; chance of four choices is 0.25")


def print_evaluations(root: Place, evaluations: Sequence[dict[str, Any]]) -> None:
    """The scores of finished evaluations, the gates' verdicts, what was not asked, and the evaluations' folders."""
    print_scores(root, list(dict.fromkeys(evaluation["checkpoint"] for evaluation in evaluations)))
    console = Console()
    for evaluation in evaluations:
        print_gates(evaluation["gates"])
        print_not_asked(evaluation["skipped"], evaluation["set_aside"])
        console.print(f"{'evaluations':12} {evaluation['path']}", highlight=False, soft_wrap=True)


def print_not_asked(skipped: Sequence[dict[str, Any]], set_aside: Sequence[dict[str, Any]]) -> None:
    """The tasks that were skipped for lack of data, and the items that cannot be asked, each with file and line."""
    console = Console()
    for task in skipped:
        console.print(f"skipped {task['task']}: {task['why'].splitlines()[0]}", highlight=False, markup=False)
    for item in set_aside:
        place = f"{item['file']}, line {item['line']}"
        console.print(f"set aside of {item['task']}: {place}: {item['why']}", highlight=False, markup=False)


def print_balance(root: Place, corpus: str, mixture_shares: Mapping[str, float]) -> None:
    """What is kept of each source and language, beside the share of training tokens that the mixture asks for."""
    _print_rows(facts.balance(root, corpus, mixture_shares), "what is kept, and what the mixture asks for")


def _print_rows(table: facts.Table, title: str) -> None:
    print_table(table.columns, [list(row.values()) for row in table.rows], title)


def print_decisions(rows: dict[str, list[dict[str, Any]]]) -> None:
    """What thresholds would do: documents in and out per stage and language, and the drops by reason."""
    for title, table, keys, counts in (
        ("documents, stage by stage, had this been built", "document_flow", ("stage", "lang"), ("docs_in", "docs_out")),
        ("what would be dropped, and why", "document_drops", ("stage", "reason", "lang"), ("docs", "chars")),
    ):
        summed: dict[tuple[str, ...], list[int]] = {}
        for row in rows[table]:
            total = summed.setdefault(tuple(row[key] for key in keys), [0] * len(counts))
            for index, count in enumerate(counts):
                total[index] += row[count]
        print_table([*keys, *counts], [(*key, *total) for key, total in summed.items() if any(total)], title)


def print_gates(gates: Sequence[dict[str, Any]]) -> None:
    """The verdict of each gate that the suites set."""
    console = Console()
    for gate in gates:
        verdict = "[green]passed[/]" if gate["passed"] else "[red]missed[/]"
        above = ""
        if gate["control"] is not None:
            distance = gate["value"] - gate["control"]
            above = f", {distance:+.3f} over {gate['above_task']} (asked {gate['margin']:+.2f})"
        console.print(
            f"gate {gate['task']}: {gate['value']:.3f} (asked {gate['at_least']}){above}: {verdict}", highlight=False
        )


def summary(root: Folder, report: str) -> dict[str, Any]:
    """The parts of a finished run: each one's label and folder, the gates' verdicts, the report's path.

    `report` is the address of the report's page; the manifest beside it names the parts.
    """
    store = Store(root)
    artifact = next(one for one in store.artifacts("reports") if report.startswith(f"{one.folder}/"))
    wanted = set(artifact.manifest()["inputs"].values())
    kinds = ("corpus", "tokenizer", "plans", "runs", "evaluations")
    parts = {kind: one for kind in kinds for one in store.artifacts(kind) if one.fingerprint in wanted}
    evaluated = parts["evaluations"].manifest()["facts"] if "evaluations" in parts else {}
    return {
        "parts": {kind: {"label": part.label, "path": str(part.folder)} for kind, part in parts.items()},
        **{name: evaluated.get(name, []) for name in ("gates", "skipped", "set_aside")},
        "report": report,
        "ledger": f"{root}/ledger.duckdb",
    }


def print_summary(finished: dict[str, Any]) -> None:
    """Funnel, mixture, fertility, loss, scores, gates, and the paths of all parts."""
    root = finished["ledger"].rpartition("/")[0]
    labels = {kind: part["label"] for kind, part in finished["parts"].items()}
    print_queries(root, ["@funnel", "@drops"], corpus=labels["corpus"])
    print_queries(root, ["@fertility"], tokenizer=labels["tokenizer"])
    print_queries(root, ["@mixture", "@loss"], run=labels["runs"])
    print_scores(root, [labels["runs"]])
    print_gates(finished["gates"])
    print_not_asked(finished["skipped"], finished["set_aside"])
    console = Console()
    for kind, part in finished["parts"].items():
        console.print(f"{kind:12} {part['path']}", highlight=False, soft_wrap=True)
    console.print(f"{'ledger':12} {finished['ledger']}", highlight=False, soft_wrap=True)
    console.print(f"{'report':12} {finished['report']}", highlight=False, soft_wrap=True)

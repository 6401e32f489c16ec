"""What a person reads when a run is done: funnel, mixture, fertility, loss, scores, where it lies.

Takes a workspace whose ledger is up to date; gives plain facts, or tables on the terminal. Every
figure is a query of the ledger: nothing is counted here.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from xmodel_core.artifacts import Folder, Place, Store
from xmodel_core.ledger.query import run_query

TITLES = {
    "@funnel": "documents and characters, stage by stage",
    "@drops": "what was dropped, and why",
    "@fertility": "tokenizer: fewer tokens per character is better",
    "@mixture": "mixture: planned and consumed tokens",
    "@loss": "training",
    "@scores": "scores, with standard errors; chance of four choices is 0.25",
}

BALANCE = ("source", "lang", "category", "docs", "chars", "bytes", "share_of_chars")


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


def print_queries(root: Place, names: Sequence[str], **only: str) -> None:
    """The tables of named queries; `only` keeps the rows whose column of that name has that value."""
    for name in names:
        columns, rows = run_query(root, name)
        kept = [
            row
            for row in rows
            if all(row[columns.index(key)] == value for key, value in only.items() if key in columns)
        ]
        hidden = [columns.index(key) for key in only if key in columns]
        shown = [index for index in range(len(columns)) if index not in hidden]
        print_table(
            [columns[index] for index in shown],
            [[row[index] for index in shown] for row in kept],
            TITLES.get(name, name),
        )


def print_balance(root: Place, corpus: str, mixture_shares: Mapping[str, float]) -> None:
    """What is kept of each source and language, beside the share of training tokens that the mixture asks for."""
    columns, rows = run_query(root, "@balance")
    shown = [
        (*(row[columns.index(name)] for name in BALANCE), mixture_shares.get(row[columns.index("source")], 0.0))
        for row in rows
        if row[columns.index("corpus")] == corpus
    ]
    print_table([*BALANCE, "mixture_share"], shown, "what is kept, and what the mixture asks for")


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
    """What a finished river is made of: each part's label and folder, the gates' verdicts, where the page lies.

    `report` is the address of the report's page; the manifest beside it names the parts.
    """
    store = Store(root)
    made = next(one for one in store.artifacts("reports") if report.startswith(f"{one.folder}/"))
    wanted = set(made.manifest()["inputs"].values())
    kinds = ("corpus", "tokenizer", "plans", "runs", "evaluations")
    parts = {kind: one for kind in kinds for one in store.artifacts(kind) if one.fingerprint in wanted}
    gates = parts["evaluations"].manifest()["facts"]["gates"] if "evaluations" in parts else []
    return {
        "parts": {kind: {"label": part.label, "path": str(part.folder)} for kind, part in parts.items()},
        "gates": gates,
        "report": report,
        "ledger": f"{root}/ledger.duckdb",
    }


def print_summary(facts: dict[str, Any]) -> None:
    """Funnel, mixture, fertility, loss, scores, gates, and where everything lies."""
    root = facts["ledger"].rpartition("/")[0]
    labels = {kind: part["label"] for kind, part in facts["parts"].items()}
    print_queries(root, ["@funnel", "@drops"], corpus=labels["corpus"])
    print_queries(root, ["@fertility"], tokenizer=labels["tokenizer"])
    print_queries(root, ["@mixture", "@loss", "@scores"], run=labels["runs"])
    print_gates(facts["gates"])
    console = Console()
    for kind, part in facts["parts"].items():
        console.print(f"{kind:12} {part['path']}", highlight=False, soft_wrap=True)
    console.print(f"{'ledger':12} {facts['ledger']}", highlight=False, soft_wrap=True)
    console.print(f"{'report':12} {facts['report']}", highlight=False, soft_wrap=True)

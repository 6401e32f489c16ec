"""What a person reads when a run is done: funnel, mixture, fertility, loss, scores, where it lies.

Takes a workspace whose ledger is up to date; gives plain facts, or tables on the terminal. Every
figure is a query of the ledger: nothing is counted here.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from xmodel_core.artifacts import Folder, Place, Store
from xmodel_core.config import Recipe
from xmodel_core.ledger.query import run_query
from xmodel_core.search.hparams.stage import price

TITLES = {
    "@funnel": "documents and characters, stage by stage",
    "@drops": "what was dropped, and why",
    "@fertility": "tokenizer: fewer tokens per character is better",
    "@mixture": "mixture: planned and consumed tokens",
    "@loss": "training",
    "@scores": "scores, with standard errors; chance of four choices is 0.25",
}

BALANCE = ("source", "lang", "category", "docs", "chars", "bytes", "share_of_chars")


def _shown(value: Any) -> str:
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
        table.add_row(*(_shown(value) for value in row))
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


def print_coordinates(found: Mapping[str, Any]) -> None:
    """Slopes at the last step that was looked at, muP beside the standard parametrisation."""
    last = max(row["step"] for row in found["table"])
    slopes = {
        (row["role"], row["quantity"], row["parametrisation"]): row for row in found["table"] if row["step"] == last
    }
    rows = [
        [role, quantity, of["slope"], "yes" if of["flat"] else "no", slopes[role, quantity, "standard"]["slope"]]
        for (role, quantity, which), of in slopes.items()
        if which == "mup"
    ]
    columns = ["role", "quantity", "muP", "flat", "standard"]
    print_table(columns, rows, f"slope of log size against log width after {last} steps; flat: at most 0.05")
    for name in ("slopes.tsv", "sizes.png", "changes.png"):
        Console(soft_wrap=True).print(f"{found['path']}/{name}", highlight=False)


def print_transfer(found: Mapping[str, Any]) -> None:
    """Each width's best rate, whether they are one, and where the grid must be extended."""
    columns = ("parametrisation", "width", "best_lr", "loss", "grid_steps", "at_edge")
    rows = [[row[name] for name in columns] for row in found["best"]]
    print_table(columns, rows, "best learning rate of each width; grid_steps: from the narrowest's")
    lines = [
        f"{which}: the best rates {'are' if one else 'are NOT'} within one step of the grid from the narrowest's"
        for which, one in found["transfers"].items()
    ]
    edges = [f"{row['parametrisation']} at {row['width']}" for row in found["best"] if row["at_edge"]]
    if edges:
        lines.append(f"at the edge of the grid, which must be extended with --rate: {', '.join(edges)}")
    for line in [*lines, f"{found['path']}/losses.tsv", f"{found['path']}/transfer.png"]:
        Console(soft_wrap=True).print(line, highlight=False)


def print_tokenizers(root: Place, found: Mapping[str, Any]) -> None:
    """Tokenizers beside each other: tokens per character by language and category, then by source; what they do with
    bytes and round trips; code; their longest pieces."""
    mine, by_source = (
        [dict(zip(columns, row, strict=True)) for row in rows if row[columns.index("report")] == found["report"]]
        for columns, rows in (run_query(root, query) for query in ("@tokenizers", "select * from tokenizer_comparison"))
    )
    names = list(dict.fromkeys(row["tokenizer"] for row in found["rows"]))
    for title, given, keys in (
        (
            f"tokens per character: fewer is better; unseen: {names[0]} did not learn from it",
            mine,
            ("lang", "category", "text"),
        ),
        ("tokens per character, by source", by_source, ("lang", "source", "text")),
    ):
        lines: dict[tuple[str, ...], dict[str, Any]] = {}
        for row in given:
            line = lines.setdefault(tuple(row[key] for key in keys), {"chars": row["chars"]})
            line[row["tokenizer"]] = row["tokens_per_char"]
        cells = [[*key, line["chars"], *(line.get(name) for name in names)] for key, line in lines.items()]
        print_table([*keys, "chars", *names], cells, title)
    wholes = [row for row in mine if row["category"] == "all"]
    told = (
        "tokenizer",
        "pieces",
        "lang",
        "text",
        "bytes_per_token",
        "byte_share",
        "unknown_tokens",
        "docs",
        "docs_changed",
    )
    print_table(told, [[row[name] for name in told] for row in wholes], "bytes, unknown text, round trips")
    code = [[row[name] for name in ("tokenizer", "code", "tokens", "exact")] for row in found["code"]]
    print_table(("tokenizer", "code", "tokens", "exact"), code, "code: tokens, and whether it comes back as it was")
    pieces = [[name, " ".join(repr(piece) for piece in each)] for name, each in found["longest_pieces"].items()]
    print_table(("tokenizer", "pieces"), pieces, "longest pieces")


def print_sweep(found: Mapping[str, Any]) -> None:
    """A sweep's trade-off and its picture; `found` is what the flow returned."""
    rows = found["trade_off"]
    print_table(list(rows[0]), [list(row.values()) for row in rows], "tokens per character of text not learned from")
    Console().print(f"{found['path']}/trade_off.png", highlight=False, soft_wrap=True)


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


def search_price(recipe: Recipe) -> str:
    """How much a whole search is, in a line; the vocabulary is the recipe's, whose tokenizer may not be there yet."""
    whole = price(recipe.model, recipe.training, recipe.search, recipe.tokenizer.vocab_size)
    return (
        f"{whole['trials']:,} trials of {whole['parameters']:,} parameters, {recipe.training.total_tokens:,} tokens "
        f"each: {whole['tokens']:,} tokens, {whole['flops']:.2e} FLOPs"
    )


def print_search(found: Mapping[str, Any]) -> None:
    """A search's best point beside the report's, and where the page lies; `found` is what the flow returned."""
    names = ("peak_lr", "scale_emb", "dim_model_base", "scale_depth")
    rows = []
    for name in (*names, "loss"):
        low, high = found["best_tenth"][name]
        tenth = _shown(low) if low == high else f"{_shown(low)} to {_shown(high)}"
        share = found["importance"].get(name)
        report = "diverged" if found["report"][name] is None else _shown(found["report"][name])
        importance = "" if share is None else f"{share:.0%}"
        rows.append([name, _shown(found["best"][name]), tenth, report, importance])
    columns = ["", f"best (trial {found['best']['trial']})", "best tenth", "the report's", "importance"]
    print_table(columns, rows, f"{found['trials']} trials, {found['diverged']} diverged")
    console = Console()
    if found["repeated_sources"]:
        said = ", ".join(f"{source} {epochs:g} times" for source, epochs in found["repeated_sources"].items())
        console.print(f"[yellow]read more than once:[/] {said}; there the loss also measures memory", highlight=False)
    console.print(found["report_page"], highlight=False, soft_wrap=True)

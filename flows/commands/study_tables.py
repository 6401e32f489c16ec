"""What the terminal shows when a study is done: a search, tokenizers compared, a coordinate check, a rate transfer.

Takes what the study's flow returned (and the ledger, for the long tables); prints tables and the paths of pictures.
Nothing is measured here.
"""

from collections.abc import Mapping
from typing import Any

from rich.console import Console

from flows.commands.summary import cell_text, print_table
from xmodel_core.artifacts import Place
from xmodel_core.config import Recipe
from xmodel_core.report import facts
from xmodel_core.search.hparams.stage import price

TOKENIZER_COLUMNS = (
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


def print_coordinates(check: Mapping[str, Any]) -> None:
    """Slopes at the last measured step, muP beside the standard parametrisation."""
    last = max(row["step"] for row in check["table"])
    slopes = {
        (row["role"], row["quantity"], row["parametrisation"]): row for row in check["table"] if row["step"] == last
    }
    rows = [
        [role, quantity, row["slope"], "yes" if row["flat"] else "no", slopes[role, quantity, "standard"]["slope"]]
        for (role, quantity, parametrisation), row in slopes.items()
        if parametrisation == "mup"
    ]
    columns = ["role", "quantity", "muP", "flat", "standard"]
    print_table(columns, rows, f"slope of log size against log width after {last} steps; flat: at most 0.05")
    for name in ("slopes.tsv", "sizes.png", "changes.png"):
        Console(soft_wrap=True).print(f"{check['path']}/{name}", highlight=False)


def print_transfer(transfer: Mapping[str, Any]) -> None:
    """Each width's best rate, whether the rates agree, and where the grid must be extended."""
    columns = ("parametrisation", "width", "best_lr", "loss", "grid_steps", "at_edge")
    rows = [[row[name] for name in columns] for row in transfer["best"]]
    print_table(columns, rows, "best learning rate of each width; grid_steps: from the narrowest's")
    lines = [
        f"{parametrisation}: the best rates {'are' if agree else 'are NOT'} within one step of the grid from "
        "the narrowest's"
        for parametrisation, agree in transfer["transfers"].items()
    ]
    edges = [f"{row['parametrisation']} at {row['width']}" for row in transfer["best"] if row["at_edge"]]
    if edges:
        lines.append(f"at the edge of the grid, which must be extended with --rate: {', '.join(edges)}")
    for line in [*lines, f"{transfer['path']}/losses.tsv", f"{transfer['path']}/transfer.png"]:
        Console(soft_wrap=True).print(line, highlight=False)


def print_tokenizers(root: Place, comparison: Mapping[str, Any]) -> None:
    """Tokenizers beside each other: tokens per character by language and category, then by source; byte pieces and
    round trips; code; their longest pieces."""
    by_category = facts.table(root, "@tokenizers", report=comparison["report"]).rows
    by_source = facts.table(root, "select * from tokenizer_comparison", report=comparison["report"]).rows
    names = list(dict.fromkeys(row["tokenizer"] for row in comparison["rows"]))
    for title, rows, keys in (
        (
            f"tokens per character: fewer is better; unseen: {names[0]} did not learn from it",
            by_category,
            ("lang", "category", "text"),
        ),
        ("tokens per character, by source", by_source, ("lang", "source", "text")),
    ):
        lines: dict[tuple[str, ...], dict[str, Any]] = {}
        for row in rows:
            line = lines.setdefault(tuple(row[key] for key in keys), {"chars": row["chars"]})
            line[row["tokenizer"]] = row["tokens_per_char"]
        cells = [[*key, line["chars"], *(line.get(name) for name in names)] for key, line in lines.items()]
        print_table([*keys, "chars", *names], cells, title)
    totals = [[row[name] for name in TOKENIZER_COLUMNS] for row in by_category if row["category"] == "all"]
    print_table(TOKENIZER_COLUMNS, totals, "bytes, unknown text, round trips")
    code = [[row[name] for name in ("tokenizer", "code", "tokens", "exact")] for row in comparison["code"]]
    print_table(("tokenizer", "code", "tokens", "exact"), code, "code: tokens, and whether it comes back as it was")
    pieces = [
        [name, " ".join(repr(piece) for piece in longest)] for name, longest in comparison["longest_pieces"].items()
    ]
    print_table(("tokenizer", "pieces"), pieces, "longest pieces")


def print_sweep(sweep: Mapping[str, Any]) -> None:
    """A sweep's trade-off and its picture."""
    rows = sweep["trade_off"]
    print_table(list(rows[0]), [list(row.values()) for row in rows], "tokens per character of text not learned from")
    Console().print(f"{sweep['path']}/trade_off.png", highlight=False, soft_wrap=True)


def search_price(recipe: Recipe) -> str:
    """The cost of a whole search, in a line; the vocabulary is the recipe's, whose tokenizer may not exist yet."""
    total = price(recipe.model, recipe.training, recipe.search, recipe.tokenizer.vocab_size)
    return (
        f"{total['trials']:,} trials of {total['parameters']:,} parameters, {recipe.training.total_tokens:,} tokens "
        f"each: {total['tokens']:,} tokens, {total['flops']:.2e} FLOPs"
    )


def print_search(search: Mapping[str, Any]) -> None:
    """A search's best point beside the report's, and the path of its page."""
    names = ("peak_lr", "scale_emb", "dim_model_base", "scale_depth")
    rows = []
    for name in (*names, "loss"):
        low, high = search["best_tenth"][name]
        tenth = cell_text(low) if low == high else f"{cell_text(low)} to {cell_text(high)}"
        share = search["importance"].get(name)
        report = "diverged" if search["report"][name] is None else cell_text(search["report"][name])
        importance = "" if share is None else f"{share:.0%}"
        rows.append([name, cell_text(search["best"][name]), tenth, report, importance])
    columns = ["", f"best (trial {search['best']['trial']})", "best tenth", "the report's", "importance"]
    print_table(columns, rows, f"{search['trials']} trials, {search['diverged']} diverged")
    console = Console()
    if search["repeated_sources"]:
        sources = ", ".join(f"{source} {epochs:g} times" for source, epochs in search["repeated_sources"].items())
        console.print(
            f"[yellow]read more than once:[/] {sources}; there the loss also measures memory", highlight=False
        )
    console.print(search["report_page"], highlight=False, soft_wrap=True)

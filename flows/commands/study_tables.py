"""What a person reads when a study is done: a search, a comparison of tokenizers, a coordinate check, a transfer.

Takes what the study's flow returned (and the ledger, where its tables are the long ones); prints tables and the
paths of pictures. Nothing is measured here.
"""

from collections.abc import Mapping
from typing import Any

from rich.console import Console

from flows.commands.summary import cell_text, print_table
from xmodel_core.artifacts import Place
from xmodel_core.config import Recipe
from xmodel_core.ledger.query import run_query
from xmodel_core.search.hparams.stage import price


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
        tenth = cell_text(low) if low == high else f"{cell_text(low)} to {cell_text(high)}"
        share = found["importance"].get(name)
        report = "diverged" if found["report"][name] is None else cell_text(found["report"][name])
        importance = "" if share is None else f"{share:.0%}"
        rows.append([name, cell_text(found["best"][name]), tenth, report, importance])
    columns = ["", f"best (trial {found['best']['trial']})", "best tenth", "the report's", "importance"]
    print_table(columns, rows, f"{found['trials']} trials, {found['diverged']} diverged")
    console = Console()
    if found["repeated_sources"]:
        said = ", ".join(f"{source} {epochs:g} times" for source, epochs in found["repeated_sources"].items())
        console.print(f"[yellow]read more than once:[/] {said}; there the loss also measures memory", highlight=False)
    console.print(found["report_page"], highlight=False, soft_wrap=True)

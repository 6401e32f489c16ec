"""What a run leaves in the Prefect UI: funnel, drops, balance, fertility, mixture, loss, leaderboard, trials, report.

Takes labels; gives pages made of the ledger's named queries, and leaves them as Prefect artifacts. Keys name the
subject and descriptions carry its figure, so that the UI's history of a key reads as a list: how one run's funnel
compares with the last. Pictures are written by hand: a run that builds nothing should load no plotting library.
"""

from base64 import b64encode
from collections.abc import Collection, Mapping, Sequence
from html import escape
from math import ceil, floor, isfinite
from typing import Any, NamedTuple

from prefect.artifacts import create_markdown_artifact, create_table_artifact

from xmodel_core.artifacts import Place
from xmodel_core.ledger.query import run_query

Row = dict[str, Any]

# The report's colours: cinnabar for Chinese, ink blue for English.
COLOURS = {"zh": "#c4472f", "en": "#2d5f8b", "code": "#5d8a5a", "other": "#a39d92"}
INK, MUTED, RULE = "#23262b", "#7a766d", "#e4dfd5"
WIDTH = 760


class Page(NamedTuple):
    """One artifact of the UI."""

    key: str
    said: str
    """The description: one figure, short enough for a card."""
    body: str | list[Row]
    """Markdown, or the rows of a table that the UI can search."""


def corpus(root: Place, label: str, mixture_shares: Mapping[str, float]) -> None:
    """The funnel, the drops by reason, and the balance of what is kept."""
    _leave(funnel(root, label), drops(root, label), balance(root, label, mixture_shares))


def tokens(root: Place, label: str) -> None:
    """Tokens per character and bytes per token."""
    _leave(fertility(root, label))


def run(root: Place, label: str) -> None:
    """Planned and consumed tokens, and the loss."""
    _leave(mixture(root, label), loss(root, label))


def search(root: Place, label: str) -> None:
    """The trials of a search, the best first."""
    _leave(trials(root, label))


def scores(root: Place, label: str) -> None:
    """This run's scores among the published rows."""
    _leave(leaderboard(root, label))


def report(page: str) -> None:
    """Where the report lies."""
    _leave(report_place(page))


def _leave(*pages: Page) -> None:
    for key, said, body in pages:
        if isinstance(body, str):
            create_markdown_artifact(key=key, description=said, markdown=body)
        else:
            create_table_artifact(key=key, description=said, table=body)


def funnel(root: Place, label: str) -> Page:
    """Documents stage by stage, all of them and by language."""
    rows = _rows(root, "@funnel", corpus=label)
    langs = _languages(rows)
    lines: list[Row] = []
    for stage in dict.fromkeys(row["stage"] for row in rows):
        here = [row for row in rows if row["stage"] == stage]
        kept = {row["lang"]: row["docs_out"] for row in here}
        sums = {key: sum(row[key] or 0 for row in here) for key in ("docs_in", "docs_dropped", "docs_out", "chars_out")}
        lines.append({"stage": stage, **sums, **{lang: kept.get(lang, 0) for lang in langs}})
    came, stayed = (lines[0]["docs_in"], lines[-1]["docs_out"]) if lines else (0, 0)
    said = f"{stayed:,} of {came:,} documents kept ({_percent(stayed / came if came else None)})"
    legend = "The columns of languages are documents, by the language that was detected."
    picture = f"{bars(lines, langs)}\n\n" if lines else ""
    return _page("funnel", said, label, f"{said}.\n\n{picture}{_table(lines, ['stage'])}\n\n{legend}")


def drops(root: Place, label: str) -> Page:
    """Every reason with its documents, all of them and by language."""
    rows = _rows(root, "@drops", corpus=label)
    langs = _languages(rows)
    reasons: dict[tuple[str, str], Row] = {}
    for row in rows:
        line = reasons.setdefault(
            (row["stage"], row["reason"]),
            {"stage": row["stage"], "reason": row["reason"], "docs": 0, **dict.fromkeys(langs, 0), "chars": 0},
        )
        line["docs"] += row["docs"]
        line[row["lang"]] += row["docs"]
        line["chars"] += row["chars"] or 0
    said = f"{sum(row['docs'] for row in rows):,} documents dropped for {len(reasons)} reasons"
    return _page("drops", said, label, f"{said}.\n\n{_table(list(reasons.values()), ['stage', 'reason'])}")


def balance(root: Place, label: str, mixture_shares: Mapping[str, float]) -> Page:
    """What is kept of each source, beside the share of training tokens that the mixture asks of it."""
    rows = [
        _without(row, "mixture_weight") | {"mixture_share": mixture_shares.get(row["source"], 0.0)}
        for row in _rows(root, "@balance", corpus=label)
    ]
    shares = {lang: sum(row["share_of_chars"] or 0 for row in rows if row["lang"] == lang) for lang in _languages(rows)}
    parts = ", ".join(f"{lang} {_percent(share)}" for lang, share in shares.items())
    said = f"{parts} of the characters kept" if rows else "no document is kept"
    shown = [row | {key: _percent(row[key]) for key in ("share_of_chars", "mixture_share")} for row in rows]
    return _page("balance", said, label, f"{said}.\n\n{_table(shown, ['source', 'lang', 'category'])}")


def fertility(root: Place, label: str) -> Page:
    """Tokens per character, by language, then by source."""
    rows = _rows(root, "@fertility", tokenizer=label)
    by_lang = {row["lang"]: _without(row, "source") for row in rows if row["source"] == "all"}
    wholes = [by_lang[lang] for lang in _languages(rows)]
    sources = [row for row in rows if row["source"] != "all"]
    parts = ", ".join(f"{row['lang']} {_shown(row['tokens_per_char'])}" for row in wholes)
    said = f"{parts} tokens per character" if rows else "no document is encoded"
    note = "Fewer tokens per character is better: the same text is shorter for the model."
    tables = f"{_table(wholes, ['lang'])}\n\n## By source\n\n{_table(sources, ['source', 'lang'])}"
    return _page("fertility", said, label, f"{note}\n\n{tables}")


def mixture(root: Place, label: str) -> Page:
    """Each source's weight, supply, planned and consumed tokens."""
    rows = [_without(row, "plan") for row in _rows(root, "@mixture", run=label)]
    planned, consumed = (sum(row[key] or 0 for row in rows) for key in ("planned_tokens", "consumed_tokens"))
    shown = [row | {"weight": _percent(row["weight"])} for row in rows]
    said = f"{consumed:,} of {planned:,} tokens consumed"
    return _page("mixture", said, label, f"{said}, out of {len(rows)} sources.\n\n{_table(shown, ['source', 'lang'])}")


def loss(root: Place, label: str) -> Page:
    """The training loss: a curve, and the figures behind it."""
    rows = _rows(root, "@loss", run=label)
    finite = [row for row in rows if row["loss"] is not None and isfinite(row["loss"])]
    if not finite:
        return _page("loss", "no step was logged", label, _table(rows, ["phase"]))
    first, last = finite[0], finite[-1]
    said = f"loss {first['loss']:.3f} → {last['loss']:.3f} in {last['step']:,} steps"
    return _page("loss", said, label, f"{loss_curve(finite)}\n\n{_table(rows, ['phase'])}")


def leaderboard(root: Place, label: str) -> Page:
    """Scores among the published ones of the same tasks. A table: there may be hundreds."""
    rows = [row for row in _rows(root, "@scores") if row["run"] in (label, None)]
    lines = [
        {
            "task": row["task"],
            "metric": row["metric"],
            "shots": row["shots"],
            "model": f"{label}, step {row['step']}" if row["run"] else row["model"],
            **{column: row[column] for column in ("value", "stderr", "n", "suite", "source")},
        }
        for row in rows
    ]
    ours = sum(row["run"] is not None for row in rows)
    among = f" among {len(rows) - ours} published" if len(rows) > ours else ""
    return Page("leaderboard", f"{ours} score{'' if ours == 1 else 's'}{among}: {label}", lines)


def trials(root: Place, label: str) -> Page:
    """What was tried and what came of it. A table: there may be hundreds."""
    rows = _rows(root, "@trials", search=label)
    sampled = [row for row in rows if row["trial"]]
    diverged = sum(row["diverged"] for row in sampled)
    best = sampled[0]["loss"] if sampled else None
    return Page("trials", f"loss {_shown(best)}, best of {len(sampled)} trials, {diverged} diverged: {label}", rows)


def report_place(page: str) -> Page:
    """Where the report lies. As a path: no browser follows a link from a server's page to a file."""
    text = (
        "One page with everything about this run, in one file that fetches nothing. Open it in a browser on the "
        f"machine where it lies, or copy it anywhere:\n\n```\n{page}\n```"
    )
    label = page.split("/")[-2]
    return _page("report", f"{label}: one page about the run", label, text)


def bars(lines: Sequence[Row], langs: Sequence[str]) -> str:
    """Documents after each stage, one bar a stage, a piece per language."""
    left, row_height, room = 120, 28, WIDTH - 120 - 110
    most = max(max(line["docs_in"], line["docs_out"]) for line in lines) or 1
    parts, x = [], float(left)
    for lang in langs:
        parts.append(f'<rect x="{x:.1f}" y="14" width="12" height="12" fill="{COLOURS.get(lang, MUTED)}"/>')
        parts.append(_word(x + 18, 25, lang))
        x += 40 + 8 * len(lang)
    for place, line in enumerate(lines):
        y, x = 40 + place * row_height, float(left)
        parts.append(_word(left - 12, y + 15, line["stage"], "end", MUTED))
        for lang in langs:
            wide = room * line[lang] / most
            colour = COLOURS.get(lang, MUTED)
            parts.append(f'<rect x="{x:.2f}" y="{y}" width="{wide:.2f}" height="20" fill="{colour}"/>')
            x += wide
        parts.append(_word(x + 8, y + 15, f"{line['docs_out']:,}"))
    return _picture("documents after each stage", 40 + len(lines) * row_height + 10, parts)


def loss_curve(losses: Sequence[Row]) -> str:
    """The loss over the steps, between whole units of the scale around it. Losses must be finite."""
    left, top, right, height = 56, 20, WIDTH - 70, 280
    bottom, last = height - 34, losses[-1]
    least, most = (pick(row["loss"] for row in losses) for pick in (min, max))
    unit = next((size for size in (0.1, 0.25, 0.5, 1.0, 2.0) if most - least <= 6 * size), (most - least) / 6)
    low = floor(least / unit)
    high = max(ceil(most / unit), low + 1)

    def place(step: float, units: float) -> tuple[float, float]:
        return left + (right - left) * step / last["step"], bottom - (bottom - top) * (units - low) / (high - low)

    parts = []
    for units in range(low, high + 1):
        _, y = place(0, units)
        parts.append(f'<path d="M{left} {y:.1f}H{right}" stroke="{RULE}"/>')
        parts.append(_word(left - 8, y + 4, f"{units * unit:.2f}", "end", MUTED))
    for quarter in range(5):
        step = last["step"] * quarter / 4
        said = f"{step:,.0f}" if quarter < 4 else f"{step:,.0f} steps"
        parts.append(_word(place(step, low)[0], bottom + 20, said, "middle", MUTED))
    line = " ".join("{:.1f},{:.1f}".format(*place(row["step"], row["loss"] / unit)) for row in losses)
    parts.append(f'<polyline points="{line}" fill="none" stroke="{COLOURS["en"]}" stroke-width="2"/>')
    x, y = place(last["step"], last["loss"] / unit)
    parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{COLOURS["en"]}"/>')
    parts.append(_word(x + 8, y + 4, f"{last['loss']:.3f}"))
    return _picture("training loss over the steps", height, parts)


def _page(key: str, said: str, label: str, text: str) -> Page:
    return Page(key, said, f"# {label}\n\n{text}\n")


def _rows(root: Place, query: str, **only: str) -> list[Row]:
    columns, rows = run_query(root, query)
    found = [dict(zip(columns, row, strict=True)) for row in rows]
    return [_without(row, *only) for row in found if all(row[column] == value for column, value in only.items())]


def _without(row: Row, *columns: str) -> Row:
    return {column: value for column, value in row.items() if column not in columns}


def _languages(rows: Sequence[Row]) -> list[str]:
    there = {row["lang"] for row in rows}
    return [lang for lang in COLOURS if lang in there] + sorted(there - COLOURS.keys())


def _shown(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, float):
        size = abs(value)
        return format(value, ",.0f" if size >= 1000 else ".3f" if size >= 1 else ".4f" if size >= 0.1 else ".3g")
    return f"{value:,}" if isinstance(value, int) else str(value)


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:.1f} %"


def _table(rows: Sequence[Mapping[str, Any]], words: Collection[str]) -> str:
    """A table in Markdown; the columns in `words` stand to the left, figures to the right."""
    if not rows:
        return "Nothing."
    columns = list(rows[0])
    lines = [
        [column.replace("_", " ") for column in columns],
        ["---" if column in words else "--:" for column in columns],
        *([_shown(row[column]).replace("|", "\\|") for column in columns] for row in rows),
    ]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _picture(what: str, height: int, parts: Sequence[str]) -> str:
    """Parts of an SVG as an image in Markdown, on white: the UI may be dark."""
    svg = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}" '
        f'font-family="system-ui, sans-serif" font-size="13"><rect width="100%" height="100%" rx="6" fill="#fff"/>'
        f"{''.join(parts)}</svg>"
    )
    return f"![{what}](data:image/svg+xml;base64,{b64encode(svg.encode()).decode()})"


def _word(x: float, y: float, text: str, anchor: str = "start", colour: str = INK) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{colour}">{escape(text)}</text>'

"""What a run leaves in the Prefect UI: funnel, drops, balance, fertility, mixture, loss, leaderboard, trials, report.

Takes labels; renders the facts of the report room as pages and leaves them as Prefect artifacts. Keys name the
subject and descriptions carry its figure, so that the UI's history of a key reads as a list: how one run's funnel
compares with the last. Pictures are written by hand: a run that builds nothing should load no plotting library.
"""

from base64 import b64encode
from collections.abc import Collection, Mapping, Sequence
from html import escape
from math import ceil, floor
from typing import Any, NamedTuple

from httpx import TransportError
from prefect.artifacts import create_markdown_artifact, create_table_artifact

from flows.server.outage import wait_out
from xmodel_core.artifacts import Place
from xmodel_core.report import facts
from xmodel_core.report.palette import COLOURS, INK, MUTED, RULE

Row = dict[str, Any]

WIDTH = 760
_unsent: "list[Page]" = []
"""Pages of this process's flow that its server has not taken yet."""


class Page(NamedTuple):
    """One artifact of the UI."""

    key: str
    description: str
    """One figure, short enough for a card."""
    body: str | list[Row]
    """Markdown, or the rows of a table that the UI can search."""


def corpus(root: Place, label: str, mixture_shares: Mapping[str, float]) -> None:
    """The funnel, the drops by reason, and the balance of what is kept."""
    _create(funnel(root, label), drops(root, label), balance(root, label, mixture_shares))


def tokens(root: Place, label: str) -> None:
    """Tokens per character and bytes per token."""
    _create(fertility(root, label))


def run(root: Place, label: str) -> None:
    """Planned and consumed tokens, and the loss."""
    _create(mixture(root, label), loss(root, label))


def search(root: Place, label: str) -> None:
    """The trials of a search, the best first."""
    _create(trials(root, label))


def scores(root: Place, label: str) -> None:
    """This run's scores among the published rows."""
    _create(leaderboard(root, label))


def report(page: str) -> None:
    """The path of the report's page."""
    _create(report_path(page))


def _create(*pages: Page) -> None:
    """A run does not wait for a server that is gone: what it did not take is sent with the next page, or at the end."""
    _unsent.extend(pages)
    try:
        _send()
    except TransportError:
        return


def send_the_rest() -> None:
    """Call it at the end of a flow: sends the pages that the server did not take, and waits for it where it may come
    back."""
    wait_out(_send)


def _send() -> None:
    while _unsent:
        _create_one(_unsent[0])
        del _unsent[0]


def _create_one(page: Page) -> None:
    if isinstance(page.body, str):
        create_markdown_artifact(key=page.key, description=page.description, markdown=page.body)
    else:
        create_table_artifact(key=page.key, description=page.description, table=page.body)


def funnel(root: Place, label: str) -> Page:
    """Documents stage by stage, all of them and by language."""
    _, stages, langs = facts.funnel(root, label)
    lines: list[Row] = [
        {column: getattr(stage, column) for column in ("stage", "docs_in", "docs_dropped", "docs_out", "chars_out")}
        | {lang: stage.docs.get(lang, 0) for lang in langs}
        for stage in stages
    ]
    docs_in, docs_out = (stages[0].docs_in, stages[-1].docs_out) if stages else (0, 0)
    summary = f"{docs_out:,} of {docs_in:,} documents kept ({_percent(docs_out / docs_in if docs_in else None)})"
    legend = "The columns of languages are documents, by the language that was detected."
    picture = f"{bars(lines, langs)}\n\n" if lines else ""
    return _page("funnel", summary, label, f"{summary}.\n\n{picture}{_table(lines, ['stage'])}\n\n{legend}")


def drops(root: Place, label: str) -> Page:
    """Every reason with its documents, all of them and by language."""
    reasons = facts.drops(root, label)
    langs = facts.ordered_languages({lang for reason in reasons for lang in reason.langs})
    lines = [
        {"stage": reason.stage, "reason": reason.reason, "docs": reason.docs}
        | {lang: reason.langs.get(lang, 0) for lang in langs}
        | {"chars": reason.chars}
        for reason in reasons
    ]
    summary = f"{sum(reason.docs for reason in reasons):,} documents dropped for {len(reasons)} reasons"
    return _page("drops", summary, label, f"{summary}.\n\n{_table(lines, ['stage', 'reason'])}")


def balance(root: Place, label: str, mixture_shares: Mapping[str, float]) -> Page:
    """What is kept of each source, beside the share of training tokens that the mixture asks of it."""
    rows = facts.balance(root, label, mixture_shares).rows
    shares = {
        lang: sum(row["share_of_chars"] or 0 for row in rows if row["lang"] == lang)
        for lang in facts.ordered_languages({row["lang"] for row in rows})
    }
    parts = ", ".join(f"{lang} {_percent(share)}" for lang, share in shares.items())
    summary = f"{parts} of the characters kept" if rows else "no document is kept"
    lines = [row | {key: _percent(row[key]) for key in ("share_of_chars", "mixture_share")} for row in rows]
    return _page("balance", summary, label, f"{summary}.\n\n{_table(lines, ['source', 'lang', 'category'])}")


def fertility(root: Place, label: str) -> Page:
    """Tokens per character, by language, then by source."""
    by_language, by_source = facts.fertility(root, label)
    languages = [{"lang": row.lang} | row.measured for row in by_language]
    sources = [{"source": row.source, "lang": row.lang} | row.measured for row in by_source]
    parts = ", ".join(f"{row['lang']} {_cell(row['tokens_per_char'])}" for row in languages)
    summary = f"{parts} tokens per character" if languages else "no document is encoded"
    note = "Fewer tokens per character is better: the same text is shorter for the model."
    tables = f"{_table(languages, ['lang'])}\n\n## By source\n\n{_table(sources, ['source', 'lang'])}"
    return _page("fertility", summary, label, f"{note}\n\n{tables}")


def mixture(root: Place, label: str) -> Page:
    """Each source's weight, supply, planned and consumed tokens."""
    sources, _, planned, consumed = facts.mixture(root, label)
    columns = ("source", "lang", "weight", "supply_tokens", "planned_tokens", "consumed_tokens", "epochs")
    rows = [{column: getattr(source, column) for column in columns} for source in sources]
    lines = [row | {"weight": _percent(row["weight"])} for row in rows]
    summary = f"{consumed:,} of {planned:,} tokens consumed"
    text = f"{summary}, out of {len(rows)} sources.\n\n{_table(lines, ['source', 'lang'])}"
    return _page("mixture", summary, label, text)


def loss(root: Place, label: str) -> Page:
    """The training loss: a curve, and the figures behind it."""
    rows, finite = facts.loss(root, label)
    if not finite:
        return _page("loss", "no step was logged", label, _table(rows, ["phase"]))
    first, last = finite[0], finite[-1]
    summary = f"loss {first['loss']:.3f} → {last['loss']:.3f} in {last['step']:,} steps"
    return _page("loss", summary, label, f"{loss_curve(finite)}\n\n{_table(rows, ['phase'])}")


def leaderboard(root: Place, label: str) -> Page:
    """Scores of a run, or of a checkpoint of none by its `model`, among the published ones of the same tasks. A table:
    there may be hundreds."""
    rows, own, published = facts.leaderboard(root, label)
    lines = [
        {
            "task": row["task"],
            "metric": row["metric"],
            "shots": row["shots"],
            "model": row["model"] if row["step"] is None else f"{label}, step {row['step']}",
            **{column: row[column] for column in ("value", "stderr", "n", "suite", "source")},
        }
        for row in rows
    ]
    among = f" among {published} published" if published else ""
    return Page("leaderboard", f"{own} score{'' if own == 1 else 's'}{among}: {label}", lines)


def trials(root: Place, label: str) -> Page:
    """Each trial's values and loss. A table: there may be hundreds."""
    tried = facts.trials(root, label)
    summary = f"loss {_cell(tried.best_loss)}, best of {len(tried.sampled)} trials, {tried.diverged} diverged: {label}"
    return Page("trials", summary, tried.rows)


def report_path(page: str) -> Page:
    """Where the report is. As a path: no browser follows a link from a server's page to a file."""
    text = (
        "One page with everything about this run, in one file that fetches nothing. Open it in a browser on the "
        f"machine that has it, or copy it anywhere:\n\n```\n{page}\n```"
    )
    label = page.split("/")[-2]
    return _page("report", f"{label}: one page about the run", label, text)


def bars(lines: Sequence[Row], langs: Sequence[str]) -> str:
    """Documents after each stage, one bar a stage, a piece per language."""
    left, row_height, widest = 120, 28, WIDTH - 120 - 110
    most = max(max(line["docs_in"], line["docs_out"]) for line in lines) or 1
    parts, x = [], float(left)
    for lang in langs:
        parts.append(f'<rect x="{x:.1f}" y="14" width="12" height="12" fill="{COLOURS.get(lang, MUTED)}"/>')
        parts.append(_text(x + 18, 25, lang))
        x += 40 + 8 * len(lang)
    for index, line in enumerate(lines):
        y, x = 40 + index * row_height, float(left)
        parts.append(_text(left - 12, y + 15, line["stage"], "end", MUTED))
        for lang in langs:
            width = widest * line[lang] / most
            colour = COLOURS.get(lang, MUTED)
            parts.append(f'<rect x="{x:.2f}" y="{y}" width="{width:.2f}" height="20" fill="{colour}"/>')
            x += width
        parts.append(_text(x + 8, y + 15, f"{line['docs_out']:,}"))
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
        parts.append(_text(left - 8, y + 4, f"{units * unit:.2f}", "end", MUTED))
    for quarter in range(5):
        step = last["step"] * quarter / 4
        tick = f"{step:,.0f}" if quarter < 4 else f"{step:,.0f} steps"
        parts.append(_text(place(step, low)[0], bottom + 20, tick, "middle", MUTED))
    line = " ".join("{:.1f},{:.1f}".format(*place(row["step"], row["loss"] / unit)) for row in losses)
    parts.append(f'<polyline points="{line}" fill="none" stroke="{COLOURS["en"]}" stroke-width="2"/>')
    x, y = place(last["step"], last["loss"] / unit)
    parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{COLOURS["en"]}"/>')
    parts.append(_text(x + 8, y + 4, f"{last['loss']:.3f}"))
    return _picture("training loss over the steps", height, parts)


def _page(key: str, description: str, label: str, text: str) -> Page:
    return Page(key, description, f"# {label}\n\n{text}\n")


def _cell(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, float):
        size = abs(value)
        return format(value, ",.0f" if size >= 1000 else ".3f" if size >= 1 else ".4f" if size >= 0.1 else ".3g")
    return f"{value:,}" if isinstance(value, int) else str(value)


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:.1f} %"


def _table(rows: Sequence[Mapping[str, Any]], text_columns: Collection[str]) -> str:
    """A table in Markdown; `text_columns` are aligned to the left, figures to the right."""
    if not rows:
        return "Nothing."
    columns = list(rows[0])
    lines = [
        [column.replace("_", " ") for column in columns],
        ["---" if column in text_columns else "--:" for column in columns],
        *([_cell(row[column]).replace("|", "\\|") for column in columns] for row in rows),
    ]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _picture(title: str, height: int, parts: Sequence[str]) -> str:
    """Parts of an SVG as an image in Markdown, on white: the UI may be dark."""
    svg = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}" '
        f'font-family="system-ui, sans-serif" font-size="13"><rect width="100%" height="100%" rx="6" fill="#fff"/>'
        f"{''.join(parts)}</svg>"
    )
    return f"![{title}](data:image/svg+xml;base64,{b64encode(svg.encode()).decode()})"


def _text(x: float, y: float, text: str, anchor: str = "start", colour: str = INK) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{colour}">{escape(text)}</text>'

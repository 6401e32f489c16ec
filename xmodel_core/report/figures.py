"""The report's figures: rows of facts in, one SVG string out.

Drawn by matplotlib without its global state, text kept as text so that a browser sets Chinese in its own
fonts. Same rows, same bytes: ids are salted by the figure's name and nothing carries a date.
"""

import io
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, FuncFormatter, MaxNLocator

from xmodel_core.report.facts import Row
from xmodel_core.report.palette import COLOURS, INK, LANGS, MUTED, RULE, SOFT, colour

FONTS = (
    "Inter, 'Noto Sans', 'Noto Sans CJK SC', 'Source Han Sans SC', 'PingFang SC', 'Microsoft YaHei', "
    "system-ui, sans-serif"
)
"""One stack for page and figures; a Latin face first, so that digits align, then the common Chinese ones."""
STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "text.parse_math": False,
    "axes.edgecolor": RULE,
    "axes.labelcolor": MUTED,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "axes.facecolor": "none",
    "axes.axisbelow": True,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "grid.color": RULE,
    "grid.linewidth": 0.7,
    "text.color": INK,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "lines.linewidth": 1.6,
    "lines.solid_capstyle": "round",
    "figure.facecolor": "none",
}


def _svg(figure: Figure, name: str) -> str:
    buffer = io.StringIO()
    with matplotlib.rc_context({**STYLE, "svg.hashsalt": name}):
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :].strip()
    svg = re.sub(r"\s*<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", svg, count=1)
    svg = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", svg, count=1)
    # Ids must be unique on a page with several figures.
    svg = re.sub(r'\bid="', f'id="{name}-', svg)
    svg = svg.replace('href="#', f'href="#{name}-').replace("url(#", f"url(#{name}-")
    return svg.replace("'DejaVu Sans'", FONTS)


@contextmanager
def _figure(width: float, height: float) -> Iterator[Figure]:
    # Layout is measured with matplotlib's own face, which has no Han characters; a browser draws them in its own.
    with warnings.catch_warnings(), matplotlib.rc_context(STYLE):
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        yield Figure(figsize=(width, height))


def _band(axes: Axes, counts: np.ndarray, langs: Sequence[str]) -> None:
    """One band per language, stacked around the middle, eased between stages. counts: [stage, language]."""
    points = counts.shape[0]
    t = np.linspace(0, points - 1, (points - 1) * 24 + 1)
    left = np.minimum(t.astype(int), points - 2)
    ease = t - left
    ease = ease * ease * (3 - 2 * ease)
    eased = counts[left] * (1 - ease)[:, None] + counts[left + 1] * ease[:, None]
    top = eased.sum(axis=1) / 2
    for place, lang in enumerate(langs):
        axes.fill_between(t, top - eased[:, place], top, color=colour(lang), alpha=0.86, linewidth=0)
        top = top - eased[:, place]


def river(funnel: Sequence[Row]) -> str:
    """Documents and characters per stage and language as two rivers. Rows: stage, lang, docs_in, docs_out, chars_in,
    chars_out, in stage order."""
    stages = list(dict.fromkeys(row["stage"] for row in funnel))
    langs = [lang for lang in LANGS if any(row["lang"] == lang for row in funnel)]
    with _figure(10.4, 4.4) as figure:
        for place, (unit, title) in enumerate((("docs", "documents"), ("chars", "characters"))):
            counts = np.zeros((len(stages) + 1, len(langs)))
            for row in funnel:
                column, at = langs.index(row["lang"]), stages.index(row["stage"])
                counts[at + 1, column] = row[f"{unit}_out"] or 0
                if at == 0:
                    counts[0, column] = row[f"{unit}_in"] or 0
            axes = figure.add_axes((0.085, 0.585 - 0.5 * place, 0.905, 0.37))
            _band(axes, counts, langs)
            total = counts.sum(axis=1)
            half = max(total.max() / 2, 1)
            axes.set(ylim=(-half * 1.02, half * 1.02), xlim=(0, len(stages)), yticks=[])
            axes.grid(visible=True, axis="x")
            axes.spines["bottom"].set_visible(False)
            axes.text(-0.012, 0.5, title, transform=axes.transAxes, ha="right", va="center", color=MUTED, fontsize=9.5)
            shown = EngFormatter(sep="", places=1)
            labels = [f"{label}\n{_count(value, shown)}" for label, value in zip(["in", *stages], total, strict=True)]
            axes.set_xticks(range(len(stages) + 1), labels, fontsize=9, linespacing=1.5)
            axes.get_xticklabels()[0].set_horizontalalignment("left")
            axes.get_xticklabels()[-1].set_horizontalalignment("right")
        return _svg(figure, "river")


def _count(value: float, short: EngFormatter) -> str:
    return f"{value:,.0f}" if value < 1e5 else short(value)


def _smoothed(values: np.ndarray, share: float = 0.02) -> np.ndarray:
    """Moving average over 2 % of the steps to each side, fewer at the ends; NaN is ignored."""
    half_width = max(1, round(len(values) * share))
    finite = np.isfinite(values)
    sums = np.concatenate(([0.0], np.cumsum(np.where(finite, values, 0.0))))
    counts = np.concatenate(([0], np.cumsum(finite)))
    place = np.arange(len(values))
    low, high = np.maximum(place - half_width, 0), np.minimum(place + half_width + 1, len(values))
    number = (counts[high] - counts[low]).astype(float)
    return np.divide(sums[high] - sums[low], number, out=np.full(len(values), np.nan), where=number > 0)


def training(metrics: Sequence[Row]) -> str:
    """Loss, learning rate and throughput over the steps, phases marked. Rows: step, phase, loss, lr,
    tokens_per_second, in step order."""
    steps = np.array([row["step"] for row in metrics], dtype=float)
    phases = list(dict.fromkeys(row["phase"] for row in metrics))
    starts = [min(row["step"] for row in metrics if row["phase"] == phase) for phase in phases]
    last = float(steps[-1])
    panels = (("loss", "training loss (nats per token)"), ("lr", "learning rate"), ("tokens_per_second", "tokens/s"))
    with _figure(10.4, 5.8) as figure:
        grid = figure.add_gridspec(
            3, 1, height_ratios=(3.2, 1.1, 1.1), left=0.085, right=0.99, top=0.965, bottom=0.085, hspace=0.3
        )
        for place, (column, title) in enumerate(panels):
            axes = figure.add_subplot(grid[place])
            values = np.array([np.nan if row[column] is None else row[column] for row in metrics], dtype=float)
            for number, (phase, start) in enumerate(zip(phases, starts, strict=True)):
                end = starts[number + 1] if number + 1 < len(starts) else last
                if number % 2 == 1:
                    axes.axvspan(start, end, color=SOFT, linewidth=0, zorder=0)
                if place == 0 and phase:
                    middle = (start + end) / 2
                    axes.text(
                        middle,
                        0.985,
                        phase,
                        transform=axes.get_xaxis_transform(),
                        ha="center",
                        va="top",
                        color=MUTED,
                        fontsize=9,
                    )
            if column == "loss":
                axes.plot(steps, values, color=COLOURS["en"], alpha=0.28, linewidth=0.9)
                axes.plot(steps, _smoothed(values), color=COLOURS["en"], linewidth=1.9)
            else:
                axes.plot(steps, values, color=INK if column == "lr" else COLOURS["code"], linewidth=1.3)
                axes.set_ylim(0, 1.08 * (np.nanmax(values) if np.isfinite(values).any() else 1) or 1)
                axes.yaxis.set_major_locator(MaxNLocator(3))
                axes.yaxis.set_major_formatter(
                    EngFormatter(sep="") if place == 2 else FuncFormatter(lambda v, _: f"{v:g}")
                )
            if place < 2:
                axes.tick_params(labelbottom=False)
            axes.set_xlim(min(steps[0], 0), last)
            axes.set_title(title, loc="left", fontsize=9.5, color=MUTED, pad=5)
            axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
        figure.axes[-1].set_xlabel("step", fontsize=9.5)
        return _svg(figure, "training")


def validation(rows: Sequence[Row]) -> str:
    """Bits per byte on held-out documents over the steps, one line per source in its language's colour. Rows: step,
    source, lang, bits_per_byte, in step order. Bits per byte compare across tokenizers; losses per token do not."""
    lines: dict[tuple[str, str], list[tuple[float, float]]] = {}
    for row in rows:
        if row["bits_per_byte"] is not None:
            lines.setdefault((row["source"], row["lang"]), []).append((row["step"], row["bits_per_byte"]))
    with _figure(10.4, 3.9) as figure:
        axes = figure.add_axes((0.085, 0.12, 0.73, 0.82))
        for (_, lang), points in sorted(lines.items()):
            x, y = zip(*points, strict=True)
            axes.plot(x, y, color=colour(lang), marker="o", markersize=3, linewidth=1.4, alpha=0.85)
        axes.set_ylim(bottom=0)
        axes.set_title("bits per byte, held-out documents", loc="left", fontsize=9.5, color=MUTED, pad=5)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
        axes.set_xlabel("step", fontsize=9.5)
        _end_labels(axes, {key: points[-1][1] for key, points in lines.items()})
        return _svg(figure, "validation")


def _end_labels(axes: Axes, ends: dict[tuple[str, str], float], most: int = 16) -> None:
    """Names at the right end of lines, moved apart where lines end close together; at most `most` of them, evenly
    chosen (the table has all)."""
    low, high = axes.get_ylim()
    places = sorted(ends.items(), key=lambda item: item[1])
    if len(places) > most:
        places = [places[round(i * (len(places) - 1) / (most - 1))] for i in range(most)]
    wanted = [(value - low) / (high - low) for _, value in places]
    gap, heights = 1 / 17, []
    for height in wanted:
        heights.append(max(height, heights[-1] + gap) if heights else height)
    # They were pushed upwards only: all move back down, to be centred on where the lines end.
    over = max(heights[-1] - 1, min(heights[0], float(np.mean(heights) - np.mean(wanted))))
    for ((source, lang), value), height in zip(places, heights, strict=True):
        label = f"{value:.2f}  {source}"
        axes.text(1.015, height - over, label, transform=axes.transAxes, va="center", color=colour(lang), fontsize=9)


def scores(rows: Sequence[Row]) -> str:
    """Each task's scores on one line: ours with standard errors, published ones as open circles. Rows: task, metric,
    shots, lang or None, value, stderr, own (bool), best first inside a task."""
    tasks = list(dict.fromkeys((row["task"], row["metric"], row["shots"]) for row in rows))
    with _figure(10.4, 0.62 + 0.36 * len(tasks)) as figure:
        room = 0.62 + 0.36 * len(tasks)
        axes = figure.add_axes((0.27, 0.38 / room, 0.70, (room - 0.44) / room))
        for row in rows:
            y = tasks.index((row["task"], row["metric"], row["shots"]))
            if row["own"]:
                error = row["stderr"] or 0.0
                axes.errorbar(
                    row["value"],
                    y,
                    xerr=error,
                    fmt="o",
                    color=colour(row["lang"]),
                    markersize=6,
                    capsize=3,
                    elinewidth=1.4,
                    zorder=3,
                )
            else:
                axes.plot(
                    row["value"], y, "o", markerfacecolor="#ffffff", markeredgecolor=COLOURS["other"], markersize=5
                )
        axes.set(xlim=(0, 1), ylim=(len(tasks) - 0.4, -0.6))
        labels = [f"{task} · {metric} · {shots or 0}-shot" for task, metric, shots in tasks]
        axes.set_yticks(range(len(tasks)), labels, fontsize=9.5, color=INK)
        axes.grid(visible=True, axis="x")
        return _svg(figure, "scores")

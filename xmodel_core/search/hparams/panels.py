"""The four panels of a search: loss against each hyperparameter, one point per trial.

Takes the trials' rows; gives a PNG, after Figure 6 of arXiv 2412.19638. Trials that diverged, or ended above the loss
of an untrained model, are drawn at the upper edge: the others keep their scale, and no trial is hidden.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from xmodel_core.search.config import SearchConfig, Steps

NAMES = {
    "peak_lr": "peak learning rate",
    "scale_emb": "scale_emb",
    "dim_model_base": "dim_model_base",
    "scale_depth": "scale_depth",
}
INK, MUTED, RULE, CINNABAR = "#23262b", "#7a766d", "#e4dfd5", "#c4472f"


def draw_panels(trials: Sequence[Mapping[str, Any]], config: SearchConfig, untrained_loss: float, path: Path) -> None:
    """`trials`: rows with trial, the hyperparameters and loss (None where it diverged). `untrained_loss`: ln of the
    vocabulary's size, in nats; a loss above it is drawn at the edge. The same rows give the same bytes."""
    sampled = [row for row in trials if row["trial"]]
    report = [row for row in trials if not row["trial"]]
    learned = {row["trial"]: row["loss"] for row in trials if row["loss"] is not None and row["loss"] <= untrained_loss}
    low, high = (pick(learned.values(), default=untrained_loss) for pick in (min, max))
    room = max(high - low, 0.01)
    bottom, edge, top = low - 0.08 * room, high + 0.14 * room, high + 0.22 * room
    best = min((row for row in sampled if row["loss"] is not None), key=lambda row: row["loss"], default=None)

    figure = Figure(figsize=(11, 8.2), layout="constrained")
    panels = figure.subplots(2, 2, sharey=True).flat
    points = None
    for axes, (name, label) in zip(panels, NAMES.items(), strict=True):
        _frame(axes, label)
        axes.set_ylim(bottom, top if len(learned) < len(trials) else high + 0.08 * room)
        if len(learned) < len(trials):
            axes.axhline(edge - 0.05 * room, color=MUTED, linewidth=0.8, linestyle=(0, (4, 3)))
        _scale(axes, getattr(config, name), [row[name] for row in report])

        def coordinates(rows: Sequence[Mapping[str, Any]], name: str = name) -> tuple[list[float], list[float]]:
            return [row[name] for row in rows], [row["loss"] for row in rows]

        inside = [row for row in sampled if row["trial"] in learned]
        points = axes.scatter(
            *coordinates(inside),
            c=[row["trial"] for row in inside],
            cmap="viridis_r",
            vmin=1,
            vmax=max(len(sampled), 2),
            s=26,
            alpha=0.85,
            linewidths=0,
        )
        for rows, marker in (
            ([row for row in sampled if row["loss"] is None], "x"),
            ([row for row in sampled if row["loss"] is not None and row["trial"] not in learned], "^"),
        ):
            axes.scatter(
                [row[name] for row in rows],
                [edge] * len(rows),
                marker=marker,
                s=24,
                c=MUTED,
                alpha=0.6,
                linewidths=1.1 if marker == "x" else 0,
            )
        if best and best["trial"] in learned:
            axes.scatter(*coordinates([best]), s=130, facecolors="none", edgecolors=INK, linewidths=1.4)
        for row in report:
            at = learned.get(row["trial"], edge)
            axes.scatter([row[name]], [at], marker="*", s=170, c=CINNABAR, edgecolors="white", linewidths=0.8, zorder=5)
    assert points is not None
    bar = figure.colorbar(points, ax=figure.axes, label="trial", shrink=0.5, aspect=28, pad=0.015)
    bar.ax.tick_params(colors=MUTED, length=0)
    bar.outline.set_visible(False)  # type: ignore[operator]
    figure.supylabel("training loss, mean of the last tenth of the steps (nats)", fontsize=10, color=MUTED)
    figure.suptitle(
        "○ best trial     ★ the report's values     at the edge: × diverged, ▲ above an untrained model's loss",
        fontsize=10,
        color=INK,
    )
    figure.savefig(path, format="png", dpi=150, metadata={"Software": None})


def _frame(axes: Axes, label: str) -> None:
    axes.set_xlabel(label, color=INK)
    axes.grid(color=RULE, linewidth=0.7)
    axes.set_axisbelow(True)
    axes.tick_params(colors=MUTED, length=0)
    for side in axes.spines.values():
        side.set_visible(False)


def _scale(axes: Axes, searched: Steps | list[int], report: Sequence[float]) -> None:
    """Shows the whole range that was searched, widened to the report's value where that is outside."""
    if isinstance(searched, Steps):
        ends = [searched.low, searched.high, *report]
        room = 0.04 * (max(ends) - min(ends)) or searched.step
        axes.set_xlim(min(ends) - room, max(ends) + room)
        return
    widths = sorted({*searched, *report})
    axes.set_xscale("log", base=2)
    axes.set_xlim(widths[0] / 1.3, widths[-1] * 1.3)
    axes.xaxis.set_major_locator(FixedLocator(widths))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda width, _: f"{width:g}"))

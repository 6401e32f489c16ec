"""Learning-rate transfer: is the best rate of a narrow model also that of wide ones? Under muP it should be.

Takes a recipe's model and training, a plan and a grid of rates; gives each proxy's final loss, each width's best rate,
and whether those are within one step of the narrowest's (Yang et al. 2022, Tensor Programs V, figure 1). The standard
parametrisation is the baseline. A best rate on the grid edge is inconclusive and reported as such.
"""

import math
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

from xmodel_core.artifacts import Artifact, Identity, write_shard
from xmodel_core.errors import XmodelError
from xmodel_core.search.mup.scaled import Parametrisation, Widths, at_rate
from xmodel_core.search.proxies import ProxySpec, identity_inputs, train_proxies
from xmodel_core.training.inputs import TrainingInputs

VERSION = 1
TITLES = {"mup": "muP", "standard": "standard parametrisation"}


def train_one(settings: dict[str, Any]) -> None:
    """Trains one proxy and writes its losses into its shard's receipt."""
    from xmodel_core.training.job import Job
    from xmodel_core.training.proxy import train_proxy

    job = Job.from_settings(settings["job"])
    with write_shard(job.folder, settings["shard"]) as shard:
        trained = train_proxy(job)
        final = trained.last()
        shard.facts.update(
            {
                "loss": final if math.isfinite(final) else None,
                "diverged": trained.diverged,
                "losses": list(trained.losses),
            }
        )


def run(
    inputs: TrainingInputs,
    widths: Widths,
    rates: Sequence[float],
    parametrisations: Sequence[Parametrisation] = ("mup", "standard"),
    seeds: int = 1,
) -> Artifact:
    """Runs the transfer test, or finds it done. `seeds`: trainings per parametrisation, width and rate, their losses
    averaged. Facts: `losses`, one row each; `best`, one row per parametrisation and width; `transfers`, parametrisation
    → whether every best rate is within one step of the grid from the narrowest's.

    XmodelError: fewer than two widths or three rates; a width that does not divide into heads; settings, plan and
    shards that do not belong together. A proxy that diverges is a row without a loss.
    """
    all_widths, rates = sorted(set(widths.widths)), sorted(set(rates))
    if len(all_widths) < 2 or len(rates) < 3:
        raise XmodelError(
            "too few widths or learning rates to compare",
            expected="at least two widths and three learning rates",
            found=f"widths {all_widths}, rates {rates}",
            remedy="give more --width or --rate",
        )
    specs = {
        (which, width, rate, seed): ProxySpec(
            f"{which}-{width:05d}-lr{rate:.6g}-{seed}",
            widths.at(inputs.model, width, which),
            at_rate(inputs.training, rate, inputs.training.seed + seed),
        )
        for which, width, rate, seed in product(parametrisations, all_widths, rates, range(seeds))
    }
    identity = Identity(
        kind="lr_transfers",
        name=inputs.name,
        version=VERSION,
        config={
            "points": {
                spec.name: {"model": spec.model.model_dump(mode="json"), "peak_lr": spec.training.peak_lr}
                for spec in specs.values()
            },
            "training": inputs.training.identity(),
        },
        inputs=identity_inputs(inputs),
    )
    if done := inputs.store.find(identity):
        return done
    build = inputs.store.build(identity)
    trained = train_proxies(train_one, list(specs.values()), inputs, build, "train proxies")
    facts = dict(zip(specs, trained, strict=True))
    losses = []
    for which, width, rate in product(parametrisations, all_widths, rates):
        final = [facts[which, width, rate, seed]["loss"] for seed in range(seeds)]
        mean = None if None in final else sum(final) / seeds
        losses.append({"parametrisation": which, "width": width, "peak_lr": rate, "loss": mean})
    best = best_rates(losses)
    with write_shard(build.folder, "transfer") as shard:
        write_table(losses, shard.file("losses.tsv"))
        draw(losses, best, shard.file("transfer.png"))
    return build.commit(facts={"losses": losses, "best": best, "transfers": transfers(best)})


def best_rates(losses: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """One row per parametrisation and width: its best rate and loss, how many steps of the grid that is from the
    narrowest's, and whether it is on the grid's edge; no rate where every proxy diverged."""
    rows = []
    for which in dict.fromkeys(row["parametrisation"] for row in losses):
        grid = sorted({row["peak_lr"] for row in losses})
        narrowest: int | None = None
        for width in sorted({row["width"] for row in losses}):
            finished = [
                row
                for row in losses
                if (row["parametrisation"], row["width"]) == (which, width) and row["loss"] is not None
            ]
            if not finished:
                nothing = {"best_lr": None, "loss": None, "grid_steps": None, "at_edge": False}
                rows.append({"parametrisation": which, "width": width, **nothing})
                continue
            lowest = min(finished, key=lambda row: row["loss"])
            place = grid.index(lowest["peak_lr"])
            narrowest = place if narrowest is None else narrowest
            rows.append(
                {
                    "parametrisation": which,
                    "width": width,
                    "best_lr": lowest["peak_lr"],
                    "loss": lowest["loss"],
                    "grid_steps": place - narrowest,
                    "at_edge": place in (0, len(grid) - 1),
                }
            )
    return rows


def transfers(best: Sequence[Mapping[str, Any]]) -> dict[str, bool]:
    """Parametrisation → whether every width's best rate is at most one step of the grid from the narrowest's."""
    return {
        which: all(
            row["grid_steps"] is not None and abs(row["grid_steps"]) <= 1
            for row in best
            if row["parametrisation"] == which
        )
        for which in dict.fromkeys(row["parametrisation"] for row in best)
    }


def write_table(losses: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Tab-separated: one line per row of `losses`; no loss where the proxy diverged."""
    lines = ["parametrisation\twidth\tpeak_lr\tloss"]
    for row in losses:
        loss = "" if row["loss"] is None else f"{row['loss']:.5f}"
        lines.append(f"{row['parametrisation']}\t{row['width']}\t{row['peak_lr']:.6g}\t{loss}")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def draw(losses: Sequence[Mapping[str, Any]], best: Sequence[Mapping[str, Any]], path: Path) -> None:
    """A PNG: final loss against learning rate, one line per width with its best rate marked, one panel per
    parametrisation."""
    from matplotlib import colormaps
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter, NullLocator

    names = list(dict.fromkeys(row["parametrisation"] for row in losses))
    widths = sorted({row["width"] for row in losses})
    rates = sorted({row["peak_lr"] for row in losses})
    figure = Figure(figsize=(6.2 * len(names), 5), layout="constrained")
    panels = figure.subplots(1, len(names), sharey=True, squeeze=False)[0]
    for axes, which in zip(panels, names, strict=True):
        for number, width in enumerate(widths):
            colour = colormaps["viridis"](0.85 - 0.8 * number / max(len(widths) - 1, 1))
            of_width = [row for row in losses if (row["parametrisation"], row["width"]) == (which, width)]
            shown = [math.nan if row["loss"] is None else row["loss"] for row in of_width]
            axes.plot([row["peak_lr"] for row in of_width], shown, "o-", color=colour, markersize=4, label=f"{width}")
            for row in best:
                if (row["parametrisation"], row["width"]) == (which, width) and row["best_lr"] is not None:
                    axes.plot(row["best_lr"], row["loss"], "*", color=colour, markersize=15, markeredgecolor="black")
        axes.set_xscale("log", base=2)
        axes.set_xticks(rates)
        axes.xaxis.set_major_formatter(FuncFormatter(lambda rate, _: f"{rate:.3g}"))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.set_xlabel("peak learning rate")
        axes.set_title(TITLES[which], fontsize=11)
        axes.grid(alpha=0.25)
    panels[0].set_ylabel("final training loss, nats per token")
    panels[0].legend(title="width", frameon=False)
    finite = [row["loss"] for row in losses if row["loss"] is not None]
    if finite:
        low, high = min(finite), min(max(finite), min(finite) + 3)  # a nearly diverged one would flatten the rest
        panels[0].set_ylim(low - 0.05 * (high - low), high + 0.05 * (high - low))
    figure.savefig(path, dpi=130, metadata={"Software": None})

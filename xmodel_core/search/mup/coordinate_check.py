"""The coordinate check: do activations keep their size as the model grows wider? Under muP they should.

Takes a recipe's model and training and a plan; gives, for each role of activation, its size at several steps and
widths, and the slope of log size against log width: 0 where width does not matter (Yang et al. 2022, Tensor Programs
V, appendix D.1). Activations are measured on the last step's tokens, on which no model has been trained by then.
`change` is the distance from the activations at step 0: it should become flat, too, but only at widths where noise no
longer hides the gradient.

Logits are the exception at the start: m = width / base divides them, while at initialisation they grow only like the
square root of the width, so they begin with a slope of -1/2 and become flat as they are learned.
"""

import math
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from xmodel_core.artifacts import Artifact, Identity, write_shard
from xmodel_core.errors import XmodelError
from xmodel_core.search.mup.scaled import Parametrisation, Widths, at_constant_rate, at_rate
from xmodel_core.search.proxies import ProxySpec, identity_inputs, train_proxies
from xmodel_core.training.config import TrainingConfig
from xmodel_core.training.inputs import TrainingInputs

VERSION = 1
MAX_TOKENS = 1_000_000
"""Tokens of a run at most: more are a training, not a check."""
PROBE_SEQUENCES = 4
"""Sequences of the last step's batch on which activations are measured."""
FLAT = 0.05
"""The largest absolute slope that counts as flat."""
PARAMETRISATIONS: tuple[Parametrisation, ...] = ("mup", "standard")
COLUMNS = ("parametrisation", "role", "step", "quantity", "slope", "flat")


def schedule(training: TrainingConfig, steps: int) -> TrainingConfig:
    """A constant rate for `steps` steps, and one step more, whose tokens activations are measured on. XmodelError where
    that is more than MAX_TOKENS."""
    config = at_constant_rate(training, steps + 1)
    if config.total_tokens > MAX_TOKENS:
        raise XmodelError(
            "too many tokens for a coordinate check",
            expected=f"at most {MAX_TOKENS:,} a run",
            found=f"{config.total_steps} steps of {config.global_batch_tokens:,}",
            remedy="--set training.global_batch_tokens=…, or fewer --steps",
        )
    return config


def train_one(settings: dict[str, Any]) -> None:
    """Trains one proxy and writes its activations' sizes, step by step, into its shard's receipt."""
    from xmodel_core.model.probe import ActivationSizes
    from xmodel_core.training.job import Job
    from xmodel_core.training.proxy import train_proxy

    job = Job.from_settings(settings["job"])
    last = next(job.stream.batches(job.training.total_steps))
    sizes = ActivationSizes(last.tokens_BT[:PROBE_SEQUENCES])
    measured: dict[str, Any] = {}

    def measure(model: Any, step: int) -> None:
        if step in settings["steps"]:
            measured[str(step)] = sizes.measure(model)

    with write_shard(job.folder, settings["shard"]) as shard:
        losses = train_proxy(job, measure)
        shard.facts.update({"seen": measured, "losses": list(losses.losses)})


def slope(sizes: Mapping[int, float]) -> float:
    """The slope of log size against log width, by least squares; NaN where a size is not positive. `sizes`: width →
    size."""
    if not all(math.isfinite(size) and size > 0 for size in sizes.values()):
        return math.nan
    return float(np.polyfit(np.log(list(sizes)), np.log(list(sizes.values())), 1)[0])


def run(inputs: TrainingInputs, widths: Widths, steps: Sequence[int], seeds: int) -> Artifact:
    """Runs the check, or finds it done: slopes.tsv, sizes.png, changes.png; fact `table`, one row per parametrisation,
    role, step and quantity. `inputs.training`: from `schedule`; `steps`: after which activations are measured, beside
    0; `seeds`: trainings whose sizes are averaged.

    XmodelError: fewer than two widths; a width that does not divide into heads; settings, plan and shards that do not
    belong together.
    """
    training, all_widths, steps = inputs.training, sorted(set(widths.widths)), sorted({0, *steps})
    if len(all_widths) < 2:
        raise XmodelError(
            "a slope needs two widths", expected="at least two", found=all_widths, remedy="give more --width"
        )
    specs = {
        (which, width, seed): ProxySpec(
            f"{which}-{width:05d}-{seed}",
            widths.at(inputs.model, width, which),
            at_rate(training, training.peak_lr, training.seed + seed),
        )
        for which, width, seed in product(PARAMETRISATIONS, all_widths, range(seeds))
    }
    identity = Identity(
        kind="coordinate_checks",
        name=inputs.name,
        version=VERSION,
        config={
            "points": {spec.name: spec.model.model_dump(mode="json") for spec in specs.values()},
            "training": training.identity(),
            "steps": steps,
        },
        inputs=identity_inputs(inputs),
    )
    if done := inputs.store.find(identity):
        return done
    build = inputs.store.build(identity)
    facts = train_proxies(train_one, list(specs.values()), inputs, build, "check coordinates", steps=steps)
    measured = {key: of_proxy["seen"] for key, of_proxy in zip(specs, facts, strict=True)}
    table = slopes_of(measured, all_widths, steps, seeds)
    with write_shard(build.folder, "slopes") as shard:
        write_table(table, shard.file("slopes.tsv"))
        for quantity in ("size", "change"):
            draw(table, quantity, shard.file(f"{quantity}s.png"))
    return build.commit(facts={"table": table})


def slopes_of(
    measured: Mapping[tuple[str, int, int], Mapping[str, Any]],
    widths: Sequence[int],
    steps: Sequence[int],
    seeds: int,
) -> list[dict[str, Any]]:
    """The table: means over the seeds at each width, and their slope. `measured`: (parametrisation, width, seed) → step
    → role → quantity; a proxy that diverged lacks its later steps, which then have no slope."""
    table = []
    roles = list(measured[PARAMETRISATIONS[0], widths[0], 0]["0"])
    for which, step, role in product(PARAMETRISATIONS, steps, roles):
        for quantity in ("size", "change") if step else ("size",):
            means: dict[int, float] = {}
            for width in widths:
                of_seeds = [measured[which, width, seed].get(str(step)) for seed in range(seeds)]
                values = [roles_of[role][quantity] if roles_of else math.nan for roles_of in of_seeds]
                means[width] = sum(values) / seeds
            fitted = slope(means)
            table.append(
                {
                    "parametrisation": which,
                    "role": role,
                    "step": step,
                    "quantity": quantity,
                    "slope": fitted if math.isfinite(fitted) else None,
                    "flat": abs(fitted) <= FLAT,
                    "at_width": {str(w): mean if math.isfinite(mean) else None for w, mean in means.items()},
                }
            )
    return table


def write_table(table: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Tab-separated: one line per parametrisation, role, step and quantity, then the mean at each width."""
    widths = list(table[0]["at_width"])
    lines = ["\t".join([*COLUMNS, *(f"width_{width}" for width in widths)])]
    for row in table:
        cells = [*(row[name] for name in COLUMNS), *(row["at_width"][width] for width in widths)]
        lines.append("\t".join(_shown(cell) for cell in cells))
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _shown(cell: Any) -> str:
    return "" if cell is None else f"{cell:.5g}" if isinstance(cell, float) else str(cell)


def draw(table: Sequence[Mapping[str, Any]], quantity: str, path: Path) -> None:
    """A PNG: log size against log width; one row per parametrisation, one column per role, one line per step with its
    slope in the legend."""
    from matplotlib import colormaps
    from matplotlib.figure import Figure
    from matplotlib.ticker import NullLocator

    rows = [row for row in table if row["quantity"] == quantity]
    roles = list(dict.fromkeys(row["role"] for row in rows))
    steps = sorted({row["step"] for row in rows})
    titles = {"mup": "muP", "standard": "standard"}
    figure = Figure(figsize=(2.5 * len(roles), 6.4), layout="constrained")
    grid = figure.subplots(len(PARAMETRISATIONS), len(roles), sharex=True, sharey="col", squeeze=False)
    for (down, which), (across, role) in product(enumerate(PARAMETRISATIONS), enumerate(roles)):
        axes = grid[down][across]
        for row in rows:
            if (row["parametrisation"], row["role"]) != (which, role):
                continue
            shown = {int(width): mean for width, mean in row["at_width"].items() if mean}
            rank = steps.index(row["step"]) / max(len(steps) - 1, 1)
            fitted = "" if row["slope"] is None else f": {row['slope']:+.2f}"
            axes.plot(
                list(shown),
                list(shown.values()),
                "o-",
                color=colormaps["viridis"](0.9 - 0.85 * rank),
                linewidth=1.3,
                markersize=3,
                label=f"step {row['step']}{fitted}",
            )
        axes.set_xscale("log", base=2)
        axes.set_yscale("log")
        axes.xaxis.set_minor_locator(NullLocator())
        axes.grid(alpha=0.25)
        axes.legend(frameon=False, fontsize=7, labelspacing=0.2)
        if down == 0:
            axes.set_title(role.replace("_", " "), fontsize=10)
        if across == 0:
            axes.set_ylabel(titles[which], fontsize=11)
    figure.suptitle(f"mean absolute {quantity} of activations against width; slopes beside the steps", fontsize=11)
    figure.savefig(path, dpi=130, metadata={"Software": None})

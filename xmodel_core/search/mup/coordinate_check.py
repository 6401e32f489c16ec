"""The coordinate check: do activations keep their size as the model grows wider? Under muP they should.

Takes a recipe's model and training and a plan; gives, for each role of activation, its size at several steps and
widths, and the slope of log size against log width: 0 where width does not matter (Yang et al. 2022, Tensor Programs
V, appendix D.1). The tokens looked at are the last step's, from which no model has learned by then. `change` is the
distance from the first look: it should become flat, too, but only at widths where noise no longer hides the gradient.

Logits are the exception at the start: m = width / base divides them, while at initialisation they only add up like the
square root of the width, so they begin with a slope of -1/2 and become flat as far as they are learned.
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
"""More are a training, not a check."""
PROBE_SEQUENCES = 4
"""Sequences of the last step's batch that are looked at."""
FLAT = 0.05
"""Slopes of at most so much either way count as flat."""
PARAMETRISATIONS: tuple[Parametrisation, ...] = ("mup", "standard")
COLUMNS = ("parametrisation", "role", "step", "quantity", "slope", "flat")


def schedule(training: TrainingConfig, steps: int) -> TrainingConfig:
    """A constant rate for the steps that are looked at, and one more whose tokens they are looked at with. XmodelError
    where that is no small training."""
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
    """Trains one proxy and leaves what was seen of it, step by step, in its shard's receipt."""
    from xmodel_core.model.probe import ActivationSizes
    from xmodel_core.training.job import Job
    from xmodel_core.training.proxy import train_proxy

    job = Job.from_settings(settings["job"])
    last = next(job.stream.batches(job.training.total_steps))
    sizes = ActivationSizes(last.tokens_BT[:PROBE_SEQUENCES])
    seen: dict[str, Any] = {}

    def look(model: Any, step: int) -> None:
        if step in settings["steps"]:
            seen[str(step)] = sizes.measure(model)

    with write_shard(job.folder, settings["shard"]) as shard:
        losses = train_proxy(job, look)
        shard.facts.update({"seen": seen, "losses": list(losses.losses)})


def slope(sizes: Mapping[int, float]) -> float:
    """Of log size against log width, by least squares; not a number where a size is not positive."""
    if not all(math.isfinite(size) and size > 0 for size in sizes.values()):
        return math.nan
    return float(np.polyfit(np.log(list(sizes)), np.log(list(sizes.values())), 1)[0])


def run(inputs: TrainingInputs, widths: Widths, steps: Sequence[int], seeds: int) -> Artifact:
    """The check, or the one that is there. The inputs's training is from `schedule`; `steps`: after which activations
    are looked at, beside 0; `seeds`: trainings whose sizes are averaged. Facts: `table`, one row a parametrisation,
    role, step and quantity; slopes.tsv, sizes.png, changes.png."""
    training, all_widths, steps = inputs.training, sorted(set(widths.widths)), sorted({0, *steps})
    if len(all_widths) < 2:
        raise XmodelError("a slope needs two widths", expected="at least two", found=all_widths)
    points = {
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
            "points": {point.name: point.model.model_dump(mode="json") for point in points.values()},
            "training": training.identity(),
            "steps": steps,
        },
        inputs=identity_inputs(inputs),
    )
    if done := inputs.store.find(identity):
        return done
    build = inputs.store.build(identity)
    facts = train_proxies(train_one, list(points.values()), inputs, build, "check coordinates", steps=steps)
    seen = {key: found["seen"] for key, found in zip(points, facts, strict=True)}
    table = slopes_of(seen, all_widths, steps, seeds)
    with write_shard(build.folder, "slopes") as shard:
        write_table(table, shard.file("slopes.tsv"))
        for quantity in ("size", "change"):
            draw(table, quantity, shard.file(f"{quantity}s.png"))
    return build.commit(facts={"table": table})


def slopes_of(
    seen: Mapping[tuple[str, int, int], Mapping[str, Any]],
    widths: Sequence[int],
    steps: Sequence[int],
    seeds: int,
) -> list[dict[str, Any]]:
    """The table: means over the seeds at each width, and their slope. `seen`: (parametrisation, width, seed) → step →
    role → quantity; a proxy that came apart lacks its later steps, and they have no slope."""
    table = []
    roles = list(seen[PARAMETRISATIONS[0], widths[0], 0]["0"])
    for which, step, role in product(PARAMETRISATIONS, steps, roles):
        for quantity in ("size", "change") if step else ("size",):
            means: dict[int, float] = {}
            for width in widths:
                looks = [seen[which, width, seed].get(str(step)) for seed in range(seeds)]
                values = [look[role][quantity] if look else math.nan for look in looks]
                means[width] = sum(values) / seeds
            found = slope(means)
            table.append(
                {
                    "parametrisation": which,
                    "role": role,
                    "step": step,
                    "quantity": quantity,
                    "slope": found if math.isfinite(found) else None,
                    "flat": abs(found) <= FLAT,
                    "at_width": {str(w): mean if math.isfinite(mean) else None for w, mean in means.items()},
                }
            )
    return table


def write_table(table: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Tab-separated: one line a parametrisation, role, step and quantity, with the mean at each width behind."""
    widths = list(table[0]["at_width"])
    lines = ["\t".join([*COLUMNS, *(f"width_{width}" for width in widths)])]
    for row in table:
        cells = [*(row[name] for name in COLUMNS), *(row["at_width"][width] for width in widths)]
        lines.append("\t".join(_shown(cell) for cell in cells))
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _shown(cell: Any) -> str:
    return "" if cell is None else f"{cell:.5g}" if isinstance(cell, float) else str(cell)


def draw(table: Sequence[Mapping[str, Any]], quantity: str, path: Path) -> None:
    """A PNG: one row a parametrisation, one column a role; log size against log width, one line a step, its slope in
    the legend."""
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
            found = "" if row["slope"] is None else f": {row['slope']:+.2f}"
            axes.plot(
                list(shown),
                list(shown.values()),
                "o-",
                color=colormaps["viridis"](0.9 - 0.85 * rank),
                linewidth=1.3,
                markersize=3,
                label=f"step {row['step']}{found}",
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

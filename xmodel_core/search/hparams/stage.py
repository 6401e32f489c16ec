"""Entry point of the hyperparameter search: (training inputs, ranges) in, a search out.

Trials are chosen in rounds, trained side by side, and their losses given to the sampler in order, so that what is tried
depends on the recipe alone. Each finished trial has its receipt: a killed search replays the sampler from the receipts
and trains what is missing.
"""

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xmodel_core.artifacts import Artifact, Build, Identity, write_shard
from xmodel_core.artifacts.shard import receipt_name
from xmodel_core.errors import XmodelError
from xmodel_core.model.config import ModelConfig
from xmodel_core.model.cost import count_parameters, flops_per_token
from xmodel_core.progress import track
from xmodel_core.search.config import SearchConfig
from xmodel_core.search.proxies import ProxySpec, identity_inputs, train_proxies
from xmodel_core.training.config import TrainingConfig
from xmodel_core.training.inputs import TrainingInputs
from xmodel_core.training.stage import job_of

if TYPE_CHECKING:
    from xmodel_core.search.hparams.sampler import Sampler, Trial
    from xmodel_core.training.job import Job

VERSION = 1
MUP = {"scale_emb", "dim_model_base", "scale_depth"}


def identity(inputs: TrainingInputs, search: SearchConfig) -> Identity:
    """The identity of a search. The recipe's own values of what is searched are no part of it, nor is
    `training.workers`: a proxy is trained in one process."""
    settings = inputs.training.identity()
    del settings["peak_lr"]
    return Identity(
        kind="searches",
        name=inputs.name,
        version=VERSION,
        config={
            "model": inputs.model.model_dump(mode="json", exclude=MUP),
            "training": settings,
            "search": search.model_dump(mode="json"),
        },
        inputs=identity_inputs(inputs),
    )


def require_mup(model: ModelConfig) -> None:
    """XmodelError for a model of the standard parametrisation: three of the four values would scale nothing."""
    if model.dim_model_base is None:
        raise XmodelError(
            "this model is not in muP, whose scales the search varies",
            expected="model.scale_emb, model.scale_depth and model.dim_model_base",
            found="none of them: the standard parametrisation",
            where="model",
            remedy="--set model.extends=xmodel2-nano, or give the three (Xmodel-2: 12, 1.4, 256) and "
            "model.initializer_range 0.1",
        )


def price(
    model: ModelConfig, training: TrainingConfig, search: SearchConfig, vocab_size: int
) -> dict[str, float | int]:
    """Trials, the one at the report's values included; parameters of a proxy; tokens and FLOPs of all trials."""
    trials = search.trials + 1
    flops = sum(flops_per_token(model, vocab_size, each.sequence_length) * each.tokens for each in training.phases())
    return {
        "trials": trials,
        "parameters": count_parameters(model, vocab_size).total,
        "tokens": trials * training.total_tokens,
        "flops": trials * flops,
    }


def repeated_sources(plan: Mapping[str, Any]) -> dict[str, float]:
    """Source → epochs, of the sources that a plan reads more than once. On them a loss also measures memorisation."""
    epochs: dict[str, float] = {}
    for phase in plan["phases"]:
        for planned in phase["sources"]:
            tokens = planned["sequences"] * phase["sequence_length"]
            epochs[planned["source"]] = epochs.get(planned["source"], 0.0) + tokens / planned["supply_tokens"]
    return {source: round(count, 2) for source, count in sorted(epochs.items()) if count > 1}


def _train_trial(settings: dict[str, Any]) -> None:
    """Trains one proxy and writes its receipt with the row of `trials`, which is all that is kept of it."""
    from xmodel_core.training.job import Job
    from xmodel_core.training.proxy import train_proxy

    job = Job.from_settings(settings["job"])
    started = time.monotonic()
    with write_shard(job.folder, settings["shard"]) as shard:
        proxy = train_proxy(job)
        row = {
            **settings["row"],
            "loss": None if proxy.diverged else proxy.last(),
            "diverged": proxy.diverged,
            "steps": len(proxy.losses),
        }
        shard.facts.update(row)
        shard.rows("trials", [{"search": job.folder.name, **row, "seconds": round(time.monotonic() - started, 3)}])


def _proxy_spec(trial: "Trial", inputs: TrainingInputs) -> ProxySpec:
    model, training = trial.hyperparameters.applied(inputs.model, inputs.training)
    return ProxySpec(f"trial-{trial.number:05d}", model, training, trial.row())


def _run_trials(build: Build, inputs: TrainingInputs, search: SearchConfig) -> "tuple[list[dict[str, Any]], Sampler]":
    """The rows of all trials in order, the report's first, and the sampler that chose them."""
    from xmodel_core.search.hparams.sampler import REPORT, Sampler, Trial

    sampler, report = Sampler(search), Trial(0, "report", REPORT)
    rows: list[dict[str, Any]] = []
    known = len(build.folder.names(receipt_name("trial-*")))
    with track(f"search {build.identity.name}", search.trials + 1 - known, "trials") as bar:
        for first in range(0, search.trials, search.trials_per_round):
            asked = sampler.ask(min(search.trials_per_round, search.trials - first))
            specs = [_proxy_spec(trial, inputs) for trial in ([report, *asked] if first == 0 else asked)]
            rows += train_proxies(_train_trial, specs, inputs, build, "search", bar)
            sampler.tell(asked, [row["loss"] for row in rows[-len(asked) :]])
    return rows, sampler


def run(inputs: TrainingInputs, search: SearchConfig) -> Artifact:
    """Runs the search, or finds it done: trials.parquet, panels.png, index.html, rows of `trials`. Its facts are the
    best trial, the one at the report's values, and the importance of the four hyperparameters.

    XmodelError: a model without muP; settings, plan and shards that do not belong together; every trial diverged.
    """
    require_mup(inputs.model)
    identified = identity(inputs, search)
    if done := inputs.store.find(identified):
        return done
    build = inputs.store.build(identified)
    job = job_of(build.identity.label, build.folder, inputs)
    for source in job.shards:
        job.tokens[source].verify(inputs.store.digest)
    trials, sampler = _run_trials(build, inputs, search)
    facts = _facts(trials, sampler.importance(), search, job)
    from xmodel_core.search.hparams.panels import draw_panels
    from xmodel_core.search.hparams.render import write_page

    with write_shard(build.folder, "result") as shard:
        _write_table(trials, shard.file("trials.parquet"))
        panels = shard.file("panels.png")
        draw_panels(trials, search, math.log(job.vocab_size), panels)
        page = write_page(build.folder.name, trials, facts, search, panels.read_bytes())
        shard.file("index.html").write_text(page, encoding="utf-8")
    return build.commit(facts=facts)


def _facts(
    trials: Sequence[dict[str, Any]], importance: Mapping[str, float], search: SearchConfig, job: "Job"
) -> dict[str, Any]:
    from xmodel_core.search.hparams.regression import fit
    from xmodel_core.search.hparams.sampler import SEARCHED

    report, *sampled = trials
    finished = sorted((row for row in sampled if not row["diverged"]), key=lambda row: (row["loss"], row["trial"]))
    if not finished:
        raise XmodelError(
            f"all {len(sampled)} trials diverged",
            expected="learning rates and scales at which some proxies train",
            found=f"peak_lr from {search.peak_lr.low:g} to {search.peak_lr.high:g}",
            where="search",
            remedy="lower search.peak_lr, or lengthen training.warmup_steps",
        )
    line = fit(sampled, SEARCHED)
    cost = price(job.model, job.training, search, job.vocab_size)
    return {
        "best": finished[0],
        "report": report,
        "best_tenth": _spread(finished[: max(math.ceil(len(finished) / 10), 1)]),
        "trials": len(sampled),
        "diverged": sum(row["diverged"] for row in sampled),
        "importance": {name: importance[name] for name in SEARCHED if name in importance},
        "regression": asdict(line) if line else None,
        "parameters": cost["parameters"],
        "tokens_per_trial": job.training.total_tokens,
        "flops": cost["flops"],
        "untrained_loss": math.log(job.vocab_size),
        "repeated_sources": repeated_sources(job.plan),
    }


def _spread(best: Sequence[Mapping[str, Any]]) -> dict[str, list[float]]:
    """(lowest, highest) of each hyperparameter and of the loss among the best trials."""
    from xmodel_core.search.hparams.sampler import SEARCHED

    return {name: [min(row[name] for row in best), max(row[name] for row in best)] for name in (*SEARCHED, "loss")}


def _write_table(trials: Sequence[Mapping[str, Any]], path: Path) -> None:
    """One row per trial, without its seconds, which are in the ledger: the same search gives the same file anywhere."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    types = {
        "trial": pa.int64(),
        "sampled_by": pa.string(),
        "scale_emb": pa.float64(),
        "dim_model_base": pa.int64(),
        "scale_depth": pa.float64(),
        "peak_lr": pa.float64(),
        "loss": pa.float64(),
        "diverged": pa.bool_(),
        "steps": pa.int64(),
    }
    pq.write_table(pa.Table.from_pylist(list(trials), pa.schema(list(types.items()))), path)

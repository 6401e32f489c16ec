"""Proxies side by side: each trained by a worker, its facts put in place as a shard's receipt when it is done.

Takes `ProxySpec`s (a name, a model, training settings) and the inputs they share; gives each proxy's facts, read from
its receipt. A killed search continues from the receipts that exist, whatever the number of workers.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from xmodel_core.artifacts import Build, fingerprint
from xmodel_core.model.config import ModelConfig
from xmodel_core.model.cost import flops_per_token
from xmodel_core.progress import Bar
from xmodel_core.training.config import TrainingConfig
from xmodel_core.training.inputs import TrainingInputs
from xmodel_core.training.stage import VERSION as TRAINING_VERSION
from xmodel_core.training.stage import job_of


def identity_inputs(inputs: TrainingInputs) -> dict[str, str]:
    """The inputs of a search's identity; the plan's fingerprint covers the shards."""
    return {
        "plan": inputs.plan.fingerprint,
        "tokenizer": inputs.tokenizer.fingerprint,
        "training": fingerprint(TRAINING_VERSION),
    }


class ProxySpec(NamedTuple):
    """One proxy. `name` is its shard's; `row` is what its facts begin with."""

    name: str
    model: ModelConfig
    training: TrainingConfig
    row: Mapping[str, Any] = {}

    def facts(self, build: Build) -> dict[str, Any] | None:
        """The facts of its receipt; None where there is no receipt, or one of another proxy by the same name."""
        receipt = build.finished(self.name)
        if receipt is None or any(receipt.facts.get(key) != value for key, value in self.row.items()):
            return None
        return receipt.facts


def train_proxies(
    train: Callable[[dict[str, Any]], None],
    specs: Sequence[ProxySpec],
    inputs: TrainingInputs,
    build: Build,
    label: str,
    bar: Bar | None = None,
    **settings: Any,
) -> list[dict[str, Any]]:
    """The facts of all proxies, in the order of `specs`; those that have none yet are trained.

    `train` trains one proxy in a worker. It is given plain values: `shard`, the name of the shard to write into the
    job's folder; `row`; `job`, the settings of a `Job`; and `settings`. `bar`: the caller's progress bar, which counts
    proxies; without one the progress is shown in TFLOP.
    """
    missing = [spec for spec in specs if spec.facts(build) is None]
    # A proxy's job differs from the recipe's own in model and training alone.
    job = job_of(build.identity.label, build.folder, inputs)
    items = [
        {
            "shard": spec.name,
            "row": dict(spec.row),
            "job": replace(job, model=spec.model, training=spec.training).settings(),
            **settings,
        }
        for spec in missing
    ]
    cost = [_teraflops(spec, job.vocab_size) for spec in missing]
    on_gpu = inputs.training.device != "cpu"
    inputs.cluster.map(train, items, bar or label, "TFLOP", None if bar else cost, on_gpu)
    trained = [spec.facts(build) for spec in specs]
    assert None not in trained, label
    return [facts for facts in trained if facts is not None]


def _teraflops(spec: ProxySpec, vocab_size: int) -> float:
    per_token = flops_per_token(spec.model, vocab_size, spec.training.sequence_length)
    return per_token * spec.training.total_tokens / 1e12

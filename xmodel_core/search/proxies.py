"""Proxies side by side: each point trained by a worker, and put in place as a shard of its own when it is done.

Takes points (a name, a model, training settings) and the ground they stand on; leaves each point's facts in its
receipt. A killed search goes on from the points that are there, whatever the number of workers.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from xmodel_core.artifacts import Artifact, Build, Store, fingerprint
from xmodel_core.cluster import Cluster
from xmodel_core.model.config import ModelConfig
from xmodel_core.model.cost import flops_per_token
from xmodel_core.progress import Bar
from xmodel_core.training.config import TrainingConfig
from xmodel_core.training.stage import VERSION as TRAINING_VERSION
from xmodel_core.training.stage import job_of

if TYPE_CHECKING:
    from xmodel_core.training.job import Job


class TrainingInputs(NamedTuple):
    """What all proxies of a search share: the recipe they are made from, its name, model and training; what they are
    trained on; where they are kept, and who trains them."""

    name: str
    model: ModelConfig
    training: TrainingConfig
    plan: Artifact
    shards: Mapping[str, Artifact]
    tokenizer: Artifact
    store: Store
    cluster: Cluster

    def inputs(self) -> dict[str, str]:
        """The part of a search's identity that it is; the plan's fingerprint covers the shards."""
        return {
            "plan": self.plan.fingerprint,
            "tokenizer": self.tokenizer.fingerprint,
            "training": fingerprint(TRAINING_VERSION),
        }

    def job(self, build: Build) -> "Job":
        """What a worker is handed to train the recipe's own model; a proxy's differs in model and training alone."""
        materials = (self.plan, self.shards, self.tokenizer)
        return job_of(build.identity.label, self.name, build.folder, self.model, self.training, *materials)


class ProxySpec(NamedTuple):
    """One proxy. `name` is its shard's; `row` is what its facts begin with."""

    name: str
    model: ModelConfig
    training: TrainingConfig
    row: Mapping[str, Any] = {}

    def facts(self, build: Build) -> dict[str, Any] | None:
        """None where it is not trained yet, or what is there is of another point."""
        receipt = build.finished(self.name)
        if receipt is None or any(receipt.facts.get(key) != value for key, value in self.row.items()):
            return None
        return receipt.facts


def train_proxies(
    train: Callable[[dict[str, Any]], None],
    points: Sequence[ProxySpec],
    ground: TrainingInputs,
    build: Build,
    label: str,
    bar: Bar | None = None,
    **more: Any,
) -> list[dict[str, Any]]:
    """The facts of all points, of which those that have none yet are trained. `train` works on one point in a worker:
    it is given `point`, the shard to write into the job's folder, its `row`, its `job`, and `more`. `bar`: one of the
    caller's that counts points."""
    left = [point for point in points if point.facts(build) is None]
    job = ground.job(build)
    items = [
        {
            "point": point.name,
            "row": dict(point.row),
            "job": replace(job, model=point.model, training=point.training).settings(),
            **more,
        }
        for point in left
    ]
    cost = [_teraflops(point, job.vocab_size) for point in left]
    on_gpu = ground.training.device != "cpu"
    ground.cluster.map(train, items, bar or label, "TFLOP", None if bar else cost, on_gpu)
    found = [point.facts(build) for point in points]
    assert None not in found, label
    return [facts for facts in found if facts is not None]


def _teraflops(point: ProxySpec, vocab_size: int) -> float:
    per_token = flops_per_token(point.model, vocab_size, point.training.sequence_length)
    return per_token * point.training.total_tokens / 1e12

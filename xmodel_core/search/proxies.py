"""Proxies side by side: each point trained by a worker, and put in place as a shard of its own when it is done.

Takes points (a name, a model, training settings) and what they are trained on; gives each point's facts, from its
receipt. A killed search goes on from the points that are there, whatever the number of workers.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from xmodel_core.artifacts import Artifact, Build, fingerprint
from xmodel_core.cluster import Cluster
from xmodel_core.model.config import ModelConfig
from xmodel_core.model.cost import flops_per_token
from xmodel_core.training.config import TrainingConfig
from xmodel_core.training.stage import VERSION as TRAINING_VERSION
from xmodel_core.training.stage import job_of


class Ground(NamedTuple):
    """What all proxies of a search are trained on."""

    plan: Artifact
    shards: Mapping[str, Artifact]
    tokenizer: Artifact

    def inputs(self) -> dict[str, str]:
        """The part of a search's identity that it is; the plan's fingerprint covers the shards."""
        return {
            "plan": self.plan.fingerprint,
            "tokenizer": self.tokenizer.fingerprint,
            "training": fingerprint(TRAINING_VERSION),
        }


class Point(NamedTuple):
    """One proxy. `name` is its shard's."""

    name: str
    model: ModelConfig
    training: TrainingConfig


def train_points(
    train: Callable[[dict[str, Any]], None],
    points: Sequence[Point],
    ground: Ground,
    build: Build,
    cluster: Cluster,
    label: str,
    **more: Any,
) -> dict[str, dict[str, Any]]:
    """Name → facts. `train` works on one point in a worker: it is given `point`, the shard to write into the job's
    folder, `job`, and `more`."""
    left = [point for point in points if not build.finished(point.name)]
    jobs = [
        job_of(point.name, build.identity.name, build.folder, point.model, point.training, *ground) for point in left
    ]
    cost = [
        flops_per_token(job.model, job.vocab_size, job.training.sequence_length) * job.training.total_tokens / 1e12
        for job in jobs
    ]
    items = [{"point": point.name, "job": job.settings(), **more} for point, job in zip(left, jobs, strict=True)]
    on_gpu = any(point.training.device != "cpu" for point in left)
    cluster.map(train, items, label, "TFLOP", cost, on_gpu=on_gpu)
    receipts = {point.name: build.finished(point.name) for point in points}
    return {name: receipt.facts for name, receipt in receipts.items() if receipt}

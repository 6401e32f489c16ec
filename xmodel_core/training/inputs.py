"""What a training is made from, as one value: the recipe's settings, the artifacts they meet, and who does the work."""

from collections.abc import Mapping
from dataclasses import dataclass

from xmodel_core.artifacts import Artifact, Store
from xmodel_core.cluster import Cluster
from xmodel_core.model.config import ModelConfig
from xmodel_core.training.config import TrainingConfig


@dataclass(frozen=True)
class TrainingInputs:
    """The inputs of a run, and those that all proxies of a search share."""

    name: str
    """The recipe's."""
    model: ModelConfig
    training: TrainingConfig
    plan: Artifact
    """The mixture plan (`plan.json`); its fingerprint covers the shards."""
    shards: Mapping[str, Artifact]
    """Source → token shards, at least of the plan's sources."""
    tokenizer: Artifact
    store: Store
    """Where the result is kept."""
    cluster: Cluster
    """Who trains."""

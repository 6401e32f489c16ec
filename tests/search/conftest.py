"""Small token shards, as the training room's tests have them."""

import pytest

from tests.training.conftest import MODEL, TRAINING, Workspace, workspace
from xmodel_core.cluster import Cluster
from xmodel_core.model.config import ModelConfig
from xmodel_core.training.config import TrainingConfig
from xmodel_core.training.inputs import TrainingInputs

__all__ = ["workspace"]


@pytest.fixture
def training() -> TrainingConfig:
    """Of the small workspace; sequences of 8 tokens."""
    return TrainingConfig(**TRAINING)


def inputs_for(
    workspace: Workspace, training: TrainingConfig, cluster: Cluster, model: ModelConfig = MODEL
) -> TrainingInputs:
    """What proxies of this schedule are trained on."""
    lengths = ("schedule", "warmup_steps", "stable_steps", "decay_steps", "global_batch_tokens", "sequence_length")
    planned = workspace.planned(**{name: getattr(training, name) for name in lengths})
    return planned.inputs(model, training, cluster)

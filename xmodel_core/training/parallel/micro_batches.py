"""A worker's share of a step in micro batches, weighted so that padding and the number of workers do not matter."""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from xmodel_core.training.loader import Batch
from xmodel_core.training.parallel.workers import rank_and_world


class MicroBatch(NamedTuple):
    """Some sequences of a worker's share. Letters of shapes: B sequences, T sequence length in tokens."""

    weight: float
    """What its mean loss counts in the step's."""
    tokens_BT: Tensor
    targets_BT: Tensor
    documents_BT: Tensor | None


def micro_batches(batch: Batch, sequences: int, device: torch.device) -> Iterator[MicroBatch]:
    """The micro batches, of at most `sequences` sequences each, on a device. The sum of weight · mean loss over them,
    averaged over the workers, is the mean over all targets of the step, wherever its padding is and however its
    sequences are divided."""
    world = rank_and_world()[1]
    for first in range(0, len(batch.tokens_BT), sequences):
        part = slice(first, first + sequences)
        targets = batch.targets_BT[part]
        learned = targets.size if batch.documents_BT is None else int((targets >= 0).sum())
        yield MicroBatch(
            learned * world / batch.step_targets,
            torch.from_numpy(batch.tokens_BT[part]).to(device),
            torch.from_numpy(targets).to(device),
            None if batch.documents_BT is None else torch.from_numpy(batch.documents_BT[part]).to(device),
        )

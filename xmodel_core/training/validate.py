"""Loss on held-out documents, per source: in nats per token, and in bits per byte of text.

Takes a model and a source's validation tokens; gives both. Bits per byte compare across tokenizers and
across languages (a Chinese character is three bytes), loss per token does not.
"""

import math

import numpy as np
import torch
import torch.distributed as dist

from xmodel_core.artifacts.token_shards import TokenShards
from xmodel_core.model.xmodel import Xmodel
from xmodel_core.training.config import TrainingConfig
from xmodel_core.training.step import precision, rank_and_world


def windows(tokens: int, config: TrainingConfig) -> tuple[int, int]:
    """(windows, targets in each) of a validation: whole sequences, at most validation_tokens; one shorter
    window where there is no whole one; (0, 0) where nothing can be predicted."""
    length = config.sequence_length
    limit = min(tokens - 1, config.validation_tokens)
    if limit >= length:
        return limit // length, length
    return (1, limit) if limit > 0 else (0, 0)


@torch.no_grad()
def validate(
    model: Xmodel, shards: TokenShards, text_bytes: int, config: TrainingConfig, device: torch.device
) -> tuple[float, float] | None:
    """(loss, bits per byte) of one source, the same on every worker; None where it holds nothing out.

    The text behind a part of the tokens is taken as that part of `text_bytes`; documents' ends (EOS) are
    predicted too and count as no text.
    """
    count, length = windows(len(shards), config)
    if not count:
        return None
    rank, world = rank_and_world()
    total = torch.zeros((), dtype=torch.float64, device=device)
    mine = range(rank, count, world)
    for first in range(0, len(mine), config.micro_batch_sequences):
        starts = mine[first : first + config.micro_batch_sequences]
        rows = np.stack([shards.slice(start * length, length + 1).astype(np.int64) for start in starts])
        tokens = torch.from_numpy(rows).to(device)
        with precision(config, device):
            total += model(tokens[:, :-1], tokens[:, 1:]).double() * (len(starts) * length)
    if dist.is_initialized():
        dist.all_reduce(total)
    nats, targets = float(total), count * length
    return nats / targets, nats / math.log(2) / max(1.0, text_bytes * targets / len(shards))

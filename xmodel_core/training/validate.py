"""Loss on held-out documents, per source: in nats per token, and in bits per byte of text.

Takes a model and a source's validation tokens; gives both. Bits per byte compare across tokenizers and
across languages (a Chinese character is three bytes), loss per token does not.
"""

import math

import numpy as np
import torch
import torch.distributed as dist

from xmodel_core.artifacts.token_shards import TokenShards
from xmodel_core.model.network import Xmodel
from xmodel_core.training.config import TrainingConfig
from xmodel_core.training.loader import NO_TARGET
from xmodel_core.training.step import precision, rank_and_world


def windows(tokens: int, length: int, config: TrainingConfig) -> tuple[int, int]:
    """(windows, targets in each) of a validation: whole sequences of a length, at most validation_tokens; one
    shorter window where there is no whole one; (0, 0) where nothing can be predicted."""
    limit = min(tokens - 1, config.validation_tokens)
    if limit >= length:
        return limit // length, length
    return (1, limit) if limit > 0 else (0, 0)


@torch.no_grad()
def validate(
    model: Xmodel, shards: TokenShards, text_bytes: int, config: TrainingConfig, device: torch.device, step: int
) -> tuple[float, float] | None:
    """(loss, bits per byte) of one source, the same on every worker; None where it holds nothing out.

    In sequences of the step's length, documents told apart if the recipe's packing tells them apart. The text behind
    a part of the tokens is taken as that part of `text_bytes`; documents' ends (EOS) are predicted too and count as no
    text.
    """
    lengths = config.batching(step)
    count, length = windows(len(shards), lengths.sequence_length, config)
    if not count:
        return None
    rank, world = rank_and_world()
    total = torch.zeros(2, dtype=torch.float64, device=device)  # nats, targets
    mine = range(rank, count, world)
    ends = shards.document_ends() if config.packing == "best-fit" else None
    for first in range(0, len(mine), lengths.micro_batch_sequences):
        starts = np.array(mine[first : first + lengths.micro_batch_sequences]) * length
        rows = np.stack([shards.slice(start, length + 1).astype(np.int64) for start in starts.tolist()])
        targets, documents = rows[:, 1:].copy(), None
        if ends is not None:  # as in training, what would follow the end of a document is not asked for
            number = np.searchsorted(ends, starts[:, None] + np.arange(length + 1), side="right")
            targets[number[:, 1:] != number[:, :-1]] = NO_TARGET
            documents = torch.from_numpy(number[:, :-1]).to(device)
        inputs, wanted = torch.from_numpy(rows[:, :-1]).to(device), torch.from_numpy(targets).to(device)
        with precision(config, device):
            loss = model(inputs, wanted, documents_BT=documents).double()
        learned = int((targets >= 0).sum())
        total += torch.stack((loss * learned, torch.tensor(learned, dtype=torch.float64, device=device)))
    if dist.is_initialized():
        dist.all_reduce(total)
    nats, learned = total.tolist()
    return nats / learned, nats / math.log(2) / max(1.0, text_bytes * learned / len(shards))

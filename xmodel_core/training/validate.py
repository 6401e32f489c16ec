"""Loss on held-out documents, per source: in nats per token, and in bits per byte of text.

Takes a model and a source's validation tokens; gives both. Bits per byte compare across tokenizers and
across languages (a Chinese character is three bytes), loss per token does not.
"""

import math

import numpy as np
import torch

from xmodel_core.artifacts.token_shards import TokenShards
from xmodel_core.model.network import Xmodel
from xmodel_core.training.config import TrainingConfig
from xmodel_core.training.loader import NO_TARGET
from xmodel_core.training.parallel.workers import rank_and_world, sum_over_workers
from xmodel_core.training.step import precision


def windows(tokens: int, length: int, config: TrainingConfig) -> tuple[int, int]:
    """(windows, targets in each) of a validation over `tokens` held-out tokens: full sequences of `length` tokens, at
    most validation_tokens in all; one shorter window where not even one fits; (0, 0) where nothing can be
    predicted."""
    limit = min(tokens - 1, config.validation_tokens)
    if limit >= length:
        return limit // length, length
    return (1, limit) if limit > 0 else (0, 0)


@torch.no_grad()
def validate(
    model: Xmodel, shards: TokenShards, text_bytes: np.ndarray, config: TrainingConfig, device: torch.device, step: int
) -> tuple[float, float] | None:
    """(loss in nats per target, bits per byte) of one source, the same on every worker; None where the source holds
    nothing out.

    Windows [micro batch, sequence length of the step], shared among the workers; attention crosses documents or not as
    in the recipe's packing. `text_bytes` [vocabulary]: bytes of text that each token stands for. The bytes are those of
    the targets that were scored; documents' ends (EOS) are predicted too and count as no text.
    """
    lengths = config.batching(step)
    count, length = windows(len(shards), lengths.sequence_length, config)
    if not count:
        return None
    rank, world = rank_and_world()
    total = torch.zeros(3, dtype=torch.float64, device=device)  # nats, targets, bytes of their text
    share = range(rank, count, world)
    ends = shards.document_ends() if config.packing == "best-fit" else None
    for first in range(0, len(share), lengths.micro_batch_sequences):
        starts = np.array(share[first : first + lengths.micro_batch_sequences]) * length
        rows = np.stack([shards.slice(start, length + 1).astype(np.int64) for start in starts.tolist()])
        targets, documents = rows[:, 1:].copy(), None
        if ends is not None:  # as in training, what would follow the end of a document is no target
            number = np.searchsorted(ends, starts[:, None] + np.arange(length + 1), side="right")
            targets[number[:, 1:] != number[:, :-1]] = NO_TARGET
            documents = torch.from_numpy(number[:, :-1]).to(device)
        inputs, labels = torch.from_numpy(rows[:, :-1]).to(device), torch.from_numpy(targets).to(device)
        with precision(config, device):
            loss = model(inputs, labels, documents_BT=documents).double()
        scored = targets[targets >= 0]
        counts = torch.tensor([len(scored), int(text_bytes[scored].sum())], dtype=torch.float64, device=device)
        total += torch.cat(((loss * len(scored))[None], counts))
    nats, scored, scored_bytes = sum_over_workers(total).tolist()
    return nats / scored, nats / math.log(2) / max(1.0, scored_bytes)

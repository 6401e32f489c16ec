"""One optimizer step: forward, backward, clip, AdamW; and the arithmetic settings under which it is deterministic.

Takes a model, its optimizer and a worker's share of a batch; gives the loss and the gradient norm over
all workers. A number that is not finite stops the run before it can reach the weights.
"""

import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from xmodel_core.errors import XmodelError
from xmodel_core.training.config import TrainingConfig
from xmodel_core.training.loader import Batch
from xmodel_core.training.optim.adamw import set_learning_rate
from xmodel_core.training.parallel.micro_batches import micro_batches
from xmodel_core.training.parallel.workers import gradient_exchange, mean_over_workers


class Diverged(XmodelError):
    """A loss or a gradient that is not finite: an error in a run, a result in a search."""


@contextmanager
def exact_arithmetic(config: TrainingConfig) -> Iterator[None]:
    """Threads as the settings state and deterministic kernels, so that the same steps give the same bits. Torch's own
    settings are restored afterwards."""
    threads, deterministic = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    deterministic_memory: Any = torch.utils.deterministic
    fill_memory = deterministic_memory.fill_uninitialized_memory
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS is deterministic only with it
    try:
        torch.set_num_threads(config.threads_per_worker)
        torch.use_deterministic_algorithms(True)
        deterministic_memory.fill_uninitialized_memory = False  # guards against bugs, at a cost
        yield
    finally:
        torch.set_num_threads(threads)
        torch.use_deterministic_algorithms(deterministic)
        deterministic_memory.fill_uninitialized_memory = fill_memory


def precision(config: TrainingConfig, device: torch.device) -> torch.autocast:
    """Matrix products in bf16 where the settings say so; weights stay fp32 either way."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=config.precision == "bf16")


def training_step(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    batch: Batch,
    config: TrainingConfig,
    device: torch.device,
    step: int,
    lr: float,
) -> tuple[float, float]:
    """Trains on one worker's share of a step; gives (loss in nats per target over all workers, gradient norm before
    clipping).

    Diverged, naming step and learning rate, where either is not finite; the weights are then as before the step.
    """
    set_learning_rate(optimizer, lr)
    parts = list(micro_batches(batch, config.batching(step).micro_batch_sequences, device))
    total = torch.zeros((), device=device)
    for number, part in enumerate(parts, 1):
        # Gradients are exchanged between workers once a step, with the last micro batch.
        with gradient_exchange(model, number == len(parts)):
            with precision(config, device):
                loss = model(part.tokens_BT, part.targets_BT, documents_BT=part.documents_BT) * part.weight
            loss.backward()
        total += loss.detach()
    grad_norm = nn.utils.clip_grad_norm_(model.parameters(), config.grad_clip)
    loss_now, norm_now = float(mean_over_workers(total)), float(grad_norm)
    if not (math.isfinite(loss_now) and math.isfinite(norm_now)):
        raise Diverged(
            "training diverged",
            expected="a finite loss and gradient",
            found=f"loss {loss_now}, gradient norm {norm_now}",
            where=f"step {step}, learning rate {lr:.3g}",
            remedy="lower training.peak_lr or lengthen training.warmup_steps; earlier checkpoints are intact",
        )
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return loss_now, norm_now

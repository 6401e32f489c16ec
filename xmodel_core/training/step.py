"""One optimizer step: forward, backward, clip, AdamW; and the arithmetic's frame around it.

Takes a model, its optimizer and a worker's share of a batch; gives the loss and the gradient's norm over
all workers. A number that is not finite stops the run before it can reach the weights.
"""

import math
import os
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from xmodel_core.errors import XmodelError
from xmodel_core.training.config import TrainingConfig
from xmodel_core.training.loader import Batch
from xmodel_core.training.optim import set_learning_rate


class Diverged(XmodelError):
    """A loss or a gradient that is not finite: an accident in a run, an outcome in a search."""


def rank_and_world() -> tuple[int, int]:
    """This worker's number and how many there are."""
    return (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)


def choose_device(config: TrainingConfig) -> torch.device:
    """The device that the settings name; XmodelError where a GPU is asked for and there is none."""
    there = torch.cuda.is_available()
    if config.device == "cuda" and not there:
        raise XmodelError(
            "there is no GPU here",
            expected="a CUDA device, as training.device says",
            found="none that torch can see",
            remedy="--set training.device=auto, or install the CUDA build of torch",
        )
    return (
        torch.device("cuda", torch.cuda.current_device()) if there and config.device != "cpu" else torch.device("cpu")
    )


@contextmanager
def exact_arithmetic(config: TrainingConfig) -> Iterator[None]:
    """Threads as stated and deterministic kernels, so that the same steps give the same bits; put back after."""
    threads, deterministic = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    deterministic_memory: Any = torch.utils.deterministic
    filled = deterministic_memory.fill_uninitialized_memory
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS is deterministic only with it
    try:
        torch.set_num_threads(config.threads_per_worker)
        torch.use_deterministic_algorithms(True)
        deterministic_memory.fill_uninitialized_memory = False  # guards against bugs, at a cost
        yield
    finally:
        torch.set_num_threads(threads)
        torch.use_deterministic_algorithms(deterministic)
        deterministic_memory.fill_uninitialized_memory = filled


def precision(config: TrainingConfig, device: torch.device) -> torch.autocast:
    """Matrix products in bf16 where the settings say so; weights stay fp32 either way."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=config.precision == "bf16")


def mean_over_workers(value: Tensor) -> Tensor:
    """The mean of a number over all workers."""
    if dist.is_initialized():
        dist.all_reduce(value)
        value /= dist.get_world_size()
    return value


def micro_batches(
    batch: Batch, sequences: int, device: torch.device
) -> Iterator[tuple[float, Tensor, Tensor, Tensor | None]]:
    """(share, tokens, targets, documents) of each part of a worker's share. The sum of share · mean loss over the
    parts, averaged over the workers, is the mean over all targets of the step, wherever its padding lies."""
    world = rank_and_world()[1]
    for first in range(0, len(batch.tokens_BT), sequences):
        part = slice(first, first + sequences)
        targets = batch.targets_BT[part]
        learned = targets.size if batch.documents_BT is None else int((targets >= 0).sum())
        documents = None if batch.documents_BT is None else torch.from_numpy(batch.documents_BT[part]).to(device)
        tokens = torch.from_numpy(batch.tokens_BT[part]).to(device)
        yield learned * world / batch.step_targets, tokens, torch.from_numpy(targets).to(device), documents


def training_step(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    batch: Batch,
    config: TrainingConfig,
    device: torch.device,
    step: int,
    lr: float,
) -> tuple[float, float]:
    """Learns from one worker's share of a step; gives (loss, gradient norm before clipping).

    Diverged, naming step and rate, where either is not finite; the weights are then as before the step.
    """
    set_learning_rate(optimizer, lr)
    parts = list(micro_batches(batch, config.batching(step).micro_batch_sequences, device))
    total = torch.zeros((), device=device)
    for number, (share, tokens, targets, documents) in enumerate(parts):
        waits = isinstance(model, DistributedDataParallel) and number + 1 < len(parts)
        # Gradients travel between workers once a step, with the last micro batch.
        with model.no_sync() if waits and isinstance(model, DistributedDataParallel) else nullcontext():
            with precision(config, device):
                loss = model(tokens, targets, documents_BT=documents) * share
            loss.backward()
        total += loss.detach()
    grad_norm = nn.utils.clip_grad_norm_(model.parameters(), config.grad_clip)
    loss_now, norm_now = float(mean_over_workers(total)), float(grad_norm)
    if not (math.isfinite(loss_now) and math.isfinite(norm_now)):
        raise Diverged(
            "the training has come apart",
            expected="a finite loss and gradient",
            found=f"loss {loss_now}, gradient norm {norm_now}",
            where=f"step {step}, learning rate {lr:.3g}",
            remedy="lower training.peak_lr or lengthen training.warmup_steps; earlier checkpoints are whole",
        )
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return loss_now, norm_now

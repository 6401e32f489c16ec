"""The workers of a run: rank and world size, the data-parallel model, sums and means over all of them."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from xmodel_core.errors import TransientError, XmodelError

Value = TypeVar("Value")


def rank_and_world() -> tuple[int, int]:
    """(this worker's number from 0, number of workers)."""
    return (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)


def data_parallel(model: nn.Module) -> nn.Module:
    """The model whose backward pass averages gradients over the workers; the model itself where there is one worker."""
    return DistributedDataParallel(model, broadcast_buffers=False) if rank_and_world()[1] > 1 else model


def gradient_exchange(model: nn.Module, exchange: bool) -> AbstractContextManager[object]:
    """Around a forward and backward pass: without `exchange` its gradients stay on this worker, to be averaged together
    with those of a later pass."""
    return model.no_sync() if isinstance(model, DistributedDataParallel) and not exchange else nullcontext()


def sum_over_workers(values: Tensor) -> Tensor:
    """The elementwise sum over all workers, in place."""
    if dist.is_initialized():
        dist.all_reduce(values)
    return values


def mean_over_workers(values: Tensor) -> Tensor:
    """The elementwise mean over all workers, in place."""
    return sum_over_workers(values).div_(rank_and_world()[1]) if dist.is_initialized() else values


def from_first_worker(make: Callable[[], Value]) -> Value:
    """What `make` gives on the first worker, on every worker. An XmodelError that it raises there is raised on all."""
    if not dist.is_initialized():
        return make()
    outcome: list[Any] = [None]
    if dist.get_rank() == 0:
        try:
            outcome = [make()]
        except XmodelError as error:
            outcome = [error]
    dist.broadcast_object_list(outcome)
    if isinstance(outcome[0], XmodelError):
        raise outcome[0]
    return outcome[0]


def flag_of_first_worker(flag: bool) -> bool:
    """The first worker's `flag`, on every worker."""
    if not dist.is_initialized():
        return flag
    device = "cuda" if dist.get_backend() == "nccl" else "cpu"
    value = torch.tensor([flag], dtype=torch.uint8, device=device)
    dist.broadcast(value, 0)
    return bool(value.item())


@contextmanager
def naming_a_lost_worker() -> Iterator[None]:
    """Turns what a collective operation raises where another worker is gone into a TransientError."""
    try:
        yield
    except RuntimeError as error:  # gloo raises no class of its own
        if not dist.is_initialized() or not (isinstance(error, dist.DistError) or "gloo" in str(error)):
            raise
        raise TransientError(
            "a training worker was lost",
            found=f"no connection to it ({str(error).splitlines()[0][-120:]})",
            remedy="run again: it continues from its newest checkpoint",
        ) from None

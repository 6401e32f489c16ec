"""A proxy: a small model trained only for its losses, which say how larger ones should be trained.

Takes a job, and a function that may inspect the model; gives the loss of each step. No files, no checkpoints, no
validation: a search compares models on the same tokens of one plan, each of which is seen for the first time, so the
training loss is a fair measure. A proxy that diverges is a result, too.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import nn

from xmodel_core.model.device import choose_device
from xmodel_core.model.network import Xmodel, initialise
from xmodel_core.training.job import Job
from xmodel_core.training.loop import steps
from xmodel_core.training.optim.adamw import make_optimizer
from xmodel_core.training.step import Diverged, exact_arithmetic


@dataclass(frozen=True)
class ProxyLosses:
    """Mean loss of each step in nats; shorter than the schedule where the proxy diverged."""

    losses: Sequence[float]
    diverged: bool

    def last(self, share: float = 0.1) -> float:
        """The mean over the last share of the steps; infinite where the proxy diverged."""
        count = math.ceil(len(self.losses) * share)
        return math.inf if self.diverged else sum(self.losses[-count:]) / count


def train_proxy(job: Job, inspect: Callable[[nn.Module, int], None] | None = None) -> ProxyLosses:
    """Trains a job's model from its initial weights to the end of its schedule, in this process. `inspect(model,
    step)` is called before the first step, with step 0, and after each."""
    config = job.training
    device = choose_device(config.device, "training.device")
    losses: list[float] = []
    with exact_arithmetic(config):
        model = Xmodel(job.model, job.vocab_size).to(device)
        model.configure_training(compiled=config.compile, activation_checkpointing=config.gradient_checkpointing)
        initialise(model, config.seed)
        optimizer = make_optimizer(model, config)
        if inspect:
            inspect(model, 0)
        try:
            for report in steps(model, optimizer, job, device, 0):
                losses.append(report.loss)
                if inspect:
                    inspect(model, report.step)
        except Diverged:
            return ProxyLosses(losses, diverged=True)
    return ProxyLosses(losses, diverged=False)

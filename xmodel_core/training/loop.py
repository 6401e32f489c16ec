"""The training loop: steps, and between them what is recorded, validated and saved.

Takes a job's plain values (`train` is what Ray Train runs on each worker); gives checkpoints and metrics
on disk. `steps` yields one `StepReport` per step and knows nothing of files; `Recorder` turns reports into
rows; `train` saves and validates when it is due. It continues from the newest sound checkpoint, and stops early,
with a checkpoint, where it is asked to.
"""

import time
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

from xmodel_core.artifacts.token_shards import TokenShards
from xmodel_core.model.device import choose_device
from xmodel_core.model.network import Xmodel, initialise
from xmodel_core.training.checkpoint.prune import prune
from xmodel_core.training.checkpoint.save import load_checkpoint, newest_sound_checkpoint
from xmodel_core.training.config import TrainingConfig
from xmodel_core.training.job import Job
from xmodel_core.training.optim.adamw import make_optimizer
from xmodel_core.training.parallel.workers import (
    data_parallel,
    from_first_worker,
    naming_a_lost_worker,
    rank_and_world,
)
from xmodel_core.training.recorder import Recorder, StepReport, is_due, put_run_row
from xmodel_core.training.schedule import learning_rate
from xmodel_core.training.step import exact_arithmetic, training_step
from xmodel_core.training.stop import StopRequest
from xmodel_core.training.validate import validate


def steps(
    model: nn.Module, optimizer: torch.optim.Optimizer, job: Job, device: torch.device, done: int
) -> Iterator[StepReport]:
    """Trains from the step after `done` to the end of the schedule."""
    rank, world = rank_and_world()
    batches = job.stream.batches(done + 1, rank, world, job.training.prefetch_steps)
    for step in range(done + 1, job.training.total_steps + 1):
        started = time.perf_counter()
        lr = learning_rate(job.training, step)
        batch = next(batches)
        loss, grad_norm = training_step(model, optimizer, batch, job.training, device, step, lr)
        yield StepReport(step, loss, lr, grad_norm, time.perf_counter() - started)


def _validate_all(
    job: Job, held_out: dict[str, TokenShards], model: Xmodel, device: torch.device, step: int
) -> dict[str, tuple[float, float]]:
    results = {}
    for source, shards in held_out.items():
        if result := validate(model, shards, job.text_bytes, job.training, device, step):
            results[source] = result
    return results


def _resume(job: Job, model: Xmodel, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """Loads the newest sound checkpoint, else initialises the weights; gives the checkpoint's state."""
    checkpoint = from_first_worker(lambda: newest_sound_checkpoint(job.folder))
    if checkpoint is None:
        initialise(model, job.training.seed)
        return {"step": 0}
    return load_checkpoint(job.folder.tree(checkpoint), model, optimizer)


def _train(job: Job, config: TrainingConfig, device: torch.device, stop: StopRequest) -> None:
    rank, _ = rank_and_world()
    bare = Xmodel(job.model, job.vocab_size).to(device)
    bare.configure_training(compiled=config.compile, activation_checkpointing=config.gradient_checkpointing)
    optimizer = make_optimizer(bare, config)
    state = _resume(job, bare, optimizer)
    model = data_parallel(bare)
    recorder = Recorder(job, bare, device, state) if rank == 0 else None
    if recorder:
        prune(job.folder, config.keep_checkpoints, job.phase_ends)
        put_run_row(job, device, "running")
    held_out = {
        source: TokenShards(artifact, "validation")
        for source, artifact in job.shards.items()
        if source in job.languages
    }
    for report in steps(model, optimizer, job, device, state["step"]):
        validates = is_due(report.step, config.validate_every_steps, job)
        if recorder:
            recorder.record(report)
            recorder.report_progress(report, validates)
        if validates:
            for source, result in _validate_all(job, held_out, bare, device, report.step).items():
                if recorder:
                    recorder.record_validation(report.step, source, *result)
        stops = stop.is_made()
        if recorder and (stops or is_due(report.step, config.checkpoint_every_steps, job)):
            recorder.save(report.step, optimizer)
        if stops and report.step < config.total_steps:
            return
    if recorder:
        recorder.close(config.total_steps)
        put_run_row(job, device, "finished")


def train(settings: dict[str, Any]) -> None:
    """One worker of a run, from its newest sound checkpoint to its end, or to the step at which it is asked to stop.
    XmodelError where it cannot continue."""
    job = Job.from_settings(settings)
    with exact_arithmetic(job.training), StopRequest.of(job.folder) as stop, naming_a_lost_worker():
        _train(job, job.training, choose_device(job.training.device, "training.device"), stop)

"""The training loop: steps, and what is written down between them.

Takes a job's plain values (`train` is what Ray Train runs on each worker); gives checkpoints and metrics
on disk. `steps` yields one `StepReport` per step and knows nothing of files; `Recorder` turns reports into
rows; `train` saves and validates when it is time. It goes on from the newest whole checkpoint.
"""

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from xmodel_core.artifacts.token_shards import TokenShards
from xmodel_core.model.cost import count_parameters, dense_bf16_peak, flops_per_token
from xmodel_core.model.network import Xmodel, initialise
from xmodel_core.training import checkpoint
from xmodel_core.training.config import TrainingConfig
from xmodel_core.training.hardware import hardware_name
from xmodel_core.training.job import Job
from xmodel_core.training.metrics import Metrics, read_rows, write_rows
from xmodel_core.training.optim import make_optimizer
from xmodel_core.training.schedule import learning_rate
from xmodel_core.training.step import choose_device, exact_arithmetic, rank_and_world, training_step
from xmodel_core.training.validate import validate

ROWS_PER_PART = 10
"""Logged steps in one metrics part: the ledger sees a running training that often."""
PROGRESS = "progress.json"
PROGRESS_EVERY_SECONDS = 0.5


@dataclass(frozen=True)
class StepReport:
    """What one step did. `seconds` is the step's own time, data included, checkpoints and validation not."""

    step: int
    loss: float
    lr: float
    grad_norm: float
    seconds: float


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


def is_time(step: int, every: int, job: Job) -> bool:
    """Whether something due every so many steps is due: then, and at each phase's end."""
    return step % every == 0 or step in job.phase_ends


def is_logged(step: int, job: Job) -> bool:
    """The steps that have a row: every log_every_steps, the first, and wherever a checkpoint is."""
    config = job.training
    return step == 1 or is_time(step, config.log_every_steps, job) or is_time(step, config.checkpoint_every_steps, job)


class Recorder:
    """The first worker's books: rows of train_metrics, consumed, validation and checkpoints."""

    def __init__(self, job: Job, model: Xmodel, device: torch.device, done: int) -> None:
        self._job, self._model = job, model
        self._metrics = Metrics(job.folder, done)
        self._losses: list[float] = []
        self._seconds = 0.0
        self._told = 0.0
        peak = dense_bf16_peak(torch.cuda.get_device_name(device)) if device.type == "cuda" else None
        self._peak = peak * rank_and_world()[1] if peak and job.training.precision == "bf16" else None
        self._tokens = job.stream.tokens_after(done)

    def record(self, report: StepReport) -> None:
        """Keeps a step; where it is logged, a row with the mean loss since the row before."""
        job, config = self._job, self._job.training
        self._losses.append(report.loss)
        self._seconds += report.seconds
        if not is_logged(report.step, job):
            return
        here = {"run": job.run, "step": report.step}
        phase = job.phase_name(report.step)
        tokens = job.stream.tokens_after(report.step)
        rate = (tokens - self._tokens) / self._seconds
        flops = flops_per_token(job.model, job.vocab_size, config.batching(report.step).sequence_length)
        norm = torch.nn.utils.get_total_norm([parameter.detach() for parameter in self._model.parameters()])
        row = {
            **here,
            "phase": phase,
            "tokens": tokens,
            "loss": sum(self._losses) / len(self._losses),
            "lr": report.lr,
            "grad_norm": report.grad_norm,
            "param_norm": float(norm),
            "tokens_per_second": rate,
            "mfu": rate * flops / self._peak if self._peak else None,
            "seconds": self._seconds,
        }
        self._metrics.add("train_metrics", [row])
        read = job.stream.read_tokens(report.step)
        consumed = [
            {
                **here,
                "phase": phase,
                "source": source,
                "lang": job.languages[source],
                "tokens": count,
                "epochs": read[source] / len(job.stream.tokens[source]),
                "padding_tokens": count - read[source],
            }
            for source, count in job.stream.consumed(report.step).items()
            if source in job.languages
        ]
        self._metrics.add("consumed", consumed)
        self._losses, self._seconds, self._tokens = [], 0.0, tokens
        if report.step % (ROWS_PER_PART * config.log_every_steps) == 0:
            self._metrics.put(report.step)

    def validated(self, step: int, source: str, loss: float, bits_per_byte: float) -> None:
        """Keeps a validation's row."""
        row = {"run": self._job.run, "step": step, "source": source, "lang": self._job.languages[source]}
        self._metrics.add("validation", [{**row, "loss": loss, "bits_per_byte": bits_per_byte}])

    def save(self, step: int, optimizer: torch.optim.Optimizer) -> None:
        """Saves a checkpoint. Its rows, and all before it, are in place before it is: whoever goes on from it
        finds them."""
        job = self._job
        phase, tokens = job.phase_name(step), job.stream.tokens_after(step)
        name = checkpoint.checkpoint_name(step)

        def put_rows(size: int, created_at: str) -> None:
            row = {
                "run": job.run,
                "step": step,
                "phase": phase,
                "tokens": tokens,
                "path": f"runs/{job.folder.name}/{name}",
                "bytes": size,
                "created_at": created_at,
                "kept": True,
            }
            self._metrics.add("checkpoints", [row])
            self._metrics.put(step)

        state = {"phase": phase, "tokens": tokens, "world_size": rank_and_world()[1]}
        tokenizer = job.tokenizer.file("tokenizer.model")
        checkpoint.save(job.folder, step, state, self._model, optimizer, tokenizer, put_rows)
        checkpoint.prune(job.folder, job.training.keep_checkpoints, job.phase_ends)

    def tell(self, report: StepReport, validates: bool) -> None:
        """Leaves a line for whoever shows the progress, now and then; always where the bar stands still after it."""
        now = time.monotonic()
        if validates or now - self._told >= PROGRESS_EVERY_SECONDS or report.step == self._job.training.total_steps:
            self._told = now
            note = f"loss {report.loss:.3f}" + (", validating" if validates else "")
            here = self._job.folder.working_folder()
            aside = here / f".{PROGRESS}"
            aside.write_text(json.dumps({"step": report.step, "note": note}), encoding="utf-8")
            aside.replace(here / PROGRESS)

    def close(self, step: int) -> None:
        """Puts the last rows in place."""
        self._metrics.put(step)


def put_run_row(job: Job, device: torch.device, status: str) -> None:
    """The run's row of `runs`; a run that goes on keeps the time at which it began."""
    name = "metrics/runs/run.parquet"
    now = datetime.now(UTC).isoformat(timespec="seconds")
    before = read_rows(job.folder, name)
    world = rank_and_world()[1]
    flops = sum(
        flops_per_token(job.model, job.vocab_size, phase.sequence_length) * phase.tokens
        for phase in job.training.phases()
    )
    row = {
        "run": job.run,
        "recipe": job.recipe,
        "plan": job.plan_label,
        "tokenizer": job.tokenizer.label,
        "status": status,
        "started_at": before[0]["started_at"] if before else now,
        "finished_at": None if status == "running" else now,
        "world_size": world,
        "hardware": hardware_name(device, job.training.threads_per_worker),
        "parameters": count_parameters(job.model, job.vocab_size).total,
        "flops": flops,
    }
    write_rows(job.folder, name, "runs", [row])


def _validate_all(
    job: Job, held_out: dict[str, TokenShards], model: Xmodel, device: torch.device, step: int
) -> dict[str, tuple[float, float]]:
    results = {}
    for source, shards in held_out.items():
        text_bytes = job.shards[source].manifest()["facts"]["validation_bytes"]
        if result := validate(model, shards, text_bytes, job.training, device, step):
            results[source] = result
    return results


def _goes_on_from(job: Job, model: Xmodel, optimizer: torch.optim.Optimizer) -> int:
    """Loads the newest whole checkpoint, else draws the weights; gives the steps that are done."""
    whole = checkpoint.whole_checkpoints(job.folder)
    if not whole:
        initialise(model, job.training.seed)
        return 0
    return checkpoint.load(job.folder.tree(whole[-1]), model, optimizer)["step"]


def _train(job: Job, config: TrainingConfig, device: torch.device) -> None:
    rank, world = rank_and_world()
    bare = Xmodel(job.model, job.vocab_size).to(device)
    bare.configure_training(compiled=config.compile, activation_checkpointing=config.gradient_checkpointing)
    optimizer = make_optimizer(bare, config)
    done = _goes_on_from(job, bare, optimizer)
    model = DistributedDataParallel(bare, broadcast_buffers=False) if world > 1 else bare
    recorder = Recorder(job, bare, device, done) if rank == 0 else None
    if recorder:
        checkpoint.prune(job.folder, config.keep_checkpoints, job.phase_ends)
        put_run_row(job, device, "running")
    held_out = {
        source: TokenShards(artifact, "validation")
        for source, artifact in job.shards.items()
        if source in job.languages
    }
    for report in steps(model, optimizer, job, device, done):
        validates = is_time(report.step, config.validate_every_steps, job)
        if recorder:
            recorder.record(report)
            recorder.tell(report, validates)
        if validates:
            for source, result in _validate_all(job, held_out, bare, device, report.step).items():
                if recorder:
                    recorder.validated(report.step, source, *result)
        if recorder and is_time(report.step, config.checkpoint_every_steps, job):
            recorder.save(report.step, optimizer)
    if recorder:
        recorder.close(config.total_steps)
        put_run_row(job, device, "finished")


def train(settings: dict[str, Any]) -> None:
    """One worker of a run, from its newest checkpoint to its end. XmodelError where it cannot go on."""
    job = Job.from_settings(settings)
    device = choose_device(job.training)
    with exact_arithmetic(job.training):
        try:
            _train(job, job.training, device)
        except BaseException:
            if rank_and_world()[0] == 0:
                put_run_row(job, device, "failed")
            raise

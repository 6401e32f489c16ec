"""What a run writes down: rows of the ledger, checkpoints, and its progress.

Takes one `StepReport` per step from the first worker's loop; gives rows of train_metrics, consumed, validation,
checkpoints and runs, checkpoints on disk, and progress.json for a progress bar elsewhere.
"""

import json
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import torch

from xmodel_core.artifacts.disk import naming_a_full_disk
from xmodel_core.model.cost import count_parameters, dense_bf16_peak, flops_per_token
from xmodel_core.model.network import Xmodel
from xmodel_core.training.checkpoint.names import checkpoint_name
from xmodel_core.training.checkpoint.prune import prune
from xmodel_core.training.checkpoint.save import save_checkpoint
from xmodel_core.training.job import Job
from xmodel_core.training.metrics import RUN_ROW, Metrics, read_rows, write_rows
from xmodel_core.training.parallel.device import hardware_name
from xmodel_core.training.parallel.workers import rank_and_world

ROWS_PER_PART = 10
"""Logged steps in one metrics part: how often the ledger sees a running training."""
PROGRESS = "progress.json"
PROGRESS_EVERY_SECONDS = 0.5


@dataclass(frozen=True)
class StepReport:
    """The outcome of one step."""

    step: int
    loss: float
    """Mean over the step's targets, in nats."""
    lr: float
    grad_norm: float
    """Before clipping."""
    seconds: float
    """Of the step with its data, without checkpoints and validation."""


def is_due(step: int, every: int, job: Job) -> bool:
    """Whether a step is a multiple of `every`, or ends a phase."""
    return step % every == 0 or step in job.phase_ends


def is_logged(step: int, job: Job) -> bool:
    """Whether a step has a row of train_metrics: every log_every_steps, the first, and each with a checkpoint."""
    config = job.training
    return step == 1 or is_due(step, config.log_every_steps, job) or is_due(step, config.checkpoint_every_steps, job)


class Recorder:
    """Records a run, on its first worker alone: rows of train_metrics, consumed, validation and checkpoints."""

    def __init__(self, job: Job, model: Xmodel, device: torch.device, state: dict[str, Any]) -> None:
        """`state`: of the checkpoint that the run continues from; `{"step": 0}` at its beginning."""
        self._job, self._model = job, model
        job.check_lease()
        self._metrics = Metrics(job.folder, state["step"])
        # What was not in a row yet when the run was stopped: the next row is the one of an undisturbed run.
        unlogged = state.get("unlogged", {})
        self._losses: list[float] = list(unlogged.get("losses", []))
        self._seconds: float = unlogged.get("seconds", 0.0)
        self._reported_at = 0.0
        peak = dense_bf16_peak(torch.cuda.get_device_name(device)) if device.type == "cuda" else None
        self._peak = peak * rank_and_world()[1] if peak and job.training.precision == "bf16" else None
        self._tokens = job.stream.tokens_after(state["step"] - len(self._losses))

    def record(self, report: StepReport) -> None:
        """Adds a step; where it is logged, a row with the mean loss since the row before."""
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
            self._put(report.step)

    def record_validation(self, step: int, source: str, loss: float, bits_per_byte: float) -> None:
        """Adds a validation's row."""
        row = {"run": self._job.run, "step": step, "source": source, "lang": self._job.languages[source]}
        self._metrics.add("validation", [{**row, "loss": loss, "bits_per_byte": bits_per_byte}])

    def save(self, step: int, optimizer: torch.optim.Optimizer) -> None:
        """Saves a checkpoint and removes old ones. Its rows, and all before it, are in place before it is: a run that
        continues from it finds them."""
        job = self._job
        job.check_lease()
        phase, tokens = job.phase_name(step), job.stream.tokens_after(step)
        name = checkpoint_name(step)

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
            self._put(step)

        state: dict[str, Any] = {"phase": phase, "tokens": tokens, "world_size": rank_and_world()[1]}
        if self._losses:
            state["unlogged"] = {"losses": self._losses, "seconds": self._seconds}
        tokenizer = job.tokenizer.file("tokenizer.model")
        save_checkpoint(job.folder, step, state, self._model, optimizer, tokenizer, put_rows)
        prune(job.folder, job.training.keep_checkpoints, job.phase_ends)

    def report_progress(self, report: StepReport, validates: bool) -> None:
        """Writes progress.json for the progress bar, at most every PROGRESS_EVERY_SECONDS; always before a validation
        and at the end, after which the bar does not move."""
        now = time.monotonic()
        if (
            validates
            or now - self._reported_at >= PROGRESS_EVERY_SECONDS
            or report.step == self._job.training.total_steps
        ):
            self._reported_at = now
            note = f"loss {report.loss:.3f}" + (", validating" if validates else "")
            here = self._job.folder.working_folder()
            aside = here / f".{PROGRESS}"
            with naming_a_full_disk(here):
                aside.write_text(json.dumps({"step": report.step, "note": note}), encoding="utf-8")
            aside.replace(here / PROGRESS)

    def close(self, step: int) -> None:
        """Writes the last rows."""
        self._put(step)

    def _put(self, step: int) -> None:
        self._job.check_lease()
        self._metrics.put(step)


def put_run_row(job: Job, device: torch.device, status: str) -> None:
    """Writes the run's row of `runs`; a resumed run keeps the time at which it began."""
    job.check_lease()
    now = datetime.now(UTC).isoformat(timespec="seconds")
    before = read_rows(job.folder, RUN_ROW)
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
    write_rows(job.folder, RUN_ROW, "runs", [row])

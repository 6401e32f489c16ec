"""The schedule, the optimizer, the batch, the precision, and what is written down how often.

Takes a recipe's `training:` slice; gives a frozen `TrainingConfig`. Where it runs (`workers`,
`device`) is no part of a run's identity; precision and threads are, for they change bits.
"""

from typing import Any, Literal

from pydantic import Field, model_validator

from xmodel_core.specs.strict import Strict

EXECUTION = frozenset({"workers", "device"})
"""Fields that say where, not what."""


class TrainingConfig(Strict):
    """One training run. Defaults are those the reports share: AdamW 0.9 / 0.95, decay 0.1, clip 1.0."""

    schedule: Literal["wsd", "cosine"] = "wsd"
    """`wsd`: warm-up, constant, decay (Xmodel-2); phases `stable` (warm-up included) and `decay`.
    `cosine`: warm-up, then half a cosine down (Xmodel-LM); one phase, `train`."""
    warmup_steps: int = Field(ge=0)
    """Steps in which the learning rate rises linearly from 0 to its peak."""
    stable_steps: int = Field(default=0, ge=0)
    """Steps at the peak, after the warm-up; 0 under `cosine`."""
    decay_steps: int = Field(ge=0)
    """Steps in which it falls; under `cosine` all steps after the warm-up."""
    decay_shape: Literal["exponential", "linear"] = "exponential"
    """How it falls under `wsd`: halved every decay_half_life_steps (Xmodel-2), or on a straight line."""
    decay_half_life_steps: int = Field(default=5000, ge=1)
    """Steps in which an exponential decay halves the learning rate (Xmodel-2: 5,000)."""
    peak_lr: float = Field(gt=0)
    """The highest learning rate; under muP that of embeddings, the blocks' matrices learn at peak_lr / m."""
    min_lr_ratio: float = Field(default=0.0, ge=0, le=1)
    """Share of peak_lr at which cosine and linear decays end; a floor for the exponential one."""
    beta1: float = Field(default=0.9, ge=0, lt=1)
    """AdamW: memory of the mean gradient."""
    beta2: float = Field(default=0.95, ge=0, lt=1)
    """AdamW: memory of the mean squared gradient."""
    eps: float = Field(default=1e-8, gt=0)
    """AdamW: added to the root of the mean squared gradient."""
    weight_decay: float = Field(default=0.1, ge=0)
    """AdamW: decay of matrices per unit of learning rate; RMSNorm gains do not decay."""
    grad_clip: float = Field(default=1.0, gt=0)
    """The global gradient norm is cut down to this."""
    global_batch_tokens: int = Field(ge=1)
    """Tokens per optimizer step over all workers: a multiple of sequence_length."""
    sequence_length: int = Field(ge=1)
    """Tokens per sequence."""
    micro_batch_sequences: int = Field(ge=1)
    """Sequences that one worker works on at a time; gradients of the micro batches of a step add up."""
    precision: Literal["fp32", "bf16"] = "fp32"
    """Arithmetic of the matrix products; weights, gradients and optimizer stay fp32."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where: `auto` is a GPU if there is one. Which it was stands in the ledger's `runs.hardware`."""
    workers: int = Field(default=1, ge=1)
    """Training processes; each takes every workers-th sequence of a batch."""
    threads_per_worker: int = Field(default=1, ge=1)
    """CPU threads of one worker; stated, not detected, because sums in another order differ in the last bits."""
    seed: int = Field(default=0, ge=0)
    """Decides the initial weights and the order of the windows of tokens."""
    log_every_steps: int = Field(default=10, ge=1)
    """Steps per row of train_metrics and consumed."""
    checkpoint_every_steps: int = Field(default=1000, ge=1)
    """Steps between checkpoints; each phase's end is one too."""
    keep_checkpoints: int = Field(default=3, ge=1)
    """How many of the newest checkpoints stay, beside those at phase ends."""
    validate_every_steps: int = Field(default=1000, ge=1)
    """Steps between validations; each phase's end is one too."""
    validation_tokens: int = Field(default=65536, ge=0)
    """Held-out tokens per source in a validation, at most; 0: no validation."""

    @model_validator(mode="after")
    def _fits(self) -> "TrainingConfig":
        if self.global_batch_tokens % self.sequence_length:
            raise ValueError(
                f"global_batch_tokens {self.global_batch_tokens} must be a multiple of "
                f"sequence_length {self.sequence_length}"
            )
        at_once = self.workers * self.micro_batch_sequences
        if self.global_batch_sequences % at_once:
            raise ValueError(
                f"a batch of {self.global_batch_sequences} sequences must be a multiple of "
                f"workers · micro_batch_sequences, {self.workers} · {self.micro_batch_sequences}"
            )
        if self.schedule == "cosine" and self.stable_steps:
            raise ValueError("a cosine has no stable part: put its steps into decay_steps")
        if not self.total_steps:
            raise ValueError("warmup_steps, stable_steps and decay_steps are all 0: there is nothing to train")
        return self

    def phases(self) -> list[tuple[str, int]]:
        """The schedule's phases and their steps, in order; a phase without steps is left out."""
        if self.schedule == "cosine":
            return [("train", self.total_steps)]
        lengths = [("stable", self.warmup_steps + self.stable_steps), ("decay", self.decay_steps)]
        return [(name, steps) for name, steps in lengths if steps]

    @property
    def total_steps(self) -> int:
        """Optimizer steps of the whole run."""
        return self.warmup_steps + self.stable_steps + self.decay_steps

    @property
    def global_batch_sequences(self) -> int:
        """Sequences per optimizer step."""
        return self.global_batch_tokens // self.sequence_length

    def identity(self) -> dict[str, Any]:
        """The settings that make the run what it is, as plain values."""
        return self.model_dump(mode="json", exclude=set(EXECUTION))

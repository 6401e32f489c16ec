"""The schedule, the optimizer, the batch, the precision, and how often a run logs, validates and saves.

Takes a recipe's `training:` slice; gives a frozen `TrainingConfig`. Where it runs (`workers`,
`device`) is no part of a run's identity; precision and threads are, because they change bits.
"""

from collections.abc import Mapping
from itertools import pairwise
from typing import Any, Literal

from pydantic import Field, model_validator

from xmodel_core.specs.mixtures import ScheduledPhase
from xmodel_core.specs.strict import Strict

EXECUTION = frozenset({"workers", "device", "prefetch_steps", "shard_cache_bytes", "gradient_checkpointing"})
"""Fields that say where and how, not what."""
RECORDED_NAMES = {"batch_schedule": "changes"}
"""Field → its key in a run's identity: the field was renamed later, and fingerprints must stay what they were."""


class BatchChange(Strict):
    """New lengths from a step on. Those that are not given stay as they were."""

    after_steps: int = Field(ge=1)
    """Steps before the change, warm-up included."""
    global_batch_tokens: int | None = Field(default=None, ge=1)
    """Tokens per optimizer step from there on (Xmodel-2: 2M, then 4M)."""
    sequence_length: int | None = Field(default=None, ge=1)
    """Tokens per sequence from there on (long context)."""
    micro_batch_sequences: int | None = Field(default=None, ge=1)
    """Sequences that one worker works on at a time, at most, from there on."""


class Batching(Strict):
    """The lengths at one step."""

    global_batch_tokens: int
    sequence_length: int
    micro_batch_sequences: int


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
    """Sequences that one worker works on at a time, at most; gradients of the micro batches of a step add up."""
    batch_schedule: list[BatchChange] = Field(default=[], serialization_alias=RECORDED_NAMES["batch_schedule"])
    """Changes of lengths, in order. One inside `stable` begins a phase `stable_2`, with the shares of `stable`
    unless the mixture names it."""
    packing: Literal["concat", "best-fit"] = "concat"
    """`concat`: documents end to end, cut where a sequence is full (the reports'). `best-fit`: whole documents where
    they fit, no attention between them, little padding (Ding et al. 2024)."""
    shuffle_tokens: int = Field(default=1 << 26, ge=64)
    """Documents are shuffled in groups of about this many tokens, gathered from 64 places of the source: as much as
    must be cached at a time where shards are streamed."""
    precision: Literal["fp32", "bf16"] = "fp32"
    """Arithmetic of the matrix products; weights, gradients and optimizer stay fp32."""
    compile: bool = False
    """Blocks and loss as fused kernels: in fp32 on a CPU up to a tenth faster, in a third less memory
    (tests/benchmarks/results), after up to a minute; roundings differ from uncompiled ones. Takes a C++ compiler."""
    gradient_checkpointing: bool = False
    """Activation checkpointing: a block keeps only its input and is run again for its gradients. The same bits, a
    third more work, far less memory."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where: `auto` is a GPU if there is one. The ledger's `runs.hardware` records which it was."""
    workers: int = Field(default=1, ge=1)
    """Training processes; each takes every workers-th sequence of a batch."""
    threads_per_worker: int = Field(default=1, ge=1)
    """CPU threads of one worker; stated, not detected, because sums in another order differ in the last bits."""
    seed: int = Field(default=0, ge=0)
    """Decides the initial weights and the order of the documents."""
    prefetch_steps: int = Field(default=2, ge=0)
    """Batches made in advance by a thread; 0: each when it is needed."""
    shard_cache_bytes: int | None = Field(default=None, ge=1)
    """Token shards on an object store are read page by page through a cache of this size on local disk, shared by the
    workers; null: they are downloaded and kept."""
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
        if self.schedule == "cosine" and self.stable_steps:
            raise ValueError("a cosine has no stable part: put its steps into decay_steps")
        if not self.total_steps:
            raise ValueError("warmup_steps, stable_steps and decay_steps are all 0: there is nothing to train")
        begins = [0, *(change.after_steps for change in self.batch_schedule)]
        if any(one >= two for one, two in pairwise([*begins, self.total_steps])):
            raise ValueError(
                f"batch_schedule must rise inside the {self.total_steps} steps; its after_steps are {begins[1:]}"
            )
        for begin in begins:
            self._check_lengths(self.batching(begin + 1), f" (after {begin} steps)" if begin else "")
        return self

    def _check_lengths(self, lengths: Batching, where: str) -> None:
        if lengths.global_batch_tokens % lengths.sequence_length:
            raise ValueError(
                f"global_batch_tokens {lengths.global_batch_tokens} must be a multiple of "
                f"sequence_length {lengths.sequence_length}{where}"
            )
        sequences = lengths.global_batch_tokens // lengths.sequence_length
        if sequences < self.workers:
            raise ValueError(
                f"a batch of {sequences} sequences has none for some of the {self.workers} workers{where}: "
                f"lower workers or raise global_batch_tokens"
            )

    def batching(self, step: int) -> Batching:
        """The lengths at a step, counted from 1."""
        lengths = {name: getattr(self, name) for name in Batching.model_fields}
        for change in self.batch_schedule:
            if change.after_steps < step:
                lengths.update(change.model_dump(exclude={"after_steps"}, exclude_none=True))
        return Batching(**lengths)

    def phases(self) -> list[ScheduledPhase]:
        """The schedule's phases in order, cut where lengths change; a phase without steps is left out."""
        if self.schedule == "cosine":
            parts = [("train", self.total_steps)]
        else:
            parts = [("stable", self.warmup_steps + self.stable_steps), ("decay", self.decay_steps)]
        phases, begin = [], 0
        for name, steps in parts:
            end = begin + steps
            cuts = [change.after_steps for change in self.batch_schedule if begin < change.after_steps < end]
            for number, (first, last) in enumerate(pairwise([begin, *cuts, end]), 1):
                lengths = self.batching(first + 1)
                label = name if number == 1 else f"{name}_{number}"
                if last > first:
                    at = lengths.sequence_length, lengths.global_batch_tokens
                    phases.append(ScheduledPhase(label, last - first, *at, continues_previous=number > 1))
            begin = end
        return phases

    @property
    def total_steps(self) -> int:
        """Optimizer steps of the whole run."""
        return self.warmup_steps + self.stable_steps + self.decay_steps

    @property
    def total_tokens(self) -> int:
        """Tokens of the whole run."""
        return sum(phase.tokens for phase in self.phases())

    @property
    def longest_sequence(self) -> int:
        """The longest sequence of any phase, in tokens."""
        return max(phase.sequence_length for phase in self.phases())

    def identity(self) -> dict[str, Any]:
        """The settings that decide a run's weights, as plain values under the names they are recorded by."""
        return self.model_dump(mode="json", exclude=set(EXECUTION), by_alias=True)

    @classmethod
    def from_identity(cls, recorded: Mapping[str, Any]) -> "TrainingConfig":
        """The settings again from a run's manifest; where and how it ran is not recorded."""
        fields = {recorded_name: name for name, recorded_name in RECORDED_NAMES.items()}
        return cls.model_validate({fields.get(name, name): value for name, value in recorded.items()})

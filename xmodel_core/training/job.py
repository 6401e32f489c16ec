"""One run as plain values: what a training worker is handed, wherever it runs.

Takes what the stage knows (artifacts, settings, labels); gives a dict that can be sent to any process, and the
objects made from it there.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from xmodel_core.artifacts import Artifact, Folder, open_folder
from xmodel_core.artifacts.lease import Lease
from xmodel_core.artifacts.page_cache import PageCache
from xmodel_core.artifacts.token_shards import TokenShards
from xmodel_core.errors import XmodelError
from xmodel_core.model.config import ModelConfig
from xmodel_core.tokenizer.tokenizer import Tokenizer
from xmodel_core.training.config import TrainingConfig
from xmodel_core.training.loader import TokenStream, phases_of


def open_tokens(training: TrainingConfig, shards: dict[str, Artifact], tokenizer: str) -> dict[str, TokenShards]:
    """The tokens of each source, encoded with the tokenizer of this fingerprint, by name."""
    cache = PageCache(training.shard_cache_bytes // training.workers) if training.shard_cache_bytes else None
    return {name: TokenShards(shards[name], tokenizer=tokenizer, pages=cache) for name in sorted(shards)}


def open_stream(plan: dict[str, Any], training: TrainingConfig, tokens: dict[str, TokenShards]) -> TokenStream:
    """The batches of a plan over its sources' tokens. XmodelError where plan and schedule do not belong together."""
    phases = phases_of(plan, list(tokens))

    def described(name: str, steps: int, length: int, tokens: int) -> str:
        return f"{name} {steps:,} steps of {tokens:,} tokens in sequences of {length:,}"

    planned = [described(phase.name, phase.steps, phase.sequence_length, phase.batch_tokens) for phase in phases]
    scheduled = [described(*phase[:4]) for phase in training.phases()]
    if planned != scheduled:
        raise XmodelError(
            "the plan belongs to another schedule",
            expected="; ".join(scheduled),
            found="; ".join(planned),
            remedy="run `xmodel pretrain` with this recipe: it makes a new plan",
        )
    return TokenStream(phases, tokens, training.seed, training.packing, training.shuffle_tokens)


@dataclass(frozen=True)
class Job:
    """Everything that decides a run, and where its files go. `shards` are in the order of their names."""

    run: str
    recipe: str
    folder: Folder
    model: ModelConfig
    training: TrainingConfig
    vocab_size: int
    plan_label: str
    plan: dict[str, Any]
    tokenizer: Artifact
    shards: dict[str, Artifact]
    lease: Lease | None = None
    """The lease on the folder, where the run writes files."""

    def check_lease(self) -> None:
        """To be called before each write. XmodelError: the folder is another process's by now."""
        if self.lease:
            self.lease.check()

    def settings(self) -> dict[str, Any]:
        """The job as plain values."""

        def plain(artifact: Artifact) -> dict[str, str]:
            return {**vars(artifact), "folder": str(artifact.folder)}

        return {
            "run": self.run,
            "recipe": self.recipe,
            "folder": str(self.folder),
            "model": self.model.model_dump(),
            "training": self.training.model_dump(),
            "vocab_size": self.vocab_size,
            "plan_label": self.plan_label,
            "plan": self.plan,
            "tokenizer": plain(self.tokenizer),
            "shards": {name: plain(artifact) for name, artifact in self.shards.items()},
            "lease": self.lease and {"token": self.lease.token, "beat_seconds": self.lease.beat_seconds},
        }

    @classmethod
    def from_settings(cls, settings: dict[str, Any]) -> "Job":
        """The job from its plain values, in the process that works on it."""

        def artifact(values: dict[str, str]) -> Artifact:
            return Artifact(values["kind"], values["name"], values["fingerprint"], open_folder(values["folder"]))

        folder = open_folder(settings["folder"])
        return cls(
            run=settings["run"],
            recipe=settings["recipe"],
            folder=folder,
            model=ModelConfig.model_validate(settings["model"]),
            training=TrainingConfig.model_validate(settings["training"]),
            vocab_size=settings["vocab_size"],
            plan_label=settings["plan_label"],
            plan=settings["plan"],
            tokenizer=artifact(settings["tokenizer"]),
            shards={name: artifact(values) for name, values in sorted(settings["shards"].items())},
            lease=Lease(folder, **settings["lease"]) if settings["lease"] else None,
        )

    @cached_property
    def tokens(self) -> dict[str, TokenShards]:
        """The tokens of each source."""
        return open_tokens(self.training, self.shards, self.tokenizer.fingerprint)

    @cached_property
    def stream(self) -> TokenStream:
        """The run's batches."""
        return open_stream(self.plan, self.training, self.tokens)

    @cached_property
    def text_bytes(self) -> np.ndarray:
        """[vocabulary] int64: bytes of text that each token stands for."""
        return Tokenizer.load(self.tokenizer).text_bytes()

    @cached_property
    def languages(self) -> dict[str, str]:
        """Each source's language, as the plan states it."""
        return {planned["source"]: planned["lang"] for phase in self.plan["phases"] for planned in phase["sources"]}

    def phase_name(self, step: int) -> str:
        """The phase that a step belongs to."""
        return self.stream.phases[self.stream.phase_of(step)[0]].name

    @cached_property
    def phase_ends(self) -> set[int]:
        """The last step of each phase."""
        ends, step = set(), 0
        for phase in self.stream.phases:
            step += phase.steps
            ends.add(step)
        return ends

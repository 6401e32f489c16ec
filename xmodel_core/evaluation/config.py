"""Which tasks a checkpoint is evaluated on, and how that is computed.

Takes a recipe's `evaluation:` slice; gives a frozen `EvaluationConfig`. Tasks are defined in datasets_spec/benchmarks.
"""

from typing import Literal

from pydantic import Field

from xmodel_core.specs.strict import Strict


class EvaluationConfig(Strict):
    """The tasks of an evaluation and how they are computed."""

    suites: list[str] = []
    """Suites: names in datasets_spec/benchmarks, or paths of YAML files."""
    tasks: list[str] | None = None
    """The tasks of these suites to evaluate; null: all that have data. A task named here must have its data."""
    data: str | None = None
    """The folder that holds `<benchmark>/<split>.jsonl` for tasks whose data the recipe does not make itself."""
    sample_limit: int | None = Field(default=None, ge=1)
    """Only the first questions of each task (of each subject, where a task has subjects); null: all."""
    batch_tokens: int | None = Field(default=None, ge=1)
    """Tokens of a forward pass, padding included; a longer single question is a batch of its own. null: 2,048 on a CPU,
    where small batches stay in its caches, and 32,768 on a GPU."""
    threads: int | None = Field(default=None, ge=1)
    """Threads of a CPU's forward pass; null: training.threads_per_worker."""
    device: Literal["auto", "cpu", "cuda"] | None = None
    """Where the model runs, always in fp32: in bf16 the rounding of log-likelihoods changes answers. null:
    training.device; auto: a GPU if there is one. Device, threads and batches are no part of an evaluation's identity:
    they change log-likelihoods in their last bits, and a score only where two choices are as likely to that precision.
    """

    def computed_as(self, device: Literal["auto", "cpu", "cuda"], threads: int) -> "EvaluationConfig":
        """These settings with a device and threads for those that are null."""
        return self.model_copy(update={"device": self.device or device, "threads": self.threads or threads})

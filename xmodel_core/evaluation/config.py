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
    batch_tokens: int = Field(default=2048, ge=1)
    """Tokens of a forward pass, padding included; a longer single question is a batch of its own.
    On a CPU small batches, which stay in its caches, are faster; a GPU wants more."""
    threads: int = Field(default=1, ge=1)
    """Threads of a CPU's forward pass."""
    device: Literal["cpu", "cuda"] = "cpu"
    """Where the model runs, always in fp32: in bf16 the rounding of log-likelihoods changes answers."""

"""What a checkpoint is asked, and how the asking is computed.

Takes a recipe's `evaluation:` slice; gives a frozen `EvaluationConfig`. What a task is stands in
datasets_spec/benchmarks; how the model was trained stands in the checkpoint.
"""

from typing import Literal

from pydantic import Field

from xmodel_core.specs.strict import Strict


class EvaluationConfig(Strict):
    """Which suites the checkpoints answer."""

    suites: list[str] = []
    """Suites: names in datasets_spec/benchmarks, or paths of YAML files."""
    tasks: list[str] | None = None
    """The tasks of these suites to ask; null: all whose data is there. A task named here must have its data."""
    data: str | None = None
    """The folder that holds `<benchmark>/<split>.jsonl` for tasks whose data the recipe does not make itself."""
    sample_limit: int | None = Field(default=None, ge=1)
    """Questions of each task (of each subject, where a task has subjects) that are asked, the first ones; null: all."""
    batch_tokens: int = Field(default=2048, ge=1)
    """Tokens of a forward pass, padding included; a longer single question is a batch of its own.
    On a CPU small batches, which stay in its caches, are faster; a GPU wants more."""
    threads: int = Field(default=1, ge=1)
    """Threads of a CPU's forward pass."""
    device: Literal["cpu", "cuda"] = "cpu"
    """Where the model runs, always in fp32: in bf16 the rounding of log-likelihoods changes answers."""

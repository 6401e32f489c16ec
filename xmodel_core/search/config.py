"""Which hyperparameters a search tries, how many times, and in what rounds.

Takes a recipe's `search:` slice; gives a frozen `SearchConfig`. The ranges are those of Xmodel-2 (arXiv 2412.19638,
Table 5). Everything here changes the result, so everything here is part of a search's identity.
"""

from decimal import Decimal

from pydantic import Field, field_validator, model_validator

from xmodel_core.specs.strict import Strict


class Steps(Strict):
    """Numbers at equal distances, both ends included."""

    low: float = Field(gt=0)
    """The smallest."""
    high: float = Field(gt=0)
    """The largest."""
    step: float = Field(gt=0)
    """The distance between two neighbours."""

    @model_validator(mode="after")
    def _fits(self) -> "Steps":
        if self.low > self.high:
            raise ValueError(f"the range is empty: low {self.low:g} is above high {self.high:g}")
        low, high, step = (Decimal(str(value)) for value in (self.low, self.high, self.step))
        steps = (high - low) / step
        if steps != steps.to_integral_value():
            raise ValueError(
                f"high {self.high:g} must be low {self.low:g} plus a whole number of steps of {self.step:g}"
            )
        return self


class SearchConfig(Strict):
    """A search of four hyperparameters on the recipe's own model and schedule, which are the proxy."""

    trials: int = Field(default=300, ge=1)
    """Proxies that are trained, the one at the report's values not counted (Xmodel-2: 300)."""
    trials_per_round: int = Field(default=8, ge=1)
    """Trials that are chosen together, before the losses of any of them are known: the most that can run at a time.
    Stated, not detected, because the known losses decide what is tried next."""
    startup_trials: int = Field(default=10, ge=1)
    """Trials drawn uniformly from the ranges before losses are used (Xmodel-2.5's code: 10)."""
    seed: int = Field(default=0, ge=0, lt=1 << 32)
    """Decides which values are drawn; the proxies' weights and data follow training.seed."""
    scale_emb: Steps = Steps(low=2, high=20, step=1)
    """What the embedding's output is multiplied by."""
    dim_model_base: list[int] = Field(default=[32, 64, 128, 256, 512, 1024], min_length=1)
    """Widths at which muP's multiplier m is 1."""
    scale_depth: Steps = Steps(low=1, high=5, step=0.1)
    """Each block's output is multiplied by scale_depth / sqrt(num_hidden_layers)."""
    peak_lr: Steps = Steps(low=0.001, high=0.1, step=0.001)
    """The highest learning rate, of embeddings; the blocks' matrices learn at peak_lr / m."""

    @field_validator("dim_model_base")
    @classmethod
    def _widths(cls, widths: list[int]) -> list[int]:
        if min(widths) < 1 or widths != sorted(set(widths)):
            raise ValueError(f"widths must be at least 1, each once and in ascending order; given: {widths}")
        return widths

"""Mixtures: what share of the training tokens each source gives, phase by phase.

Takes `datasets_spec/mixtures/*.yaml` or a user's file; gives a `Mixture`. Weights are shares of
tokens and are normalised; the phases' lengths are the training schedule's, not the mixture's.
"""

from pathlib import Path
from typing import Annotated, Any, NamedTuple

from pydantic import BeforeValidator, Field, model_validator

from xmodel_core.specs.plain_yaml import read_yaml
from xmodel_core.specs.sources import named_spec
from xmodel_core.specs.strict import Strict, validate


class Share(Strict):
    """The share of one key of a phase."""

    weight: float = Field(ge=0)
    """Share of the phase's tokens, relative to the other keys' weights."""
    max_epochs: float | None = Field(default=None, gt=0)
    """Upper bound on how often the source is seen over the whole run; null: no bound."""
    min_tokens: int = Field(default=0, ge=0)
    """Lower bound on its tokens in the phase."""


def _share(value: Any) -> Any:
    return {"weight": value} if isinstance(value, int | float) and not isinstance(value, bool) else value


class Phase(Strict):
    """One phase of training: stable, decay, or the only one."""

    name: str
    """The name of the schedule's phase."""
    sources: dict[str, Annotated[Share, BeforeValidator(_share)]]
    """Source, or language/category (split inside by supply) → weight, or weight with limits."""

    @model_validator(mode="after")
    def _weighs_something(self) -> "Phase":
        if not sum(share.weight for share in self.sources.values()) > 0:
            raise ValueError(f"the weights of phase {self.name} add up to zero")
        return self


class Mixture(Strict):
    """The shares of sources, per phase."""

    description: str = ""
    """What the mixture is and where its figures come from."""
    phases: list[Phase] = Field(min_length=1)
    """In the order of training, named after the schedule's phases; a single one serves them all."""


class ScheduledPhase(NamedTuple):
    """A part of a training schedule in which neither shares, sequence length nor batch change."""

    name: str
    steps: int
    sequence_length: int
    """Tokens per sequence."""
    global_batch_tokens: int
    """Tokens per step."""
    continues_previous: bool = False
    """Whether only sequence length or batch change here: it keeps the shares of the phase before unless the mixture
    names it."""

    @property
    def batch_sequences(self) -> int:
        """Sequences per step."""
        return self.global_batch_tokens // self.sequence_length

    @property
    def tokens(self) -> int:
        """Tokens of the whole phase."""
        return self.steps * self.global_batch_tokens


def load_mixture(name: str, beside: Path) -> Mixture:
    """A mixture by its name in datasets_spec, or by its path relative to `beside`."""
    path = named_spec("mixtures", name, beside)
    return validate(Mixture, read_yaml(path), path)

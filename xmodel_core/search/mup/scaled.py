"""A recipe at another scale: its model at another width, in muP or the standard parametrisation; its schedule at
another length.

Takes a recipe's model and training settings; gives those of one proxy. A width changes the number of heads, never
their size, and keeps the proportions of Xmodel-2's models, so that nothing but width differs between two proxies.
"""

from collections.abc import Sequence
from typing import Literal, NamedTuple

from xmodel_core.errors import XmodelError
from xmodel_core.model.config import ModelConfig
from xmodel_core.specs.strict import validate
from xmodel_core.training.config import TrainingConfig

Parametrisation = Literal["mup", "standard"]
QUERY_HEADS_PER_KEY = 2
XMODEL_2 = {"initializer_range": 0.1, "scale_emb": 12.0, "scale_depth": 1.4}
"""muP settings for a recipe that has none: Xmodel-2's."""
PLAIN_STD = 0.02
"""Initial standard deviation of the standard parametrisation where the recipe's is muP's: Xmodel-LM's."""


def at_width(
    model: ModelConfig, width: int, parametrisation: Parametrisation, base_width: int, layers: int, head_size: int
) -> ModelConfig:
    """The model at a width. `mup`: Table 6 with m = width / base_width. `standard`: no scalings, one initial standard
    deviation, one learning rate, at every width. XmodelError: a width that is no multiple of a group of heads."""
    if width % (QUERY_HEADS_PER_KEY * head_size):
        raise XmodelError(
            "the width does not divide into heads",
            expected=f"multiples of {QUERY_HEADS_PER_KEY * head_size}: {QUERY_HEADS_PER_KEY} query heads of "
            f"{head_size} share a key head",
            found=width,
            remedy="give other widths, or another --head-size",
        )
    scaled = model.scale_emb is not None
    if parametrisation == "mup":
        settings = {**({} if scaled else XMODEL_2), "dim_model_base": base_width}
    else:
        settings = {
            "initializer_range": PLAIN_STD if scaled else model.initializer_range,
            "scale_emb": None,
            "scale_depth": None,
            "dim_model_base": None,
            "attention_scale": "1/sqrt(d)",
            "norm_gain_lr": "base",
            "output_projection_init": "width",
        }
    heads = width // head_size
    shape = {
        "hidden_size": width,
        "intermediate_size": 5 * width // 2,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": heads // QUERY_HEADS_PER_KEY,
    }
    return validate(ModelConfig, {**model.model_dump(), **shape, **settings}, f"the model at width {width}")


class Widths(NamedTuple):
    """Widths to compare, and what their models have in common."""

    widths: Sequence[int]
    base_width: int | None = None
    """muP's dim_model_base, where m is 1; None: the narrowest."""
    layers: int = 4
    head_size: int = 32

    def at(self, model: ModelConfig, width: int, parametrisation: Parametrisation) -> ModelConfig:
        """The model at one of the widths."""
        base = self.base_width or min(self.widths)
        return at_width(model, width, parametrisation, base, self.layers, self.head_size)


def of_length(training: TrainingConfig, steps: int) -> TrainingConfig:
    """Rescales the schedule to `steps`, keeping phase proportions; every non-empty phase keeps a step. Batches have one
    size. XmodelError: fewer steps than phases."""
    parts = {name: getattr(training, name) for name in ("warmup_steps", "stable_steps", "decay_steps")}
    non_empty = [name for name, length in parts.items() if length]
    if steps < len(non_empty):
        raise XmodelError("too few steps for the schedule", expected=f"at least {len(non_empty)}", found=steps)
    scale = steps / training.total_steps
    lengths = {name: max(1, round(parts[name] * scale)) for name in non_empty}
    longest = max(non_empty, key=lambda name: parts[name])
    lengths[longest] += steps - sum(lengths.values())
    half_life = max(1, round(training.decay_half_life_steps * scale))
    return _changed(training, **lengths, decay_half_life_steps=half_life, batch_schedule=[])


def at_constant_rate(training: TrainingConfig, steps: int) -> TrainingConfig:
    """The schedule in `steps` steps, each at peak_lr; its phases stay, because mixtures refer to them by name."""
    short = of_length(training, steps)
    rest = "decay_steps" if short.schedule == "cosine" else "stable_steps"
    lengths = {"warmup_steps": 0, rest: getattr(short, rest) + short.warmup_steps}
    return _changed(short, **lengths, min_lr_ratio=1.0)


def at_rate(training: TrainingConfig, peak_lr: float, seed: int) -> TrainingConfig:
    """The same training at another rate, from other initial weights and in another order."""
    return _changed(training, peak_lr=peak_lr, seed=seed)


def _changed(training: TrainingConfig, **changes: object) -> TrainingConfig:
    return validate(TrainingConfig, {**training.model_dump(), **changes}, "the training of a proxy")

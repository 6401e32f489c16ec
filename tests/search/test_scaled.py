"""A recipe's model at another width, its schedule at another length."""

from typing import Any

import pytest

from tests.training.conftest import MODEL, TRAINING
from xmodel_core.errors import XmodelError
from xmodel_core.model.config import ModelConfig
from xmodel_core.search.mup.scaled import at_constant_rate, at_width, of_length
from xmodel_core.training.config import TrainingConfig
from xmodel_core.training.schedule import learning_rate


def training(**changes: Any) -> TrainingConfig:
    return TrainingConfig(**{**TRAINING, **changes})


def test_only_width_differs_between_widths() -> None:
    narrow, wide = (at_width(MODEL, width, "mup", 64, 4, 32) for width in (64, 512))
    assert (narrow.head_dim, wide.head_dim) == (32, 32)
    assert (narrow.num_attention_heads, narrow.num_key_value_heads, narrow.intermediate_size) == (2, 1, 160)
    assert (wide.num_attention_heads, wide.num_key_value_heads, wide.intermediate_size) == (16, 8, 1280)
    assert (narrow.width_multiplier, wide.width_multiplier, wide.scale_emb) == (1, 8, 12)
    plain = at_width(MODEL, 512, "standard", 64, 4, 32)
    assert (plain.width_multiplier, plain.residual_scale, plain.scale_emb, plain.initializer_range) == (
        1,
        1,
        None,
        0.02,
    )
    assert at_width(plain, 512, "mup", 64, 4, 32) == wide.model_copy(update={})
    with pytest.raises(XmodelError, match="multiples of 64"):
        at_width(MODEL, 96, "mup", 64, 4, 32)


def test_a_standard_recipe_gets_xmodel_2s_scalings() -> None:
    plain = ModelConfig(**{**MODEL.model_dump(exclude={"scale_emb", "scale_depth", "dim_model_base"})})
    scaled = at_width(plain, 128, "mup", 64, 2, 16)
    assert (scaled.scale_emb, scaled.scale_depth, scaled.initializer_range, scaled.dim_model_base) == (12, 1.4, 0.1, 64)


@pytest.mark.parametrize("steps", [3, 5, 36, 100])
def test_a_schedule_keeps_its_parts(steps: int) -> None:
    short = of_length(training(), steps)
    assert short.total_steps == steps
    assert [phase.name for phase in short.phases()] == ["stable", "decay"]
    if steps == 36:
        assert short == training()
    if steps == 100:
        assert (short.warmup_steps, short.stable_steps, short.decay_steps) == (11, 56, 33)
    with pytest.raises(XmodelError, match="too few steps"):
        of_length(training(), 2)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"decay_shape": "exponential", "decay_half_life_steps": 3},
        {"schedule": "cosine", "stable_steps": 0},
        {"batch_schedule": [{"after_steps": 9, "global_batch_tokens": 128}]},
    ],
)
def test_a_constant_rate_is_one_and_its_phases_stay(changes: dict[str, Any]) -> None:
    config = training(**changes)
    short = at_constant_rate(config, 11)
    assert {learning_rate(short, step) for step in range(1, 12)} == {config.peak_lr}
    assert short.total_steps == 11
    assert {phase.name for phase in short.phases()} == {p.name for p in config.phases()} - {"stable_2"}

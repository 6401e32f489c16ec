"""Shapes that cannot be get one clear message each, from a recipe as from anywhere."""

from typing import Any

import pytest

from flows.recipes import load_recipe, model_presets
from xmodel_core.errors import XmodelError
from xmodel_core.model.config import ModelConfig
from xmodel_core.specs.strict import validate


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"num_attention_heads": 5}, "hidden_size 64 must be a multiple of num_attention_heads 5"),
        ({"num_key_value_heads": 3}, "num_attention_heads 4 must be a multiple of num_key_value_heads 3"),
        ({"num_key_value_heads": 8}, "num_attention_heads 4 must be a multiple of num_key_value_heads 8"),
        ({"num_key_value_heads": 0}, "`num_key_value_heads`"),
        ({"hidden_size": 60}, "must be even"),
        ({"scale_emb": 12}, "together, or none"),
        ({"attention_scale": "1/8"}, "`attention_scale`"),
        ({"num_hidden_layers": 2.5}, "`num_hidden_layers`"),
        ({"hidden_sise": 64}, "did you mean `hidden_size`?"),
        ({"vocab_size": 32000}, "`vocab_size` is not a field"),
    ],
)
def test_nonsense_gets_one_message(change: dict[str, Any], message: str) -> None:
    right = {
        "hidden_size": 64,
        "intermediate_size": 96,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
    }
    with pytest.raises(XmodelError) as error:
        validate(ModelConfig, {**right, **change}, "recipe.yaml")
    assert message in str(error.value)
    assert "recipe.yaml" in str(error.value)


def test_a_recipe_gets_the_same_message_with_its_file_and_key() -> None:
    with pytest.raises(XmodelError) as error:
        load_recipe("xmodel2-nano", ["model.num_attention_heads=5"])
    assert "`model`: hidden_size 256 must be a multiple of num_attention_heads 5" in str(error.value)
    assert "xmodel2-nano.yaml --set model.num_attention_heads=5" in str(error.value)
    assert len(str(error.value).splitlines()) == 3


def test_the_families_are_settings_of_one_config() -> None:
    lm, two, two_and_a_half = (
        ModelConfig(**model_presets()[name]) for name in ("xmodel-lm-nano", "xmodel2-nano", "xmodel2.5-1.3b")
    )
    assert (lm.tie_word_embeddings, lm.rope_theta, lm.initializer_range) == (False, 10_000, 0.02)
    assert (lm.attention_multiplier, lm.residual_scale, lm.width_multiplier) == (1 / 32**0.5, 1, 1)
    assert (two.tie_word_embeddings, two.scale_emb, two.initializer_range) == (True, 12, 0.1)
    assert (two.attention_multiplier, two.width_multiplier) == (1 / 8, 1)
    assert two.residual_scale == pytest.approx(1.4 / 8**0.5)
    assert (two.norm_gain_lr, two.output_projection_init) == ("base", "width")
    assert (two_and_a_half.attention_multiplier, two_and_a_half.width_multiplier) == (1 / 64, 6)
    assert (two_and_a_half.rope_theta, two_and_a_half.max_position_embeddings) == (500_000, 131_072)
    assert (two_and_a_half.norm_gain_lr, two_and_a_half.output_projection_init) == ("hidden", "depth")

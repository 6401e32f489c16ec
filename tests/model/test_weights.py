"""Weights on disk: everybody's names, the same numbers back, and one message for another model's."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from xmodel_core.errors import XmodelError
from xmodel_core.model.config import ModelConfig
from xmodel_core.model.network import Xmodel, initialise
from xmodel_core.model.weights import load_model, load_weights, save_model


def small(width: int = 16, tied: bool = True) -> Xmodel:
    config = ModelConfig(
        hidden_size=width,
        intermediate_size=24,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=8,
        tie_word_embeddings=tied,
    )
    model = Xmodel(config, 30)
    initialise(model, seed=0)
    return model


def test_names_on_disk(tmp_path: Path) -> None:
    save_model(small(tied=False), tmp_path)
    block = [
        "self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj",
        "mlp.gate_proj", "mlp.up_proj", "mlp.down_proj", "input_layernorm", "post_attention_layernorm",
    ]  # fmt: skip
    names = {f"model.layers.{layer}.{name}.weight" for layer in (0, 1) for name in block}
    expected = names | {"model.embed_tokens.weight", "model.norm.weight", "lm_head.weight"}
    tensors = load_file(tmp_path / "model.safetensors")
    assert set(tensors) == expected
    assert tensors["model.layers.0.self_attn.k_proj.weight"].shape == (8, 16)


@pytest.mark.parametrize("tied", [True, False])
def test_comes_back_bit_for_bit(tmp_path: Path, tied: bool) -> None:
    model = small(tied=tied)
    save_model(model, tmp_path)
    first = (tmp_path / "model.safetensors").read_bytes()
    again = load_model(tmp_path)
    for ours, theirs in zip(again.parameters(), model.parameters(), strict=True):
        assert torch.equal(ours, theirs)
    save_model(again, tmp_path)
    assert (tmp_path / "model.safetensors").read_bytes() == first


def test_another_shape_is_refused_and_changes_nothing(tmp_path: Path) -> None:
    save_model(small(width=32), tmp_path)
    model = small()
    before = [parameter.clone() for parameter in model.parameters()]
    with pytest.raises(XmodelError, match="these weights belong to another model") as error:
        load_weights(model, tmp_path)
    assert "embed_tokens.weight is (30, 32), not (30, 16)" in str(error.value)
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))


def test_damage_and_absence_are_named(tmp_path: Path) -> None:
    with pytest.raises(XmodelError, match="this is not a checkpoint"):
        load_model(tmp_path)
    save_model(small(), tmp_path)
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-10])
    with pytest.raises(XmodelError, match="weights cannot be read"):
        load_model(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "llama", "vocab_size": 3}')
    with pytest.raises(XmodelError, match=r"(?s)in another format.*one for llama.*`xmodel import`"):
        load_model(tmp_path)
    (tmp_path / "config.json").write_text("[1]")
    with pytest.raises(XmodelError, match="config cannot be read"):
        load_model(tmp_path)

"""Exported folders compute what we compute: in transformers' classes, and in forwards written from released code."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional
from transformers import AutoModelForCausalLM

from tests.model.families import FAMILIES, TIE, VOCAB, assert_greedy
from xmodel_core.errors import XmodelError
from xmodel_core.model.formats.export_checkpoint import SpecialTokens, export_checkpoint
from xmodel_core.model.formats.import_checkpoint import import_checkpoint
from xmodel_core.model.generation.generate import generate_tokens
from xmodel_core.model.network import Xmodel
from xmodel_core.model.weights import load_model, named_weights, save_model

LM, TWO, TWO_AND_A_HALF = FAMILIES
KINDS = ("random", "trained")
TOKENS = torch.randint(0, VOCAB, (2, 64), generator=torch.Generator().manual_seed(0))
PROMPT = TOKENS[0, :20].tolist()
Models = dict[tuple[str, str], Xmodel]
pytestmark = pytest.mark.xdist_group("small_models")  # one process makes the session fixture `models`


def exported(model: Xmodel, name: str, folder: Path) -> Path:
    (folder / "checkpoint").mkdir()
    save_model(model, folder / "checkpoint")
    export_checkpoint(folder / "checkpoint", name, folder / "out", SpecialTokens(1, 2), {})
    return folder / "out"


def same_greedy(model: Xmodel, logits_of: Any) -> None:
    """200 greedy tokens: ours, with the cache, are the other's choice after every prefix."""
    ours = list(generate_tokens(model, PROMPT, 200))
    assert_greedy(ours, logits_of(torch.tensor([PROMPT + ours[:-1]]))[0, len(PROMPT) - 1 :])
    assert len(ours) == 200


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("name", ["llama", "granite"])
def test_transformers_classes_compute_the_same(
    models: Models, tmp_path: Path, name: str, family: str, kind: str
) -> None:
    model = models[family, kind]
    folder = exported(model, name, tmp_path)
    loaded: Any = AutoModelForCausalLM.from_pretrained(folder, output_loading_info=True)
    reference, loading = loaded
    assert type(reference).__name__ == {"llama": "LlamaForCausalLM", "granite": "GraniteForCausalLM"}[name]
    assert not any(loading.values()), loading
    with torch.no_grad():
        assert (model(TOKENS) - reference(TOKENS).logits).abs().max() < 1e-4
        same_greedy(model, lambda tokens: reference(tokens).logits)


@pytest.mark.parametrize("family", FAMILIES)
def test_transformers_generate_goes_the_same_way(models: Models, tmp_path: Path, family: str) -> None:
    model = models[family, "trained"]
    reference: Any = AutoModelForCausalLM.from_pretrained(exported(model, "llama", tmp_path))
    reference.generation_config.eos_token_id = None
    prompt = torch.tensor([PROMPT])
    theirs = reference.generate(
        prompt, attention_mask=torch.ones_like(prompt), max_new_tokens=200, do_sample=False, pad_token_id=0
    )
    theirs, ours = theirs[0, len(PROMPT) :].tolist(), list(generate_tokens(model, PROMPT, 200))
    assert len(ours) == 200
    if theirs != ours:  # then only from a tie on
        first = next(place for place, pair in enumerate(zip(ours, theirs, strict=True)) if pair[0] != pair[1])
        logits_V = model(torch.tensor([PROMPT + ours[:first]]))[0, -1]
        assert (logits_V[ours[first]] - logits_V[theirs[first]]).abs() < TIE


def test_granite_keeps_the_weights(models: Models, tmp_path: Path) -> None:
    model = models[TWO, "trained"]
    stored = load_file(exported(model, "granite", tmp_path) / "model.safetensors")
    assert all(torch.equal(stored[name], tensor) for name, tensor in named_weights(model).items())


def block(tensors: dict[str, Tensor], layer: int, name: str) -> Tensor:
    return tensors[f"model.layers.{layer}.{name}.weight"]


def released_forward(
    config: dict[str, Any],
    tensors: dict[str, Tensor],
    tokens: Tensor,
    *,
    emb: float,
    residual: float,
    logits: float,
    scale: float,
) -> Tensor:
    """The lab's forward written out from its released code: norms with the mean square in fp32, half-split RoPE, plain
    attention, each block's output times `residual`, hidden states divided by `logits` before the projection."""
    heads, shared = config["num_attention_heads"], config["num_key_value_heads"]
    size, time = config["hidden_size"] // heads, tokens.shape[1]

    def norm(x: Tensor, gain: Tensor) -> Tensor:
        return gain * (x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + config["rms_norm_eps"]))

    def turn(x: Tensor, layer: int) -> Tensor:
        inverse = tensors.get(f"model.layers.{layer}.self_attn.rotary_emb.inv_freq")
        if inverse is None:
            inverse = 1.0 / config["rope_theta"] ** (torch.arange(0, size, 2).float() / size)
        angles = torch.outer(torch.arange(time).float(), inverse).repeat(1, 2)
        first, second = x[..., : size // 2], x[..., size // 2 :]
        return x * angles.cos() + torch.cat((-second, first), -1) * angles.sin()

    x = tensors["model.embed_tokens.weight"][tokens] * emb
    for layer in range(config["num_hidden_layers"]):
        y = norm(x, block(tensors, layer, "input_layernorm"))
        q, k, v = (
            (y @ block(tensors, layer, f"self_attn.{part}_proj").T).view(len(tokens), time, -1, size).transpose(1, 2)
            for part in "qkv"
        )
        q, k = turn(q, layer), turn(k, layer)
        k, v = (part.repeat_interleave(heads // shared, 1) for part in (k, v))
        scores = (q @ k.transpose(2, 3)) * scale + torch.full((time, time), -math.inf).triu(1)
        y = (scores.softmax(-1) @ v).transpose(1, 2).reshape(len(tokens), time, -1)
        x = x + (y @ block(tensors, layer, "self_attn.o_proj").T) * residual
        y = norm(x, block(tensors, layer, "post_attention_layernorm"))
        gate, up = (y @ block(tensors, layer, f"mlp.{part}_proj").T for part in ("gate", "up"))
        x = x + ((functional.silu(gate) * up) @ block(tensors, layer, "mlp.down_proj").T) * residual
    return (norm(x, tensors["model.norm.weight"]) / logits) @ tensors["lm_head.weight"].T


def minicpm_forward(config: dict[str, Any], tensors: dict[str, Tensor], tokens: Tensor) -> Tensor:
    return released_forward(
        config,
        tensors,
        tokens,
        emb=config["scale_emb"],
        residual=config["scale_depth"] / math.sqrt(config["num_hidden_layers"]),
        logits=config["hidden_size"] / config["dim_model_base"],
        scale=(config["hidden_size"] // config["num_attention_heads"]) ** -0.5,
    )


def xmodel_forward(config: dict[str, Any], tensors: dict[str, Tensor], tokens: Tensor) -> Tensor:
    size = config["hidden_size"] // config["num_attention_heads"]
    if not config.get("use_mup"):
        return released_forward(config, tensors, tokens, emb=1, residual=1, logits=1, scale=size**-0.5)
    assert config["mup_attention_residual_scale"] == config["mup_ffn_residual_scale"]
    return released_forward(
        config,
        tensors,
        tokens,
        emb=config["mup_input_scale"],
        residual=config["mup_ffn_residual_scale"] / math.sqrt(config["num_hidden_layers"]),
        logits=config["mup_width_multiplier"] / config["mup_output_scale"],
        scale=1 / size,
    )


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("name", "family"), [("minicpm", LM), ("minicpm", TWO), ("xmodel", LM), ("xmodel", TWO_AND_A_HALF)]
)
def test_the_released_code_computes_the_same(models: Models, tmp_path: Path, name: str, family: str, kind: str) -> None:
    model = models[family, kind]
    folder = exported(model, name, tmp_path)
    config = json.loads((folder / "config.json").read_text())
    stored = [load_file(folder / "model.safetensors")]
    if name == "xmodel":
        stored.append(torch.load(folder / "pytorch_model.bin", weights_only=True))
    forward = minicpm_forward if name == "minicpm" else xmodel_forward
    for tensors in stored:
        assert (model(TOKENS) - forward(config, tensors, TOKENS)).abs().max() < 1e-4
        same_greedy(model, lambda tokens, held=tensors: forward(config, held, tokens))


BLOCK = [f"self_attn.{part}_proj.weight" for part in "qkvo"] + [f"mlp.{part}_proj.weight" for part in ("gate", "up")]
BLOCK += ["mlp.down_proj.weight", "input_layernorm.weight", "post_attention_layernorm.weight"]


@pytest.mark.parametrize(
    ("name", "family", "more"),
    [
        ("minicpm", TWO, []),
        ("xmodel", TWO_AND_A_HALF, []),
        ("xmodel", LM, ["self_attn.rotary_emb.inv_freq"]),
    ],
)
def test_a_strict_load_finds_its_keys_and_no_others(
    models: Models, tmp_path: Path, name: str, family: str, more: list[str]
) -> None:
    folder = exported(models[family, "random"], name, tmp_path)
    wanted = {f"model.layers.{layer}.{key}" for layer in range(3) for key in BLOCK + more}
    wanted |= {"model.embed_tokens.weight", "model.norm.weight", "lm_head.weight"}
    assert set(load_file(folder / "model.safetensors")) == wanted
    pickled = folder / "pytorch_model.bin"
    assert pickled.exists() == (name == "xmodel")
    if pickled.exists():
        tensors = torch.load(pickled, weights_only=True)
        assert set(tensors) == wanted
        assert all(tensor.shape == (8,) for key, tensor in tensors.items() if key.endswith("inv_freq"))


def test_configs_have_the_keys_of_the_released_ones(models: Models, tmp_path: Path) -> None:
    for family, name in ((LM, "xmodel"), (TWO, "minicpm"), (TWO_AND_A_HALF, "xmodel")):
        (tmp_path / family).mkdir()
        folder = exported(models[family, "random"], name, tmp_path / family)
        config = json.loads((folder / "config.json").read_text())
        if family == LM:
            # LM-repo's models/config.json, but for the version of the transformers that wrote it.
            assert set(config) == {
                "architectures", "auto_map", "bos_token_id", "eos_token_id", "pad_token_id", "hidden_act",
                "hidden_size", "initializer_range", "intermediate_size", "max_position_embeddings", "model_type",
                "num_attention_heads", "num_hidden_layers", "num_key_value_heads", "pretraining_tp", "rms_norm_eps",
                "tie_word_embeddings", "torch_dtype", "use_cache", "vocab_size",
            }  # fmt: skip
            assert config["auto_map"]["AutoModelForCausalLM"] == "modeling_xmodel.XModelForCausalLM"
        elif family == TWO:
            scales = {"scale_emb": 12, "scale_depth": 1.4, "dim_model_base": 16, "tie_word_embeddings": True}
            assert scales.items() <= config.items()
        else:
            assert config["auto_map"]["AutoModelForCausalLM"] == "modeling_xmodel2.XmodelForCausalLM"
            mup = {"use_mup": True, "mup_input_scale": 12, "mup_output_scale": 1, "mup_base_width": 16}
            assert {**mup, "mup_width_multiplier": 4, "rope_theta": 500_000}.items() <= config.items()
        assert (config["bos_token_id"], config["eos_token_id"]) == (1, 2)


@pytest.mark.parametrize(
    ("name", "family", "words"),
    [
        ("minicpm", TWO_AND_A_HALF, ["the format minicpm cannot hold", "1/d", "granite, llama or xmodel"]),
        ("xmodel", TWO, ["the format xmodel cannot hold", "1/sqrt(d)", "minicpm, granite or llama"]),
    ],
)
def test_what_a_format_cannot_hold_is_refused(
    models: Models, tmp_path: Path, name: str, family: str, words: list[str]
) -> None:
    with pytest.raises(XmodelError) as error:
        exported(models[family, "random"], name, tmp_path)
    assert all(word in str(error.value) for word in words)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint"]


@pytest.mark.parametrize(
    ("name", "family"), [("minicpm", LM), ("minicpm", TWO), ("xmodel", LM), ("xmodel", TWO_AND_A_HALF)]
)
def test_export_and_import_give_the_same_model(models: Models, tmp_path: Path, name: str, family: str) -> None:
    model = models[family, "trained"]
    folder = exported(model, name, tmp_path)
    (folder / "any.model").write_bytes(b"a tokenizer")
    config, vocab_size = import_checkpoint(folder, tmp_path / "back")
    assert vocab_size == VOCAB
    if (name, family) != ("minicpm", LM):  # there multipliers that change nothing become muP's
        assert config == model.config
    back = load_model(tmp_path / "back")
    for ours, theirs in zip(back.parameters(), model.parameters(), strict=True):
        assert torch.equal(ours, theirs)
    torch.testing.assert_close(back(TOKENS), model(TOKENS), rtol=1e-5, atol=1e-5)

"""The same model for other code: Llama's class, Granite's, MiniCPM's, the lab's own; and back from the released ones.

Takes a shape and its named weights; gives the fields of config.json and the tensors that a class wants. Or takes a
released checkpoint's config.json and tensors; gives our shape and named weights. Nothing here touches a disk.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from xmodel_core.errors import XmodelError
from xmodel_core.model.config import ModelConfig
from xmodel_core.specs.strict import validate

Weights = dict[str, Tensor]

XMODEL_LM_THETA = 10000.0
"""Xmodel-LM's released code knows no other base of the rotary frequencies."""


@dataclass(frozen=True)
class Layout:
    """A model as one class wants it."""

    config: dict[str, Any]
    """The fields of config.json, without those of the tokenizer."""
    weights: Weights
    """The tensors by name; a tied output projection is here where a strict load wants its name."""
    note: str
    """What whoever loads it should know, in Markdown."""
    pickled: bool = False
    """Whether the released code reads pytorch_model.bin, so that one is written too."""


def _shape(config: ModelConfig, vocab_size: int, architecture: str, model_type: str) -> dict[str, Any]:
    """The fields that all these classes share."""
    same = (
        *("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads"),
        *("max_position_embeddings", "initializer_range", "rms_norm_eps", "rope_theta", "tie_word_embeddings"),
    )
    return {
        "architectures": [architecture],
        "model_type": model_type,
        "vocab_size": vocab_size,
        **{name: getattr(config, name) for name in same},
        "hidden_act": "silu",
        "torch_dtype": "float32",
        "use_cache": True,
    }


NO_BIAS = {"attention_bias": False, "attention_dropout": 0.0, "mlp_bias": False}


def _folded(config: ModelConfig, named: Weights) -> Weights:
    """The weights with every multiplier taken into them, exact but for rounding: a block's norm undoes the scale of
    what it reads, so the embedding may carry scale_emb, and the final gain takes it back where the output projection
    is that embedding."""
    embedding = config.scale_emb or 1.0
    factors = {
        "model.embed_tokens.weight": embedding,
        "self_attn.q_proj.weight": config.attention_multiplier / (1 / math.sqrt(config.head_dim)),
        "self_attn.o_proj.weight": config.residual_scale,
        "mlp.down_proj.weight": config.residual_scale,
        "model.norm.weight": 1 / (config.width_multiplier * (embedding if config.tie_word_embeddings else 1.0)),
    }

    def fold(name: str, tensor: Tensor) -> Tensor:
        factor = next((factor for ending, factor in factors.items() if name.endswith(ending)), 1.0)
        return tensor if factor == 1 else tensor * factor

    return {name: fold(name, tensor) for name, tensor in named.items()}


def _with_output_projection(named: Weights) -> Weights:
    """The weights as a strict load wants them: a tied output projection under its own name too."""
    return {"lm_head.weight": named["model.embed_tokens.weight"], **named}


def _refused(name: str, code: str, found: str, others: str) -> XmodelError:
    return XmodelError(
        f"the format {name} cannot hold this model",
        expected=f"what {code} computes",
        found=found,
        remedy=f"export it as {others}",
    )


def _llama(config: ModelConfig, vocab_size: int, named: Weights) -> Layout:
    folded = config.scale_emb is not None or config.attention_scale == "1/d"
    return Layout(
        config={**_shape(config, vocab_size, "LlamaForCausalLM", "llama"), **NO_BIAS},
        weights=_folded(config, named),
        note="For `LlamaForCausalLM` of transformers and whatever else reads Llama."
        + (
            " The multipliers of muP are folded into the weights: the same outputs, but no longer the weights that "
            "the learning rates of muP fit. To train on, take the checkpoint or the format `granite`."
            if folded
            else ""
        ),
    )


def _granite(config: ModelConfig, vocab_size: int, named: Weights) -> Layout:
    return Layout(
        config={
            **_shape(config, vocab_size, "GraniteForCausalLM", "granite"),
            **NO_BIAS,
            "embedding_multiplier": config.scale_emb or 1.0,
            "residual_multiplier": config.residual_scale,
            "logits_scaling": config.width_multiplier,
            "attention_multiplier": config.attention_multiplier,
        },
        weights=dict(named),
        note="For `GraniteForCausalLM` of transformers, whose multipliers are those of muP: the weights are those that "
        "were trained.",
    )


def _minicpm(config: ModelConfig, vocab_size: int, named: Weights) -> Layout:
    if config.attention_scale != "1/sqrt(d)":
        found = "attention_scale 1/d, where MiniCPM's is 1/sqrt(d)"
        raise _refused("minicpm", "MiniCPM's code", found, "granite, llama or xmodel")
    files = {"AutoConfig": "configuration_minicpm.MiniCPMConfig"}
    for kind, name in (("AutoModel", "MiniCPMModel"), ("AutoModelForCausalLM", "MiniCPMForCausalLM")):
        files[kind] = f"modeling_minicpm.{name}"
    return Layout(
        config={
            **_shape(config, vocab_size, "MiniCPMForCausalLM", "minicpm"),
            "auto_map": files,
            "rope_scaling": None,
            # Without muP each multiplier is the one that changes nothing.
            "scale_emb": config.scale_emb or 1.0,
            "scale_depth": config.scale_depth or math.sqrt(config.num_hidden_layers),
            "dim_model_base": config.dim_model_base or config.hidden_size,
        },
        weights=_with_output_projection(named),
        note="For MiniCPM's own code, as the released Xmodel-2 is: put `configuration_minicpm.py` and "
        "`modeling_minicpm.py` of MiniCPM beside this file and load with `trust_remote_code=True`.",
    )


def _xmodel(config: ModelConfig, vocab_size: int, named: Weights) -> Layout:
    mup = config.scale_emb is not None
    if mup != (config.attention_scale == "1/d"):
        found = "muP with attention_scale 1/sqrt(d)" if mup else "attention_scale 1/d without muP"
        others = "minicpm, granite or llama" if mup else "granite or llama"
        raise _refused("xmodel", "the lab's code, where muP and attention_scale 1/d go together", found, others)
    if not mup and not config.tie_word_embeddings and config.rope_theta == XMODEL_LM_THETA:
        return _xmodel_lm(config, vocab_size, named)
    fields: dict[str, Any] = {
        "auto_map": {
            "AutoConfig": "configuration_xmodel2.XmodelConfig",
            "AutoModelForCausalLM": "modeling_xmodel2.XmodelForCausalLM",
        },
        **NO_BIAS,
        "pretraining_tp": 1,
        "rope_scaling": None,
        "use_mup": mup,
    }
    if mup:
        fields |= {
            "mup_input_scale": config.scale_emb,
            "mup_output_scale": 1.0,
            "mup_attention_residual_scale": config.scale_depth,
            "mup_ffn_residual_scale": config.scale_depth,
            "mup_base_width": config.dim_model_base,
            "mup_width_multiplier": config.width_multiplier,
        }
    return Layout(
        config={**_shape(config, vocab_size, "XmodelForCausalLM", "xmodel"), **fields},
        weights=_with_output_projection(named),
        note="For the code released with Xmodel-2.5: put its `configuration_xmodel2.py` and `modeling_xmodel2.py` "
        "beside this file and load with `trust_remote_code=True`.",
        pickled=True,
    )


def inverse_frequencies(config: ModelConfig) -> Tensor:
    """The rotary frequencies, (head size / 2,): Xmodel-LM's code keeps them among the weights, as `inv_freq`."""
    steps = torch.arange(0, config.head_dim, 2).float() / config.head_dim
    return 1.0 / (config.rope_theta**steps)


def _xmodel_lm(config: ModelConfig, vocab_size: int, named: Weights) -> Layout:
    shape = _shape(config, vocab_size, "XModelForCausalLM", "xmodel")
    del shape["rope_theta"]  # its code has it fixed
    buffers = {
        f"model.layers.{layer}.self_attn.rotary_emb.inv_freq": inverse_frequencies(config)
        for layer in range(config.num_hidden_layers)
    }
    return Layout(
        config={
            **shape,
            "auto_map": {
                "AutoConfig": "configuration_xmodel.XModelConfig",
                "AutoModelForCausalLM": "modeling_xmodel.XModelForCausalLM",
            },
            "pad_token_id": 0,
            "pretraining_tp": 1,
        },
        weights={**named, **buffers},
        note="For the code released with Xmodel-LM: `load_state_dict(torch.load('pytorch_model.bin'))` is strict and "
        "finds every key; or put its `configuration_xmodel.py` and `modeling_xmodel.py` beside this file and load with "
        "`trust_remote_code=True`.",
        pickled=True,
    )


FORMATS: dict[str, Callable[[ModelConfig, int, Weights], Layout]] = {
    "llama": _llama,
    "granite": _granite,
    "minicpm": _minicpm,
    "xmodel": _xmodel,
}


def laid_out(name: str, config: ModelConfig, vocab_size: int, named: Weights) -> Layout:
    """A model in one of the FORMATS. XmodelError where that class computes something else than the model does."""
    return FORMATS[name](config, vocab_size, named)


# Back from the released layouts.

SAME_NAMES = ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "rms_norm_eps")
ABSENT = {"attention_bias": False, "mlp_bias": False, "rope_scaling": None, "hidden_act": "silu"}
"""What our network has no setting for, and the only value of it that it computes."""


def _minicpm_settings(record: Mapping[str, Any], where: object) -> dict[str, Any]:
    return {name: record.get(name, 1) for name in ("scale_emb", "scale_depth", "dim_model_base")}


def _xmodel2_settings(record: Mapping[str, Any], where: object) -> dict[str, Any]:
    if not record.get("use_mup", False):
        return {}
    attention, ffn, output = (
        record.get(f"mup_{name}", default)
        for name, default in (("attention_residual_scale", 1.4), ("ffn_residual_scale", 1.4), ("output_scale", 1.0))
    )
    if attention != ffn or output != 1:
        raise XmodelError(
            "this checkpoint's muP has more scales than our network",
            expected="one residual scale for attention and feed-forward, and mup_output_scale 1",
            found=f"{attention} and {ffn}, and mup_output_scale {output}",
            where=where,
        )
    return {
        "scale_emb": record.get("mup_input_scale", 12.0),
        "scale_depth": attention,
        "dim_model_base": record.get("mup_base_width", 256),
        "attention_scale": "1/d",
        # As the released model was trained; what else training asks stands in a recipe.
        "norm_gain_lr": "hidden",
        "output_projection_init": "depth",
    }


@dataclass(frozen=True)
class _Released:
    """One released layout: where its code's defaults differ, and its muP."""

    tied: bool
    settings: Callable[[Mapping[str, Any], object], dict[str, Any]]


RELEASED = {
    "XModelForCausalLM": _Released(tied=False, settings=lambda record, where: {}),
    "XmodelForCausalLM": _Released(tied=True, settings=_xmodel2_settings),
    "MiniCPMForCausalLM": _Released(tied=True, settings=_minicpm_settings),
}
"""Class → how its config.json is read: Xmodel-LM's, Xmodel-2.5's (and its authors' other models), MiniCPM's."""


def shape_of_released(record: Mapping[str, Any], where: object) -> tuple[ModelConfig, int]:
    """Our shape and the vocabulary size of a released checkpoint's config.json. XmodelError: another class, parts that
    our network lacks, numbers that do not fit together."""
    architecture = next(iter(record.get("architectures") or []), None)
    if architecture not in RELEASED:
        raise XmodelError(
            "a checkpoint of a layout that is not known here",
            expected=f"`architectures` with one of {', '.join(RELEASED)}",
            found=architecture or record.get("model_type"),
            where=where,
        )
    for name, only in ABSENT.items():
        if record.get(name, only) != only:
            raise XmodelError(
                "this checkpoint has what our network lacks",
                expected=f"{name} {only}",
                found=f"{name} {record[name]}",
                where=where,
            )
    fields = {name: record.get(name) for name in SAME_NAMES}
    for name in ("max_position_embeddings", "initializer_range"):
        if name in record:
            fields[name] = record[name]
    theta = (record.get("rope_parameters") or record).get("rope_theta", XMODEL_LM_THETA)
    if architecture == "XModelForCausalLM":
        theta = XMODEL_LM_THETA
    released = RELEASED[architecture]
    fields |= {
        "num_key_value_heads": record.get("num_key_value_heads") or record.get("num_attention_heads"),
        "rope_theta": theta,
        "tie_word_embeddings": record.get("tie_word_embeddings", released.tied),
        **released.settings(record, where),
    }
    vocab_size = record.get("vocab_size")
    if not isinstance(vocab_size, int):
        raise XmodelError("a config without its vocabulary", expected="vocab_size", found=vocab_size, where=where)
    return validate(ModelConfig, fields, where), vocab_size


def weights_of_released(tensors: Mapping[str, Tensor], config: ModelConfig, where: object) -> Weights:
    """The named weights among a released checkpoint's tensors, in fp32. What says nothing new is left out: the rotary
    frequencies, and a tied output projection; XmodelError where they do say something else."""
    named = {}
    for name, tensor in tensors.items():
        if name.endswith("rotary_emb.inv_freq"):
            ours = inverse_frequencies(config)
            if tensor.shape != ours.shape or not torch.allclose(tensor.float(), ours, rtol=0.01):  # it may be bf16
                raise XmodelError(
                    "this checkpoint's rotary frequencies are not its config's",
                    expected=f"those of rope_theta {config.rope_theta:.0f} and head size {config.head_dim}",
                    found=name,
                    where=where,
                )
        elif name == "lm_head.weight" and config.tie_word_embeddings:
            if not torch.equal(tensor, tensors.get("model.embed_tokens.weight", torch.empty(0))):
                raise XmodelError(
                    "an output projection of its own, where the config says that it is the embedding",
                    expected="tie_word_embeddings false, or the two equal",
                    found=name,
                    where=where,
                )
        else:
            named[name] = tensor.float().contiguous()
    return named

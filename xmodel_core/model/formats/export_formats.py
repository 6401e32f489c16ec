"""Export formats: a model for Llama's class, Granite's, MiniCPM's and the lab's own.

Takes a shape and its named weights; gives the fields of config.json and the tensors that a class expects, or refuses
with the reason why the class computes something else. Nothing here reads or writes files.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from xmodel_core.errors import XmodelError
from xmodel_core.model.config import ModelConfig

Weights = dict[str, Tensor]

XMODEL_LM_THETA = 10000.0
"""The base of the rotary frequencies that is fixed in Xmodel-LM's released code."""


@dataclass(frozen=True)
class ExportedModel:
    """A model in the form that one class expects."""

    config: dict[str, Any]
    """The fields of config.json, without those of the tokenizer."""
    weights: Weights
    """The tensors by name, a tied output projection included where a strict load expects its name."""
    note: str
    """How to load it, in Markdown, for the model card."""
    pickled: bool = False
    """Whether pytorch_model.bin is written too, for released code that reads it."""


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
    """The weights multiplied by all of muP's multipliers, exact but for rounding. The embedding takes scale_emb; where
    it is the output projection too, the final gain is divided by it."""
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
    """The weights as a strict load expects them: a tied output projection under its own name too."""
    return {"lm_head.weight": named["model.embed_tokens.weight"], **named}


def _refused(name: str, code: str, found: str, others: str) -> XmodelError:
    return XmodelError(
        f"the format {name} cannot hold this model",
        expected=f"what {code} computes",
        found=found,
        remedy=f"export it as {others}",
    )


def _llama(config: ModelConfig, vocab_size: int, named: Weights) -> ExportedModel:
    folded = config.scale_emb is not None or config.attention_scale == "1/d"
    return ExportedModel(
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


def _granite(config: ModelConfig, vocab_size: int, named: Weights) -> ExportedModel:
    return ExportedModel(
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


def _minicpm(config: ModelConfig, vocab_size: int, named: Weights) -> ExportedModel:
    if config.attention_scale != "1/sqrt(d)":
        difference = "attention_scale 1/d, where MiniCPM's is 1/sqrt(d)"
        raise _refused("minicpm", "MiniCPM's code", difference, "granite, llama or xmodel")
    return ExportedModel(
        config={
            **_shape(config, vocab_size, "MiniCPMForCausalLM", "minicpm"),
            "auto_map": {
                "AutoConfig": "configuration_minicpm.MiniCPMConfig",
                "AutoModel": "modeling_minicpm.MiniCPMModel",
                "AutoModelForCausalLM": "modeling_minicpm.MiniCPMForCausalLM",
            },
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


def _xmodel(config: ModelConfig, vocab_size: int, named: Weights) -> ExportedModel:
    mup = config.scale_emb is not None
    if mup != (config.attention_scale == "1/d"):
        difference = "muP with attention_scale 1/sqrt(d)" if mup else "attention_scale 1/d without muP"
        others = "minicpm, granite or llama" if mup else "granite or llama"
        raise _refused("xmodel", "the lab's code, where muP and attention_scale 1/d go together", difference, others)
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
    return ExportedModel(
        config={**_shape(config, vocab_size, "XmodelForCausalLM", "xmodel"), **fields},
        weights=_with_output_projection(named),
        note="For the code released with Xmodel-2.5: put its `configuration_xmodel2.py` and `modeling_xmodel2.py` "
        "beside this file and load with `trust_remote_code=True`.",
        pickled=True,
    )


def inverse_frequencies(config: ModelConfig) -> Tensor:
    """The rotary frequencies, `[head size / 2]`: Xmodel-LM's code keeps them among the weights, as `inv_freq`."""
    steps = torch.arange(0, config.head_dim, 2).float() / config.head_dim
    return 1.0 / (config.rope_theta**steps)


def _xmodel_lm(config: ModelConfig, vocab_size: int, named: Weights) -> ExportedModel:
    shape = _shape(config, vocab_size, "XModelForCausalLM", "xmodel")
    del shape["rope_theta"]  # fixed in its code
    buffers = {
        f"model.layers.{layer}.self_attn.rotary_emb.inv_freq": inverse_frequencies(config)
        for layer in range(config.num_hidden_layers)
    }
    return ExportedModel(
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


FORMATS: dict[str, Callable[[ModelConfig, int, Weights], ExportedModel]] = {
    "llama": _llama,
    "granite": _granite,
    "minicpm": _minicpm,
    "xmodel": _xmodel,
}


def convert(name: str, config: ModelConfig, vocab_size: int, named: Weights) -> ExportedModel:
    """A model in one of the FORMATS. XmodelError where that class computes something else than the model does."""
    return FORMATS[name](config, vocab_size, named)

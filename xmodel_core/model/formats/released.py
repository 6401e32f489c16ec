"""Released formats as models of ours: Xmodel-LM's, Xmodel-2.5's, and MiniCPM's, in which Xmodel-2 was released.

Takes a released config.json's fields and tensors by name; gives our shape and named weights, or refuses with what our
network does not compute. Nothing here reads or writes files.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from xmodel_core.errors import XmodelError
from xmodel_core.model.config import ModelConfig
from xmodel_core.model.formats.export_formats import XMODEL_LM_THETA, Weights, inverse_frequencies
from xmodel_core.specs.strict import validate

SAME_NAMES = ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "rms_norm_eps")
FIXED_SETTINGS = {"attention_bias": False, "mlp_bias": False, "rope_scaling": None, "hidden_act": "silu"}
"""Settings that our network does not have, and the only value of each that it computes."""


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
        # As the released model was trained; its other training settings are in a recipe.
        "norm_gain_lr": "hidden",
        "output_projection_init": "depth",
    }


@dataclass(frozen=True)
class _ReleasedFormat:
    """How one released class's config.json is read: where its defaults differ, and its muP."""

    tied: bool
    settings: Callable[[Mapping[str, Any], object], dict[str, Any]]


RELEASED = {
    "XModelForCausalLM": _ReleasedFormat(tied=False, settings=lambda record, where: {}),
    "XmodelForCausalLM": _ReleasedFormat(tied=True, settings=_xmodel2_settings),
    "MiniCPMForCausalLM": _ReleasedFormat(tied=True, settings=_minicpm_settings),
}
"""By class: Xmodel-LM's, Xmodel-2.5's (and its authors' other models), MiniCPM's."""


def shape_of_released(record: Mapping[str, Any], where: object) -> tuple[ModelConfig, int]:
    """Our shape and the vocabulary size of a released checkpoint's config.json. XmodelError: another class, parts that
    our network lacks, numbers that do not fit together."""
    architecture = next(iter(record.get("architectures") or []), None)
    if architecture not in RELEASED:
        raise XmodelError(
            "a checkpoint of an unknown class",
            expected=f"`architectures` with one of {', '.join(RELEASED)}",
            found=architecture or record.get("model_type"),
            where=where,
        )
    for name, only in FIXED_SETTINGS.items():
        if record.get(name, only) != only:
            raise XmodelError(
                "this checkpoint uses a setting that our network does not support",
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
    """The named weights among a released checkpoint's tensors, in fp32. Redundant tensors are left out: the rotary
    frequencies, and a tied output projection; XmodelError where they differ from what the config implies."""
    named = {}
    for name, tensor in tensors.items():
        if name.endswith("rotary_emb.inv_freq"):
            expected = inverse_frequencies(config)
            # In bf16 they are rounded.
            if tensor.shape != expected.shape or not torch.allclose(tensor.float(), expected, rtol=0.01):
                raise XmodelError(
                    "this checkpoint's rotary frequencies differ from its config's",
                    expected=f"those of rope_theta {config.rope_theta:.0f} and head size {config.head_dim}",
                    found=name,
                    where=where,
                )
        elif name == "lm_head.weight" and config.tie_word_embeddings:
            if not torch.equal(tensor, tensors.get("model.embed_tokens.weight", torch.empty(0))):
                raise XmodelError(
                    "an output projection that differs from the embedding, where the config ties them",
                    expected="tie_word_embeddings false, or the two equal",
                    found=name,
                    where=where,
                )
        else:
            named[name] = tensor.float().contiguous()
    return named

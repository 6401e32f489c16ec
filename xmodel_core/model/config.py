"""The model's shape in Hugging Face's names, and its muP settings.

Takes a recipe's `model:` slice; gives a frozen `ModelConfig`. The three families of the reports are settings of it
(flows/recipes/models). The vocabulary size is not a setting: the tokenizer knows it.
"""

import math
from typing import Literal

from pydantic import Field, model_validator

from xmodel_core.specs.strict import Strict


class ModelConfig(Strict):
    """The shape of one model. Without the three muP settings it is Xmodel-LM's (arXiv 2406.02856, the standard
    parametrisation), with them Xmodel-2's (arXiv 2412.19638, Table 6); Xmodel-2.5 (arXiv 2511.19496) also scales
    attention by 1/d."""

    hidden_size: int = Field(ge=2)
    """Width of the residual stream."""
    intermediate_size: int = Field(ge=1)
    """Width of the SwiGLU feed-forward network."""
    num_hidden_layers: int = Field(ge=1)
    """Blocks of attention and feed-forward."""
    num_attention_heads: int = Field(ge=1)
    """Query heads; the head size is hidden_size / num_attention_heads and must be even (RoPE rotates pairs)."""
    num_key_value_heads: int = Field(ge=1)
    """Key and value heads, each shared by num_attention_heads / num_key_value_heads query heads."""
    max_position_embeddings: int = Field(default=4096, ge=1)
    """The longest context, in tokens; training's sequence_length may not be longer."""
    rope_theta: float = Field(default=10000.0, gt=0)
    """Base of the rotary frequencies. Xmodel-LM 10,000; Xmodel-2 10,000, which its report leaves open; Xmodel-2.5
    500,000."""
    attention_scale: Literal["1/sqrt(d)", "1/d"] = "1/sqrt(d)"
    """What products of queries and keys are multiplied by, d being the head size. `1/d` is muP's rule, and
    Xmodel-2.5's; Xmodel-2's Table 6 does not have it."""
    rms_norm_eps: float = Field(default=1e-5, gt=0)
    """Added to the mean square in RMSNorm."""
    tie_word_embeddings: bool = True
    """Whether the output projection is the input embedding: Xmodel-2 yes, Xmodel-LM no."""
    initializer_range: float = Field(default=0.02, gt=0)
    """Standard deviation of initial weights: 0.02 for Xmodel-LM, 0.1 under muP (there divided by sqrt(m) for
    the matrices inside the blocks, m = hidden_size / dim_model_base)."""
    scale_emb: float | None = Field(default=None, gt=0)
    """muP: the embedding's output is multiplied by it (Xmodel-2: 12). Null: no scaling."""
    scale_depth: float | None = Field(default=None, gt=0)
    """muP: each block's output is multiplied by scale_depth / sqrt(num_hidden_layers) (Xmodel-2: 1.4)."""
    dim_model_base: int | None = Field(default=None, ge=1)
    """muP: the width at which m is 1 (Xmodel-2: 256); logits and the blocks' learning rates are divided by m."""
    norm_gain_lr: Literal["base", "hidden"] = "base"
    """muP: the learning rate of RMSNorm gains. `base`, as Table 6 says ("other parts"); `hidden` divides it by
    m, as Xmodel-2.5's released training code does."""
    output_projection_init: Literal["width", "depth"] = "width"
    """Initial standard deviation of o_proj and down_proj. `width`: initializer_range / sqrt(m) as all matrices of
    the blocks, as Table 6 says; `depth`: initializer_range / sqrt(2 * layers), as Megatron and Xmodel-2.5 do."""

    @model_validator(mode="after")
    def _fits(self) -> "ModelConfig":
        if self.hidden_size % self.num_attention_heads:
            raise ValueError(
                f"hidden_size {self.hidden_size} must be a multiple of num_attention_heads {self.num_attention_heads}"
            )
        if self.num_attention_heads % self.num_key_value_heads:
            raise ValueError(
                f"num_attention_heads {self.num_attention_heads} must be a multiple of "
                f"num_key_value_heads {self.num_key_value_heads}"
            )
        if self.head_dim % 2:
            raise ValueError(
                f"the head size hidden_size / num_attention_heads must be even, since RoPE rotates pairs; "
                f"{self.hidden_size} / {self.num_attention_heads} is {self.head_dim}"
            )
        given = [name for name in ("scale_emb", "scale_depth", "dim_model_base") if getattr(self, name) is not None]
        if len(given) not in (0, 3):
            raise ValueError(
                f"muP needs scale_emb, scale_depth and dim_model_base together, or none of them; "
                f"given: {', '.join(given)}"
            )
        return self

    @property
    def head_dim(self) -> int:
        """Size of one attention head."""
        return self.hidden_size // self.num_attention_heads

    @property
    def attention_multiplier(self) -> float:
        """What products of queries and keys are multiplied by, as a number."""
        return 1 / self.head_dim if self.attention_scale == "1/d" else 1 / math.sqrt(self.head_dim)

    @property
    def width_multiplier(self) -> float:
        """m of Table 6: hidden_size / dim_model_base, 1 without muP."""
        return self.hidden_size / self.dim_model_base if self.dim_model_base else 1.0

    @property
    def residual_scale(self) -> float:
        """What a block's output is multiplied by before it joins the residual stream."""
        return self.scale_depth / math.sqrt(self.num_hidden_layers) if self.scale_depth else 1.0

"""The network: pre-RMSNorm, RoPE, grouped-query attention, SwiGLU, and the muP scalings of Xmodel-2's Table 6.

Takes token ids; gives a mean loss, or logits. Query, key and value (and gate and up) are one matrix each, one product
instead of three; `weights.py` splits them into Hugging Face's names on disk.
Letters of shapes: B batch, T time, S time including the cached tokens, D hidden, H query heads, G key-value heads,
N query, key and value heads together, K head size, F feed-forward, V vocabulary, L layers, 1 a broadcast dimension.
"""

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from xmodel_core.model.arithmetic import compiled, emulates_bf16
from xmodel_core.model.config import ModelConfig
from xmodel_core.model.loss import linear_cross_entropy


class KeyValueCache:
    """Keys and values of the tokens so far, `[layers, batch, key-value heads, length, head size]` each, allocated once
    at full length; the first `seen` positions are filled."""

    def __init__(self, config: ModelConfig, batch: int, length: int, dtype: torch.dtype, device: torch.device) -> None:
        shape = (config.num_hidden_layers, batch, config.num_key_value_heads, length, config.head_dim)
        self.keys_LBGSK = torch.zeros(shape, dtype=dtype, device=device)
        self.values_LBGSK = torch.zeros(shape, dtype=dtype, device=device)
        self.seen = 0

    def extend(self, layer: int, k_BGTK: Tensor, v_BGTK: Tensor) -> tuple[Tensor, Tensor]:
        """Writes one layer's keys and values of new tokens, `[batch, key-value heads, time, head size]`, behind the
        first `seen`; gives all of the layer so far, with `seen + time` positions. `seen` itself is for the caller to
        advance, after the last layer."""
        end = self.seen + k_BGTK.shape[2]
        assert end <= self.keys_LBGSK.shape[3], f"the cache holds {self.keys_LBGSK.shape[3]} tokens, {end} asked for"
        self.keys_LBGSK[layer, :, :, self.seen : end] = k_BGTK
        self.values_LBGSK[layer, :, :, self.seen : end] = v_BGTK
        return self.keys_LBGSK[layer, :, :, :end], self.values_LBGSK[layer, :, :, :end]

    def keep(self, rows: list[int]) -> None:
        """Drops all rows of the batch but these."""
        self.keys_LBGSK, self.values_LBGSK = self.keys_LBGSK[:, rows], self.values_LBGSK[:, rows]


def rotate(x_BTNK: Tensor, cos_TK: Tensor, sin_TK: Tensor) -> Tensor:
    """RoPE (Su et al. 2021, section 3.2.2): `x_BTNK` `[batch, time, heads, head size]`, turned by the angles whose
    cosines and sines are `[time, head size]`; same shape out.

    Half-split as in Hugging Face's Llama: dimension i turns with dimension i + K/2.
    """
    first, second = x_BTNK.chunk(2, -1)
    return x_BTNK * cos_TK[:, None] + torch.cat((-second, first), -1) * sin_TK[:, None]


class Linear(nn.Linear):
    """x · weightᵀ in autocast's precision, without bias: `[..., inputs]` → `[..., outputs]`."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs, bias=False)

    def forward(self, input: Tensor) -> Tensor:
        """x · weightᵀ; bf16 is computed in fp32 where the CPU has no instructions for it."""
        if not emulates_bf16(input):
            return functional.linear(input, self.weight)
        with torch.autocast("cpu", enabled=False):
            return functional.linear(input.bfloat16().float(), self.weight.bfloat16().float()).bfloat16()


class RMSNorm(nn.Module):
    """x / rms(x) · gain, the mean square in fp32 (Zhang and Sennrich 2019)."""

    def __init__(self, width: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.eps = eps

    def forward(self, x_BTD: Tensor) -> Tensor:
        """Normalises the last dimension: `[batch, time, hidden]` in and out."""
        return functional.rms_norm(x_BTD, self.weight.shape, self.weight, self.eps)


class Attention(nn.Module):
    """Causal grouped-query attention (Ainslie et al. 2023), scaled by 1/sqrt(head size) or, in Xmodel-2.5, by
    1/(head size)."""

    def __init__(self, config: ModelConfig, layer: int) -> None:
        super().__init__()
        self.layer = layer
        self.heads, self.kv_heads, self.head_dim = (
            config.num_attention_heads,
            config.num_key_value_heads,
            config.head_dim,
        )
        self.scale = config.attention_multiplier
        self.qkv_proj = Linear(config.hidden_size, (self.heads + 2 * self.kv_heads) * self.head_dim)
        self.o_proj = Linear(self.heads * self.head_dim, config.hidden_size)

    def forward(
        self, x_BTD: Tensor, cos_TK: Tensor, sin_TK: Tensor, cache: KeyValueCache | None, mask_B1TT: Tensor | None
    ) -> Tensor:
        """`[batch, time, hidden]` in and out; `cos_TK` and `sin_TK` are RoPE's, `[time, head size]`.

        With a cache the tokens follow those that it has, and their keys and values are added to it. `mask_B1TT`
        (`[batch, 1, time, time]`, true where a query may attend to a key) replaces the causal mask.
        """
        batch, time, _ = x_BTD.shape
        qkv_BTNK = self.qkv_proj(x_BTD).view(batch, time, self.heads + 2 * self.kv_heads, self.head_dim)
        rotated = self.heads + self.kv_heads  # queries and keys are rotated together
        qk_BNTK = rotate(qkv_BTNK[:, :, :rotated], cos_TK, sin_TK).to(qkv_BTNK.dtype).transpose(1, 2)
        q_BHTK, k_BGSK = qk_BNTK.split((self.heads, self.kv_heads), 1)
        v_BGSK = qkv_BTNK[:, :, rotated:].transpose(1, 2)
        mask = mask_B1TT
        if cache is not None:
            k_BGSK, v_BGSK = cache.extend(self.layer, k_BGSK, v_BGSK)
            if time > 1 and cache.seen > 0:
                shape = (time, cache.seen + time)
                mask = torch.ones(shape, dtype=torch.bool, device=x_BTD.device).tril(cache.seen)
        options = {
            "attn_mask": mask,
            "is_causal": mask is None and time > 1,  # one new token attends to everything cached
            "scale": self.scale,
            "enable_gqa": self.heads != self.kv_heads,
        }
        attend = functional.scaled_dot_product_attention
        if emulates_bf16(x_BTD):
            with torch.autocast("cpu", enabled=False):
                y_BHTK = attend(q_BHTK.float(), k_BGSK.float(), v_BGSK.float(), **options).bfloat16()
        else:
            y_BHTK = attend(q_BHTK, k_BGSK, v_BGSK, **options)
        return self.o_proj(y_BHTK.transpose(1, 2).reshape(batch, time, -1))


class FeedForward(nn.Module):
    """SwiGLU (Shazeer 2020): down(silu(gate(x)) · up(x))."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.gate_up_proj = Linear(config.hidden_size, 2 * config.intermediate_size)
        self.down_proj = Linear(config.intermediate_size, config.hidden_size)

    def forward(self, x_BTD: Tensor) -> Tensor:
        """`[batch, time, hidden]` in and out, `[batch, time, feed-forward]` between."""
        gate_BTF, up_BTF = self.gate_up_proj(x_BTD).chunk(2, -1)
        return self.down_proj(functional.silu(gate_BTF) * up_BTF)


class Block(nn.Module):
    """One layer: x + s·attention(norm(x)), then x + s·feed_forward(norm(x)); s is scale_depth / sqrt(layers) under muP
    (Table 6), else 1."""

    def __init__(self, config: ModelConfig, layer: int) -> None:
        super().__init__()
        self.input_layernorm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.self_attn = Attention(config, layer)
        self.post_attention_layernorm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.mlp = FeedForward(config)
        self.scale = config.residual_scale

    def forward(
        self, x_BTD: Tensor, cos_TK: Tensor, sin_TK: Tensor, cache: KeyValueCache | None, mask_B1TT: Tensor | None
    ) -> Tensor:
        """The residual stream before and after the layer, `[batch, time, hidden]`; the rest as in `Attention`."""
        attended_BTD = self.self_attn(self.input_layernorm(x_BTD), cos_TK, sin_TK, cache, mask_B1TT)
        x_BTD = torch.add(x_BTD, attended_BTD, alpha=self.scale)
        return torch.add(x_BTD, self.mlp(self.post_attention_layernorm(x_BTD)), alpha=self.scale)


def apply_block(block: nn.Module, *arguments: Any) -> Tensor:
    """Calls one layer. A function, so that all layers share what is compiled from it."""
    return block(*arguments)


class Decoder(nn.Module):
    """Embedding, blocks and final norm: what Hugging Face calls `model`."""

    def __init__(self, config: ModelConfig, vocab_size: int) -> None:
        super().__init__()
        self.embed_tokens = nn.Embedding(vocab_size, config.hidden_size)
        self.layers = nn.ModuleList([Block(config, layer) for layer in range(config.num_hidden_layers)])
        self.norm = RMSNorm(config.hidden_size, config.rms_norm_eps)


class Xmodel(nn.Module):
    """The language model. `model(tokens, targets)` is the mean loss, `model(tokens)` the logits."""

    cos_SK: Tensor
    sin_SK: Tensor

    def __init__(self, config: ModelConfig, vocab_size: int) -> None:
        super().__init__()
        self.config = config
        self.vocab_size = vocab_size
        self.model = Decoder(config, vocab_size)
        # Xmodel-LM has an output projection of its own; a tied one is the embedding and has no tensor.
        self.lm_head = None if config.tie_word_embeddings else Linear(config.hidden_size, vocab_size)
        steps = torch.arange(0, config.head_dim, 2, dtype=torch.float32) / config.head_dim
        angles = torch.outer(torch.arange(config.max_position_embeddings).float(), config.rope_theta**-steps)
        angles = torch.cat((angles, angles), -1)
        self.register_buffer("cos_SK", angles.cos(), persistent=False)
        self.register_buffer("sin_SK", angles.sin(), persistent=False)
        self.compiled = False
        self.activation_checkpointing = False

    def configure_training(self, *, compiled: bool, activation_checkpointing: bool) -> None:
        """Sets how the forward and backward pass of training are computed.

        `compiled`: blocks and loss as fused kernels, which takes a C++ compiler and up to a minute; other roundings
        than uncompiled. `activation_checkpointing`: a block keeps only its input and is computed again in the backward
        pass: the same bits, a third more work, far less memory (Chen et al. 2016).
        """
        self.compiled, self.activation_checkpointing = compiled, activation_checkpointing

    @property
    def output_weight_VD(self) -> Tensor:
        """The output projection, `[vocabulary, hidden]`: the embedding where they are tied."""
        return self.model.embed_tokens.weight if self.lm_head is None else self.lm_head.weight

    def hidden(
        self, tokens_BT: Tensor, cache: KeyValueCache | None = None, documents_BT: Tensor | None = None
    ) -> Tensor:
        """The final hidden states, normed and divided by m, ready for the output projection: `[batch, time, hidden]`.

        `documents_BT`: the document that each token belongs to, `[batch, time]`; where it is given (then without a
        cache) a token attends only to those of its own document. RoPE is relative, so positions need not restart.
        """
        start = 0 if cache is None else cache.seen
        end = start + tokens_BT.shape[1]
        assert end <= len(self.cos_SK), f"{end} tokens are more than max_position_embeddings {len(self.cos_SK)}"
        x_BTD = self.model.embed_tokens(tokens_BT)
        if self.config.scale_emb is not None:
            x_BTD = x_BTD * self.config.scale_emb
        cos_TK, sin_TK = self.cos_SK[start:end], self.sin_SK[start:end]
        mask_B1TT = None
        if documents_BT is not None:
            mask_B1TT = (documents_BT[:, :, None] == documents_BT[:, None, :]).tril()[:, None]
        training = torch.is_grad_enabled() and cache is None
        apply = compiled(apply_block) if training and self.compiled else apply_block
        for block in self.model.layers:
            if training and self.activation_checkpointing:
                x_BTD = checkpoint(apply, block, x_BTD, cos_TK, sin_TK, None, mask_B1TT, use_reentrant=False)
            else:
                x_BTD = apply(block, x_BTD, cos_TK, sin_TK, cache, mask_B1TT)
        if cache is not None:
            cache.seen = end
        x_BTD = self.model.norm(x_BTD)
        return x_BTD if self.config.dim_model_base is None else x_BTD / self.config.width_multiplier

    def forward(
        self,
        tokens_BT: Tensor,
        targets_BT: Tensor | None = None,
        cache: KeyValueCache | None = None,
        documents_BT: Tensor | None = None,
    ) -> Tensor:
        """The mean cross-entropy in nats (a scalar) where targets `[batch, time]` are given, else logits
        `[batch, time, vocabulary]`. Negative targets do not count; `documents_BT`: see `hidden`."""
        x_BTD = self.hidden(tokens_BT, cache, documents_BT)
        if targets_BT is None:
            return functional.linear(x_BTD, self.output_weight_VD)
        return linear_cross_entropy(
            x_BTD.flatten(0, 1), self.output_weight_VD, targets_BT.flatten(), use_compiled=self.compiled
        )


def initialise(model: Xmodel, seed: int) -> None:
    """Draws the weights anew, the same on every device: embeddings N(0, initializer_range), matrices of the
    blocks N(0, initializer_range / sqrt(m)) (Table 6), norm gains 1."""
    config = model.config
    generator = torch.Generator().manual_seed(seed)
    hidden_std = config.initializer_range / math.sqrt(config.width_multiplier)
    depth_std = config.initializer_range / math.sqrt(2 * config.num_hidden_layers)
    for name, parameter in model.named_parameters():
        if parameter.dim() < 2:
            nn.init.ones_(parameter)
            continue
        if name.startswith("model.layers."):
            is_output = name.endswith(("o_proj.weight", "down_proj.weight"))
            std = depth_std if is_output and config.output_projection_init == "depth" else hidden_std
        else:
            std = config.initializer_range
        with torch.no_grad():
            parameter.copy_(torch.empty(parameter.shape).normal_(0.0, std, generator=generator))

"""The network, whole: pre-RMSNorm, RoPE, grouped-query attention, SwiGLU, and Table 6's muP scalings.

Takes token ids; gives a mean loss, or logits. Query, key and value (and gate and up) are one matrix
each, one product instead of three; `weights.py` splits them into Hugging Face's names on disk.
Letters of shapes: B batch, T time, S time with the cache's, D hidden, H query heads, G key-value heads,
K head size, F feed-forward, V vocabulary, N = B·T.
"""

import functools
import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch._functorch import config as functorch_config
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from xmodel_core.model.config import ModelConfig

LOGITS_AT_A_TIME = {"cpu": 2**25, "cuda": 2**28}
"""The loss makes at most so many logits at once, whatever the vocabulary: 128 MiB in fp32, 1 GiB on a GPU. Half as many
cost a CPU a tenth of the loss's time (EXPERIMENTS.md), and small products leave most of a GPU idle."""
MULTIPLIES_BF16 = bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
"""Whether this machine's CPU has instructions for products of bf16 numbers (AVX-512 BF16, AMX)."""


class KeyValueCache:
    """Keys and values of the tokens seen so far, one pair of tensors a layer, made once at full length."""

    def __init__(self, config: ModelConfig, batch: int, length: int, dtype: torch.dtype, device: torch.device) -> None:
        shape = (config.num_hidden_layers, batch, config.num_key_value_heads, length, config.head_dim)
        self.keys_LBGSK = torch.zeros(shape, dtype=dtype, device=device)
        self.values_LBGSK = torch.zeros(shape, dtype=dtype, device=device)
        self.seen = 0

    def extend(self, layer: int, k_BGTK: Tensor, v_BGTK: Tensor) -> tuple[Tensor, Tensor]:
        """Puts new tokens behind those seen; gives all keys and values of the layer so far."""
        end = self.seen + k_BGTK.shape[2]
        assert end <= self.keys_LBGSK.shape[3], f"the cache holds {self.keys_LBGSK.shape[3]} tokens, {end} asked for"
        self.keys_LBGSK[layer, :, :, self.seen : end] = k_BGTK
        self.values_LBGSK[layer, :, :, self.seen : end] = v_BGTK
        return self.keys_LBGSK[layer, :, :, :end], self.values_LBGSK[layer, :, :, :end]

    def keep(self, rows: list[int]) -> None:
        """Goes on with these rows of the batch alone."""
        self.keys_LBGSK, self.values_LBGSK = self.keys_LBGSK[:, rows], self.values_LBGSK[:, rows]


def rotate(x_BTNK: Tensor, cos_TK: Tensor, sin_TK: Tensor) -> Tensor:
    """RoPE, half-split as in Hugging Face's Llama: dimension i turns with dimension i + K/2."""
    first, second = x_BTNK.chunk(2, -1)
    return x_BTNK * cos_TK[:, None] + torch.cat((-second, first), -1) * sin_TK[:, None]


def multiplies_in_fp32(x: Tensor) -> bool:
    """Whether bf16 was asked for on a CPU that cannot multiply it. torch then falls back to loops that are ten to a
    hundred times slower than fp32; products of bf16 numbers summed in fp32 are what the instructions compute, too."""
    return x.device.type == "cpu" and not MULTIPLIES_BF16 and torch.is_autocast_enabled("cpu")


class Linear(nn.Linear):
    """x · weightᵀ in autocast's precision."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs, bias=False)

    def forward(self, input: Tensor) -> Tensor:
        if not multiplies_in_fp32(input):
            return functional.linear(input, self.weight)
        with torch.autocast("cpu", enabled=False):
            return functional.linear(input.bfloat16().float(), self.weight.bfloat16().float()).bfloat16()


class RMSNorm(nn.Module):
    """x / rms(x) · gain, the mean square in fp32."""

    def __init__(self, width: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.eps = eps

    def forward(self, x_BTD: Tensor) -> Tensor:
        return functional.rms_norm(x_BTD, self.weight.shape, self.weight, self.eps)


class Attention(nn.Module):
    """Causal grouped-query attention, scaled by 1/sqrt(head size) or, in Xmodel-2.5, by 1/(head size)."""

    def __init__(self, config: ModelConfig, layer: int) -> None:
        super().__init__()
        self.layer = layer
        self.heads, self.shared, self.head_dim = (
            config.num_attention_heads,
            config.num_key_value_heads,
            config.head_dim,
        )
        self.scale = config.attention_multiplier
        self.qkv_proj = Linear(config.hidden_size, (self.heads + 2 * self.shared) * self.head_dim)
        self.o_proj = Linear(self.heads * self.head_dim, config.hidden_size)

    def forward(
        self, x_BTD: Tensor, cos_TK: Tensor, sin_TK: Tensor, cache: KeyValueCache | None, mask_B1TT: Tensor | None
    ) -> Tensor:
        batch, time, _ = x_BTD.shape
        qkv_BTNK = self.qkv_proj(x_BTD).view(batch, time, self.heads + 2 * self.shared, self.head_dim)
        turned = self.heads + self.shared  # queries and keys turn together
        qk_BNTK = rotate(qkv_BTNK[:, :, :turned], cos_TK, sin_TK).to(qkv_BTNK.dtype).transpose(1, 2)
        q_BHTK, k_BGSK = qk_BNTK.split((self.heads, self.shared), 1)
        v_BGSK = qkv_BTNK[:, :, turned:].transpose(1, 2)
        mask = mask_B1TT
        if cache is not None:
            k_BGSK, v_BGSK = cache.extend(self.layer, k_BGSK, v_BGSK)
            if time > 1 and cache.seen > 0:
                shape = (time, cache.seen + time)
                mask = torch.ones(shape, dtype=torch.bool, device=x_BTD.device).tril(cache.seen)
        how = {
            "attn_mask": mask,
            "is_causal": mask is None and time > 1,  # one new token sees everything cached
            "scale": self.scale,
            "enable_gqa": self.heads != self.shared,
        }
        attend = functional.scaled_dot_product_attention
        if multiplies_in_fp32(x_BTD):
            with torch.autocast("cpu", enabled=False):
                y_BHTK = attend(q_BHTK.float(), k_BGSK.float(), v_BGSK.float(), **how).bfloat16()
        else:
            y_BHTK = attend(q_BHTK, k_BGSK, v_BGSK, **how)
        return self.o_proj(y_BHTK.transpose(1, 2).reshape(batch, time, -1))


class FeedForward(nn.Module):
    """SwiGLU: down(silu(gate(x)) · up(x))."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.gate_up_proj = Linear(config.hidden_size, 2 * config.intermediate_size)
        self.down_proj = Linear(config.intermediate_size, config.hidden_size)

    def forward(self, x_BTD: Tensor) -> Tensor:
        gate_BTF, up_BTF = self.gate_up_proj(x_BTD).chunk(2, -1)
        return self.down_proj(functional.silu(gate_BTF) * up_BTF)


class Block(nn.Module):
    """One layer: x + s·attention(norm(x)), then x + s·feed_forward(norm(x)); s is 1 without muP."""

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
        attended_BTD = self.self_attn(self.input_layernorm(x_BTD), cos_TK, sin_TK, cache, mask_B1TT)
        x_BTD = torch.add(x_BTD, attended_BTD, alpha=self.scale)
        return torch.add(x_BTD, self.mlp(self.post_attention_layernorm(x_BTD)), alpha=self.scale)


def through_block(block: nn.Module, *arguments: Any) -> Tensor:
    """One layer. A function, so that all layers share what is compiled from it."""
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
        # Xmodel-LM's output projection stands by itself; a tied one is the embedding and has no tensor.
        self.lm_head = None if config.tie_word_embeddings else Linear(config.hidden_size, vocab_size)
        steps = torch.arange(0, config.head_dim, 2, dtype=torch.float32) / config.head_dim
        angles = torch.outer(torch.arange(config.max_position_embeddings).float(), config.rope_theta**-steps)
        angles = torch.cat((angles, angles), -1)
        self.register_buffer("cos_SK", angles.cos(), persistent=False)
        self.register_buffer("sin_SK", angles.sin(), persistent=False)
        self.recomputes = False
        self.compiled = False

    def learn(self, *, compiled: bool, recomputes: bool) -> None:
        """How gradients are made. `compiled`: the blocks and the loss as fused kernels, which takes a C++ compiler and
        up to a minute; other roundings than uncompiled. `recomputes`: a block keeps its input alone and is run again
        when its gradients are made: the same bits, a third more work, far less memory (Chen et al. 2016)."""
        self.compiled, self.recomputes = compiled, recomputes

    @property
    def output_weight_VD(self) -> Tensor:
        """The output projection, be it the embedding's."""
        return self.model.embed_tokens.weight if self.lm_head is None else self.lm_head.weight

    def hidden(
        self, tokens_BT: Tensor, cache: KeyValueCache | None = None, documents_BT: Tensor | None = None
    ) -> Tensor:
        """The last hidden states, normed and divided by m, ready for the output projection: (B, T, D).

        `documents_BT`: the document each token belongs to; where it is given (then without a cache) a token sees those
        of its own document alone. RoPE is relative, so positions need not begin anew."""
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
        learning = torch.is_grad_enabled() and cache is None
        through = _compiled(through_block) if learning and self.compiled else through_block
        for block in self.model.layers:
            if learning and self.recomputes:
                x_BTD = checkpoint(through, block, x_BTD, cos_TK, sin_TK, None, mask_B1TT, use_reentrant=False)
            else:
                x_BTD = through(block, x_BTD, cos_TK, sin_TK, cache, mask_B1TT)
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
        """The mean cross-entropy in nats (a scalar) where targets are given, else logits (B, T, V). With
        `documents_BT`, attention stays inside documents; negative targets do not count."""
        x_BTD = self.hidden(tokens_BT, cache, documents_BT)
        if targets_BT is None:
            return functional.linear(x_BTD, self.output_weight_VD)
        return linear_cross_entropy(
            x_BTD.flatten(0, 1), self.output_weight_VD, targets_BT.flatten(), compiled=self.compiled
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
            output = name.endswith(("o_proj.weight", "down_proj.weight"))
            std = depth_std if output and config.output_projection_init == "depth" else hidden_std
        else:
            std = config.initializer_range
        with torch.no_grad():
            parameter.copy_(torch.empty(parameter.shape).normal_(0.0, std, generator=generator))


@functools.cache
def _compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function as fused kernels, without a break. Compiled anew for each shape, of which training has few."""
    # As uncompiled code does: gradients are made outside of autocast, in the dtypes that they come in.
    functorch_config.backward_pass_autocast = "off"
    return torch.compile(function, fullgraph=True, dynamic=False)


def _loss_of_logits(logits_nV: Tensor, targets_n: Tensor, weights_n: Tensor) -> Tensor:
    """The weighted sum of some rows' cross-entropies in fp32; the logits become its gradient."""
    # One pass of exp serves loss and gradient: e^(logit - max), its sum, and softmax = e / sum.
    targets_n1, weights_n1 = targets_n.clamp(min=0)[:, None], weights_n[:, None]
    e_nV = logits_nV.float()  # the logits themselves where they are in fp32
    e_nV.sub_(e_nV.amax(1, keepdim=True))
    target_n1 = e_nV.gather(1, targets_n1)
    e_nV = e_nV.exp_()
    sum_n1 = e_nV.sum(1, keepdim=True)
    loss = (weights_n1 * (sum_n1.log() - target_n1)).sum()
    # d loss / d logits = weight · (softmax - one-hot)
    scale_n1 = weights_n1 / sum_n1
    logits_nV.copy_(e_nV.mul_(scale_n1).scatter_(1, targets_n1, target_n1.exp() * scale_n1 - weights_n1))
    return loss


def _loss_of_logits_fused(logits_nV: Tensor, targets_n: Tensor, weights_n: Tensor) -> Tensor:
    """The same as expressions, which a compiler makes two passes over the logits from; run as they stand, they would
    take a tenth longer than the passes above, and four times the memory."""
    targets_n1, weights_n1 = targets_n.clamp(min=0)[:, None], weights_n[:, None]
    fp32_nV = logits_nV.float()
    target_n1, max_n1 = fp32_nV.gather(1, targets_n1), fp32_nV.amax(1, keepdim=True)
    sum_n1 = (fp32_nV - max_n1).exp().sum(1, keepdim=True)
    loss = (weights_n1 * (sum_n1.log() + max_n1 - target_n1)).sum()
    is_target_nV = torch.arange(logits_nV.shape[1], device=logits_nV.device) == targets_n1
    logits_nV.copy_((fp32_nV - max_n1).exp() * (weights_n1 / sum_n1) - torch.where(is_target_nV, weights_n1, 0.0))
    return loss


class _LinearCrossEntropy(torch.autograd.Function):
    """Some rows at a time: logits, loss, and at once the gradients, so logits never live together."""

    @staticmethod
    def forward(ctx: Any, x_ND: Tensor, weight_VD: Tensor, targets_N: Tensor, compiled: bool) -> Tensor:
        counts_N = targets_N >= 0
        weights_N = counts_N / counts_N.sum().clamp(min=1)  # a batch may be padding alone
        parts = math.ceil(len(x_ND) * len(weight_VD) / LOGITS_AT_A_TIME[x_ND.device.type])
        learning = ctx.needs_input_grad[0] or ctx.needs_input_grad[1]
        dx_ND = torch.empty_like(x_ND) if learning else None
        dweight_VD = torch.zeros_like(weight_VD, dtype=torch.float32) if learning else None
        loss = torch.zeros((), device=x_ND.device)
        of_logits = _compiled(_loss_of_logits_fused) if compiled and learning else _loss_of_logits
        start = 0
        most_rows = math.ceil(len(x_ND) / parts)
        part_nV = x_ND.new_empty((most_rows, len(weight_VD)))  # one for all: a new one's pages cost as much as a pass
        # Parts of one size, as far as they go: each size is compiled once.
        for x_nD, targets_n, weights_n in zip(
            *(whole.chunk(parts) for whole in (x_ND, targets_N, weights_N)), strict=True
        ):
            logits_nV = torch.mm(x_nD, weight_VD.t(), out=part_nV[: len(x_nD)])
            loss += of_logits(logits_nV, targets_n, weights_n)
            dlogits_nV = logits_nV  # by now
            if dx_ND is not None and dweight_VD is not None:
                torch.mm(dlogits_nV, weight_VD, out=dx_ND[start : start + len(x_nD)])
                if x_ND.dtype == torch.float32:
                    dweight_VD.addmm_(dlogits_nV.t(), x_nD)
                else:
                    dweight_VD.add_(dlogits_nV.t() @ x_nD)
            start += len(x_nD)
        if learning:
            ctx.save_for_backward(dx_ND, dweight_VD)
        return loss

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None, None]:
        dx_ND, dweight_VD = ctx.saved_tensors
        return dx_ND.mul_(grads[0]), dweight_VD.mul_(grads[0]), None, None


def linear_cross_entropy(x_ND: Tensor, weight_VD: Tensor, targets_N: Tensor, *, compiled: bool = False) -> Tensor:
    """Mean cross-entropy of softmax(x · weightᵀ) over the targets that are not negative, never holding the full
    logits; fp32 sums.

    Under autocast the products run in its dtype, as a linear layer's would.
    """
    if torch.is_autocast_enabled(x_ND.device.type):
        dtype = torch.get_autocast_dtype(x_ND.device.type)
        x_ND, weight_VD = x_ND.to(dtype), weight_VD.to(dtype)
        if multiplies_in_fp32(x_ND):
            x_ND, weight_VD = x_ND.float(), weight_VD.float()
    with torch.autocast(x_ND.device.type, enabled=False):
        return _LinearCrossEntropy.apply(x_ND, weight_VD, targets_N, compiled)  # type: ignore[no-any-return]

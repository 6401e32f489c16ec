"""Probes: the activations of a model by role, and its attention logits.

Takes a model and tokens; gives tensors, recorded by hooks while the network's own code runs. Only the attention logits
are recomputed, from the projection's output, since the fused attention kernel does not return them.
Letters of shapes as in `network.py`.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.hooks import RemovableHandle

from xmodel_core.model.network import Attention, Block, Xmodel, rotate

ROLES = (
    "embedding",
    "attention_logits",
    "attention_output",
    "feed_forward_output",
    "residual",
    "final_hidden",
    "logits",
)
"""The roles of activations: the embedding's output, scaled; scaled products of queries and keys; the outputs of
attention and feed-forward before they are scaled into the residual stream; the stream after each block; the final
norm's output; logits. Attention logits are `[batch, heads, time, time]`, logits `[batch, time, vocabulary]`, all others
`[batch, time, hidden]`."""


def attention_logits(attention: Attention, qkv_BTC: Tensor, cos_TK: Tensor, sin_TK: Tensor) -> Tensor:
    """Scaled products of queries and keys before the softmax, `[batch, heads, time, time]`, -inf where a key comes
    later. `qkv_BTC`: the output of the layer's `qkv_proj`, `[batch, time, (heads + 2 · key-value heads) · head size]`;
    `cos_TK`, `sin_TK`: RoPE's, `[time, head size]`."""
    batch, time, _ = qkv_BTC.shape
    qkv_BTNK = qkv_BTC.view(batch, time, -1, attention.head_dim)
    rotated_BNTK = rotate(qkv_BTNK[:, :, : attention.heads + attention.kv_heads], cos_TK, sin_TK).transpose(1, 2)
    q_BHTK, k_BGTK = rotated_BNTK.split((attention.heads, attention.kv_heads), 1)
    k_BHTK = k_BGTK.repeat_interleave(attention.heads // attention.kv_heads, 1)
    logits_BHTT = q_BHTK @ k_BHTK.transpose(2, 3) * attention.scale
    later_TT = torch.ones(time, time, dtype=torch.bool, device=qkv_BTC.device).triu(1)
    return logits_BHTT.masked_fill(later_TT, -torch.inf)


@contextmanager
def recording(model: Xmodel) -> Iterator[dict[str, list[Tensor]]]:
    """A dictionary that forward passes inside the `with` append their activations to: role (all but `logits`) → one
    tensor, or one per layer. Gradients flow through them."""
    recorded: dict[str, list[Tensor]] = {role: [] for role in ROLES[:-1]}

    def record_attention_logits(module: Any, _inputs: Any, qkv_BTC: Tensor) -> None:
        time = qkv_BTC.shape[1]
        logits_BHTT = attention_logits(attention_of[module], qkv_BTC, model.cos_SK[:time], model.sin_SK[:time])
        recorded["attention_logits"].append(logits_BHTT)

    def record(role: str) -> Any:
        return lambda _module, _inputs, output: recorded[role].append(output)

    blocks = [block for block in model.model.layers if isinstance(block, Block)]
    attention_of = {block.self_attn.qkv_proj: block.self_attn for block in blocks}
    hooks: list[RemovableHandle] = [
        blocks[0].register_forward_pre_hook(lambda _module, inputs: recorded["embedding"].append(inputs[0]))
    ]
    for block in blocks:
        hooks.append(block.self_attn.qkv_proj.register_forward_hook(record_attention_logits))
        hooks.append(block.self_attn.register_forward_hook(record("attention_output")))
        hooks.append(block.mlp.register_forward_hook(record("feed_forward_output")))
        hooks.append(block.register_forward_hook(record("residual")))
    hooks.append(model.model.norm.register_forward_hook(record("final_hidden")))
    try:
        yield recorded
    finally:
        for hook in hooks:
            hook.remove()


@torch.no_grad()
def activations(model: Xmodel, tokens_BT: Tensor) -> dict[str, list[Tensor]]:
    """Role → one tensor, or one per layer, for tokens `[batch, time]`. Attention logits are only those of pairs that
    may attend: `[batch, heads, time · (time + 1) / 2]`."""
    with recording(model) as recorded:
        logits_BTV = model(tokens_BT)
    time = tokens_BT.shape[1]
    pairs_TT = torch.ones(time, time, dtype=torch.bool, device=tokens_BT.device).tril()
    pairs = [logits_BHTT[:, :, pairs_TT] for logits_BHTT in recorded["attention_logits"]]
    return {**recorded, "attention_logits": pairs, "logits": [logits_BTV]}


class ActivationSizes:
    """Measures a model repeatedly on the same tokens `[batch, time]`: the size of its activations, and their change
    since the first measurement."""

    def __init__(self, tokens_BT: np.ndarray) -> None:
        self._tokens_BT = torch.from_numpy(tokens_BT)
        self._first: dict[str, list[Tensor]] | None = None

    def measure(self, model: Xmodel) -> dict[str, dict[str, float]]:
        """Role → `size`, the mean absolute activation; `change`, the mean absolute difference from the first
        measurement."""
        now = activations(model, self._tokens_BT.to(model.cos_SK.device))
        first = self._first = self._first or now
        return {
            role: {
                "size": _mean_absolute(now[role]),
                "change": _mean_absolute([one - other for one, other in zip(now[role], first[role], strict=True)]),
            }
            for role in ROLES
        }


def _mean_absolute(tensors: Sequence[Tensor]) -> float:
    return sum(float(tensor.abs().mean()) for tensor in tensors) / len(tensors)

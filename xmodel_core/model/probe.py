"""What a model computes on its way: the activations of each role, and who attends to whom.

Takes a model and tokens; gives tensors, read by hooks, so that it is the network's own code that ran. Only the products
of queries and keys are computed anew, from the projection's output, since the attention kernel never shows them.
Letters of shapes as in `xmodel.py`.
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
"""Of activations: the embedding's output, scaled; scaled products of queries and keys; what attention and feed-forward
give, before they are scaled into the residual stream; the stream after each block; the final norm's output; logits."""


def attention_logits(attention: Attention, qkv_BTC: Tensor, cos_TK: Tensor, sin_TK: Tensor) -> Tensor:
    """Scaled products of queries and keys before the softmax, (B, H, T, T), -inf where a key comes later.
    `qkv_BTC`: the output of the layer's projection."""
    batch, time, _ = qkv_BTC.shape
    qkv_BTNK = qkv_BTC.view(batch, time, -1, attention.head_dim)
    turned_BNTK = rotate(qkv_BTNK[:, :, : attention.heads + attention.kv_heads], cos_TK, sin_TK).transpose(1, 2)
    q_BHTK, k_BGTK = turned_BNTK.split((attention.heads, attention.kv_heads), 1)
    k_BHTK = k_BGTK.repeat_interleave(attention.heads // attention.kv_heads, 1)
    logits_BHTT = q_BHTK @ k_BHTK.transpose(2, 3) * attention.scale
    later_TT = torch.ones(time, time, dtype=torch.bool, device=qkv_BTC.device).triu(1)
    return logits_BHTT.masked_fill(later_TT, -torch.inf)


@contextmanager
def listening(model: Xmodel) -> Iterator[dict[str, list[Tensor]]]:
    """While it is open, a forward pass leaves its activations of each role but `logits`: one tensor, or one a layer."""
    heard: dict[str, list[Tensor]] = {role: [] for role in ROLES[:-1]}

    def hear_logits(module: Any, _inputs: Any, qkv_BTC: Tensor) -> None:
        time = qkv_BTC.shape[1]
        logits_BHTT = attention_logits(attention_of[module], qkv_BTC, model.cos_SK[:time], model.sin_SK[:time])
        heard["attention_logits"].append(logits_BHTT)

    def hear(role: str) -> Any:
        return lambda _module, _inputs, output: heard[role].append(output)

    blocks = [block for block in model.model.layers if isinstance(block, Block)]
    attention_of = {block.self_attn.qkv_proj: block.self_attn for block in blocks}
    hooks: list[RemovableHandle] = [
        blocks[0].register_forward_pre_hook(lambda _module, inputs: heard["embedding"].append(inputs[0]))
    ]
    for block in blocks:
        hooks.append(block.self_attn.qkv_proj.register_forward_hook(hear_logits))
        hooks.append(block.self_attn.register_forward_hook(hear("attention_output")))
        hooks.append(block.mlp.register_forward_hook(hear("feed_forward_output")))
        hooks.append(block.register_forward_hook(hear("residual")))
    hooks.append(model.model.norm.register_forward_hook(hear("final_hidden")))
    try:
        yield heard
    finally:
        for hook in hooks:
            hook.remove()


@torch.no_grad()
def activations(model: Xmodel, tokens_BT: Tensor) -> dict[str, list[Tensor]]:
    """Role → one tensor, or one a layer. Of the attention's logits those of pairs that may attend."""
    with listening(model) as heard:
        logits_BTV = model(tokens_BT)
    time = tokens_BT.shape[1]
    pairs_TT = torch.ones(time, time, dtype=torch.bool, device=tokens_BT.device).tril()
    pairs = [logits_BHTT[:, :, pairs_TT] for logits_BHTT in heard["attention_logits"]]
    return {**heard, "attention_logits": pairs, "logits": [logits_BTV]}


class ActivationSizes:
    """Looks at a model again and again, on the same tokens: how large its activations are, how far they have moved."""

    def __init__(self, tokens_BT: np.ndarray) -> None:
        self._tokens_BT = torch.from_numpy(tokens_BT)
        self._first: dict[str, list[Tensor]] | None = None

    def measure(self, model: Xmodel) -> dict[str, dict[str, float]]:
        """Role → `size`, the mean absolute activation; `change`, the mean absolute difference from the first look."""
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

"""Diagnosis of a model on one text: attention maps, and the gradient norm layer by layer.

Takes a model and the tokens of one text; gives numbers as plain values, attention maps, and two pictures. One forward
and one backward pass on the text's own loss; the model is left as it was. Letters of shapes as in `network.py`.
"""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from xmodel_core.errors import XmodelError
from xmodel_core.model.network import Xmodel
from xmodel_core.model.probe import recording

PARTS = ("attention", "feed_forward", "norms")
PANELS_ACROSS = 6


class Diagnosis(NamedTuple):
    """The measurements of one model on one text."""

    figures: dict[str, Any]
    """`loss` in nats per token; `layers`, one row each: `gradient_norm` of all its weights and of its parts, `entropy`
    (nats, mean over queries) and `first_token_share` (mean attention to the first token, of the queries after it) of
    every head; `other_gradient_norms` of the weights outside the layers."""
    maps_LHTT: np.ndarray
    """Attention of each query (row) to each key, `[layers, heads, time, time]`; rows sum to 1."""


def diagnose(model: Xmodel, tokens: Sequence[int]) -> Diagnosis:
    """Runs the text forward and backward. XmodelError where it has fewer than 3 tokens, or more than the context and
    the token after it."""
    longest = model.config.max_position_embeddings
    if not 3 <= len(tokens) <= longest + 1:
        raise XmodelError(
            "the text has the wrong length for a diagnosis",
            expected=f"3 to {longest + 1} tokens, the model's context and the token after it",
            found=f"{len(tokens)} tokens",
            remedy="give another text, or another --max-tokens",
        )
    text_1T = torch.tensor([list(tokens)], device=model.cos_SK.device)
    named = dict(model.named_parameters())
    required_grad = [parameter.requires_grad for parameter in named.values()]
    model.requires_grad_(True)
    with recording(model) as recorded:
        loss = model(text_1T[:, :-1], text_1T[:, 1:])
    gradients = dict(zip(named, torch.autograd.grad(loss, list(named.values())), strict=True))
    for parameter, required in zip(named.values(), required_grad, strict=True):
        parameter.requires_grad_(required)
    maps_LHTT = torch.stack([logits.detach()[0].float().softmax(-1) for logits in recorded["attention_logits"]]).cpu()
    squares = {name: float(gradient.float().square().sum()) for name, gradient in gradients.items()}
    layers = []
    for layer, map_HTT in enumerate(maps_LHTT):
        of_layer = {name: square for name, square in squares.items() if name.startswith(f"model.layers.{layer}.")}
        parts = {part: math.sqrt(sum(s for n, s in of_layer.items() if _part(n) == part)) for part in PARTS}
        entropy_HT = -torch.xlogy(map_HTT, map_HTT).sum(-1)
        layers.append(
            {
                "layer": layer,
                "gradient_norm": {"all": math.sqrt(sum(of_layer.values())), **parts},
                "entropy": entropy_HT.mean(-1).tolist(),
                "first_token_share": map_HTT[:, 1:, 0].mean(-1).tolist(),
            }
        )
    outside = {name: math.sqrt(s) for name, s in squares.items() if not name.startswith("model.layers.")}
    figures = {
        "tokens": len(tokens),
        "loss": float(loss.detach()),
        "gradient_norm": math.sqrt(sum(squares.values())),
        "other_gradient_norms": outside,
        "layers": layers,
    }
    return Diagnosis(figures, maps_LHTT.numpy())


def _part(name: str) -> str:
    return "norms" if "layernorm" in name else "attention" if ".self_attn." in name else "feed_forward"


def draw_attention(maps_LHTT: np.ndarray, heads: Sequence[int], path: Path) -> None:
    """A PNG: a panel per layer and chosen head, or per layer with the mean over heads where none is chosen. The colour
    scale is a square root, since most weights are small. XmodelError: a head that does not exist."""
    from matplotlib.colors import PowerNorm
    from matplotlib.figure import Figure

    count = maps_LHTT.shape[1]
    if unknown := [head for head in heads if not 0 <= head < count]:
        raise XmodelError("there is no such head", expected=f"0 to {count - 1}", found=unknown)
    panels = [
        (f"layer {layer}, head {head}" if heads else f"layer {layer}", maps_LHTT[layer, head] if heads else mean_TT)
        for layer, mean_TT in enumerate(maps_LHTT.mean(1))
        for head in (heads or [-1])
    ]
    across = min(PANELS_ACROSS, len(panels))
    down = math.ceil(len(panels) / across)
    figure = Figure(figsize=(2.3 * across + 0.8, 2.4 * down + 0.5), layout="constrained")
    grid = figure.subplots(down, across, sharex=True, sharey=True, squeeze=False)
    image = None
    for axes, panel in zip(grid.flat, [*panels, *[None] * (down * across - len(panels))], strict=True):
        if panel is None:
            axes.set_axis_off()
            continue
        title, map_TT = panel
        image = axes.imshow(map_TT, cmap="magma", norm=PowerNorm(0.5, 0, 1), interpolation="nearest")
        axes.set_title(title, fontsize=9)
        axes.tick_params(labelsize=7)
    assert image is not None
    figure.supxlabel("key: position of the token attended to", fontsize=9)
    figure.supylabel("query: position of the token that attends", fontsize=9)
    figure.colorbar(image, ax=list(grid.flat), label="attention", shrink=0.8)
    figure.savefig(path, dpi=130, metadata={"Software": None})


def draw_layers(figures: dict[str, Any], path: Path) -> None:
    """A PNG: gradient norm, entropy and the first token's share of attention, by layer."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    rows = figures["layers"]
    numbers = [row["layer"] for row in rows]
    figure = Figure(figsize=(7.5, 7.5), layout="constrained")
    gradient, entropy, share = figure.subplots(3, 1, sharex=True)
    for part in ("all", *PARTS):
        norms = [row["gradient_norm"][part] for row in rows]
        gradient.plot(numbers, norms, "o-", label=part.replace("_", " "), markersize=4, linewidth=1.4)
    gradient.set_yscale("log")
    gradient.set_ylabel("gradient norm")
    gradient.legend(frameon=False, fontsize=8)
    for axes, name, label in (
        (entropy, "entropy", "entropy of attention, nats"),
        (share, "first_token_share", "attention to the first token"),
    ):
        values_LH = np.array([row[name] for row in rows])
        axes.fill_between(numbers, values_LH.min(1), values_LH.max(1), alpha=0.2, linewidth=0, label="all heads")
        axes.plot(numbers, values_LH.mean(1), "o-", markersize=4, linewidth=1.4, label="mean over heads")
        axes.set_ylabel(label)
        axes.legend(frameon=False, fontsize=8)
    share.set_ylim(0, 1)
    share.set_xlabel("layer")
    share.xaxis.set_major_locator(MaxNLocator(integer=True))
    for axes in (gradient, entropy, share):
        axes.grid(alpha=0.25)
    figure.savefig(path, dpi=130, metadata={"Software": None})

"""The matrix products of a decoding step, by the copies of the weights that few rows are multiplied with fastest.

Takes a model and how many rows go through it; gives a function x · weightᵀ for each of its matrices. A step of few rows
is reading the weights and hardly anything else: in fp32 on a CPU the order in which they lie is worth a factor of 1.1
to 2.6 (EXPERIMENTS.md), and waking a second thread may take longer than what it helps with.
Letters of shapes as in xmodel.py.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from xmodel_core.model.network import Xmodel

WORTH_A_COPY_STEPS = 32
"""From so many steps on, copies are worth their making: as long as some ten steps gain by them."""
MOST_COPIED_WEIGHTS = 2**30
"""A larger model may not fit into memory twice."""
WORTH_WAKING_WEIGHTS = 2**25
"""Where a layer has less to do, about a millisecond, one thread is faster: others have to be woken for each of its
operations. Counted in weights times rows, at least six of them: fewer take as long as six, reading the weights."""

Product = Callable[[Tensor], Tensor]


class LayerProducts(NamedTuple):
    """One block's."""

    qkv: Product
    o: Product
    gate_up: Product
    down: Product


class Products(NamedTuple):
    """A model's; `layer_threads`: how many threads its blocks are fastest with."""

    layers: list[LayerProducts]
    output: Product
    layer_threads: int


def products_of(model: Xmodel, rows: int, steps: int) -> Products:
    """For `rows` at a time, or what is left of them, in so many steps."""
    weight_VD = model.output_weight_VD
    on_cpu = weight_VD.device.type == "cpu"
    weights = sum(parameter.numel() for parameter in model.parameters())
    copies = on_cpu and weight_VD.dtype == torch.float32 and torch.backends.mkldnn.is_available()
    copies = copies and steps >= WORTH_A_COPY_STEPS and weights <= MOST_COPIED_WEIGHTS

    def of(weight_FD: Tensor) -> Product:
        if not copies:
            return lambda x_BD: functional.linear(x_BD, weight_FD)
        return _of_a_copy(weight_FD.detach(), rows)

    blocks: list[Any] = list(model.model.layers)  # Block: a ModuleList does not say of what
    layers = [
        LayerProducts(
            of(block.self_attn.qkv_proj.weight),
            of(block.self_attn.o_proj.weight),
            of(block.mlp.gate_up_proj.weight),
            of(block.mlp.down_proj.weight),
        )
        for block in blocks
    ]
    layer_weights = sum(parameter.numel() for parameter in blocks[0].parameters())
    alone = on_cpu and layer_weights * max(rows, 6) < WORTH_WAKING_WEIGHTS
    return Products(layers, of(weight_VD), 1 if alone else torch.get_num_threads())


def _of_a_copy(weight_FD: Tensor, rows: int) -> Product:
    if rows > 1:  # oneDNN's own order, the one that torch.compile's freezing uses
        packed = torch.ops.mkldnn._reorder_linear_weight(weight_FD, rows)
        return lambda x_BD: torch.ops.mkldnn._linear_pointwise(x_BD, packed, None, "none", [], "")
    outputs, inputs = weight_FD.shape
    if outputs <= inputs:  # BLAS adds up long rows, and long columns
        return lambda x_BD: functional.linear(x_BD, weight_FD)
    weight_DF = weight_FD.t().contiguous()
    return lambda x_BD: x_BD @ weight_DF

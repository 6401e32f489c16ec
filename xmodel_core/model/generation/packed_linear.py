"""The matrix products of a decoding step, over copies of the weights in the memory order that suits few rows.

Takes a model and how many rows go through it; gives a function x · weightᵀ for each of its matrices. A step of few rows
does hardly more than read the weights: in fp32 on a CPU their order in memory is worth a factor of 1.1 to 2.6
(EXPERIMENTS.md), and waking a second thread may take longer than it saves. Letters of shapes as in network.py.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from xmodel_core.model.network import Xmodel

MIN_STEPS_TO_PACK = 32
"""Packed copies pay from this many steps on: making them takes as long as some ten steps save."""
MAX_PACKED_WEIGHTS = 2**30
"""A larger model may not fit into memory twice."""
MIN_WORK_FOR_THREADS = 2**25
"""With less work per layer, about a millisecond, one thread is faster, since the others have to be woken for each of
its operations. Counted in weights times rows, at least six rows: fewer take as long as six, reading the weights."""

Projection = Callable[[Tensor], Tensor]
"""x `[batch, inputs]` → x · weightᵀ `[batch, outputs]`."""


class BlockProjections(NamedTuple):
    """The matrix products of one block."""

    qkv: Projection
    o: Projection
    gate_up: Projection
    down: Projection


class ModelProjections(NamedTuple):
    """The matrix products of a model."""

    blocks: list[BlockProjections]
    output: Projection
    block_threads: int
    """The number of threads that the blocks are fastest with."""


def pack_projections(model: Xmodel, rows: int, steps: int) -> ModelProjections:
    """The model's products for at most `rows` rows, packed where that pays over `steps` steps."""
    weight_VD = model.output_weight_VD
    on_cpu = weight_VD.device.type == "cpu"
    weights = sum(parameter.numel() for parameter in model.parameters())
    can_pack = on_cpu and weight_VD.dtype == torch.float32 and torch.backends.mkldnn.is_available()
    pack = can_pack and steps >= MIN_STEPS_TO_PACK and weights <= MAX_PACKED_WEIGHTS

    def projection(weight_FD: Tensor) -> Projection:
        if not pack:
            return lambda x_BD: functional.linear(x_BD, weight_FD)
        return _packed_projection(weight_FD.detach(), rows)

    blocks: list[Any] = list(model.model.layers)  # Block: a ModuleList is not typed by its elements
    block_projections = [
        BlockProjections(
            projection(block.self_attn.qkv_proj.weight),
            projection(block.self_attn.o_proj.weight),
            projection(block.mlp.gate_up_proj.weight),
            projection(block.mlp.down_proj.weight),
        )
        for block in blocks
    ]
    block_weights = sum(parameter.numel() for parameter in blocks[0].parameters())
    single_thread = on_cpu and block_weights * max(rows, 6) < MIN_WORK_FOR_THREADS
    return ModelProjections(block_projections, projection(weight_VD), 1 if single_thread else torch.get_num_threads())


def _packed_projection(weight_FD: Tensor, rows: int) -> Projection:
    if rows > 1:  # oneDNN's own order, the one that torch.compile's freezing uses
        packed = torch.ops.mkldnn._reorder_linear_weight(weight_FD, rows)
        return lambda x_BD: torch.ops.mkldnn._linear_pointwise(x_BD, packed, None, "none", [], "")
    outputs, inputs = weight_FD.shape
    if outputs <= inputs:  # BLAS is fastest along the longer dimension: the rows as stored …
        return lambda x_BD: functional.linear(x_BD, weight_FD)
    weight_DF = weight_FD.t().contiguous()  # … or columns, of a transposed copy
    return lambda x_BD: x_BD @ weight_DF

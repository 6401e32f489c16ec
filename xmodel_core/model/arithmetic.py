"""How products are computed here: bf16 on CPUs without instructions for it, and functions compiled into fused kernels.

Takes nothing of the model; the network and the loss both ask it.
"""

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch._functorch import config as functorch_config

CPU_HAS_BF16 = bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
"""Whether this machine's CPU has instructions for products of bf16 numbers (AVX-512 BF16, AMX)."""


def emulates_bf16(x: Tensor) -> bool:
    """Whether autocast asks for bf16 on a CPU that cannot multiply it, so that products are computed in fp32.

    torch then falls back to loops that are ten to a hundred times slower than fp32. Products of numbers rounded to
    bf16, summed in fp32, are what the instructions compute, too.
    """
    return x.device.type == "cpu" and not CPU_HAS_BF16 and torch.is_autocast_enabled("cpu")


@functools.cache
def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function as fused kernels, without graph breaks. Compiled anew for each shape, of which training has few."""
    # As uncompiled code does: gradients are made outside of autocast, in the dtypes that they come in.
    functorch_config.backward_pass_autocast = "off"
    return torch.compile(function, fullgraph=True, dynamic=False)

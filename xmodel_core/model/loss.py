"""The loss: cross-entropy of a linear output layer, a chunk of rows at a time, so that logits never exist whole.

Takes final hidden states, the output projection and targets; gives the mean loss, whose gradients are made in the same
pass. Letters of shapes: N positions, n positions of one chunk, D hidden, V vocabulary.
"""

import math
from typing import Any

import torch
from torch import Tensor

from xmodel_core.model.arithmetic import compiled, emulates_bf16

LOGITS_AT_A_TIME = {"cpu": 2**25, "cuda": 2**28}
"""Logits in memory at once, at most, whatever the vocabulary: 128 MiB in fp32, 1 GiB on a GPU. Half as many cost a CPU
a tenth of the loss's time (EXPERIMENTS.md), and small products leave most of a GPU idle."""


def _loss_of_logits(logits_nV: Tensor, targets_n: Tensor, weights_n: Tensor) -> Tensor:
    """The weighted sum (a scalar) of the rows' cross-entropies in fp32; the logits are overwritten by its gradient."""
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


def _loss_of_logits_fusible(logits_nV: Tensor, targets_n: Tensor, weights_n: Tensor) -> Tensor:
    """`_loss_of_logits` as expressions, which a compiler turns into two passes over the logits; run uncompiled, they
    would take a tenth longer than the passes above, and four times the memory."""
    targets_n1, weights_n1 = targets_n.clamp(min=0)[:, None], weights_n[:, None]
    fp32_nV = logits_nV.float()
    target_n1, max_n1 = fp32_nV.gather(1, targets_n1), fp32_nV.amax(1, keepdim=True)
    sum_n1 = (fp32_nV - max_n1).exp().sum(1, keepdim=True)
    loss = (weights_n1 * (sum_n1.log() + max_n1 - target_n1)).sum()
    is_target_nV = torch.arange(logits_nV.shape[1], device=logits_nV.device) == targets_n1
    logits_nV.copy_((fp32_nV - max_n1).exp() * (weights_n1 / sum_n1) - torch.where(is_target_nV, weights_n1, 0.0))
    return loss


class _LinearCrossEntropy(torch.autograd.Function):
    """For each chunk of rows: logits, loss and gradients at once, so that the next chunk can overwrite the logits."""

    @staticmethod
    def forward(
        ctx: Any, x_ND: Tensor, weight_VD: Tensor, targets_N: Tensor, rounded_to: torch.dtype, use_compiled: bool
    ) -> Tensor:
        # Rounded here, not by the caller, whose cast would round the gradient, too: that stays fp32, as the weights.
        weight_VD = weight_VD.to(rounded_to).to(x_ND.dtype)
        counted_N = targets_N >= 0
        weights_N = counted_N / counted_N.sum().clamp(min=1)  # a batch may be padding alone
        chunks = math.ceil(len(x_ND) * len(weight_VD) / LOGITS_AT_A_TIME[x_ND.device.type])
        needs_gradient = ctx.needs_input_grad[0] or ctx.needs_input_grad[1]
        dx_ND = torch.empty_like(x_ND) if needs_gradient else None
        dweight_VD = torch.zeros_like(weight_VD, dtype=torch.float32) if needs_gradient else None
        loss = torch.zeros((), device=x_ND.device)
        loss_of_logits = compiled(_loss_of_logits_fusible) if use_compiled and needs_gradient else _loss_of_logits
        start = 0
        most_rows = math.ceil(len(x_ND) / chunks)
        # One buffer for all chunks: the pages of a new one cost as much as a pass.
        buffer_nV = x_ND.new_empty((most_rows, len(weight_VD)))
        # Chunks of one size, as far as they go: each size is compiled once.
        for x_nD, targets_n, weights_n in zip(
            *(rows.chunk(chunks) for rows in (x_ND, targets_N, weights_N)), strict=True
        ):
            logits_nV = torch.mm(x_nD, weight_VD.t(), out=buffer_nV[: len(x_nD)])
            loss += loss_of_logits(logits_nV, targets_n, weights_n)
            dlogits_nV = logits_nV  # overwritten by now
            if dx_ND is not None and dweight_VD is not None:
                torch.mm(dlogits_nV, weight_VD, out=dx_ND[start : start + len(x_nD)])
                if x_ND.dtype == torch.float32:
                    dweight_VD.addmm_(dlogits_nV.t(), x_nD)
                elif x_ND.is_cuda:
                    dweight_VD.add_(torch.mm(dlogits_nV.t(), x_nD, out_dtype=torch.float32))
                else:  # a CPU gives products of bf16 numbers rounded to bf16
                    dweight_VD.add_(dlogits_nV.t() @ x_nD)
            start += len(x_nD)
        if needs_gradient:
            ctx.save_for_backward(dx_ND, dweight_VD)
        return loss

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None, None, None]:
        dx_ND, dweight_VD = ctx.saved_tensors
        return dx_ND.mul_(grads[0]), dweight_VD.mul_(grads[0]), None, None, None


def linear_cross_entropy(x_ND: Tensor, weight_VD: Tensor, targets_N: Tensor, *, use_compiled: bool = False) -> Tensor:
    """Mean cross-entropy in nats (a scalar) of softmax(x · weightᵀ), summed in fp32, without the whole logits.

    `x_ND` is `[positions, hidden]`, `weight_VD` `[vocabulary, hidden]`, `targets_N` `[positions]`; positions with a
    negative target do not count. Under autocast the products run in its dtype, as a linear layer's would; the
    gradient of `weight_VD` is summed in fp32 and never rounded to it.
    `use_compiled`: with the fused kernels of torch.compile; other roundings than without.
    """
    rounded_to = weight_VD.dtype
    if torch.is_autocast_enabled(x_ND.device.type):
        rounded_to = torch.get_autocast_dtype(x_ND.device.type)
        x_ND = x_ND.to(rounded_to)
        if emulates_bf16(x_ND):
            x_ND = x_ND.float()
    with torch.autocast(x_ND.device.type, enabled=False):
        return _LinearCrossEntropy.apply(x_ND, weight_VD, targets_N, rounded_to, use_compiled)  # type: ignore[no-any-return]

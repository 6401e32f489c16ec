"""The device that a model computes on.

Takes what a recipe asks for; gives torch's device, or one clear message.
"""

from typing import Literal

import torch

from xmodel_core.errors import XmodelError


def choose_device(asked: Literal["auto", "cpu", "cuda"] | None, field: str) -> torch.device:
    """The device that `field` of a recipe asks for; `auto`: a GPU if there is one, None: the CPU. XmodelError where a
    GPU is asked for and there is none."""
    available = torch.cuda.is_available()
    if asked == "cuda" and not available:
        raise XmodelError(
            "there is no GPU here",
            expected=f"a CUDA device, as {field} says",
            found="none that torch can see",
            remedy=f"--set {field}=cpu, or install the CUDA build of torch",
        )
    if available and asked in ("auto", "cuda"):
        return torch.device("cuda", torch.cuda.current_device())
    return torch.device("cpu")

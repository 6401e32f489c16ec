"""The device that a worker computes on, and its name for the ledger."""

import os
import platform
from pathlib import Path

import torch

from xmodel_core.errors import XmodelError
from xmodel_core.training.config import TrainingConfig


def choose_device(config: TrainingConfig) -> torch.device:
    """The device that the settings name; XmodelError where a GPU is asked for and there is none."""
    available = torch.cuda.is_available()
    if config.device == "cuda" and not available:
        raise XmodelError(
            "there is no GPU here",
            expected="a CUDA device, as training.device says",
            found="none that torch can see",
            remedy="--set training.device=auto, or install the CUDA build of torch",
        )
    if available and config.device != "cpu":
        return torch.device("cuda", torch.cuda.current_device())
    return torch.device("cpu")


def hardware_name(device: torch.device, threads: int) -> str:
    """One worker's hardware, as the ledger's `runs.hardware` has it."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{threads} of {os.cpu_count()} threads of {_processor()}"


def _processor() -> str:
    information = Path("/proc/cpuinfo")
    if information.exists():
        for line in information.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()

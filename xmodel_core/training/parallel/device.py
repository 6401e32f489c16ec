"""What a worker computes on, in words for the ledger."""

import os
import platform
from pathlib import Path

import torch


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

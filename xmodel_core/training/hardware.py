"""What a run ran on: its name for the ledger, and its peak for MFU.

Peaks are dense bf16 tensor-core FLOP/s from NVIDIA's data sheets, never the doubled "with sparsity"
figures: Xmodel-LM's code divides by 1513e12, the H100 PCIe's sparse number, which halves its MFU.
"""

import os
import platform
from pathlib import Path

import torch

DENSE_BF16_PEAKS = (
    # (what the GPU's name contains, FLOP/s); the first that matches counts
    ("B200", 2250e12),
    ("H200 NVL", 835e12),
    ("H200", 989e12),
    ("H100 NVL", 835e12),
    ("H100 PCIe", 756e12),
    ("H100", 989e12),
    ("H800 PCIe", 756e12),
    ("H800", 989e12),
    ("A100", 312e12),
    ("A800", 312e12),
    ("L40S", 362e12),
    ("L4", 121e12),
    ("RTX 4090", 165e12),
    ("RTX 3090", 71e12),
)


def dense_bf16_peak(gpu: str) -> float | None:
    """FLOP/s of one GPU by its name; None where it is not in the table, which includes every CPU."""
    # Whole words: an L4 is not an L40.
    words = gpu.replace("-", " ").split()
    for name, peak in DENSE_BF16_PEAKS:
        if all(word in words for word in name.split()):
            return peak
    return None


def hardware_name(device: torch.device, threads: int) -> str:
    """One worker's hardware, as the ledger's `runs.hardware` says it."""
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

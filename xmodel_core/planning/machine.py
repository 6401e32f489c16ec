"""What this machine has: GPUs, the build of torch, free memory, free disk; torch and Ray are not imported for it.

Takes nothing, or a folder; gives plain values, for `doctor`, which shows them, and for the needs of a recipe.
"""

import importlib.util
import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

import psutil

SECONDS_TO_ANSWER = 3.0


@dataclass(frozen=True)
class Gpu:
    """One NVIDIA GPU, as its driver names it."""

    name: str
    memory_bytes: int


def gpus() -> list[Gpu]:
    """The GPUs that the driver's own tool lists, those that CUDA_VISIBLE_DEVICES hides left out."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return []
    query = [tool, "--query-gpu=name,memory.total", "--format=csv,noheader,nounits"]
    try:
        answer = subprocess.run(query, capture_output=True, text=True, timeout=SECONDS_TO_ANSWER, check=True)
        rows = [line.rpartition(",") for line in answer.stdout.splitlines() if line.strip()]
        listed = [Gpu(name.strip(), int(mebibytes) * 2**20) for name, _, mebibytes in rows]
    except (OSError, subprocess.SubprocessError, ValueError):
        return []  # the tool is installed but the driver does not answer: no usable GPU
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        return listed
    return listed[: len([name for name in visible.split(",") if name.strip() not in ("", "-1")])]


def torch_cuda() -> str | None:
    """The CUDA version that the installed torch is built for; None for a build for CPUs, or where there is no torch."""
    spec = importlib.util.find_spec("torch")
    if spec is None or spec.origin is None:
        return None
    text = (Path(spec.origin).parent / "version.py").read_text(encoding="utf-8")
    value = next((line.split("=")[-1].strip(" '\"") for line in text.splitlines() if line.startswith("cuda")), "None")
    return None if value in ("None", "") else value


def free_memory() -> int:
    """Bytes of memory that a process may still take."""
    return psutil.virtual_memory().available


def existing_parent(folder: Path) -> Path:
    """The folder itself, or the nearest above it that exists."""
    return next(place for place in (folder, *folder.parents) if place.exists())


def free_disk(folder: Path) -> int:
    """Free bytes on the disk that holds a folder, or will."""
    return shutil.disk_usage(existing_parent(folder)).free


def why_not_writable(folder: Path) -> str | None:
    """What keeps files from being made in a folder that is there or is yet to be made; None where nothing does."""
    existing = existing_parent(folder)
    if not existing.is_dir():
        return f"{existing} is a file"
    try:
        # A folder: some file systems (/proc) make neither, and one that is full still makes a folder's entry.
        Path(tempfile.mkdtemp(prefix=".xmodel-", dir=existing)).rmdir()
    except OSError as error:
        return f"{existing}: {error.strerror}"
    return None

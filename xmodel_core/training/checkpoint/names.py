"""What checkpoints are called in a run's folder, and which of them are complete."""

import json

from xmodel_core.artifacts import Folder

MANIFEST = "manifest.json"


def checkpoint_name(step: int) -> str:
    """The name of the checkpoint after a step, below the run's folder."""
    return f"checkpoints/step-{step:08d}"


def step_of(name: str) -> int:
    """The step that a checkpoint is named after."""
    return int(name.rpartition("step-")[2])


def is_complete(folder: Folder, name: str) -> bool:
    """Whether every file that the checkpoint's manifest lists exists with the size it lists."""
    try:
        files = json.loads(folder.read(f"{name}/{MANIFEST}") or b"")["files"]
        return all(folder.size(f"{name}/{file}") == size for file, size in files.items())
    except (ValueError, KeyError, TypeError, AttributeError):
        return False


def complete_checkpoints(folder: Folder) -> list[str]:
    """The names of a run's complete checkpoints, the newest last."""
    names = [name.removesuffix(f"/{MANIFEST}") for name in folder.names(f"checkpoints/step-*/{MANIFEST}")]
    return [name for name in names if is_complete(folder, name)]

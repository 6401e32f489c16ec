"""What checkpoints are called in a run's folder, and which of them are complete."""

from xmodel_core.artifacts import Folder
from xmodel_core.artifacts.sealed_folder import MANIFEST, is_complete


def checkpoint_name(step: int) -> str:
    """The name of the checkpoint after a step, below the run's folder."""
    return f"checkpoints/step-{step:08d}"


def damaged_name(name: str) -> str:
    """Where a checkpoint is set aside: no name of a checkpoint, so it is neither loaded nor pruned."""
    return name.replace("checkpoints/", "checkpoints/damaged-")


def step_of(name: str) -> int:
    """The step that a checkpoint is named after."""
    return int(name.rpartition("step-")[2])


def complete_checkpoints(folder: Folder) -> list[str]:
    """The names of a run's checkpoints whose files all exist at their sizes, the newest last. Their contents are
    verified when they are loaded."""
    names = [name.removesuffix(f"/{MANIFEST}") for name in folder.names(f"checkpoints/step-*/{MANIFEST}")]
    return [name for name in names if is_complete(folder, name)]

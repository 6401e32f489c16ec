"""Removal of old checkpoints, and the ledger's rows that say which are kept."""

from xmodel_core.artifacts import Folder
from xmodel_core.artifacts.sealed_folder import MANIFEST
from xmodel_core.training.checkpoint.names import checkpoint_name, complete_checkpoints, step_of
from xmodel_core.training.metrics import part_name, read_rows, write_rows


def prune(folder: Folder, keep: int, phase_ends: set[int]) -> None:
    """Removes all but the newest `keep` checkpoints and those at phase ends, and every incomplete one; then updates
    `kept` in the rows of `checkpoints`. Idempotent, also after a kill."""
    complete = complete_checkpoints(folder)
    kept = {*complete[-keep:], *(name for name in complete if step_of(name) in phase_ends)}
    for name in sorted({file.rpartition("/")[0] for file in folder.names("checkpoints/step-*/*")} - kept):
        folder.remove(f"{name}/{MANIFEST}")  # first, so that a half-removed folder never counts as complete
        folder.remove_tree(name)
    for part in folder.names(part_name("checkpoints", 0).replace("00000000", "*")):
        rows = read_rows(folder, part)
        updated = [{**row, "kept": checkpoint_name(row["step"]) in kept} for row in rows]
        if updated != rows:
            write_rows(folder, part, "checkpoints", updated)

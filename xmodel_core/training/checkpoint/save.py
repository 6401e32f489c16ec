"""Writing a checkpoint, and loading the newest sound one back into model and optimizer."""

import io
import json
import logging
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from xmodel_core.artifacts import Folder
from xmodel_core.artifacts.disk import naming_a_full_disk
from xmodel_core.artifacts.sealed_folder import MANIFEST, DamagedFolder, seal, verify
from xmodel_core.errors import XmodelError
from xmodel_core.model.network import Xmodel
from xmodel_core.model.weights import STATE, TOKENIZER, load_weights, save_model
from xmodel_core.training.checkpoint.names import checkpoint_name, complete_checkpoints, damaged_name

OPTIMIZER = "optimizer.pt"
_log = logging.getLogger(__name__)


def save_checkpoint(
    folder: Folder,
    step: int,
    state: dict[str, Any],
    model: Xmodel,
    optimizer: torch.optim.Optimizer,
    tokenizer: Path,
    before_publishing: Callable[[int, str], None],
) -> None:
    """Writes a checkpoint. `before_publishing(bytes, created_at)` is called when all its files are written and none is
    in place yet, for what must exist before it does. XmodelError where the disk is full."""
    staging = folder.staging()
    written = staging / "checkpoint"
    try:
        with naming_a_full_disk(staging.parents[1]):
            written.mkdir()
            save_model(model, written)
            # Into memory first: torch's own writer reports a full disk as a bug in itself.
            buffer = io.BytesIO()
            torch.save(optimizer.state_dict(), buffer)
            (written / OPTIMIZER).write_bytes(buffer.getbuffer())
            (written / STATE).write_text(json.dumps({"step": step, **state}, sort_keys=True), encoding="utf-8")
            shutil.copyfile(tokenizer, written / TOKENIZER)
            sealed = seal(written)
            before_publishing(sealed.bytes, sealed.created_at)
            folder.put_tree(written, checkpoint_name(step), MANIFEST)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def newest_sound_checkpoint(folder: Folder) -> str | None:
    """The name of the newest checkpoint whose files are those that were written; None where a run has none yet.
    Damaged ones after it are set aside, with a warning. DamagedFolder: all are damaged."""
    damaged: list[tuple[str, DamagedFolder]] = []
    for name in reversed(complete_checkpoints(folder)):
        try:
            verify(folder.tree(name))
        except DamagedFolder as error:
            damaged.append((name, error))
            continue
        for other, problem in damaged:
            folder.rename_tree(other, damaged_name(other), MANIFEST)
            _log.warning(
                "%s: %s is damaged (%s: %s), set aside as %s; the run goes on from %s",
                *(folder.name, other, problem.where, problem.found, damaged_name(other), name),
            )
        return name
    if damaged:
        name, problem = damaged[0]
        raise DamagedFolder(
            "the only checkpoint of this run is damaged" if len(damaged) == 1 else "all checkpoints are damaged",
            expected=problem.expected,
            found=problem.found,
            where=problem.where,
            remedy=f"restore the file from a copy, or delete {folder}/checkpoints: training then begins again",
        )
    return None


def load_checkpoint(path: Path, model: Xmodel, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """Loads a verified checkpoint into model and optimizer and gives its state. XmodelError where it cannot be read."""
    load_weights(model, path)
    try:
        device = model.model.embed_tokens.weight.device
        optimizer.load_state_dict(torch.load(path / OPTIMIZER, map_location=device, weights_only=True))
        return json.loads((path / STATE).read_text(encoding="utf-8"))
    except (OSError, ValueError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        raise XmodelError(
            "a checkpoint cannot be read",
            expected="the files that its manifest lists",
            found=error,
            where=path,
            remedy="delete this checkpoint; the run continues from the one before",
        ) from None

"""Writing a checkpoint, and loading one back into model and optimizer."""

import io
import json
import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from xmodel_core.artifacts import Folder
from xmodel_core.artifacts.disk import naming_a_full_disk
from xmodel_core.errors import XmodelError
from xmodel_core.model.network import Xmodel
from xmodel_core.model.weights import TOKENIZER, load_weights, save_model
from xmodel_core.training.checkpoint.names import MANIFEST, checkpoint_name

OPTIMIZER = "optimizer.pt"
STATE = "state.json"


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
            sizes = {path.name: path.stat().st_size for path in sorted(written.iterdir())}
            created_at = datetime.now(UTC).isoformat(timespec="seconds")
            manifest = {"files": sizes, "created_at": created_at}
            (written / MANIFEST).write_text(json.dumps(manifest, sort_keys=True), encoding="utf-8")
            before_publishing(sum(sizes.values()), created_at)
            folder.put_tree(written, checkpoint_name(step), MANIFEST)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def load_checkpoint(path: Path, model: Xmodel, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """Loads a checkpoint into model and optimizer and gives its state. XmodelError where it cannot be read."""
    load_weights(model, path)
    try:
        device = model.model.embed_tokens.weight.device
        optimizer.load_state_dict(torch.load(path / OPTIMIZER, map_location=device, weights_only=True))
        return json.loads((path / STATE).read_text(encoding="utf-8"))
    except (OSError, ValueError, RuntimeError, EOFError) as error:
        raise XmodelError(
            "a checkpoint cannot be read",
            expected="the files that its manifest lists",
            found=error,
            where=path,
            remedy="delete this checkpoint; the run continues from the one before",
        ) from None

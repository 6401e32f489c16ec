"""Checkpoints: checkpoints/step-00000300/ with the model, its tokenizer, the optimizer and where the run is.

Takes a run's folder and what is to be saved; gives folders that appear whole or not at all.
Each one answers by itself (model.safetensors, config.json, tokenizer.model) and lets the run go on
bit for bit (optimizer.pt, state.json). `manifest.json`, written last, lists files and sizes.
"""

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
from xmodel_core.training.metrics import part_name, read_rows, write_rows

MANIFEST = "manifest.json"
OPTIMIZER = "optimizer.pt"
STATE = "state.json"


def checkpoint_name(step: int) -> str:
    """What the checkpoint after a step is called in a run's folder."""
    return f"checkpoints/step-{step:08d}"


def step_of(name: str) -> int:
    """The step that a checkpoint is named after."""
    return int(name.rpartition("step-")[2])


def is_whole(folder: Folder, name: str) -> bool:
    """Whether every file that the checkpoint's manifest lists is there at its size."""
    try:
        files = json.loads(folder.read(f"{name}/{MANIFEST}") or b"")["files"]
        return all(folder.size(f"{name}/{file}") == size for file, size in files.items())
    except (ValueError, KeyError, TypeError, AttributeError):
        return False


def whole_checkpoints(folder: Folder) -> list[str]:
    """The names of a run's whole checkpoints, the newest last."""
    found = [name.removesuffix(f"/{MANIFEST}") for name in folder.names(f"checkpoints/step-*/{MANIFEST}")]
    return [name for name in found if is_whole(folder, name)]


def save(
    folder: Folder,
    step: int,
    state: dict[str, Any],
    model: Xmodel,
    optimizer: torch.optim.Optimizer,
    tokenizer: Path,
    before_it_appears: Callable[[int, str], None],
) -> None:
    """Writes a checkpoint; `before_it_appears(bytes, created_at)` is called when all its files are written, so
    that what must not be missing beside it is in place first. XmodelError where the disk is full."""
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
            before_it_appears(sum(sizes.values()), created_at)
            folder.put_tree(written, checkpoint_name(step), MANIFEST)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def load(path: Path, model: Xmodel, optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """Puts a checkpoint back into model and optimizer; gives its state. XmodelError where it cannot be read."""
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
            remedy="delete this checkpoint; the run goes on from the one before",
        ) from None


def prune(folder: Folder, keep: int, phase_ends: set[int]) -> None:
    """Removes all but the newest `keep` checkpoints and those at phase ends, and whatever is not whole; then
    makes the ledger's rows say which are kept. Doing it twice, or after a kill, comes to the same."""
    whole = whole_checkpoints(folder)
    kept = {*whole[-keep:], *(name for name in whole if step_of(name) in phase_ends)}
    for name in sorted({file.rpartition("/")[0] for file in folder.names("checkpoints/step-*/*")} - kept):
        folder.remove(f"{name}/{MANIFEST}")  # first, so that half a folder is never taken for whole
        folder.remove_tree(name)
    for part in folder.names(part_name("checkpoints", 0).replace("00000000", "*")):
        rows = read_rows(folder, part)
        now = [{**row, "kept": checkpoint_name(row["step"]) in kept} for row in rows]
        if now != rows:
            write_rows(folder, part, "checkpoints", now)

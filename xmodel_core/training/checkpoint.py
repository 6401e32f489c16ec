"""Checkpoints: checkpoints/step-00000300/ with the model, its tokenizer, the optimizer and where the run is.

Takes a run's folder and what is to be saved; gives folders that appear whole, by one rename, or not at all.
Each one answers by itself (model.safetensors, config.json, tokenizer.model) and lets the run go on
bit for bit (optimizer.pt, state.json). `manifest.json`, written last, lists files and sizes.
"""

import io
import json
import os
import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from xmodel_core.artifacts.shard import naming_a_full_disk, new_aside
from xmodel_core.errors import XmodelError
from xmodel_core.model.generate import TOKENIZER
from xmodel_core.model.weights import load_weights, save_model
from xmodel_core.model.xmodel import Xmodel
from xmodel_core.training.metrics import part_path, read_rows, write_rows

MANIFEST = "manifest.json"
OPTIMIZER = "optimizer.pt"
STATE = "state.json"


def checkpoint_path(folder: Path, step: int) -> Path:
    """Where the checkpoint after a step lies in a run's folder."""
    return folder / "checkpoints" / f"step-{step:08d}"


def step_of(path: Path) -> int:
    """The step that a checkpoint's folder is named after."""
    return int(path.name.removeprefix("step-"))


def is_whole(path: Path) -> bool:
    """Whether every file that the manifest lists is there at its size."""
    try:
        files = json.loads((path / MANIFEST).read_text(encoding="utf-8"))["files"]
        return all((path / name).stat().st_size == size for name, size in files.items())
    except (OSError, ValueError, KeyError, TypeError):
        return False


def whole_checkpoints(folder: Path) -> list[Path]:
    """The whole checkpoints of a run, the newest last."""
    return sorted(path for path in (folder / "checkpoints").glob("step-*") if is_whole(path))


def _put_on_disk(path: Path) -> None:
    with path.open("rb") as stream:
        os.fsync(stream.fileno())


def save(
    folder: Path,
    step: int,
    state: dict[str, Any],
    model: Xmodel,
    optimizer: torch.optim.Optimizer,
    tokenizer: Path,
    before_it_appears: Callable[[int, str], None],
) -> Path:
    """Writes a checkpoint; `before_it_appears(bytes, created_at)` is called when all its files are written, so
    that what must not be missing beside it is in place first. XmodelError where the disk is full."""
    aside = new_aside(folder)
    target = checkpoint_path(folder, step)
    try:
        with naming_a_full_disk(folder):
            save_model(model, aside)
            # Into memory first: torch's own writer reports a full disk as a bug in itself.
            buffer = io.BytesIO()
            torch.save(optimizer.state_dict(), buffer)
            (aside / OPTIMIZER).write_bytes(buffer.getbuffer())
            (aside / STATE).write_text(json.dumps({"step": step, **state}, sort_keys=True), encoding="utf-8")
            shutil.copyfile(tokenizer, aside / TOKENIZER)
            sizes = {path.name: path.stat().st_size for path in sorted(aside.iterdir())}
            created_at = datetime.now(UTC).isoformat(timespec="seconds")
            manifest = {"files": sizes, "created_at": created_at}
            (aside / MANIFEST).write_text(json.dumps(manifest, sort_keys=True), encoding="utf-8")
            for path in aside.iterdir():
                _put_on_disk(path)
            before_it_appears(sum(sizes.values()), created_at)
            target.parent.mkdir(parents=True, exist_ok=True)
            if target.exists():
                shutil.rmtree(target)  # not whole, or the run would have gone on from it
            aside.rename(target)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return target


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


def prune(folder: Path, keep: int, phase_ends: set[int]) -> None:
    """Removes all but the newest `keep` checkpoints and those at phase ends, and whatever is not whole; then
    makes the ledger's rows say which are kept. Doing it twice, or after a kill, comes to the same."""
    whole = whole_checkpoints(folder)
    kept = {*whole[-keep:], *(path for path in whole if step_of(path) in phase_ends)}
    for path in (folder / "checkpoints").glob("step-*"):
        if path not in kept:
            (path / MANIFEST).unlink(missing_ok=True)  # first, so that half a folder is never taken for whole
            shutil.rmtree(path)
    for part in part_path(folder, "checkpoints", 0).parent.glob("step-*.parquet"):
        rows = read_rows(part)
        now = [{**row, "kept": checkpoint_path(folder, row["step"]) in kept} for row in rows]
        if now != rows:
            write_rows(part, "checkpoints", now)

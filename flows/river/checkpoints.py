"""The checkpoints that `evaluate --checkpoint` names: a folder or an address, a run of the workspace, or all of them.

Takes what a person wrote and the workspace; gives each checkpoint with what it is booked under: its run where it is one
of a run here, finished or still training, else the name of its own folder.
"""

import re
from pathlib import Path

from xmodel_core.artifacts import Folder, LocalFolder, Store, open_folder
from xmodel_core.artifacts.remote import is_remote
from xmodel_core.errors import XmodelError
from xmodel_core.evaluation.stage import CheckpointRef
from xmodel_core.model.weights import CONFIG
from xmodel_core.specs.strict import nearest
from xmodel_core.training.checkpoint.names import checkpoint_name, complete_checkpoints, step_of

ALL = "all"


def find_checkpoints(wanted: str, store: Store, recipe: str) -> list[CheckpointRef]:
    """The checkpoints that `wanted` names: a folder or an s3:// address (of a checkpoint, or a run for its newest),
    RUN or RUN@STEP (RUN: the label of a run of this workspace, or how only one begins), or `all`, each complete
    checkpoint of the runs of the recipe with this name. XmodelError: there is none."""
    if wanted == ALL:
        return _all_of(recipe, store)
    if is_remote(wanted) or "/" in wanted or _is_checkpoint_folder(Path(wanted)):
        return [_at(wanted, store)]
    return [_of_run(wanted, store)]


def _is_checkpoint_folder(path: Path) -> bool:
    """Whether a name without a slash is a folder with a checkpoint, not the beginning of a run's label."""
    return (path / CONFIG).is_file() or (path / "checkpoints").is_dir()


def _runs(store: Store) -> dict[str, list[str]]:
    """The label of each run with a complete checkpoint → the names of these, the newest last."""
    names = store.root.names("runs/*/checkpoints/step-*/manifest.json")
    labels = sorted({name.split("/")[1] for name in names})
    complete = {label: complete_checkpoints(store.root / "runs" / label) for label in labels}
    return {label: checkpoints for label, checkpoints in complete.items() if checkpoints}


def _booked(store: Store, label: str, checkpoint: str) -> CheckpointRef:
    path = (store.root / "runs" / label).tree(checkpoint)
    return CheckpointRef(path, label.rpartition("-")[0], label, step_of(checkpoint))


def _all_of(recipe: str, store: Store) -> list[CheckpointRef]:
    runs = {label: names for label, names in _runs(store).items() if label.rpartition("-")[0] == recipe}
    if not runs:
        raise XmodelError(
            f"there is no checkpoint of a run of the recipe {recipe}",
            expected="a run in this workspace that has saved one",
            where=f"{store.root}/runs",
            remedy="`xmodel pretrain` trains one; name other runs as RUN or RUN@STEP",
        )
    return [_booked(store, label, name) for label, names in runs.items() for name in names]


def _of_run(wanted: str, store: Store) -> CheckpointRef:
    name, at, step = wanted.partition("@")
    runs = _runs(store)
    labels = [label for label in runs if label == name] or [label for label in runs if label.startswith(name)]
    if len(labels) != 1 or not name:
        near = nearest(name, list(runs))
        raise XmodelError(
            f"{len(labels)} runs begin with {name}" if labels else f"there is no checkpoint {wanted}",
            expected="a folder, an s3:// address, RUN, RUN@STEP or all; RUN is one of "
            + (", ".join(labels or runs) or "the runs of this workspace, which has none with a checkpoint"),
            where=store.root,
            remedy=f"did you mean {near}?" if near and not labels else "name one of them",
        )
    [label] = labels
    if not at:
        return _booked(store, label, runs[label][-1])
    steps = {step_of(checkpoint) for checkpoint in runs[label]}
    if not re.fullmatch("[0-9]{1,18}", step) or int(step) not in steps:
        raise XmodelError(
            f"the run {label} has no checkpoint of step {step or '(none given)'}",
            expected=f"one of {', '.join(map(str, sorted(steps)))}",
            where=f"{store.root}/runs/{label}/checkpoints",
            remedy="RUN alone is its newest; training.keep_checkpoints says how many are kept",
        )
    return _booked(store, label, checkpoint_name(int(step)))


def _at(place: str, store: Store) -> CheckpointRef:
    """The checkpoint at an address; booked under its run where it lies in the workspace itself."""
    folder = open_folder(place.rstrip("/") if is_remote(place) else Path(place).expanduser().resolve())
    if names := complete_checkpoints(folder):  # a run's folder
        folder = folder / names[-1]
    root = store.root.at.resolve() if isinstance(store.root, LocalFolder) else store.root
    kind, _, inside = str(folder).removeprefix(f"{root}/").partition("/")
    label, _, checkpoint = inside.partition("/")
    if kind == "runs" and checkpoint in complete_checkpoints(store.root / "runs" / label):
        return _booked(store, label, checkpoint)
    return CheckpointRef(_on_this_machine(folder), _name_of(str(folder)), None, _step_in(folder.name))


def _on_this_machine(folder: Folder) -> Path:
    if isinstance(folder, LocalFolder):
        return folder.path
    above, _, name = str(folder).rpartition("/")
    return open_folder(above).tree(name)


def _step_in(name: str) -> int | None:
    match = re.fullmatch(r"step-([0-9]{1,18})", name)
    return int(match[1]) if match else None


def _name_of(address: str) -> str:
    """The last part of an address that says whose checkpoint it is, with no character that a folder's name lacks."""
    parts = [part for part in address.split("/") if part != "checkpoints" and _step_in(part) is None]
    return re.sub(r"[^\w.-]+", "-", parts[-1]).strip(".-") or "checkpoint"

"""One run of a recipe: its values, its workspace, its cluster.

Takes a recipe's name, overrides and a workspace, as a shell, a deployment or the UI hands them;
gives a `Session` that every stage task shares, and keeps the ledger up to date behind them.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from xmodel_core.artifacts import Store
from xmodel_core.cluster import Cluster, open_cluster
from xmodel_core.config import Recipe, load_recipe
from xmodel_core.errors import XmodelError

# Before torch is first imported: threads that wait for each other sleep instead of spinning. On cores that other
# work shares, spinning made a training step of two threads three to six times slower than one of one thread.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


class Session:
    """What the stages of one run share. A plain class: Prefect looks inside dataclasses, and need not here."""

    def __init__(self, recipe: Recipe, path: Path, store: Store, cluster: Cluster) -> None:
        self.recipe = recipe
        self.path = path
        self.store = store
        self.cluster = cluster


def workspace_folder(workspace: str | None) -> Path:
    """The workspace: what is asked for, else XMODEL_WORKSPACE, else ./workspace. Local folders only."""
    name = workspace or os.environ.get("XMODEL_WORKSPACE") or "workspace"
    if "://" in name:
        raise XmodelError("this workspace cannot be used", expected="a folder of this machine", found=name)
    folder = Path(name).expanduser().resolve()
    if folder.exists() and not folder.is_dir():
        raise XmodelError("the workspace is not a folder", found="a file", where=folder, remedy="give another path")
    return folder


@contextmanager
def open_session(recipe: str, overrides: Sequence[str], workspace: str | None) -> Iterator[Session]:
    """Reads the recipe before anything is started: a wrong key costs no time."""
    values, path = load_recipe(recipe, list(overrides))
    root = workspace_folder(workspace)
    root.mkdir(parents=True, exist_ok=True)
    with open_cluster(values.cluster) as cluster:
        yield Session(values, path, Store(root), cluster)

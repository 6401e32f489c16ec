"""One run of a recipe: its values, its workspace, its cluster.

Takes a recipe's name, overrides and a workspace, as a shell, a deployment or the UI hands them;
gives a `Session` that every stage task shares, and keeps the ledger up to date behind them.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from xmodel_core.artifacts import Artifact, Folder, Store, open_folder
from xmodel_core.artifacts.remote import is_remote
from xmodel_core.cluster import Cluster, open_cluster
from xmodel_core.config import Recipe, load_recipe
from xmodel_core.errors import XmodelError
from xmodel_core.specs.benchmarks import load_suites
from xmodel_core.specs.sources import RAW_SCHEME
from xmodel_core.training.config import TrainingConfig

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

    def with_training(self, training: TrainingConfig) -> "Session":
        """The same run with other training settings: what proxies are planned and trained by."""
        return Session(self.recipe.model_copy(update={"training": training}), self.path, self.store, self.cluster)


def workspace_folder(workspace: str | None) -> Folder:
    """The workspace: what is asked for, else XMODEL_WORKSPACE, else ./workspace. A folder, or s3://bucket/prefix."""
    name = workspace or os.environ.get("XMODEL_WORKSPACE") or "workspace"
    if "://" in name:
        return open_folder(name)
    folder = Path(name).expanduser().resolve()
    if folder.exists() and not folder.is_dir():
        raise XmodelError("the workspace is not a folder", found="a file", where=folder, remedy="give another path")
    return open_folder(folder)


def checkpoint_folder(place: str) -> Path:
    """A checkpoint given by its path or s3:// address, to open on this machine."""
    if not is_remote(place):
        return Path(place)
    folder, _, name = place.rstrip("/").rpartition("/")
    return open_folder(folder).tree(name)


@contextmanager
def open_session(recipe: str, overrides: Sequence[str], workspace: str | None) -> Iterator[Session]:
    """Reads the recipe before anything is started: a wrong key costs no time."""
    values, path = load_recipe(recipe, list(overrides))
    root = workspace_folder(workspace)
    root.prepare()
    with open_cluster(values.cluster) as cluster:
        yield Session(values, path, Store(root), cluster)


def benchmarks_of(recipe: Recipe, beside: Path, world: Artifact | None) -> tuple[Path, dict[str, set[str]]] | None:
    """The folder of benchmarks that no document may hold, and the splits that the recipe's suites ask of them; None
    where the recipe names none, or the sample world that holds them is not made yet."""
    from xmodel_core.corpus.contamination.benchmark_items import splits_asked

    folder = recipe.corpus.decontaminate.benchmarks
    if folder is None or (folder.startswith(RAW_SCHEME) and world is None):
        return None
    if world and folder.startswith(RAW_SCHEME):
        place = world.folder.tree(folder.removeprefix(RAW_SCHEME))
    else:
        place = Path(folder).expanduser()
    return place.resolve(), splits_asked(load_suites(recipe.evaluation.suites, beside))

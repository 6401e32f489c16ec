"""One run of a recipe: its values, its workspace, its cluster, and what its stages have given so far.

Takes a recipe's name, overrides and a workspace, as a shell, a deployment or the UI hands them; gives a `Session`
that every stage reads its inputs from and leaves its output in.
"""

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

from flows.recipes import load_recipe, recipe_names
from flows.river import preflight
from xmodel_core.artifacts import Artifact, Folder, Identity, Store, open_folder
from xmodel_core.artifacts.remote import is_remote
from xmodel_core.artifacts.store import MANIFEST
from xmodel_core.cluster import Cluster, open_cluster
from xmodel_core.config import Recipe
from xmodel_core.errors import XmodelError
from xmodel_core.specs import Mixture, Source, SourceFiles, load_mixture, load_sources, resolve_all
from xmodel_core.specs.benchmarks import Suite, load_suites
from xmodel_core.training.config import TrainingConfig

if TYPE_CHECKING:
    from xmodel_core.planning.needs import Need

# Before torch is first imported: threads that wait for each other sleep instead of spinning. On cores that other
# work shares, spinning made a training step of two threads three to six times slower than one of one thread.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


ClusterKind = Literal["local", "ray"]


class NotKnownYet(Exception):
    """An identity that depends on a stage that is not built; the text says on which, as `xmodel plan` shows it."""


class Session:
    """What the stages of one run share. A plain class: Prefect looks inside dataclasses, and need not here."""

    def __init__(self, recipe: Recipe, recipe_file: Path, store: Store, cluster: Cluster | None = None) -> None:
        """`cluster`: None for a plan, which builds nothing."""
        self.recipe = recipe
        self.recipe_file = recipe_file
        self.store = store
        self._cluster = cluster
        self.on_checkpoint: Callable[[str, int], None] | None = None
        """Called with the run's label and the step of each checkpoint that the run saves while it trains."""
        self.built_before = set(store.root.names(f"*/*/{MANIFEST}"))
        """The manifests that were there when the session opened."""
        self._outputs: dict[tuple[str, str], Artifact | Identity] = {}

    @property
    def spec_folder(self) -> Path:
        """Paths of specs that the recipe names are relative to it."""
        return self.recipe_file.parent

    @cached_property
    def sources(self) -> list[Source]:
        """What the recipe's families of sources declare."""
        return load_sources(self.recipe.sources, self.spec_folder)

    @cached_property
    def mixture(self) -> Mixture:
        """What the recipe trains on, by phase."""
        return load_mixture(self.recipe.mixture, self.spec_folder)

    @cached_property
    def suites(self) -> list[Suite]:
        """What the recipe evaluates on."""
        return load_suites(self.recipe.evaluation.suites, self.spec_folder)

    @property
    def cluster(self) -> Cluster:
        """Where the run's work is done."""
        assert self._cluster is not None, "a plan builds nothing"
        return self._cluster

    def with_training(self, training: TrainingConfig) -> "Session":
        """The same run with other training settings: what proxies are planned and trained by."""
        recipe = self.recipe.model_copy(update={"training": training})
        return Session(recipe, self.recipe_file, self.store, self._cluster)

    def keep(self, stage: str, item: str, output: Artifact | Identity) -> None:
        """Remembers a stage's output: the artifact, or in a plan the identity of one that is not built."""
        self._outputs[stage, item] = output

    def stages(self) -> list[dict[str, str]]:
        """stage, name and state (`built` or `reused`) of each artifact that the stages gave, in their order."""
        return [
            {"stage": stage, "name": item, "state": "reused" if _manifest(output) in self.built_before else "built"}
            for (stage, item), output in self._outputs.items()
        ]

    def output(self, stage: str, item: str | None = None) -> Artifact | Identity:
        """A stage's output; `item`: the source's name where there is one per source. NotKnownYet where it has none."""
        key = (stage, item or self.recipe.name)
        if key not in self._outputs:
            raise NotKnownYet(f"known after the {'scans' if stage == 'scan' else stage}")
        return self._outputs[key]

    def optional(self, stage: str, item: str | None = None) -> Artifact | Identity | None:
        """A stage's output, or None."""
        return self._outputs.get((stage, item or self.recipe.name))

    def artifact(self, stage: str, item: str | None = None) -> Artifact:
        """A stage's output that is built. NotKnownYet where it is not."""
        output = self.output(stage, item)
        if not isinstance(output, Artifact):
            raise NotKnownYet(f"known after the {stage}")
        return output

    def built(self, stage: str, item: str | None = None) -> Artifact | None:
        """A stage's output if it is built, else None."""
        output = self.optional(stage, item)
        return output if isinstance(output, Artifact) else None

    def shards(self) -> dict[str, Artifact]:
        """The token shards that are built, by source."""
        return {source.name: made for source in self.sources if (made := self.built("shards", source.name))}

    @cached_property
    def source_files(self) -> dict[str, SourceFiles]:
        """The files behind all sources with their digests, checked before the first is read, not after hours of work.
        XmodelError where a source has none."""
        files = resolve_all(
            self.sources, lambda files: self.store.digests.of(files, self.cluster.map), self.built("sample world")
        )
        for name, of_source in files.items():
            for line in of_source.left_out:
                print(f"left out of {name}: {line}", file=sys.stderr, flush=True)
        return files

    def mixture_shares(self) -> dict[str, float]:
        """Source → share of the training tokens that the recipe's mixture asks for, by what the corpus keeps."""
        corpus = self.built("corpus")
        kept = {name: facts["chars"] for name, facts in corpus.manifest()["facts"]["sources"].items()} if corpus else {}
        return preflight.mixture_shares(self.recipe, self.mixture, self.sources, kept)


def _manifest(output: Artifact | Identity) -> str:
    return f"{output.kind}/{output.label}/{MANIFEST}"


def workspace_folder(workspace: str | None) -> Folder:
    """The workspace: what is asked for, else XMODEL_WORKSPACE, else ./workspace. A folder, or s3://bucket/prefix."""
    name = workspace or os.environ.get("XMODEL_WORKSPACE") or "workspace"
    if "://" in name:
        return open_folder(name)
    folder = Path(name).expanduser().resolve()
    if folder.exists() and not folder.is_dir():
        raise XmodelError("the workspace is not a folder", found="a file", where=folder, remedy="give another path")
    return open_folder(folder)


def place_of(recipe: str, recipe_file: Path) -> str:
    """A recipe's name, or the absolute path of its file: the same recipe, read from any folder."""
    return recipe if recipe in recipe_names() else str(recipe_file.resolve())


def checkpoint_folder(place: str) -> Path:
    """A checkpoint given by its path or s3:// address, to open on this machine."""
    if not is_remote(place):
        return Path(place)
    folder, _, name = place.rstrip("/").rpartition("/")
    return open_folder(folder).tree(name)


class Checked(NamedTuple):
    """A recipe that can be run here."""

    recipe: Recipe
    recipe_file: Path
    store: Store
    left_out: "list[Need]"
    """What the run goes on without."""


def check_recipe(
    recipe: str, overrides: Sequence[str], workspace: str | None, through: str, alone: bool = False
) -> Checked:
    """Reads the recipe and checks what its stages up to `through` need, or (`alone`) what that stage needs. XmodelError
    where the recipe is wrong, or something is not here."""
    values, recipe_file = load_recipe(recipe, list(overrides))
    (preflight.check_evaluation if alone else preflight.check)(values, recipe_file)
    store = Store(workspace_folder(workspace))
    # A session of its own: what a dry walk finds is no output of the run.
    left_out = preflight.require_needs(Session(values, recipe_file, store), through, alone)
    return Checked(values, recipe_file, store, left_out)


@contextmanager
def open_session(
    recipe: str,
    overrides: Sequence[str] | None,
    workspace: str | None,
    through: str,
    cluster_kind: ClusterKind | None = None,
) -> Iterator[Session]:
    """The session of a recipe that `check_recipe` finds nothing wrong with: a wrong key costs no time. `cluster_kind`:
    where a deployment runs it; an override of `cluster.kind` goes before."""
    deployed = [f"cluster.kind={cluster_kind}"] if cluster_kind else []
    checked = check_recipe(recipe, [*deployed, *(overrides or [])], workspace, through)
    checked.store.root.prepare()
    with open_cluster(checked.recipe.cluster) as cluster:
        yield Session(checked.recipe, checked.recipe_file, checked.store, cluster)


def open_evaluation(recipe: str, overrides: Sequence[str], workspace: str | None) -> Session:
    """A session that evaluates checkpoints that are there: it needs the recipe's suites, and neither its sources nor
    its cluster."""
    checked = check_recipe(recipe, overrides, workspace, "evaluation", alone=True)
    checked.store.root.prepare()
    return Session(checked.recipe, checked.recipe_file, checked.store)

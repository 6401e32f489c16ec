"""Recipes: one YAML file, one frozen slice per room.

Takes a folder of recipes, a recipe's name or path, and `--set` overrides; gives a `Recipe`. A recipe may extend
another and state only what differs; its tokenizer and model slices may extend a tokenizer or model of the reports.
The flows read the same recipe and overrides, whether started from the shell, by `prefect deployment run` or in the UI.
The recipes that come with Xmodel are `flows.recipes`.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from pydantic import Field, model_validator

from xmodel_core.cluster.config import ClusterConfig
from xmodel_core.corpus.config import CorpusConfig
from xmodel_core.errors import XmodelError
from xmodel_core.evaluation.config import EvaluationConfig
from xmodel_core.model.config import ModelConfig
from xmodel_core.sample_world.config import SampleWorldConfig
from xmodel_core.search.config import SearchConfig
from xmodel_core.specs.plain_yaml import DEEPEST, parse_yaml, read_yaml, real_path
from xmodel_core.specs.sources import RAW_SCHEME
from xmodel_core.specs.strict import Strict, nearest, validate
from xmodel_core.tokenizer.config import TokenizerConfig
from xmodel_core.training.config import TrainingConfig


class Recipe(Strict):
    """Everything that determines a run."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    """The name of its artifacts: folders, plans and runs carry it."""
    description: str = ""
    """What the recipe is for, in a line or two."""
    sources: list[str] = Field(min_length=1)
    """Families of sources: names in datasets_spec/sources, or paths of YAML files relative to this one. Of two
    copies of a document the one from the earlier source survives."""
    mixture: str
    """A mixture: a name in datasets_spec/mixtures, or the path of a YAML file relative to this one."""
    sample_world: SampleWorldConfig | None = None
    """The embedded sample world that makes the documents of its sources; null: the sources are files of your own."""
    corpus: CorpusConfig = CorpusConfig()
    """How documents are read, filtered and deduplicated."""
    tokenizer: TokenizerConfig
    """How the tokenizer is trained and documents are encoded."""
    model: ModelConfig
    """The model's shape; its vocabulary size is the tokenizer's."""
    training: TrainingConfig
    """The schedule, the optimizer, the batch, the precision."""
    evaluation: EvaluationConfig = EvaluationConfig()
    """Which suites checkpoints are evaluated on."""
    search: SearchConfig = SearchConfig()
    """Which hyperparameters `hparam-search` varies on this model and training."""
    cluster: ClusterConfig = ClusterConfig()
    """Where the work runs; never changes a byte."""

    @model_validator(mode="after")
    def _sequences_fit(self) -> "Recipe":
        longest, context = self.training.longest_sequence, self.model.max_position_embeddings
        if longest > context:
            raise ValueError(
                f"training.sequence_length {longest} is longer than the model's context, "
                f"model.max_position_embeddings {context}"
            )
        return self


def _with_absolute_paths(data: dict[str, Any], folder: Path) -> dict[str, Any]:
    """A recipe's fields with paths made absolute: they are relative to its file, and a recipe in another folder may
    extend it."""

    def absolute(name: Any) -> Any:
        return str(real_path(folder / name)) if isinstance(name, str) and name.endswith((".yaml", ".yml")) else name

    result = dict(data)
    if isinstance(data.get("sources"), list):
        result["sources"] = [absolute(name) for name in data["sources"]]
    if "mixture" in data:
        result["mixture"] = absolute(data["mixture"])
    if isinstance(data.get("corpus"), dict):
        result["corpus"] = corpus = dict(data["corpus"])
        for part, names in (("decontaminate", ("benchmarks",)), ("perplexity", ("chinese", "english"))):
            if isinstance(corpus.get(part), dict):
                corpus[part] = paths = dict(corpus[part])
                for name in names:
                    if isinstance(path := paths.get(name), str) and not path.startswith(RAW_SCHEME):
                        paths[name] = str(real_path(folder / path))
    evaluation = data.get("evaluation")
    if isinstance(evaluation, dict):
        result["evaluation"] = dict(evaluation)
        if isinstance(evaluation.get("suites"), list):
            result["evaluation"]["suites"] = [absolute(name) for name in evaluation["suites"]]
        if isinstance(evaluation.get("data"), str):
            result["evaluation"]["data"] = str(real_path(folder / evaluation["data"]))
    return result


def _merged(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in changes.items():
        inner = merged.get(key)
        merged[key] = _merged(inner, value) if isinstance(inner, dict) and isinstance(value, dict) else value
    return merged


def _extended(data: dict[str, Any], part: str, presets: Callable[[], dict[str, Any]], where: object) -> dict[str, Any]:
    """The recipe with one slice completed by the preset that the slice extends; its own fields take precedence."""
    stated = data.get(part)
    if not isinstance(stated, dict) or "extends" not in stated:
        return data
    name, known = stated["extends"], presets()
    if not isinstance(name, str) or name not in known:
        near = nearest(str(name), list(known))
        raise XmodelError(
            f"there is no {part} named {name}",
            expected=f"one of {', '.join(known)}",
            where=f"{where}, {part}.extends",
            remedy=f"did you mean {near}?" if near else "check the name",
        )
    own = {key: value for key, value in stated.items() if key != "extends"}
    # Not merged key by key: shares in a recipe replace the preset's, they are not added to them.
    return {**data, part: {**known[name], **own}}


def _override(data: dict[str, Any], assignment: str) -> dict[str, Any]:
    key, equals, text = assignment.partition("=")
    if not equals or not key:
        raise XmodelError(
            "an override of the wrong form", expected="--set key.inner=value", found=f"--set {assignment}"
        )
    try:
        value = parse_yaml(text)
    except ValueError:
        value = text  # an unquoted string with characters that mean something in YAML
    *outer, last = key.split(".")
    if len(outer) > DEEPEST:
        raise XmodelError(
            "an override of the wrong form", expected="--set key.inner=value", found=f"{len(outer) + 1} keys"
        )
    change: dict[str, Any] = {last: value}
    for step in reversed(outer):
        change = {step: change}
    return _merged(data, _with_absolute_paths(change, Path.cwd()))


class RecipeLibrary:
    """The recipes of one folder: `*.yaml`, with the presets that they may extend in `tokenizers/` and `models/`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def names(self) -> list[str]:
        """The names of its recipes, sorted."""
        return sorted(path.stem for path in self.folder.glob("*.yaml"))

    def path(self, name: str, beside: Path | None = None) -> Path:
        """The file of a recipe: a name of this library, or a path (relative to `beside`, else to the working folder).

        XmodelError: no recipe of this name.
        """
        if name.endswith((".yaml", ".yml")):
            return real_path((beside or Path.cwd()) / name)
        if name in self.names():
            return self.folder / f"{name}.yaml"
        inside = (beside or Path.cwd()) / name / "recipe.yaml"
        near = str(Path(name) / inside.name) if len(name) < 1000 and inside.is_file() else nearest(name, self.names())
        raise XmodelError(
            f"there is no recipe named {name[:80]}",
            expected=f"one of {', '.join(self.names())}, or the path of a .yaml file",
            remedy=f"did you mean {near}?" if near else "check the name",
        )

    def model_presets(self) -> dict[str, dict[str, Any]]:
        """The reports' models, family-size → fields of a model slice: each family's file holds the settings that all
        its sizes share, and a table of the sizes."""
        presets = {}
        for path in sorted((self.folder / "models").glob("*.yaml")):
            family = read_yaml(path)
            for size, row in family["sizes"].items():
                fields = dict(zip(family["columns"], row, strict=True))
                presets[f"{path.stem}-{size}"] = {**family["settings"], **fields}
        return presets

    def tokenizer_presets(self) -> dict[str, dict[str, Any]]:
        """The reports' tokenizers, name → fields of a tokenizer slice."""
        return {path.stem: read_yaml(path) for path in sorted((self.folder / "tokenizers").glob("*.yaml"))}

    def load(self, name: str, overrides: Sequence[str] = ()) -> tuple[Recipe, Path]:
        """A recipe, by its name or path, with `--set` overrides; and the file it was read from.

        XmodelError names the file, the key and the nearest right one.
        """
        path = self.path(name)
        data = self._read(path)
        for assignment in overrides:
            data = _override(data, assignment)
        where = str(path) + "".join(f" --set {assignment}" for assignment in overrides)
        data = _extended(data, "tokenizer", self.tokenizer_presets, where)
        data = _extended(data, "model", self.model_presets, where)
        return validate(Recipe, data, where), path

    def _read(self, path: Path, extended_by: tuple[Path, ...] = ()) -> dict[str, Any]:
        """A recipe file merged over those that it extends."""
        if path in extended_by:
            chain = " → ".join(p.name for p in (*extended_by, path))
            raise XmodelError("a recipe extends itself", found=chain, where=path)
        data = _with_absolute_paths(read_yaml(path), path.parent)
        base = data.pop("extends", None)
        if base is None:
            return data
        if not isinstance(base, str):
            raise XmodelError("`extends` names one recipe", expected="a name or a path", found=base, where=path)
        return _merged(self._read(self.path(base, path.parent), (*extended_by, path)), data)

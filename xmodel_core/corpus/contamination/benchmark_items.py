"""The items of benchmarks that documents are checked for, read from `<benchmark>/<split>.jsonl`.

Takes a folder and the splits that suites evaluate; gives the files that count, and of each item its fields as text.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from xmodel_core.corpus.text.characters import well_formed
from xmodel_core.errors import XmodelError
from xmodel_core.specs import benchmarks
from xmodel_core.specs.benchmarks import Suite

EVALUATED_SPLITS = frozenset({"test", "validation", "val"})


def splits_asked(suites: Iterable[Suite]) -> dict[str, set[str]]:
    """For each benchmark, by its folder's name, the splits that suites ask questions of (not those of the shots)."""
    splits: dict[str, set[str]] = {}
    for suite in suites:
        for task in suite.tasks:
            splits.setdefault(task.data.rsplit("/", 1)[-1], set()).add(task.split)
    return splits


def counted_files(folder: Path, evaluated_splits: Mapping[str, set[str]]) -> dict[str, list[Path]]:
    """The files that count, by benchmark. XmodelError: no such folder, nothing in it that counts."""
    if not folder.is_dir():
        raise XmodelError(
            "there is no folder of benchmarks",
            expected="a folder of <benchmark>/<split>.jsonl",
            where=folder,
            remedy="check corpus.decontaminate.benchmarks",
        )
    files: dict[str, list[Path]] = {}
    for path in sorted(folder.glob("*/*.jsonl")):
        if path.stem in EVALUATED_SPLITS | evaluated_splits.get(path.parent.name, set()):
            files.setdefault(path.parent.name, []).append(path)
    if not files:
        raise XmodelError(
            "the folder of benchmarks holds no benchmark",
            expected="<benchmark>/<split>.jsonl with a split that is evaluated: " + ", ".join(sorted(EVALUATED_SPLITS)),
            found=", ".join(sorted(path.name for path in folder.iterdir())[:10]) or "an empty folder",
            where=folder,
            remedy="check corpus.decontaminate.benchmarks",
        )
    return files


def fields_of_items(path: Path) -> list[list[str]]:
    """Each item of a file as the texts of its fields, "" for a field without text. XmodelError: an empty file, or a
    line that is not an item."""
    return [[_text(value) or "" for value in item.values()] for _, item in benchmarks.read_items(path)]


def _text(value: Any) -> str | None:
    """The strings in a field, a line each, since they belong together: a dialogue is a list of turns."""
    if isinstance(value, str):
        return well_formed(value)
    if isinstance(value, dict):
        value = list(value.values())
    parts = [text for part in value if (text := _text(part)) is not None] if isinstance(value, list) else []
    return "\n".join(parts) if parts else None

"""`xmodel sources`: what the specs declare, and whether it is there.

Takes the families in datasets_spec, or those of one recipe; gives a row per source.
"""

from pathlib import Path
from typing import Any

from flows.summary import print_table
from xmodel_core.config import load_recipe
from xmodel_core.errors import XmodelError
from xmodel_core.specs import Source, load_sources, resolve
from xmodel_core.specs.sources import DATASETS_SPEC, RAW_SCHEME


def _families(recipe: str | None) -> list[tuple[str, list[Source]]]:
    if recipe is None:
        names = sorted(path.stem for path in (DATASETS_SPEC / "sources").glob("*.yaml"))
        return [(name, load_sources([name], DATASETS_SPEC)) for name in names]
    values, path = load_recipe(recipe)
    return [(Path(name).stem, load_sources([name], path.parent)) for name in values.sources]


def _presence(source: Source) -> dict[str, Any]:
    if source.uri.startswith(RAW_SCHEME):
        return {"state": "made by its recipe", "problem": ""}
    if "://" in source.uri:
        return {"state": "declared, not on this machine", "problem": ""}
    try:
        # Presence and size, not content: a check of a large corpus must not read it.
        files = resolve(source, digest=lambda path: "").files
    except XmodelError as error:
        return {"state": "missing", "problem": str(error)}
    return {"state": f"{len(files)} files, {sum(file.bytes for file in files) / 1e6:,.1f} MB", "problem": ""}


def declared(recipe: str | None, check: bool) -> list[dict[str, Any]]:
    """A row per declared source; with `check` also `state` and `problem` (empty where all is well)."""
    fields = {"name", "lang", "category", "license", "uri", "format", "published_tokens", "published_weight"}
    return [
        {"family": family, **source.model_dump(include=fields), **(_presence(source) if check else {})}
        for family, sources in _families(recipe)
        for source in sources
    ]


def print_sources(rows: list[dict[str, Any]]) -> None:
    """The rows as a table, then each problem in full."""
    columns = ["family", "name", "lang", "category", "license", "published_tokens", "uri"]
    if rows and "state" in rows[0]:
        columns = ["family", "name", "lang", "state", "uri"]
    print_table(columns, [[row[column] for column in columns] for row in rows])
    for row in rows:
        if row.get("problem"):
            print(row["problem"])

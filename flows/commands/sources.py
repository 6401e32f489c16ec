"""`xmodel sources`: what the specs declare, whether it holds together, and whether it is there.

Takes the families in datasets_spec, or those of one recipe; gives a row per source. `check` looks at every spec and
mixture without a network, and asks the publishers where there is one.
"""

import math
import re
from pathlib import Path
from typing import Any

from flows.commands.summary import print_table
from flows.recipes import load_recipe, recipe_names
from xmodel_core.errors import XmodelError
from xmodel_core.planning.availability import HUB, S3, SCHEMES, check_availability
from xmodel_core.specs import Source, load_mixture, load_sources, resolve
from xmodel_core.specs.sources import DATASETS_SPEC, RAW_SCHEME

# What an address must look like. `unpublished://` is with the authors alone; raw:// is made by the recipe.
FORMS = {
    "hf://": re.compile(r"hf://datasets/[\w.-]+/[\w.-]+(/.+)?"),
    "s3://": re.compile(r"s3://[a-z0-9][a-z0-9.-]+(/.*)?"),
    "https://": re.compile(r"https://[\w.-]+(:\d+)?(/.*)?"),
    "raw://": re.compile(r"raw://.+"),
    "unpublished://": re.compile(r"unpublished://\w+"),
}
WEIGHTS_ROUNDING = 0.0005
"""How far published weights, printed with four digits, may be from 1 together."""


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
        away = "with its authors alone" if source.uri.startswith("unpublished://") else "declared, not on this machine"
        return {"state": away, "problem": _address(source)}
    try:
        # Presence and size, not content: a check of a large corpus must not read it.
        files = resolve(source, digest=lambda path: "").files
    except XmodelError as error:
        return {"state": "missing", "problem": str(error)}
    return {"state": f"{len(files)} files, {sum(file.bytes for file in files) / 1e6:,.1f} MB", "problem": ""}


def _address(source: Source) -> str:
    """What is wrong with an address, or with what is said of it."""
    scheme = source.uri.partition("://")[0] + "://"
    form = FORMS.get(scheme)
    if form is None:
        return f"{source.name}: uri has a scheme that nobody reads: {scheme} (one of {', '.join(FORMS)}, or a path)"
    if not form.fullmatch(source.uri):
        return f"{source.name}: uri is not a {scheme} address: {source.uri}"
    if scheme == "hf://" and source.gated is None:
        return f"{source.name}: say whether the publisher asks for consent: gated: true or false"
    return ""


def _of_a_family(family: str, sources: list[Source]) -> list[str]:
    """What is wrong with the sources of a family together, or with what each says."""
    wrong = [f"{source.name}: license is empty" for source in sources if not source.license.strip()]
    weights = [source.published_weight for source in sources if source.published_weight is not None]
    total = math.fsum(weights)
    if weights and len(weights) == len(sources) and not math.isclose(total, 1, abs_tol=WEIGHTS_ROUNDING):
        wrong.append(f"{family}: the published weights add up to {total:.4f}, not to 1")
    return wrong


def _of_a_recipe(recipe: str) -> list[str]:
    """Keys of a recipe's mixture that name nothing among its sources."""
    try:
        values, path = load_recipe(recipe)
        sources = load_sources(values.sources, path.parent)
        mixture = load_mixture(values.mixture, path.parent)
    except XmodelError as error:
        return [f"{recipe}: {error}"]
    known = {source.name for source in sources} | {f"{source.lang}/{source.category}" for source in sources}
    return [
        f"{recipe}: the mixture's phase {phase.name} names {key}: no source and no language/category of its sources"
        for phase in mixture.phases
        for key in phase.sources
        if key not in known
    ]


def declared(recipe: str | None) -> list[dict[str, Any]]:
    """A row per declared source."""
    return [_row(family, source) for family, sources in _families(recipe) for source in sources]


def _row(family: str, source: Source) -> dict[str, Any]:
    fields = {"name", "lang", "category", "license", "uri", "format", "gated", "published_tokens", "published_weight"}
    return {"family": family, **source.model_dump(include=fields)}


def check(recipe: str | None, hub: str = HUB, s3: str = S3) -> tuple[list[dict[str, Any]], list[str]]:
    """A row per declared source with `state`, `reached` and `problem` (empty where all is well), and what is wrong
    with families and mixtures as wholes."""
    families = _families(recipe)
    rows = [{**_row(family, source), **_presence(source)} for family, sources in families for source in sources]
    published = [row for row in rows if row["uri"].startswith(SCHEMES) and not row["problem"]]
    answers = check_availability([(row["uri"], row["gated"]) for row in published], hub, s3)
    reached = {id(row): found for row, found in zip(published, answers, strict=True)}
    for row in rows:
        found = reached.get(id(row))
        row["reached"] = found.state if found else ""
        row["problem"] = row["problem"] or (f"{row['name']}: {found.problem}" if found and found.problem else "")
    wrong = [line for family, sources in families for line in _of_a_family(family, sources)]
    recipes = [recipe] if recipe else recipe_names()
    return rows, wrong + [line for name in recipes for line in _of_a_recipe(name)]


def print_sources(rows: list[dict[str, Any]]) -> None:
    """The rows as a table, then each problem in full."""
    columns = ["family", "name", "lang", "category", "license", "published_tokens", "uri"]
    if rows and "state" in rows[0]:
        columns = ["family", "name", "lang", "state", "reached", "uri"]
    print_table(columns, [[row[column] for column in columns] for row in rows])
    for row in rows:
        if row.get("problem"):
            print(row["problem"])

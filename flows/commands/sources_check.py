"""The rows and checks of `xmodel sources`: what the specs declare, whether it is consistent and available.

Takes the source families of datasets_spec, or those of one recipe; gives a row per source. `check` verifies every spec
and mixture without a network, and asks the publishers where there is one.
"""

import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from flows.recipes import load_recipe, recipe_names
from xmodel_core.errors import XmodelError
from xmodel_core.planning.availability import HUB, S3, SCHEMES, check_availability
from xmodel_core.specs import Source, list_source, load_mixture, load_sources
from xmodel_core.specs.sources import DATASETS_SPEC, RAW_SCHEME

# The form of a uri by its scheme. unpublished://: only the authors have it; raw://: the recipe makes it.
URI_FORMS = {
    "hf://": re.compile(r"hf://datasets/[\w.-]+/[\w.-]+(/.+)?"),
    "s3://": re.compile(r"s3://[a-z0-9][a-z0-9.-]+(/.*)?"),
    "https://": re.compile(r"https://[\w.-]+(:\d+)?(/.*)?"),
    "raw://": re.compile(r"raw://.+"),
    "unpublished://": re.compile(r"unpublished://\w+"),
}
WEIGHTS_ROUNDING = 0.0005
"""How far the sum of published weights, printed with four digits, may be from 1."""


def _families(recipe: str | None, overrides: Sequence[str]) -> list[tuple[str, list[Source]]]:
    if recipe is None:
        names = sorted(path.stem for path in (DATASETS_SPEC / "sources").glob("*.yaml"))
        return [(name, load_sources([name], DATASETS_SPEC)) for name in names]
    values, path = load_recipe(recipe, overrides)
    return [(Path(name).stem, load_sources([name], path.parent)) for name in values.sources]


def _presence(source: Source) -> dict[str, Any]:
    if source.uri.startswith(RAW_SCHEME):
        return {"state": "made by its recipe", "problem": ""}
    if "://" in source.uri:
        state = "with its authors alone" if source.uri.startswith("unpublished://") else "declared, not on this machine"
        return {"state": state, "problem": _uri_problem(source)}
    try:
        listed = list_source(source)  # presence and size: a check of a large corpus must not read it
    except XmodelError as error:
        return {"state": "missing", "problem": str(error)}
    hidden = f", {listed.hidden} hidden passed over" if listed.hidden else ""
    problem = f"{source.name}: left out {'; '.join(listed.left_out)}" if listed.left_out else ""
    return {"state": f"{len(listed.files)} files, {listed.bytes / 1e6:,.1f} MB{hidden}", "problem": problem}


def _uri_problem(source: Source) -> str:
    """What is wrong with a remote uri, or with the fields about it; empty where nothing is."""
    scheme = source.uri.partition("://")[0] + "://"
    form = URI_FORMS.get(scheme)
    if form is None:
        return f"{source.name}: no reader for the uri scheme {scheme} (one of {', '.join(URI_FORMS)}, or a path)"
    if not form.fullmatch(source.uri):
        return f"{source.name}: uri is not a {scheme} address: {source.uri}"
    if scheme == "hf://" and source.gated is None:
        return (
            f"{source.name}: gated is not set: write gated: true if the publisher asks for consent, else gated: false"
        )
    return ""


def _family_problems(family: str, sources: list[Source]) -> list[str]:
    """What is wrong with a family's specs: an empty license, published weights that do not add up to 1."""
    problems = [f"{source.name}: license is empty" for source in sources if not source.license.strip()]
    weights = [source.published_weight for source in sources if source.published_weight is not None]
    total = math.fsum(weights)
    if weights and len(weights) == len(sources) and not math.isclose(total, 1, abs_tol=WEIGHTS_ROUNDING):
        problems.append(f"{family}: the published weights add up to {total:.4f}, not to 1")
    return problems


def _recipe_problems(recipe: str, overrides: Sequence[str]) -> list[str]:
    """What does not load, and keys of the mixture that name none of the recipe's sources."""
    try:
        values, path = load_recipe(recipe, overrides)
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


def declared(recipe: str | None, overrides: Sequence[str] = ()) -> list[dict[str, Any]]:
    """A row per declared source; `overrides` are those of the recipe."""
    return [_row(family, source) for family, sources in _families(recipe, overrides) for source in sources]


def _row(family: str, source: Source) -> dict[str, Any]:
    fields = {"name", "lang", "category", "license", "uri", "format", "gated", "published_tokens", "published_weight"}
    return {"family": family, **source.model_dump(include=fields)}


def check(
    recipe: str | None, overrides: Sequence[str] = (), hub: str = HUB, s3: str = S3
) -> tuple[list[dict[str, Any]], list[str]]:
    """(a row per declared source with `state`, `reached` and `problem`, empty where there is none; the problems of
    families and mixtures)."""
    overrides = overrides if recipe else ()
    families = _families(recipe, overrides)
    rows = [{**_row(family, source), **_presence(source)} for family, sources in families for source in sources]
    published = [row for row in rows if row["uri"].startswith(SCHEMES) and not row["problem"]]
    answers = check_availability([(row["uri"], row["gated"]) for row in published], hub, s3)
    by_row = {id(row): answer for row, answer in zip(published, answers, strict=True)}
    for row in rows:
        answer = by_row.get(id(row))
        row["reached"] = answer.state if answer else ""
        row["problem"] = row["problem"] or (f"{row['name']}: {answer.problem}" if answer and answer.problem else "")
    problems = [line for family, sources in families for line in _family_problems(family, sources)]
    recipes = [recipe] if recipe else recipe_names()
    return rows, problems + [line for name in recipes for line in _recipe_problems(name, overrides)]

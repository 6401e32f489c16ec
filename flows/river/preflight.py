"""What a recipe asks for, checked before anything is started: a wrong path or name is told in a second.

Takes a recipe; gives nothing, or the one message. The stages find the same mistakes by the same functions, for runs
that come from a deployment or the UI; a command asks here first, before a server, a cluster or torch is loaded.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from flows.recipes import load_recipe
from xmodel_core.artifacts.remote import is_remote
from xmodel_core.config import Recipe
from xmodel_core.corpus.measure.perplexity import require_kenlm
from xmodel_core.mixture.plan import Supply, shares
from xmodel_core.specs import Source, load_mixture, load_sources, resolve
from xmodel_core.specs.benchmarks import load_suites
from xmodel_core.specs.sources import RAW_SCHEME


def mixture_shares(
    recipe: Recipe, beside: Path, sources: Sequence[Source], kept_chars: Mapping[str, int]
) -> dict[str, float]:
    """Source → share of the training tokens that the recipe's mixture asks for. A lang/category is split by the
    characters kept of its sources; before any are, evenly. XmodelError where the mixture and the sources do not fit."""
    mixture = load_mixture(recipe.mixture, beside)
    supplies = [Supply(source.name, source.lang, source.category, kept_chars.get(source.name)) for source in sources]
    return shares(mixture, recipe.training.phases(), supplies)


def check(recipe: str, overrides: Sequence[str]) -> None:
    """XmodelError: a wrong key, a spec or path that is not there, a mixture of other sources, a model without the
    package that reads it. Remote places are left to the run, which asks them patiently."""
    values, path = load_recipe(recipe, list(overrides))
    sources = load_sources(values.sources, path.parent)
    for source in sources:
        if not source.uri.startswith(RAW_SCHEME) and not is_remote(source.uri):
            resolve(source, lambda _: "")  # which files, not their contents
    mixture_shares(values, path.parent, sources, {})
    load_suites(values.evaluation.suites, path.parent)
    if values.corpus.perplexity.files():
        require_kenlm()

"""What a recipe asks for, checked before anything is started: a wrong path or name is reported within a second.

Takes a recipe; gives nothing, or the one message. A command checks before a server, a cluster or torch is loaded; a
flow checks again, because a run may also come from a deployment or the UI.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from xmodel_core.artifacts.remote import is_remote
from xmodel_core.config import Recipe
from xmodel_core.corpus.measure.perplexity import require_kenlm
from xmodel_core.errors import XmodelError
from xmodel_core.mixture.plan import Supply, shares
from xmodel_core.specs import Mixture, Source, load_mixture, load_sources, resolve
from xmodel_core.specs.benchmarks import load_suites
from xmodel_core.specs.sources import RAW_SCHEME


def mixture_shares(
    recipe: Recipe, mixture: Mixture, sources: Sequence[Source], kept_chars: Mapping[str, int]
) -> dict[str, float]:
    """Source → share of the training tokens that the mixture asks for. A lang/category is split by the characters
    kept of its sources; before any are, evenly. XmodelError where the mixture and the sources do not fit."""
    supplies = [Supply(source.name, source.lang, source.category, kept_chars.get(source.name)) for source in sources]
    return shares(mixture, recipe.training.phases(), supplies)


def check(recipe: Recipe, recipe_file: Path) -> None:
    """XmodelError: a spec or path that is not there, a mixture of other sources, a perplexity model without the
    package that reads it. Remote places are left to the run, which retries them."""
    beside = recipe_file.parent
    sources = load_sources(recipe.sources, beside)
    for source in sources:
        if not source.uri.startswith(RAW_SCHEME) and not is_remote(source.uri):
            resolve(source, lambda _: "")  # which files, not their contents
    mixture_shares(recipe, load_mixture(recipe.mixture, beside), sources, {})
    load_suites(recipe.evaluation.suites, beside)
    if recipe.corpus.perplexity.files():
        require_kenlm()


def check_evaluation(recipe: Recipe, recipe_file: Path) -> None:
    """XmodelError: the recipe names no suite, or one that is not there. What a checkpoint that is there needs."""
    if not load_suites(recipe.evaluation.suites, recipe_file.parent):
        raise XmodelError(
            f"the recipe {recipe.name} names no suite to evaluate on",
            expected="evaluation.suites",
            where=recipe_file,
            remedy="--set 'evaluation.suites=[commonsense, chinese]'",
        )

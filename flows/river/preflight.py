"""What a recipe asks for, checked before anything is started: a wrong path or name is reported within a second.

Takes a recipe, or a session of it that has no cluster yet; gives nothing, or the one message. A command checks before a
server, a cluster or torch is loaded; a flow checks again, because a run may also come from a deployment or the UI.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from xmodel_core.config import Recipe
from xmodel_core.errors import XmodelError
from xmodel_core.mixture.plan import Supply, make_plan, shares
from xmodel_core.specs import Mixture, Source, load_mixture, load_sources
from xmodel_core.specs.benchmarks import load_suites
from xmodel_core.specs.sources import RAW_SCHEME
from xmodel_core.tokenizer.sample import require_held_out

if TYPE_CHECKING:
    from flows.river.session import Session
    from xmodel_core.planning.needs import Need


def mixture_shares(
    recipe: Recipe, mixture: Mixture, sources: Sequence[Source], kept_chars: Mapping[str, int]
) -> dict[str, float]:
    """Source → share of the training tokens that the mixture asks for. A lang/category is split by the characters
    kept of its sources; before any are, evenly. XmodelError where the mixture and the sources do not fit."""
    supplies = [Supply(source.name, source.lang, source.category, kept_chars.get(source.name)) for source in sources]
    return shares(mixture, recipe.training.phases(), supplies)


def check(recipe: Recipe, recipe_file: Path) -> None:
    """XmodelError: a spec that is not there or cannot be read, a mixture of other sources."""
    beside = recipe_file.parent
    sources = load_sources(recipe.sources, beside)
    for source in sources:
        if source.uri.startswith(RAW_SCHEME) and recipe.sample_world is None:
            raise XmodelError(
                f"the source {source.name} is part of the sample world, and the recipe makes none",
                expected="a sample_world slice, or the uri of files",
                found=source.uri,
                where=recipe_file,
                remedy="add `sample_world: {}`, or leave the source out",
            )
    supplies = [Supply(source.name, source.lang, source.category, None) for source in sources]
    make_plan(load_mixture(recipe.mixture, beside), recipe.training.phases(), supplies)
    require_held_out(recipe.tokenizer, [source.name for source in sources])
    load_suites(recipe.evaluation.suites, beside)


def check_evaluation(recipe: Recipe, recipe_file: Path) -> None:
    """XmodelError: the recipe names no suite, or one that is not there. What a checkpoint that is there needs."""
    if not load_suites(recipe.evaluation.suites, recipe_file.parent):
        raise XmodelError(
            f"the recipe {recipe.name} names no suite to evaluate on",
            expected="evaluation.suites",
            where=recipe_file,
            remedy="--set 'evaluation.suites=[commonsense, chinese]'",
        )


def missing_needs(session: "Session", through: str, alone: bool = False) -> "list[Need]":
    """What the stages up to this one, or this one alone, need and this machine lacks; those that are built already need
    nothing. The session is walked dry."""
    # Late: the stages' modules import the session, which imports this one.
    from flows.river.dry_run import explain_stages
    from flows.river.stages import STAGES
    from xmodel_core.planning import needs

    last = [stage.name for stage in STAGES].index(through)
    wanted = STAGES[last if alone else 0 : last + 1]
    to_build = {stage.name: stage.items(session) for stage in wanted}
    # Where no run of this name is finished, nothing that needs much is.
    if not alone and any(name.startswith(f"runs/{session.recipe.name}-") for name in session.built_before):
        built = {(row["stage"], row["name"]) for row in explain_stages(session) if row["state"] == "reused"}
        to_build = {stage: [item for item in items if (stage, item) not in built] for stage, items in to_build.items()}
    to_build = {stage: items for stage, items in to_build.items() if items}
    sources = [] if alone else session.sources
    asked = needs.Asked(session.recipe, session.spec_folder, sources, session.store.root, to_build)
    return needs.missing_needs(asked)


def require_needs(session: "Session", through: str, alone: bool = False) -> "list[Need]":
    """What the run goes on without. XmodelError: everything that the stages need and that is not here, a line each."""
    missing = missing_needs(session, through, alone)
    if required := [f"  {need}" for need in missing if need.required]:
        raise XmodelError(
            "\n".join([f"{session.recipe.name} needs what is not here; nothing was started", *required]),
            remedy="meet each line, then run the same command again; `xmodel plan` shows the same list",
        )
    return missing

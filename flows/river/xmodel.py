"""The whole river, top to bottom: from raw documents to an evaluated model and its report.

Takes a recipe, overrides and a workspace; gives finished artifacts, a ledger whose books close, a page.
Each `to_…` runs the river up to there: a stage whose artifact is whole is found, not built, so the
flows that stop earlier (xdata-build, tokenizer-train, pretrain, evaluate) are prefixes of this one.
"""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from prefect import flow

from flows.river import stages, ui_artifacts
from flows.river.session import Session, open_session
from xmodel_core.artifacts import Artifact
from xmodel_core.corpus.references import References
from xmodel_core.specs import SourceFiles

if TYPE_CHECKING:
    from xmodel_core.corpus.stage import SourceScan


class Scanned(NamedTuple):
    """Sources, and everything that decisions are made of."""

    world: Artifact | None
    sources: list[SourceFiles]
    scanned: "list[SourceScan]"
    pairs: Artifact
    benchmarks: Artifact | None


class Corpus(NamedTuple):
    """Documents that were kept, and where they came from."""

    world: Artifact | None
    sources: list[SourceFiles]
    corpus: Artifact
    mixture_shares: dict[str, float]
    """Source → share of the training tokens that the mixture asks for."""


class Tokens(NamedTuple):
    """A tokenizer and each source's token shards."""

    tokenizer: Artifact
    shards: dict[str, Artifact]


class Training(NamedTuple):
    """A plan in exact tokens and the run that consumed it."""

    plan: Artifact
    run: Artifact


def to_scans(session: Session) -> Scanned:
    """sources ▸ scans, with benchmarks and n-gram models at hand ▸ without repeated lines ▸ pairs of near copies"""
    world = stages.make_sample_world(session) if session.recipe.sample_world else None
    sources = stages.find_sources(session, world)
    benchmarks = stages.index_benchmarks(session, world)
    references = References(benchmarks, stages.keep_perplexity_models(session))
    scans = [stages.scan(session, files, references) for files in sources]
    scanned = [stages.remove_lines(session, *pair, references) for pair in zip(sources, scans, strict=True)]
    return Scanned(world, sources, scanned, stages.find_near_pairs(session, scanned), benchmarks)


def to_corpus(session: Session) -> Corpus:
    """scans ▸ decisions ▸ documents"""
    world, sources, scanned, pairs, benchmarks = to_scans(session)
    corpus = stages.build_corpus(session, scanned, pairs, benchmarks)
    shares = stages.mixture_shares(session, sources, corpus)
    ui_artifacts.corpus(session.store.root, corpus.label, shares)
    return Corpus(world, sources, corpus, shares)


def to_tokens(session: Session, corpus: Corpus) -> Tokens:
    """documents ▸ tokenizer ▸ token shards"""
    tokenizer = stages.train_tokenizer(session, corpus.corpus, [files.source for files in corpus.sources])
    shards = {
        files.source.name: stages.encode(session, files.source, corpus.corpus, tokenizer) for files in corpus.sources
    }
    stages.refresh_ledger(session)
    ui_artifacts.tokens(session.store.root, tokenizer.label)
    return Tokens(tokenizer, shards)


def to_run(session: Session, corpus: Corpus, tokens: Tokens) -> Training:
    """token shards ▸ mixture plan ▸ checkpoints"""
    plan = stages.plan_mixture(session, [files.source for files in corpus.sources], tokens.shards)
    run = stages.pretrain(session, plan, tokens.shards, tokens.tokenizer)
    ui_artifacts.run(session.store.root, run.label)
    return Training(plan, run)


def to_proxies(session: Session, label: str, door: Callable[..., Artifact], **settings: Any) -> Artifact:
    """token shards ▸ mixture plan ▸ small models, compared by a door of the search room"""
    corpus = to_corpus(session)
    tokens = to_tokens(session, corpus)
    plan = stages.plan_mixture(session, [files.source for files in corpus.sources], tokens.shards)
    return stages.train_proxies(session, plan, tokens.shards, tokens.tokenizer, label, door, **settings)


def to_scores(session: Session, corpus: Corpus, run: Artifact, checkpoint: Path | None = None) -> Artifact | None:
    """checkpoints ▸ scores; none where the recipe names no suite"""
    if not session.recipe.evaluation.suites:
        return None
    scores = stages.evaluate(session, run, corpus.world, checkpoint)
    ui_artifacts.scores(session.store.root, run.label)
    return scores


@flow(name="xmodel", log_prints=False)
def xmodel(recipe: str = "quickstart", overrides: list[str] | None = None, workspace: str | None = None) -> str:
    """Raw documents in, an evaluated model and its report out. Returns where the report lies."""
    with open_session(recipe, overrides or [], workspace) as session:
        corpus = to_corpus(session)
        tokens = to_tokens(session, corpus)
        training = to_run(session, corpus, tokens)
        scores = to_scores(session, corpus, training.run)
        parts = {"corpus": corpus.corpus, "tokenizer": tokens.tokenizer, "plan": training.plan, "run": training.run}
        report = stages.write_report(session, {**parts, **({"evaluation": scores} if scores else {})})
        stages.close_the_books(session)
        page = f"{report.folder}/index.html"
        ui_artifacts.report(page)
        return page

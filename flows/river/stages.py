"""The stages as Prefect tasks: one per stage or source, never one per document or shard.

Takes the session and the artifacts of the stage before; gives the stage's artifact. A task only
calls its room's door. Retried are transient errors alone: a bug or bad input fails at once.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun
from prefect.tasks import Task

from flows.river import preflight
from flows.river.session import Session, benchmarks_of
from xmodel_core.artifacts import Artifact
from xmodel_core.errors import TransientError, XmodelError
from xmodel_core.ledger.build import refresh
from xmodel_core.ledger.query import run_query
from xmodel_core.specs import Source, SourceFiles, load_mixture, load_sources, resolve
from xmodel_core.specs.benchmarks import load_suites

if TYPE_CHECKING:
    from xmodel_core.corpus.stage import SourceScan


def only_transient(_task: Task[..., Any], _run: TaskRun, state: State[Any]) -> bool:
    """Whether another try may help."""
    try:
        state.result()
    except TransientError:
        return True
    except Exception:
        return False
    return False


# Receipts and manifests are the only memory of what is done: Prefect's caching stays off.
stage: Callable[..., Any] = partial(
    task,
    retries=2,
    retry_delay_seconds=[2, 20],
    retry_condition_fn=only_transient,
    cache_policy=NO_CACHE,
    persist_result=False,
)


@stage(name="make sample world")
def make_sample_world(session: Session) -> Artifact:
    """The embedded world's raw documents and benchmarks."""
    from xmodel_core.sample_world import stage as door

    config = session.recipe.sample_world
    assert config is not None
    return door.run(config, session.store, session.recipe.name)


@stage(name="find sources")
def find_sources(session: Session, world: Artifact | None) -> list[SourceFiles]:
    """The files behind the recipe's sources, with their digests."""
    declared = load_sources(session.recipe.sources, session.path.parent)
    found = [resolve(source, session.store.digest, world) for source in declared]
    mixture_shares(session, found)  # what the mixture asks for must be here: told now, not after hours of work
    return found


@stage(name="index benchmarks")
def index_benchmarks(session: Session, world: Artifact | None) -> Artifact | None:
    """The passages that no document may hold; none where the recipe names no benchmarks."""
    from xmodel_core.corpus import stage as door

    found = benchmarks_of(session.recipe, session.path.parent, world)
    return door.index_benchmarks(session.recipe.name, *found, session.store) if found else None


@stage(name="keep perplexity models")
def keep_perplexity_models(session: Session) -> Artifact | None:
    """The n-gram models that text is held against; none where the recipe names none."""
    from xmodel_core.corpus import stage as door

    models = session.recipe.corpus.perplexity
    return door.keep_models(session.recipe.name, models, session.store) if models.named() else None


@stage(name="scan", task_run_name="scan {files.source.name}")
def scan(session: Session, files: SourceFiles, benchmarks: Artifact | None, models: Artifact | None) -> Artifact:
    """Every readable document of a source with its features, its perplexity where there are models, its signature and
    the benchmark items it holds."""
    from xmodel_core.corpus import stage as door

    return door.scan(files, session.recipe.corpus.scan, session.store, session.cluster, benchmarks, models)


@stage(name="remove lines", task_run_name="remove lines {files.source.name}")
def remove_lines(
    session: Session, files: SourceFiles, scan: Artifact, benchmarks: Artifact | None, models: Artifact | None
) -> "SourceScan":
    """A source's scan, its documents without the lines that it repeats."""
    from xmodel_core.corpus import stage as door

    return door.remove_lines(files, scan, session.recipe.corpus, session.store, session.cluster, benchmarks, models)


@stage(name="find near copies")
def find_near_pairs(session: Session, scanned: "list[SourceScan]") -> Artifact:
    """Documents of all sources that are alike, compared exactly."""
    from xmodel_core.corpus import stage as door

    recipe = session.recipe
    return door.find_near_pairs(recipe.name, scanned, recipe.corpus.scan, session.store, session.cluster)


@stage(name="build corpus")
def build_corpus(
    session: Session, scanned: "list[SourceScan]", pairs: Artifact, benchmarks: Artifact | None
) -> Artifact:
    """Decisions over all sources, then the kept documents."""
    from xmodel_core.corpus import stage as door

    recipe = session.recipe
    corpus = door.build_corpus(recipe.name, scanned, pairs, recipe.corpus, session.store, session.cluster, benchmarks)
    refresh(session.store.root)
    return corpus


def mixture_shares(session: Session, sources: list[SourceFiles], corpus: Artifact | None = None) -> dict[str, float]:
    """Source → share of the training tokens that the recipe's mixture asks for, by what the corpus keeps."""
    kept = {name: facts["chars"] for name, facts in corpus.manifest()["facts"]["sources"].items()} if corpus else {}
    return preflight.mixture_shares(session.recipe, session.path.parent, [files.source for files in sources], kept)


@stage(name="preview decisions")
def preview_decisions(
    session: Session, scanned: "list[SourceScan]", pairs: Artifact
) -> dict[str, list[dict[str, Any]]]:
    """What the recipe's thresholds would do: the ledger rows of its corpus, with no document written."""
    from xmodel_core.corpus import stage as door

    return door.funnel(session.recipe.name, scanned, pairs, session.recipe.corpus)


@stage(name="train tokenizer")
def train_tokenizer(session: Session, corpus: Artifact, sources: list[Source]) -> Artifact:
    """A tokenizer from a sample of the kept documents."""
    from xmodel_core.tokenizer import stage as door

    return door.train_tokenizer(session.recipe.name, corpus, sources, session.recipe.tokenizer, session.store)


@stage(name="report tokenizer")
def report_tokenizer(
    session: Session, corpus: Artifact, sources: list[Source], tokenizer: Artifact, against: list[Path]
) -> Artifact:
    """A tokenizer beside others on the corpus's documents."""
    from xmodel_core.tokenizer import stage as door

    report = door.report_tokenizer(session.recipe.name, corpus, sources, tokenizer, against, session.store)
    refresh(session.store.root)
    return report


@stage(name="sweep tokenizers")
def sweep_tokenizers(
    session: Session, corpus: Artifact, sources: list[Source], vocab_sizes: list[int], zh_shares: list[float]
) -> Artifact:
    """Tokenizers of several sizes and balances, and their trade-off."""
    from xmodel_core.tokenizer import stage as door
    from xmodel_core.tokenizer.sweep import SweepGrid

    recipe = session.recipe
    grid = SweepGrid(vocab_sizes, zh_shares)
    swept = door.sweep_tokenizers(recipe.name, corpus, sources, recipe.tokenizer, grid, session.store)
    refresh(session.store.root)
    return swept


@stage(name="encode", task_run_name="encode {source.name}")
def encode(session: Session, source: Source, corpus: Artifact, tokenizer: Artifact) -> Artifact:
    """A source's kept documents as token shards."""
    from xmodel_core.tokenizer import stage as door

    return door.encode_source(source, corpus, tokenizer, session.recipe.tokenizer, session.store, session.cluster)


@stage(name="refresh ledger")
def refresh_ledger(session: Session) -> None:
    """Brings the ledger up to date with what the stages left behind."""
    refresh(session.store.root)


@stage(name="plan mixture")
def plan_mixture(session: Session, sources: list[Source], shards: dict[str, Artifact]) -> Artifact:
    """Shares of tokens turned into an exact plan, from the shards' counts."""
    from xmodel_core.mixture import stage as door

    recipe = session.recipe
    mixture = load_mixture(recipe.mixture, session.path.parent)
    plan = door.build_plan(
        recipe.name,
        mixture,
        recipe.training.phases(),
        sources,
        list(shards.values()),
        session.store,
    )
    refresh(session.store.root)
    return plan


@stage(name="pretrain")
def pretrain(session: Session, plan: Artifact, shards: dict[str, Artifact], tokenizer: Artifact) -> Artifact:
    """Checkpoints and metrics of one run; goes on from its newest whole checkpoint."""
    from xmodel_core.training import stage as door

    recipe = session.recipe
    run = door.run(
        recipe.name,
        recipe.model,
        recipe.training,
        plan,
        shards,
        tokenizer,
        session.store,
        session.cluster,
    )
    refresh(session.store.root)
    return run


@stage(name="train proxies", task_run_name="{label}")
def train_proxies(
    session: Session,
    plan: Artifact,
    shards: dict[str, Artifact],
    tokenizer: Artifact,
    label: str,
    door: Callable[..., Artifact],
    **settings: Any,
) -> Artifact:
    """What a door of the search room finds; it goes on from the proxies that are trained."""
    from xmodel_core.search.proxies import TrainingInputs

    recipe = session.recipe
    ground = TrainingInputs(
        recipe.name, recipe.model, recipe.training, plan, shards, tokenizer, session.store, session.cluster
    )
    found = door(ground, **settings)
    refresh(session.store.root)
    return found


@stage(name="evaluate")
def evaluate(session: Session, run: Artifact, world: Artifact | None, checkpoint: Path | None = None) -> Artifact:
    """Scores of one checkpoint, by default the run's last, on the recipe's suites."""
    from xmodel_core.evaluation import stage as door
    from xmodel_core.training.stage import final_checkpoint

    recipe = session.recipe
    suites = load_suites(recipe.evaluation.suites, session.path.parent)
    chosen = checkpoint or final_checkpoint(run)
    step = int(chosen.name.removeprefix("step-"))
    scores = door.run(recipe.name, recipe.evaluation, suites, run, chosen, step, world, session.store)
    refresh(session.store.root)
    return scores


@stage(name="write report")
def write_report(session: Session, parts: dict[str, Artifact]) -> Artifact:
    """The page about the run, from the ledger alone."""
    from xmodel_core.report import stage as door

    report = door.run(session.recipe.name, parts, session.store)
    refresh(session.store.root)
    return report


@stage(name="close the books")
def close_the_books(session: Session) -> None:
    """Fails where something does not add up."""
    _, rows = run_query(session.store.root, "@books")
    if rows:
        what, where, expected, found, _ = rows[0]
        raise XmodelError(
            f"the books do not close: {what} ({len(rows)} places)",
            expected=expected,
            found=found,
            where=where,
            remedy="`xmodel ledger @books` lists every place; this is a bug worth reporting",
        )

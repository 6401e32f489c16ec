"""The pipeline's stages, in order: the one list that `run` executes, `plan` walks dry, and every flow is a prefix of.

A `Stage` has a name, items (one, or one per source), and for each item its identity (the inputs that determine the
output), its build (the room's entry point: own config and inputs in, artifact out) and an estimate of its work.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from flows.river.session import NotKnownYet, Session
from xmodel_core.artifacts import Artifact, Identity
from xmodel_core.artifacts.digests import read_digest, size_of
from xmodel_core.artifacts.remote import RemoteFile, is_remote
from xmodel_core.corpus import stage as corpus_stage
from xmodel_core.corpus.boilerplate.rescan import counts_lines
from xmodel_core.corpus.contamination.benchmark_items import splits_asked
from xmodel_core.corpus.references import References
from xmodel_core.corpus.stage import SourceScan
from xmodel_core.evaluation import stage as evaluation_stage
from xmodel_core.evaluation.stage import CheckpointRef
from xmodel_core.mixture import stage as mixture_stage
from xmodel_core.planning.duration import Workload
from xmodel_core.report import stage as report_stage
from xmodel_core.sample_world import stage as sample_world_stage
from xmodel_core.specs import SourceFiles, resolve_all
from xmodel_core.specs.sources import RAW_SCHEME
from xmodel_core.tokenizer import stage as tokenizer_stage
from xmodel_core.tokenizer.documents import documents_digests
from xmodel_core.training import stage as training_stage
from xmodel_core.training.checkpoint.names import step_of
from xmodel_core.training.inputs import TrainingInputs


@dataclass(frozen=True)
class Stage:
    """One kind of artifact of a run."""

    name: str
    items: Callable[[Session], list[str]]
    """The names of its outputs: the recipe's, or each source's; none where the recipe does not ask for the stage."""
    identity: Callable[[Session, str], Identity]
    """The inputs that determine an item's output. NotKnownYet where that follows from a stage that is not built."""
    build: Callable[[Session, str], Artifact]
    """Builds an item, or finds it built."""
    seconds: Callable[[Workload, str], float]
    """Estimated seconds of wall time of one item."""


def _once(session: Session) -> list[str]:
    return [session.recipe.name]


def _per_source(session: Session) -> list[str]:
    return [source.name for source in session.sources]


# sample world ------------------------------------------------------------------------------------------------------


def _sample_world_items(session: Session) -> list[str]:
    return _once(session) if session.recipe.sample_world else []


def _sample_world_identity(session: Session, item: str) -> Identity:
    assert session.recipe.sample_world is not None
    return sample_world_stage.identity(session.recipe.sample_world, item)


def _build_sample_world(session: Session, item: str) -> Artifact:
    assert session.recipe.sample_world is not None
    return sample_world_stage.run(session.recipe.sample_world, session.store, item)


# benchmarks and perplexity models: what texts are compared with while they are scanned -------------------------------


def _benchmarks_items(session: Session) -> list[str]:
    folder = session.recipe.corpus.decontaminate.benchmarks
    made_here = folder is not None and folder.startswith(RAW_SCHEME)
    return _once(session) if folder and (session.recipe.sample_world or not made_here) else []


def _benchmarks_folder(session: Session) -> tuple[Path, dict[str, set[str]]]:
    """The folder of benchmarks that no document may hold, and the splits that the recipe's suites ask of them."""
    folder = session.recipe.corpus.decontaminate.benchmarks
    assert folder is not None
    if folder.startswith(RAW_SCHEME):
        path = session.artifact("sample world").folder.tree(folder.removeprefix(RAW_SCHEME))
    else:
        path = Path(folder).expanduser()
    return path.resolve(), splits_asked(session.suites)


def _benchmarks_identity(session: Session, item: str) -> Identity:
    return corpus_stage.benchmarks_identity(item, *_benchmarks_folder(session), session.store)


def _build_benchmarks(session: Session, item: str) -> Artifact:
    return corpus_stage.index_benchmarks(item, *_benchmarks_folder(session), session.store)


def _models_items(session: Session) -> list[str]:
    return _once(session) if session.recipe.corpus.perplexity.named() else []


def _models_identity(session: Session, item: str) -> Identity:
    return corpus_stage.models_identity(item, session.recipe.corpus.perplexity, session.store)


def _build_models(session: Session, item: str) -> Artifact:
    return corpus_stage.keep_models(item, session.recipe.corpus.perplexity, session.store)


def _references(session: Session) -> References:
    """The benchmarks and models of the recipe. NotKnownYet where it names some that are not known."""
    benchmarks = session.output("benchmarks") if _benchmarks_items(session) else None
    models = session.output("perplexity models") if _models_items(session) else None
    return References(benchmarks, models)


# scans -------------------------------------------------------------------------------------------------------------


PLAN_READS_BYTES = 1 << 28
"""What a plan reads of one source at most, to know whether files are those of a scan that is there: about a second."""


def _files(session: Session, item: str) -> SourceFiles:
    """The files of one source, as a plan asks for them: without a network, one source at a time, reading none whose
    digest is remembered or cannot matter."""
    source = next(source for source in session.sources if source.name == item)
    if source.uri.startswith(RAW_SCHEME):
        session.output("sample world")
    elif is_remote(source.uri):
        raise NotKnownYet("known once its files are listed: a plan uses no network")
    digests = session.store.digests

    def planned_digests(files: Sequence[Path | RemoteFile]) -> list[str]:
        known = dict(zip(files, digests.known(files), strict=True))
        unread = [file for file in files if known[file] is None]
        if sum(size_of(file) for file in unread) <= PLAN_READS_BYTES:
            return [digest or read_digest(file) for file, digest in known.items()]
        if session.store.artifacts("scans", item):
            raise NotKnownYet("known once its files are read: new or changed since they were scanned")
        # No scan of this name is there, so what it would be called does not matter: it is new.
        return [digest or "" for digest in known.values()]

    return resolve_all([source], planned_digests, session.built("sample world"))[item]


def _scan_identity(session: Session, item: str) -> Identity:
    files = _files(session, item)
    return corpus_stage.scan_identity(files, session.recipe.corpus.scan, _references(session))


def _build_scan(session: Session, item: str) -> Artifact:
    files = session.source_files[item]
    config = session.recipe.corpus.scan
    return corpus_stage.scan(files, config, session.store, session.cluster, _references(session))


# boilerplate lines, near copies, corpus ------------------------------------------------------------------------------


def _lines_items(session: Session) -> list[str]:
    return [source.name for source in session.sources if counts_lines(source)]


def _lines_identity(session: Session, item: str) -> Identity:
    source = next(source for source in session.sources if source.name == item)
    identity = corpus_stage.rescan_identity(source, session.output("scan", item), session.recipe.corpus.lines)
    assert identity is not None, "only sources whose lines are counted have a rescan"
    return identity


def _build_lines(session: Session, item: str) -> Artifact:
    scanned = corpus_stage.remove_lines(
        session.source_files[item],
        session.artifact("scan", item),
        session.recipe.corpus,
        session.store,
        session.cluster,
        _references(session),
    )
    assert scanned.rescan is not None, "only sources whose lines are counted have a rescan"
    return scanned.rescan


def scanned_sources(session: Session) -> list[SourceScan]:
    """Each source with its scan, and its rescan without boilerplate lines where its lines are counted."""
    return [
        SourceScan(session.source_files[name], session.artifact("scan", name), session.built("lines", name))
        for name in _per_source(session)
    ]


def _scans(session: Session) -> tuple[list[Artifact | Identity], list[Artifact | Identity | None]]:
    names = _per_source(session)
    return [session.output("scan", name) for name in names], [session.optional("lines", name) for name in names]


def _pairs_identity(session: Session, item: str) -> Identity:
    return corpus_stage.pairs_identity(item, *_scans(session))


def _build_pairs(session: Session, item: str) -> Artifact:
    config = session.recipe.corpus.scan
    return corpus_stage.find_near_pairs(item, scanned_sources(session), config, session.store, session.cluster)


def _corpus_identity(session: Session, item: str) -> Identity:
    return corpus_stage.corpus_identity(item, *_scans(session), session.sources, session.recipe.corpus)


def _build_corpus(session: Session, item: str) -> Artifact:
    return corpus_stage.build_corpus(
        item,
        scanned_sources(session),
        session.artifact("near copies"),
        session.recipe.corpus,
        session.store,
        session.cluster,
        session.built("benchmarks"),
    )


# tokenizer and shards ----------------------------------------------------------------------------------------------


def _tokenizer_identity(session: Session, item: str) -> Identity:
    digests = documents_digests(session.artifact("corpus"))
    return tokenizer_stage.tokenizer_identity(item, digests, session.recipe.tokenizer, session.sources)


def _build_tokenizer(session: Session, item: str) -> Artifact:
    corpus, config = session.artifact("corpus"), session.recipe.tokenizer
    return tokenizer_stage.train_tokenizer(item, corpus, session.sources, config, session.store)


def _shards_identity(session: Session, item: str) -> Identity:
    digest = documents_digests(session.artifact("corpus"))[item]
    tokenizer = session.artifact("tokenizer")
    return tokenizer_stage.shards_identity(item, digest, tokenizer.fingerprint, session.recipe.tokenizer)


def _build_shards(session: Session, item: str) -> Artifact:
    source = next(source for source in session.sources if source.name == item)
    inputs = (session.artifact("corpus"), session.artifact("tokenizer"), session.recipe.tokenizer)
    return tokenizer_stage.encode_source(source, *inputs, session.store, session.cluster)


# mixture plan and run ----------------------------------------------------------------------------------------------


def _require_shards(session: Session) -> None:
    """NotKnownYet where a source of the mixture has no token shards."""
    for source in mixture_stage.used_sources(session.mixture, session.sources):
        session.artifact("shards", source.name)


def _plan_identity(session: Session, item: str) -> Identity:
    _require_shards(session)
    prints = {name: shards.fingerprint for name, shards in session.shards().items()}
    sources = [source for source in session.sources if source.name in prints]
    return mixture_stage.plan_identity(item, session.mixture, session.recipe.training.phases(), sources, prints)


def _build_plan(session: Session, item: str) -> Artifact:
    phases = session.recipe.training.phases()
    shards = list(session.shards().values())
    return mixture_stage.build_plan(item, session.mixture, phases, session.sources, shards, session.store)


def _run_identity(session: Session, item: str) -> Identity:
    _require_shards(session)
    recipe = session.recipe
    # What the plan will be is known before it is written.
    plan, tokenizer = session.output("plan"), session.artifact("tokenizer")
    return training_stage.identity(item, recipe.model, recipe.training, plan.fingerprint, tokenizer.fingerprint)


def training_inputs(session: Session) -> TrainingInputs:
    """What models of this recipe are trained from: its settings, plan, shards and tokenizer."""
    recipe = session.recipe
    made = (session.artifact("plan"), session.shards(), session.artifact("tokenizer"))
    return TrainingInputs(recipe.name, recipe.model, recipe.training, *made, session.store, session.cluster)


def _build_run(session: Session, item: str) -> Artifact:
    return training_stage.run(training_inputs(session), session.on_checkpoint)


# evaluation and report -----------------------------------------------------------------------------------------------


def _evaluation_items(session: Session) -> list[str]:
    return _once(session) if session.recipe.evaluation.suites else []


def _final_checkpoint(session: Session) -> CheckpointRef:
    run = session.artifact("run")
    path = training_stage.final_checkpoint(run)
    return CheckpointRef(path, run.name, run.label, step_of(path.name))


def _evaluation_identity(session: Session, item: str) -> Identity:
    config, world = session.recipe.evaluation, session.built("sample world")
    return evaluation_stage.identity(config, session.suites, _final_checkpoint(session), world, session.store)


def evaluate_checkpoint(session: Session, checkpoint: CheckpointRef) -> Artifact:
    """The scores of one checkpoint. What is not said of its hardware is as in training."""
    training, world = session.recipe.training, session.built("sample world")
    config = session.recipe.evaluation.computed_as(training.device, training.threads_per_worker)
    return evaluation_stage.run(config, session.suites, checkpoint, world, session.store)


def needs_sample_world(session: Session) -> bool:
    """Whether a task that the recipe evaluates reads what the sample world makes."""
    asked = session.recipe.evaluation.tasks
    tasks = [task for suite in session.suites for task in suite.tasks if asked is None or task.task in asked]
    return session.recipe.sample_world is not None and any(task.is_raw for task in tasks)


def _build_evaluation(session: Session, item: str) -> Artifact:
    return evaluate_checkpoint(session, _final_checkpoint(session))


def _report_parts(session: Session) -> dict[str, Artifact]:
    """What the page is about: the artifacts by their part."""
    parts = ["corpus", "tokenizer", "plan", "run", *(["evaluation"] if _evaluation_items(session) else [])]
    return {part: session.artifact(part) for part in parts}


def _report_identity(session: Session, item: str) -> Identity:
    return report_stage.identity(item, _report_parts(session))


def _build_report(session: Session, item: str) -> Artifact:
    return report_stage.run(item, _report_parts(session), session.store)


STAGES: Sequence[Stage] = (
    Stage("sample world", _sample_world_items, _sample_world_identity, _build_sample_world, Workload.sample_world),
    Stage("benchmarks", _benchmarks_items, _benchmarks_identity, _build_benchmarks, Workload.nothing),
    Stage("perplexity models", _models_items, _models_identity, _build_models, Workload.nothing),
    Stage("scan", _per_source, _scan_identity, _build_scan, Workload.scan),
    Stage("lines", _lines_items, _lines_identity, _build_lines, Workload.lines),
    Stage("near copies", _once, _pairs_identity, _build_pairs, Workload.near_copies),
    Stage("corpus", _once, _corpus_identity, _build_corpus, Workload.corpus),
    Stage("tokenizer", _once, _tokenizer_identity, _build_tokenizer, Workload.tokenizer),
    Stage("shards", _per_source, _shards_identity, _build_shards, Workload.shards),
    Stage("plan", _once, _plan_identity, _build_plan, Workload.nothing),
    Stage("run", _once, _run_identity, _build_run, Workload.training),
    Stage("evaluation", _evaluation_items, _evaluation_identity, _build_evaluation, Workload.nothing),
    Stage("report", _once, _report_identity, _build_report, Workload.nothing),
)

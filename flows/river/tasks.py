"""Stages as Prefect tasks: one task per stage or source, never one per document or shard.

Takes a session and the name of a stage; builds every stage up to it and leaves what the UI shows. Retried are transient
errors alone: a bug or bad input fails at once.
"""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun
from prefect.tasks import Task

from flows.river import ui_artifacts
from flows.river.checkpoints import find_checkpoints
from flows.river.session import Session
from flows.river.stages import STAGES, evaluate_checkpoint, needs_sample_world, scanned_sources, training_inputs
from flows.server.outage import keep_events
from xmodel_core.artifacts import Artifact
from xmodel_core.corpus import stage as corpus_stage
from xmodel_core.errors import TransientError, XmodelError
from xmodel_core.evaluation.stage import CheckpointRef, booked_under
from xmodel_core.ledger.build import refresh
from xmodel_core.ledger.query import run_query
from xmodel_core.tokenizer import stage as tokenizer_stage
from xmodel_core.tokenizer.sweep import SweepGrid

keep_events()


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
stage_task: Callable[..., Any] = partial(
    task,
    retries=2,
    retry_delay_seconds=[2, 20],
    retry_condition_fn=only_transient,
    cache_policy=NO_CACHE,
    persist_result=False,
)


def _show_corpus(session: Session) -> None:
    ui_artifacts.corpus(session.store.root, session.artifact("corpus").label, session.mixture_shares())


def _show_tokens(session: Session) -> None:
    ui_artifacts.tokens(session.store.root, session.artifact("tokenizer").label)


def _show_run(session: Session) -> None:
    ui_artifacts.run(session.store.root, session.artifact("run").label)


def _show_scores(session: Session) -> None:
    ui_artifacts.scores(session.store.root, session.artifact("run").label)


def _show_scores_of(session: Session, evaluations: Sequence[Artifact]) -> None:
    for label in dict.fromkeys(booked_under(evaluation) for evaluation in evaluations):
        ui_artifacts.scores(session.store.root, label)


def _show_report(session: Session) -> None:
    ui_artifacts.report(f"{session.artifact('report').folder}/index.html")


SHOWN: dict[str, Callable[[Session], None]] = {
    "corpus": _show_corpus,
    "shards": _show_tokens,
    "run": _show_run,
    "evaluation": _show_scores,
    "report": _show_report,
}
"""What the UI shows of a stage when all its items are built."""
IN_THE_LEDGER = {"plan", *SHOWN}
"""Stages that add rows to the ledger's tables; the others' rows come with the next of these."""


def build_stages(session: Session, through: str) -> None:
    """Builds the stages up to this one; what is built already is found. XmodelError: what the first that fails says."""
    assert through in {stage.name for stage in STAGES}, through
    for stage in STAGES:
        for item in stage.items(session):
            build = _build.with_options(name=stage.name, task_run_name=f"{stage.name} {item}")
            session.keep(stage.name, item, build(stage.build, session, item))
        if stage.name in IN_THE_LEDGER:
            refresh(session.store.root)
        if stage.name in SHOWN and stage.items(session):
            SHOWN[stage.name](session)
        if stage.name == through:
            ui_artifacts.send_the_rest()
            return


def evaluate_checkpoints(session: Session, wanted: str) -> list[Artifact]:
    """The evaluations of the checkpoints that `wanted` names; builds what their data needs and nothing else.
    XmodelError: there is no such checkpoint."""
    checkpoints = find_checkpoints(wanted, session.store, session.recipe.name)
    if needs_sample_world(session):
        world = next(stage for stage in STAGES if stage.name == "sample world")
        build = _build.with_options(name=world.name, task_run_name=f"{world.name} {session.recipe.name}")
        session.keep(world.name, session.recipe.name, build(world.build, session, session.recipe.name))
    evaluations = [
        _evaluate.with_options(task_run_name=f"evaluation {checkpoint.label}")(session, checkpoint)
        for checkpoint in checkpoints
    ]
    refresh(session.store.root)
    _show_scores_of(session, evaluations)
    return evaluations


@stage_task(name="evaluation")
def _evaluate(session: Session, checkpoint: CheckpointRef) -> Artifact:
    return evaluate_checkpoint(session, checkpoint)


@stage_task(name="stage")
def _build(build: Callable[[Session, str], Artifact], session: Session, item: str) -> Artifact:
    return build(session, item)


@stage_task(name="preview decisions")
def preview_decisions(session: Session) -> dict[str, list[dict[str, Any]]]:
    """What the recipe's thresholds would do: the ledger rows of its corpus, with no document written."""
    pairs = session.artifact("near copies")
    return corpus_stage.funnel(session.recipe.name, scanned_sources(session), pairs, session.recipe.corpus)


@stage_task(name="report tokenizer")
def report_tokenizer(session: Session, against: list[Path]) -> Artifact:
    """The recipe's tokenizer beside others on the corpus's documents."""
    inputs = (session.artifact("corpus"), session.sources, session.artifact("tokenizer"), against, session.store)
    report = tokenizer_stage.report_tokenizer(session.recipe.name, *inputs)
    refresh(session.store.root)
    return report


@stage_task(name="sweep tokenizers")
def sweep_tokenizers(session: Session, grid: SweepGrid) -> Artifact:
    """Tokenizers of several sizes and balances, and their trade-off."""
    inputs = (session.artifact("corpus"), session.sources, session.recipe.tokenizer, grid, session.store)
    swept = tokenizer_stage.sweep_tokenizers(session.recipe.name, *inputs)
    refresh(session.store.root)
    return swept


@stage_task(name="train proxies", task_run_name="{label}")
def train_proxies(session: Session, label: str, search: Callable[..., Artifact], settings: dict[str, Any]) -> Artifact:
    """The artifact of a study (`search`: its entry point in the search room); trained proxies are found again."""
    artifact = search(training_inputs(session), **settings)
    refresh(session.store.root)
    return artifact


@stage_task(name="close the books")
def close_the_books(session: Session) -> None:
    """XmodelError where something does not add up."""
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

"""The evaluation stage: a checkpoint and suites in, an artifact of scores out.

One shard per task, so a killed evaluation continues with the next one: `results/<suite>/<task>.json` and
`samples/<suite>/<task>.parquet`, the answer to every question. The manifest's facts hold the main score of
each task, the verdicts of the gates, the tasks that were skipped for lack of data, and the items that cannot be asked.
"""

import json
import logging
import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xmodel_core.artifacts import Artifact, Folder, Identity, Receipt, Store, fingerprint, write_shard
from xmodel_core.artifacts.lease import Lease, LeaseLost, lease, lease_holder
from xmodel_core.errors import TransientError, XmodelError
from xmodel_core.evaluation.config import EvaluationConfig
from xmodel_core.evaluation.selection import SelectedTask, select_tasks
from xmodel_core.specs.benchmarks import Suite

if TYPE_CHECKING:
    from xmodel_core.evaluation.tasks import OpenedTask
    from xmodel_core.model.generation.detokenize import Tokenizer
    from xmodel_core.model.network import Xmodel

VERSION = 2
CHECKPOINT_FILES = ("config.json", "model.safetensors", "tokenizer.model")
LOOK_AGAIN_SECONDS = 1.0
MOST_NAMED = 20
"""Items of one task that the manifest names, of those that were set aside; its results name all."""
BATCH_TOKENS = {"cpu": 2048, "cuda": 32768}
BOOTSTRAP_ROUNDS = 1000
"""For standard errors of metrics that are not means; means have theirs in closed form."""


def booked_under(evaluation: Artifact) -> str:
    """What the ledger's rows of an evaluation are found by: the label of the checkpoint's run; where it has none here,
    the `model`, its name with the first digits of its digest."""
    manifest = evaluation.manifest()
    return manifest["config"].get("run") or _model_name(evaluation.name, manifest["inputs"]["checkpoint"])


def _model_name(name: str, digest: str) -> str:
    """The `model` of a checkpoint of no run here: two folders elsewhere may have one name."""
    return f"{name}-{digest[:8]}"


@dataclass(frozen=True)
class CheckpointRef:
    """One checkpoint, and what it is booked under."""

    path: Path
    """The checkpoint's folder: the weights and their own tokenizer."""
    name: str
    """The recipe of its run; of a checkpoint that is no run's here, the name of its folder."""
    run: str | None
    """The label of its run in this workspace; None: it is no run's here."""
    step: int | None
    """The training step that it was saved after; None where that is not known."""

    @property
    def label(self) -> str:
        """How a person would name it."""
        return (self.run or self.name) + (f"@{self.step}" if self.step is not None else "")


def checkpoint_digest(checkpoint: Path, store: Store) -> str:
    """The digest of a checkpoint in the ledger's `evals`: of its weights, shape and tokenizer. It stays the same where
    the checkpoint is copied, or its optimizer left behind. XmodelError: the folder lacks one of the files."""
    digests = {}
    for file in CHECKPOINT_FILES:
        if not (checkpoint / file).is_file():
            raise XmodelError(
                "this is not a checkpoint that can be evaluated",
                expected=f"a folder with {', '.join(CHECKPOINT_FILES)}",
                found=f"no {file}" if checkpoint.is_dir() else "no such folder",
                where=checkpoint,
                remedy="give a folder such as runs/NAME/checkpoints/step-00000300",
            )
        digests[file] = store.digest(checkpoint / file)
    return fingerprint(digests)


def identity(
    config: EvaluationConfig,
    suites: Sequence[Suite],
    checkpoint: CheckpointRef,
    raw: Artifact | None,
    store: Store,
) -> Identity:
    """The identity of an evaluation: the suites, the contents of their data and of the checkpoint, the harness's
    version; never where data or checkpoint are, nor what the model runs on.

    XmodelError: `evaluation.tasks` names a task that no suite has or that has no data; no task has data; the
    checkpoint's folder lacks one of its files.
    """
    selected, _ = select_tasks(config, suites, raw)
    selected_names = {(task.suite, task.task.task) for task in selected}
    recorded_suites = [
        {
            **suite.model_dump(mode="json", exclude={"description", "tasks"}),
            "tasks": [
                task.model_dump(mode="json") for task in suite.tasks if (suite.name, task.task) in selected_names
            ],
        }
        for suite in suites
    ]
    inputs = {"checkpoint": checkpoint_digest(checkpoint.path, store), "lm_eval": version("lm_eval")}
    for task in selected:
        for split, path in task.files.items():
            inputs[f"{task.task.data}/{split}"] = store.digest(path)
    # Not the fingerprint of the run among the inputs: a run that is still training has none yet.
    booked = {"run": checkpoint.run, "step": checkpoint.step}
    config_values = {"sample_limit": config.sample_limit, **booked, "suites": recorded_suites}
    return Identity("evaluations", checkpoint.name, VERSION, config_values, inputs)


@contextmanager
def _quiet_harness(threads: int) -> Iterator[None]:
    """Runs the body without the harness's and its dataset library's network access, progress bars and log messages
    below errors, the forward pass on the recipe's number of threads."""
    os.environ.update({"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"})  # read when they are first imported
    import datasets
    import torch

    logger = logging.getLogger("lm_eval")
    level, threads_before = logger.level, torch.get_num_threads()
    logger.setLevel(logging.ERROR)
    datasets.disable_progress_bars()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(threads_before)
        logger.setLevel(level)


def _evaluate_task(
    selected: SelectedTask,
    opened: "OpenedTask",
    config: EvaluationConfig,
    model: "Xmodel",
    tokenizer: "Tokenizer",
    shared_columns: dict[str, Any],
    folder: Folder,
) -> None:
    """Evaluates one task and writes its shard; `shared_columns` are the same in every row of the ledger."""
    from lm_eval.evaluator import evaluate

    from xmodel_core.evaluation.adapter import CheckpointLM
    from xmodel_core.evaluation.scores import pooled, sample_rows, scores_of, write_samples

    task, harness_tasks = selected.task, opened.parts
    assert config.batch_tokens is not None
    with write_shard(folder, selected.shard) as shard:
        started = time.monotonic()
        adapter = CheckpointLM(model, tokenizer, config.batch_tokens, f"evaluate {task.task}")
        results: Any = evaluate(
            adapter,
            {"tasks": {one.name: one.task for one in harness_tasks}},
            limit=config.sample_limit,
            bootstrap_iters=BOOTSTRAP_ROUNDS,
        )
        assert results is not None, "the harness returns results on the only rank"
        parts = {one.name: scores_of(results["results"][one.name]) for one in harness_tasks}
        scores = pooled(list(parts.values()))
        report = {
            "suite": selected.suite,
            "task": task.model_dump(mode="json"),
            "sample_limit": config.sample_limit,
            "truncated_requests": adapter.truncated_requests,
            "set_aside": opened.set_aside,
            "scores": [asdict(score) for score in scores],
            "subjects": {
                one.subject: [asdict(score) for score in parts[one.name]] for one in harness_tasks if one.subject
            },
        }
        text = json.dumps(report, ensure_ascii=False, indent=1, sort_keys=True)
        shard.file(f"results/{selected.suite}/{task.task}.json").write_text(text + "\n", encoding="utf-8")
        rows = [row for one in harness_tasks for row in sample_rows(one.subject, results["samples"][one.name])]
        write_samples(rows, shard.file(f"samples/{selected.suite}/{task.task}.parquet"))
        shard.facts.update(truncated_requests=adapter.truncated_requests, set_aside=opened.set_aside)
        seconds = round(time.monotonic() - started, 3)
        shard.rows(
            "evals",
            [
                {
                    **shared_columns,
                    "suite": selected.suite,
                    "task": task.task,
                    "shots": task.shots,
                    "sample_limit": config.sample_limit,
                    "seconds": seconds,
                    "set_aside": len(opened.set_aside),
                    **asdict(score),
                }
                for score in scores
            ],
        )


def _main_scores_and_verdicts(
    selected: list[SelectedTask], receipts: list[Receipt], suites: Sequence[Suite]
) -> dict[str, Any]:
    """The main score of each task with the numbers of its items that were set aside and of its prompts that were cut,
    the verdicts of the gates, and the first of the items that were set aside."""
    from xmodel_core.evaluation.scores import verdict

    main_scores, verdicts, set_aside = [], [], []
    values: dict[str, dict[tuple[str, str], float]] = {}
    for task, receipt in zip(selected, receipts, strict=True):
        rows = receipt.rows["evals"]
        row = next(row for row in rows if row["metric"] == task.task.metric)
        kept = ("suite", "task", "metric", "filter", "shots", "sample_limit", "value", "stderr", "n")
        counts = {"truncated_requests": receipt.facts["truncated_requests"], "set_aside": row["set_aside"]}
        main_scores.append({**{key: row[key] for key in kept}, "lang": task.task.lang, **counts})
        named = receipt.facts["set_aside"][:MOST_NAMED]
        set_aside += [{"suite": task.suite, "task": task.task.task, **bad} for bad in named]
        for row in reversed(rows):  # of several filters the first counts, which is the strictest
            values.setdefault(task.suite, {})[row["task"], row["metric"]] = row["value"]
    for suite in suites:
        judged = [verdict(gate, suite.name, values.get(suite.name, {})) for gate in suite.gates]
        verdicts += [one for one in judged if one is not None]
    return {"scores": main_scores, "gates": verdicts, "set_aside": set_aside}


@contextmanager
def _alone(folder: Folder) -> Iterator[Lease]:
    """Holds the lease on an evaluation's folder. Waits, and says so, while another process evaluates there."""
    waits, refused_by_nobody = False, 0
    while True:
        with ExitStack() as stack:
            try:
                held = stack.enter_context(lease(folder))
            except XmodelError as error:
                holder = lease_holder(folder)
                refused_by_nobody = 0 if holder else refused_by_nobody + 1
                # It may just have been given back; but a store that is down or full refuses it for good.
                if isinstance(error, TransientError) or refused_by_nobody > 5:
                    raise
                if holder and not waits:
                    waits = True
                    print(f"{folder}: {holder} is at this evaluation; waiting for it", file=sys.stderr, flush=True)
            else:
                yield held
                return
        time.sleep(LOOK_AGAIN_SECONDS)


def run(
    config: EvaluationConfig,
    suites: Sequence[Suite],
    checkpoint: CheckpointRef,
    raw: Artifact | None,
    store: Store,
) -> Artifact:
    """Evaluates a checkpoint on the tasks of the suites; tasks that are finished already are not repeated. An
    evaluation that another process is at is waited for; one that another took over, while this process was paused, too.

    `raw` holds the data of tasks that the recipe makes itself. XmodelError: what `identity` raises, and data of which
    no item can be asked.
    """
    evaluation = identity(config, suites, checkpoint, raw, store)
    while True:
        if done := store.find(evaluation):
            return done
        try:
            return _evaluate(evaluation, config, suites, checkpoint, raw, store)
        except LeaseLost:
            print(f"{evaluation.label} was taken over by another process", file=sys.stderr, flush=True)


def _evaluate(
    evaluation: Identity,
    config: EvaluationConfig,
    suites: Sequence[Suite],
    checkpoint: CheckpointRef,
    raw: Artifact | None,
    store: Store,
) -> Artifact:
    build = store.build(evaluation)
    with _alone(build.folder) as held:
        if done := store.find(evaluation):  # by the one that was waited for
            return done
        selected, skipped = select_tasks(config, suites, raw)
        if unfinished := [task for task in selected if build.finished(task.shard) is None]:
            columns = {
                "model": checkpoint.name
                if checkpoint.run
                else _model_name(checkpoint.name, evaluation.inputs["checkpoint"]),
                "run": checkpoint.run,
                "step": checkpoint.step,
                "checkpoint_sha256": evaluation.inputs["checkpoint"],
            }
            _ask(unfinished, config, checkpoint.path, columns, held)
        receipts = [receipt for task in selected if (receipt := build.finished(task.shard)) is not None]
        assert len(receipts) == len(selected), "every task has just been evaluated"
        from xmodel_core.evaluation.scores import published_rows

        facts = {**_main_scores_and_verdicts(selected, receipts, suites), "skipped": skipped}
        held.check()
        return build.commit({"published": published_rows(suites)}, facts)


def _ask(
    tasks: Sequence[SelectedTask],
    config: EvaluationConfig,
    checkpoint: Path,
    shared_columns: dict[str, Any],
    held: Lease,
) -> None:
    """Evaluates tasks one after the other, each into a shard of the folder that is held."""
    from xmodel_core.model.device import choose_device

    device = choose_device(config.device, "evaluation.device").type
    config = config.model_copy(update={"batch_tokens": config.batch_tokens or BATCH_TOKENS[device]})
    with _quiet_harness(config.threads or 1):
        from xmodel_core.evaluation.tasks import open_task
        from xmodel_core.model.weights import load_checkpoint
        from xmodel_core.tokenizer.tokenizer import Tokenizer

        # All of them before the first question: what is wrong with the last task's data is told at once.
        opened = [open_task(task.task, task.files, task.suite) for task in tasks]
        model, tokenizer_file = load_checkpoint(checkpoint, device)
        tokenizer = Tokenizer.load(tokenizer_file)
        for task, ready in zip(tasks, opened, strict=True):
            held.check()
            _evaluate_task(task, ready, config, model, tokenizer, shared_columns, held.folder)

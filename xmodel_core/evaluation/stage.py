"""The evaluation stage: a checkpoint and suites in, an artifact of scores out.

One shard per task, so a killed evaluation continues with the next one: `results/<suite>/<task>.json` and
`samples/<suite>/<task>.parquet`, the answer to every question. The manifest's facts hold the main score of
each task, the verdicts of the gates, and the tasks that were skipped for lack of data.
"""

import json
import logging
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xmodel_core.artifacts import Artifact, Folder, Identity, Receipt, Store, fingerprint, write_shard
from xmodel_core.errors import XmodelError
from xmodel_core.evaluation.config import EvaluationConfig
from xmodel_core.specs.benchmarks import Suite, Task

if TYPE_CHECKING:
    from xmodel_core.model.generation.detokenize import Tokenizer
    from xmodel_core.model.network import Xmodel

VERSION = 1
CHECKPOINT_FILES = ("config.json", "model.safetensors", "tokenizer.model")
BOOTSTRAP_ROUNDS = 1000
"""For standard errors of metrics that are not means; means have theirs in closed form."""


@dataclass(frozen=True)
class CheckpointRef:
    """One checkpoint of a run."""

    run: Artifact
    path: Path
    """The checkpoint's folder: the weights and their own tokenizer."""
    step: int
    """The training step that it was saved after."""


@dataclass(frozen=True)
class _SelectedTask:
    """A task to evaluate, and its data files by split."""

    suite: str
    task: Task
    files: dict[str, Path]

    @property
    def shard(self) -> str:
        return f"{self.suite}~{self.task.task}"


def _missing(suite: Suite, task: Task, folder: Path | None, absent: list[str]) -> XmodelError:
    files = ", ".join(f"{split}.jsonl" for split in absent)
    if folder is None:
        place = "the recipe's sample world" if task.is_raw else "evaluation.data"
        return XmodelError(
            f"the task {task.task} of suite {suite.name} has no data",
            expected=f"{place}, with {task.data} and in it {files}",
            found=f"the recipe has no {'sample_world' if task.is_raw else 'evaluation.data'}",
            remedy="choose other tasks in evaluation.tasks"
            if task.is_raw
            else "--set evaluation.data=DIR, with DIR/<benchmark>/<split>.jsonl",
        )
    return XmodelError(
        f"the task {task.task} of suite {suite.name} has no data",
        expected=files,
        found="no such folder" if not folder.is_dir() else f"a folder without {files}",
        where=folder,
        remedy="put the benchmark there, or leave the task out of evaluation.tasks",
    )


def _select_tasks(
    config: EvaluationConfig, suites: Sequence[Suite], raw: Artifact | None
) -> tuple[list[_SelectedTask], list[dict[str, str]]]:
    """The tasks to evaluate, and those skipped for lack of data. XmodelError: a task that the config names does not
    exist or has no data; no task has data."""
    known = [task.task for suite in suites for task in suite.tasks]
    if unknown := sorted(set(config.tasks or []) - set(known)):
        raise XmodelError(
            f"there is no task {unknown[0]} in the suites {', '.join(suite.name for suite in suites)}",
            expected=f"some of {', '.join(known)}",
            where="evaluation.tasks",
        )
    own_data = Path(config.data) if config.data else None
    # raw:// is what the recipe makes itself; here its benchmarks.
    raw_data = raw.folder.tree("benchmarks").parent if raw else None
    selected, absences = [], []
    for suite in suites:
        for task in suite.tasks:
            if config.tasks is not None and task.task not in config.tasks:
                continue
            folder = task.folder(own_data, raw_data)
            files = {} if folder is None else {split: folder / f"{split}.jsonl" for split in task.splits}
            absent = [split for split in task.splits if split not in files or not files[split].is_file()]
            if not absent:
                selected.append(_SelectedTask(suite.name, task, files))
            elif config.tasks is not None:
                raise _missing(suite, task, folder, absent)
            else:
                absences.append((_missing(suite, task, folder, absent), suite.name, task.task))
    if absences and not selected:
        raise absences[0][0]
    return selected, [{"suite": suite, "task": task, "why": str(error)} for error, suite, task in absences]


def identity(
    name: str,
    config: EvaluationConfig,
    suites: Sequence[Suite],
    checkpoint: CheckpointRef,
    raw: Artifact | None,
    store: Store,
) -> Identity:
    """The identity of an evaluation: the suites, the contents of their data and of the checkpoint, the harness's
    version; never where data or checkpoint are.

    XmodelError: `evaluation.tasks` names a task that no suite has or that has no data; no task has data; the
    checkpoint's folder lacks one of its files.
    """
    selected, _ = _select_tasks(config, suites, raw)
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
    digests = {}
    for file in CHECKPOINT_FILES:
        if not (checkpoint.path / file).is_file():
            raise XmodelError(
                "this is not a checkpoint",
                expected=f"a folder with {', '.join(CHECKPOINT_FILES)}",
                found=f"no {file}",
                where=checkpoint.path,
                remedy="give a folder such as runs/NAME/checkpoints/step-00000300",
            )
        digests[file] = store.digest(checkpoint.path / file)
    inputs = {
        "run": checkpoint.run.fingerprint,
        "checkpoint": fingerprint(digests),
        "lm_eval": version("lm_eval"),
    }
    for task in selected:
        for split, path in task.files.items():
            inputs[f"{task.task.data}/{split}"] = store.digest(path)
    recorded_config = config.model_dump(mode="json", exclude={"suites", "tasks", "data"})
    return Identity(
        "evaluations",
        name,
        VERSION,
        {**recorded_config, "step": checkpoint.step, "suites": recorded_suites},
        inputs,
    )


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
    selected: _SelectedTask,
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
    from xmodel_core.evaluation.tasks import open_task

    task = selected.task
    with write_shard(folder, selected.shard) as shard:
        started = time.monotonic()
        harness_tasks = open_task(task, selected.files)
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
            "scores": [asdict(score) for score in scores],
            "subjects": {
                one.subject: [asdict(score) for score in parts[one.name]] for one in harness_tasks if one.subject
            },
        }
        text = json.dumps(report, ensure_ascii=False, indent=1, sort_keys=True)
        shard.file(f"results/{selected.suite}/{task.task}.json").write_text(text + "\n", encoding="utf-8")
        rows = [row for one in harness_tasks for row in sample_rows(one.subject, results["samples"][one.name])]
        write_samples(rows, shard.file(f"samples/{selected.suite}/{task.task}.parquet"))
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
                    **asdict(score),
                }
                for score in scores
            ],
        )


def _main_scores_and_verdicts(
    selected: list[_SelectedTask], receipts: list[Receipt], suites: Sequence[Suite]
) -> dict[str, Any]:
    """The main score of each task, and the verdicts of the gates."""
    from xmodel_core.evaluation.scores import verdict

    main_scores, verdicts = [], []
    values: dict[str, dict[tuple[str, str], float]] = {}
    for task, receipt in zip(selected, receipts, strict=True):
        rows = receipt.rows["evals"]
        row = next(row for row in rows if row["metric"] == task.task.metric)
        kept = ("suite", "task", "metric", "filter", "shots", "sample_limit", "value", "stderr", "n")
        main_scores.append({**{key: row[key] for key in kept}, "lang": task.task.lang})
        for row in reversed(rows):  # of several filters the first counts, which is the strictest
            values.setdefault(task.suite, {})[row["task"], row["metric"]] = row["value"]
    for suite in suites:
        judged = [verdict(gate, suite.name, values.get(suite.name, {})) for gate in suite.gates]
        verdicts += [one for one in judged if one is not None]
    return {"scores": main_scores, "gates": verdicts}


def run(
    name: str,
    config: EvaluationConfig,
    suites: Sequence[Suite],
    checkpoint: CheckpointRef,
    raw: Artifact | None,
    store: Store,
) -> Artifact:
    """Evaluates a checkpoint on the tasks of the suites; tasks that are finished already are not repeated.

    `raw` holds the data of tasks that the recipe makes itself. XmodelError: what `identity` raises, and data that
    does not fit its prompt.
    """
    evaluation = identity(name, config, suites, checkpoint, raw, store)
    if done := store.find(evaluation):
        return done
    from xmodel_core.evaluation.scores import published_rows

    selected, skipped = _select_tasks(config, suites, raw)
    build = store.build(evaluation)
    if unfinished := [task for task in selected if build.finished(task.shard) is None]:
        with _quiet_harness(config.threads):
            from xmodel_core.model.weights import load_checkpoint
            from xmodel_core.tokenizer.tokenizer import Tokenizer

            model, tokenizer_file = load_checkpoint(checkpoint.path, config.device)
            tokenizer = Tokenizer.load(tokenizer_file)
            shared_columns = {
                "model": checkpoint.run.name,
                "run": checkpoint.run.label,
                "step": checkpoint.step,
            }
            for task in unfinished:
                _evaluate_task(task, config, model, tokenizer, shared_columns, build.folder)
    receipts = [receipt for task in selected if (receipt := build.finished(task.shard)) is not None]
    assert len(receipts) == len(selected), "every task has just been evaluated"
    facts = {**_main_scores_and_verdicts(selected, receipts, suites), "skipped": skipped}
    return build.commit({"published": published_rows(suites)}, facts)

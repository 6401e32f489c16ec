"""The door of evaluation: a checkpoint and suites in, an artifact of scores out.

One shard a task, so a killed evaluation goes on with the next one: `results/<suite>/<task>.json` and
`samples/<suite>/<task>.parquet`, every question's answer. The manifest's facts hold each task's chief
score, the gates' verdicts, and the tasks that were left out because their data is not there.
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
    from xmodel_core.model.generate import Tokenizer
    from xmodel_core.model.network import Xmodel

VERSION = 1
CHECKPOINT_FILES = ("config.json", "model.safetensors", "tokenizer.model")
BOOTSTRAP_ROUNDS = 1000
"""For standard errors of metrics that are not means; means have theirs in closed form."""


@dataclass(frozen=True)
class _Question:
    """A task that will be asked, and its files by split."""

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
            remedy="ask other tasks"
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


def _choose(
    config: EvaluationConfig, suites: Sequence[Suite], data: Path | None, raw: Path | None
) -> tuple[list[_Question], list[dict[str, str]]]:
    """The tasks to ask, and those left out for want of data. XmodelError: a task that is asked for by name does
    not exist or has no data; none has any."""
    known = [task.task for suite in suites for task in suite.tasks]
    if strange := sorted(set(config.tasks or []) - set(known)):
        raise XmodelError(
            f"there is no task {strange[0]} in the suites {', '.join(suite.name for suite in suites)}",
            expected=f"some of {', '.join(known)}",
            where="evaluation.tasks",
        )
    chosen, absences = [], []
    for suite in suites:
        for task in suite.tasks:
            if config.tasks is not None and task.task not in config.tasks:
                continue
            folder = task.folder(data, raw)
            files = {} if folder is None else {split: folder / f"{split}.jsonl" for split in task.splits}
            absent = [split for split in task.splits if split not in files or not files[split].is_file()]
            if not absent:
                chosen.append(_Question(suite.name, task, files))
            elif config.tasks is not None:
                raise _missing(suite, task, folder, absent)
            else:
                absences.append((_missing(suite, task, folder, absent), suite.name, task.task))
    if absences and not chosen:
        raise absences[0][0]
    return chosen, [{"suite": suite, "task": task, "why": str(error)} for error, suite, task in absences]


def identity(
    name: str,
    config: EvaluationConfig,
    suites: Sequence[Suite],
    run: Artifact,
    checkpoint: Path,
    step: int,
    raw: Artifact | None,
    store: Store,
) -> Identity:
    """What an evaluation is made of: the questions' contents, the suites, the checkpoint's contents, the harness's
    version; never the places of data or checkpoint."""
    chosen, _ = _choose(config, suites, _data(config), _raw_data(raw))
    asked = {(question.suite, question.task.task) for question in chosen}
    said = [
        {
            **suite.model_dump(mode="json", exclude={"description", "tasks"}),
            "tasks": [task.model_dump(mode="json") for task in suite.tasks if (suite.name, task.task) in asked],
        }
        for suite in suites
    ]
    digests = {}
    for file in CHECKPOINT_FILES:
        if not (checkpoint / file).is_file():
            raise XmodelError(
                "this is no checkpoint",
                expected=f"a folder with {', '.join(CHECKPOINT_FILES)}",
                found=f"no {file}",
                where=checkpoint,
                remedy="give a folder such as runs/NAME/checkpoints/step-00000300",
            )
        digests[file] = store.digest(checkpoint / file)
    inputs = {"run": run.fingerprint, "checkpoint": fingerprint(digests), "lm_eval": version("lm_eval")}
    for question in chosen:
        for split, path in question.files.items():
            inputs[f"{question.task.data}/{split}"] = store.digest(path)
    computed = config.model_dump(mode="json", exclude={"suites", "tasks", "data"})
    return Identity("evaluations", name, VERSION, {**computed, "step": step, "suites": said}, inputs)


def _raw_data(raw: Artifact | None) -> Path | None:
    """The folder that raw:// stands for: of what the recipe makes itself, its benchmarks."""
    return raw.folder.tree("benchmarks").parent if raw else None


def _data(config: EvaluationConfig) -> Path | None:
    return Path(config.data) if config.data else None


@contextmanager
def _quiet_harness(threads: int) -> Iterator[None]:
    """The harness and its dataset library keep to themselves: no network, no bars of their own, only errors;
    the forward pass on as many threads as the recipe states."""
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


def _ask(
    question: _Question,
    config: EvaluationConfig,
    model: "Xmodel",
    tokenizer: "Tokenizer",
    subject_of: dict[str, Any],
    folder: Folder,
) -> None:
    """Asks one task and leaves its shard; `subject_of` holds the columns that every row of the ledger shares."""
    from lm_eval.evaluator import evaluate

    from xmodel_core.evaluation.adapter import CheckpointLM
    from xmodel_core.evaluation.scores import pooled, sample_rows, scores_of, write_samples
    from xmodel_core.evaluation.tasks import open_task

    task = question.task
    with write_shard(folder, question.shard) as shard:
        started = time.monotonic()
        asked = open_task(task, question.files)
        adapter = CheckpointLM(model, tokenizer, config.batch_tokens, f"ask {task.task}")
        returned: Any = evaluate(
            adapter,
            {"tasks": {one.name: one.task for one in asked}},
            limit=config.sample_limit,
            bootstrap_iters=BOOTSTRAP_ROUNDS,
        )
        assert returned is not None, "the harness returns results on the only rank"
        parts = {one.name: scores_of(returned["results"][one.name]) for one in asked}
        scores = pooled(list(parts.values()))
        report = {
            "suite": question.suite,
            "task": task.model_dump(mode="json"),
            "sample_limit": config.sample_limit,
            "truncated_requests": adapter.truncated_requests,
            "scores": [asdict(score) for score in scores],
            "subjects": {one.subject: [asdict(score) for score in parts[one.name]] for one in asked if one.subject},
        }
        text = json.dumps(report, ensure_ascii=False, indent=1, sort_keys=True)
        shard.file(f"results/{question.suite}/{task.task}.json").write_text(text + "\n", encoding="utf-8")
        rows = [row for one in asked for row in sample_rows(one.subject, returned["samples"][one.name])]
        write_samples(rows, shard.file(f"samples/{question.suite}/{task.task}.parquet"))
        seconds = round(time.monotonic() - started, 3)
        shard.rows(
            "evals",
            [
                {
                    **subject_of,
                    "suite": question.suite,
                    "task": task.task,
                    "shots": task.shots,
                    "sample_limit": config.sample_limit,
                    "seconds": seconds,
                    **asdict(score),
                }
                for score in scores
            ],
        )


def _facts(questions: list[_Question], receipts: list[Receipt], suites: Sequence[Suite]) -> dict[str, Any]:
    """Each task's chief score, and the gates' verdicts."""
    from xmodel_core.evaluation.scores import verdict

    chief, verdicts = [], []
    values: dict[str, dict[tuple[str, str], float]] = {}
    for question, receipt in zip(questions, receipts, strict=True):
        rows = receipt.rows["evals"]
        row = next(row for row in rows if row["metric"] == question.task.metric)
        kept = ("suite", "task", "metric", "filter", "shots", "sample_limit", "value", "stderr", "n")
        chief.append({**{key: row[key] for key in kept}, "lang": question.task.lang})
        for row in reversed(rows):  # of several filters the first, which is the strictest, speaks
            values.setdefault(question.suite, {})[row["task"], row["metric"]] = row["value"]
    for suite in suites:
        judged = [verdict(gate, suite.name, values.get(suite.name, {})) for gate in suite.gates]
        verdicts += [one for one in judged if one is not None]
    return {"scores": chief, "gates": verdicts}


def run(
    name: str,
    config: EvaluationConfig,
    suites: Sequence[Suite],
    run: Artifact,
    checkpoint: Path,
    step: int,
    raw: Artifact | None,
    store: Store,
) -> Artifact:
    """Asks a checkpoint of a run the tasks of the suites; tasks already asked are not asked again.

    `checkpoint` is a folder with the weights and their own tokenizer; `raw` holds the data of tasks that the
    recipe makes itself. XmodelError: no data, no checkpoint, questions that do not fit their prompt.
    """
    made_of = identity(name, config, suites, run, checkpoint, step, raw, store)
    if done := store.find(made_of):
        return done
    from xmodel_core.evaluation.scores import published_rows

    chosen, skipped = _choose(config, suites, _data(config), _raw_data(raw))
    build = store.build(made_of)
    if todo := [question for question in chosen if build.finished(question.shard) is None]:
        with _quiet_harness(config.threads):
            from xmodel_core.model.generate import load_checkpoint
            from xmodel_core.tokenizer.tokenizer import Tokenizer

            model, tokenizer_file = load_checkpoint(checkpoint, config.device)
            tokenizer = Tokenizer.load(tokenizer_file)
            for question in todo:
                _ask(
                    question,
                    config,
                    model,
                    tokenizer,
                    {"model": run.name, "run": run.label, "step": step},
                    build.folder,
                )
    receipts = [build.finished(question.shard) for question in chosen]
    whole = [receipt for receipt in receipts if receipt is not None]
    assert len(whole) == len(chosen), "every task has just been asked"
    facts = {**_facts(chosen, whole, suites), "skipped": skipped}
    return build.commit({"published": published_rows(suites)}, facts)

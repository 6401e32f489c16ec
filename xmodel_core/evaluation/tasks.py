"""Tasks of a suite as lm-evaluation-harness's own objects, over local files.

Takes a `Task` and the files of its data; gives the harness's tasks: one, or one per subject. Prompts, metrics, filters
and few-shot sampling of stock tasks stay the harness's; only the data is ours, read into memory, so that no cache of an
earlier file is ever used for a later one.
"""

from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import datasets
import jinja2
import lm_eval.api.task
import lm_eval.tasks
import lm_eval.utils
import pyarrow as pa
from lm_eval.api.task import ConfigurableTask
from lm_eval.tasks._yaml_loader import load_yaml
from tqdm import tqdm

from xmodel_core.errors import XmodelError
from xmodel_core.specs.benchmarks import Task, bad_item, read_items

STOCK = Path(lm_eval.tasks.__file__).parent
FEWSHOT_SEED = 1234
"""The harness's own default: which examples are chosen where a task samples them."""

# The harness shows a progress bar of its own per subject while it builds prompts.
lm_eval.api.task.tqdm = partial(tqdm, disable=True)
# It recompiles a prompt's template for each question and example: two thirds of CMMLU's time.
lm_eval.utils.env.from_string = lru_cache(maxsize=1024)(lm_eval.utils.env.from_string)  # pyright: ignore[reportAttributeAccessIssue]

Rows = list[dict[str, Any]]


class _LocalTask(ConfigurableTask):
    """A task of the harness whose splits are passed in instead of downloaded."""

    def __init__(self, config: dict[str, Any], splits: dict[str, Rows]) -> None:
        self._splits = splits
        super().__init__(config=config)
        self.set_fewshot_seed(FEWSHOT_SEED)

    def download(self, dataset_kwargs: dict[str, Any] | None = None, **kwargs: Any) -> None:
        """Makes the dataset from the rows in memory."""
        self.dataset = datasets.DatasetDict(
            {split: datasets.Dataset.from_list(rows) for split, rows in self._splits.items()}
        )


@dataclass(frozen=True)
class HarnessTask:
    """One task of the harness; `subject` where the suite's task has several."""

    name: str
    subject: str | None
    task: ConfigurableTask


def read_rows(path: Path) -> Rows:
    """The questions in a jsonl file. XmodelError names the first line that is not one: a score without it would pass
    for the benchmark's."""
    (_, first), *others = items = read_items(path)
    for number, row in others:
        if row.keys() != first.keys():
            raise bad_item(path, number, f"the fields {', '.join(row)}, not {', '.join(first)} as on the first line")
    return [row for _, row in items]


def _stock_config(task: Task, name: str) -> dict[str, Any]:
    path = STOCK / f"{name}.yaml"
    if not path.is_file():
        raise XmodelError(
            f"lm-evaluation-harness has no task file for {task.task}",
            expected=f"a file under {STOCK.name}/ of the installed harness",
            found=f"no {name}.yaml",
            remedy="check `stock` in the suite, and the subjects in the data",
        )
    return load_yaml(path)


def _own_config(task: Task) -> dict[str, Any]:
    return {
        "output_type": "multiple_choice",
        "doc_to_text": task.context,
        "doc_to_choice": task.choices,
        "doc_to_target": task.label,
        "target_delimiter": task.delimiter,
        "metric_list": [
            {"metric": name, "aggregation": "mean", "higher_is_better": True} for name in ("acc", "acc_norm")
        ],
    }


def _with_local_data(config: dict[str, Any], task: Task, name: str) -> dict[str, Any]:
    """A task's config with local data and the suite's splits and shots in place of the stock ones."""
    return {
        **config,
        "task": name,
        "dataset_path": task.data,
        "dataset_name": None,
        "dataset_kwargs": None,
        "training_split": None,
        "validation_split": None,
        "test_split": task.split,
        "fewshot_split": task.shots_split,
        "num_fewshot": task.shots,
    }


def open_task(task: Task, files: dict[str, Path]) -> list[HarnessTask]:
    """The harness's tasks for one task of a suite; `files` holds a file for each of its splits.

    XmodelError: a line that is not a question, a field that is missing, a subject without a stock task.
    """
    splits = {split: read_rows(files[split]) for split in task.splits}
    if task.subject_field is None:
        config = _own_config(task) if task.stock is None else _stock_config(task, task.stock)
        return [_harness_task(task, None, config, splits, files)]
    assert task.stock is not None
    harness_tasks = []
    for subject in sorted({_subject(row, task, files[task.split]) for row in splits[task.split]}):
        of_subject = {
            split: [row for row in rows if _subject(row, task, files[split]) == subject]
            for split, rows in splits.items()
        }
        for split, rows in of_subject.items():
            if not rows:
                raise XmodelError(f"{task.task} has no {split} rows on {subject}", where=files[split])
        harness_tasks.append(
            _harness_task(task, subject, _stock_config(task, task.stock.format(subject=subject)), of_subject, files)
        )
    return harness_tasks


def _subject(row: dict[str, Any], task: Task, where: Path) -> str:
    subject = row.get(str(task.subject_field))
    # The name becomes a path under the harness's tasks: letters, digits and underscores only.
    if not isinstance(subject, str) or not subject.replace("_", "").replace("-", "").isalnum():
        raise XmodelError(
            f"a question of {task.task} has no subject",
            expected=f"a name in `{task.subject_field}`",
            found=subject,
            where=where,
        )
    return subject


def _harness_task(
    task: Task, subject: str | None, config: dict[str, Any], splits: dict[str, Rows], files: dict[str, Path]
) -> HarnessTask:
    name = task.task if subject is None else f"{task.task}_{subject}"
    metrics = [metric["metric"] for metric in config.get("metric_list", [])]
    if task.metric not in metrics:
        raise XmodelError(
            f"the task {task.task} does not give the metric {task.metric}",
            expected=f"one of {', '.join(metrics)}",
            where=f"`metric` of {task.task} in its suite",
        )
    try:
        return HarnessTask(name, subject, _LocalTask(_with_local_data(config, task, name), splits))
    except (KeyError, IndexError, TypeError, ValueError, jinja2.TemplateError, pa.ArrowException) as error:
        # The harness formats the first question while it opens a task; its errors name little of what is missing.
        raise XmodelError(
            f"the data of {task.task} does not fit its prompt",
            expected="the fields of the stock task's dataset" if task.stock else "the fields that the templates name",
            found=f"{type(error).__name__}: {error}; the fields here are {', '.join(splits[task.split][0])}",
            where=files[task.split],
            remedy="check `stock` or the templates in the suite, and the file",
        ) from error

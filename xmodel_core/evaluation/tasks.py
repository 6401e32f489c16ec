"""Tasks of a suite as lm-evaluation-harness's own objects, over local files.

Takes a `Task` and the files of its data; gives the harness's tasks: one, or one per subject, and the items that cannot
be asked. Prompts, metrics, filters and few-shot sampling of stock tasks stay the harness's; only the data is ours, read
into memory, so that no cache of an earlier file is ever used for a later one.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import datasets
import lm_eval.api.task
import lm_eval.tasks
import lm_eval.utils
from lm_eval.api.task import ConfigurableTask
from lm_eval.tasks._yaml_loader import load_yaml
from tqdm import tqdm

from xmodel_core.errors import XmodelError
from xmodel_core.evaluation.shapes import unlike_the_others
from xmodel_core.evaluation.templates import OwnPrompt, printed
from xmodel_core.evaluation.usable import Made, processed, reason, why_not, with_all_fields
from xmodel_core.specs.benchmarks import BadItem, Task, read_lines

STOCK = Path(lm_eval.tasks.__file__).parent
FEWSHOT_SEED = 1234
"""The harness's own default: which examples are chosen where a task samples them."""

MOST_OPENED = 200
"""Items on which the harness tries to open a task; where it can on none, the data does not fit the prompt."""

# The harness shows a progress bar of its own per subject while it builds prompts.
lm_eval.api.task.tqdm = partial(tqdm, disable=True)
# It recompiles a prompt's template for each question and example: two thirds of CMMLU's time.
lm_eval.utils.env.from_string = lru_cache(maxsize=1024)(lm_eval.utils.env.from_string)  # pyright: ignore[reportAttributeAccessIssue]

# In its prompts an item's null would become the word None, or pass for an answer.
lm_eval.utils.env.finalize = printed

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


@dataclass(frozen=True)
class OpenedTask:
    """A task of a suite, ready to be asked."""

    parts: list[HarnessTask]
    """One, or one per subject."""
    set_aside: list[dict[str, Any]]
    """The items that cannot be asked: split, file, line, why."""


@dataclass(frozen=True)
class _Split:
    """The items of one file that are still in use, by line, and the others."""

    name: str
    path: Path
    items: dict[int, dict[str, Any]]
    bad: list[BadItem]

    def without(self, bad: dict[int, str]) -> "_Split":
        kept = {line: item for line, item in self.items.items() if line not in bad}
        return _Split(self.name, self.path, kept, [*self.bad, *(BadItem(line, why) for line, why in bad.items())])


def _read(name: str, path: Path) -> _Split:
    items, bad = read_lines(path)
    split = _Split(name, path, dict(items), bad)
    lines = list(split.items)
    return split.without({lines[at]: why for at, why in unlike_the_others(list(split.items.values())).items()})


def _stock_config(task: Task, name: str, where: str) -> dict[str, Any]:
    path = STOCK / f"{name}.yaml"
    if not path.is_file():
        raise XmodelError(
            f"lm-evaluation-harness has no task file for {task.task}",
            expected=f"a file under {STOCK.name}/ of the installed harness",
            found=f"no {name}.yaml",
            where=where,
            remedy="check `stock` in the suite, and the subjects in the data",
        )
    return load_yaml(path)


def _own_config(task: Task, suite: str) -> dict[str, Any]:
    prompt = OwnPrompt(task, suite)
    return {
        "output_type": "multiple_choice",
        "doc_to_text": prompt.context,
        "doc_to_choice": prompt.choices,
        "doc_to_target": prompt.label,
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


def open_task(task: Task, files: dict[str, Path], suite: str) -> OpenedTask:
    """The harness's tasks for one task of a suite; `files` holds a file for each of its splits. Every item is tried
    as a question; those that cannot be asked are set aside.

    XmodelError: a template that is none, a metric that the task does not give, a subject without a stock task, a file
    that cannot be read, no item that can be asked, too few for the shots.
    """
    splits = [_read(name, files[name]) for name in task.splits]
    parts, opened = [], []
    if task.subject_field is None:
        config = _own_config(task, suite) if task.stock is None else _stock_config(task, task.stock, f"suite {suite}")
        parts.append((None, config, splits))
    else:
        assert task.stock is not None
        splits = [split.without(_without_subject(split, task.subject_field)) for split in splits]
        for subject, line in sorted(_first_lines(splits[0], task.subject_field).items()):
            config = _stock_config(task, task.stock.format(subject=subject), f"{splits[0].path}, line {line}")
            of_subject = [
                _Split(
                    split.name,
                    split.path,
                    {line: item for line, item in split.items.items() if item[task.subject_field] == subject},
                    [],
                )
                for split in splits
            ]
            parts.append((subject, config, of_subject))
        opened += splits  # for the lines that are bad already
        if not parts:
            raise _none_usable(task, splits[0])
    tasks = []
    for subject, config, of_part in parts:
        made, checked = _harness_task(task, subject, config, of_part)
        tasks.append(made)
        opened += checked
    set_aside = [
        {"split": split.name, "file": f"{task.data}/{split.path.name}", **asdict(bad)}
        for split in opened
        for bad in split.bad
    ]
    return OpenedTask(tasks, sorted(set_aside, key=lambda bad: (bad["split"] != task.split, bad["split"], bad["line"])))


def _without_subject(split: _Split, field: str) -> dict[int, str]:
    """The lines of items whose subject is no name."""
    bad = {}
    for line, item in split.items.items():
        subject = item.get(field)
        # The name becomes a path under the harness's tasks: letters, digits and underscores only.
        if not isinstance(subject, str) or not subject.replace("_", "").replace("-", "").isalnum():
            bad[line] = f"it has no subject: `{field}` is {str(subject)[:60]!r}"
    return bad


def _first_lines(split: _Split, field: str) -> dict[str, int]:
    """Each subject of a file → the first line that is about it."""
    lines: dict[str, int] = {}
    for line, item in split.items.items():
        lines.setdefault(item[field], line)
    return lines


def _harness_task(
    task: Task, subject: str | None, config: dict[str, Any], splits: list[_Split]
) -> tuple[HarnessTask, list[_Split]]:
    """The harness's task over the items that can be asked, and the splits without the others."""
    name = task.task if subject is None else f"{task.task}_{subject}"
    metrics = [metric["metric"] for metric in config.get("metric_list", [])]
    if task.metric not in metrics:
        raise XmodelError(
            f"the task {task.task} does not give the metric {task.metric}",
            expected=f"one of {', '.join(metrics)}",
            where=f"`metric` of {task.task} in its suite",
        )
    local = _with_local_data(config, task, name)
    made = [processed(local.get("process_docs"), list(split.items.values())) for split in splits]
    opened = _opened_on_one(task, local, splits[0], made[0])
    if isinstance(opened, _Split):
        raise _none_usable(task, opened, subject)
    opened.features = list(
        dict.fromkeys([*opened.features, *(name for row in splits[0].items.values() for name in row)])
    )
    checked = [
        split.without(
            {
                line: why
                for line, item in zip(split.items, of_split, strict=True)
                if item is not None and (why := why_not(opened, item))
            }
        )
        for split, of_split in zip(splits, made, strict=True)
    ]
    for split in checked:
        needed = task.shots + (task.shots_split == task.split) if split.name == task.shots_split else 1
        if not split.items:
            raise _none_usable(task, split, subject)
        if len(split.items) < needed:
            raise XmodelError(
                f"{task.task} has too few {split.name} items for its examples",
                expected=f"{needed} that can be shown" + (f" on {subject}" if subject else ""),
                found=len(split.items),
                where=split.path,
                remedy="lower `shots` in the suite, or leave the task out of evaluation.tasks",
            )
    rows = {split.name: with_all_fields(list(split.items.values())) for split in checked}
    return HarnessTask(name, subject, _LocalTask(local, rows)), checked


def _opened_on_one(task: Task, config: dict[str, Any], split: _Split, made: Sequence[Made]) -> "_LocalTask | _Split":
    """The harness's task on a single item: it formats the first while it opens a task, so on the first that it can
    format. Where there is none, the split without those that were tried."""
    bad: dict[int, str] = {}
    for (line, item), of_item in zip(split.items.items(), made, strict=True):
        if isinstance(of_item, Exception):
            bad[line] = reason(of_item)
        elif len(bad) < MOST_OPENED:
            try:
                return _LocalTask(config, {name: [item] for name in task.splits})
            except Exception as error:  # of templates and code of a task, over whatever values an item has
                bad[line] = reason(error)
    return split.without(bad)


def _none_usable(task: Task, split: _Split, subject: str | None = None) -> XmodelError:
    first = min(split.bad, key=lambda bad: bad.line, default=None)
    fields = dict.fromkeys(name for _, item in read_lines(split.path)[0][:100] for name in item)
    return XmodelError(
        f"the data of {task.task} does not fit its prompt: none of its {split.name} items can be asked"
        + (f" on {subject}" if subject else ""),
        expected="the fields of the stock task's dataset" if task.stock else "the fields that the templates name",
        found=f"{first.why if first else 'no item'}; the fields here are {', '.join(fields)[:300] or 'none'}",
        where=f"{split.path}, line {first.line}" if first else split.path,
        remedy="check `stock` or the templates in the suite, and the file; or leave the task out of evaluation.tasks",
    )

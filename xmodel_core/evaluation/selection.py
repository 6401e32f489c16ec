"""Which tasks of the suites an evaluation asks: those that the settings name and whose data are here.

Takes the settings, the suites and the places of their data; gives the tasks with their files, and those that are
skipped for lack of data.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from xmodel_core.artifacts import Artifact
from xmodel_core.errors import XmodelError
from xmodel_core.evaluation.config import EvaluationConfig
from xmodel_core.specs.benchmarks import Suite, Task


@dataclass(frozen=True)
class SelectedTask:
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


def select_tasks(
    config: EvaluationConfig, suites: Sequence[Suite], raw: Artifact | None
) -> tuple[list[SelectedTask], list[dict[str, str]]]:
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
                selected.append(SelectedTask(suite.name, task, files))
            elif config.tasks is not None:
                raise _missing(suite, task, folder, absent)
            else:
                absences.append((_missing(suite, task, folder, absent), suite.name, task.task))
    if absences and not selected:
        raise absences[0][0]
    return selected, [{"suite": suite, "task": task, "why": str(error)} for error, suite, task in absences]

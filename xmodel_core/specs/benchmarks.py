"""Benchmarks: suites of tasks, the places of their data, published scores, and gates.

Takes `datasets_spec/benchmarks/*.yaml` or a user's file; gives a `Suite`. A task is either a stock one of
lm-evaluation-harness, its prompt and metrics unchanged, or one of our own formats; both read local `<split>.jsonl`
files, which `read_items` reads for evaluation and for decontamination.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, model_validator

from xmodel_core.errors import XmodelError
from xmodel_core.specs.plain_yaml import read_yaml
from xmodel_core.specs.sources import RAW_SCHEME, named_spec
from xmodel_core.specs.strict import Strict, validate

COMPRESSED = (b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"PK\x03\x04")
"""How gzip, zstandard and zip begin."""


class Task(Strict):
    """One task of a suite: questions, a prompt, shots, metrics."""

    task: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    """Its name in the ledger."""
    data: str
    """The benchmark's folder, with one `<split>.jsonl` a split, inside the recipe's evaluation.data; or
    raw://… inside what a recipe makes itself."""
    split: str
    """The split of the questions."""
    lang: Literal["zh", "en"]
    """The questions' language."""
    metric: str
    """The metric that stands for the task in summaries; the ledger holds every metric of the task."""
    shots: int = Field(default=0, ge=0)
    """Solved examples before each question."""
    shots_split: str | None = None
    """The split that the solved examples come from."""
    stock: str | None = None
    """A task of lm-evaluation-harness by its file under lm_eval/tasks, without .yaml; {subject} in it stands for
    each subject of `subject_field`."""
    subject_field: str | None = None
    """The column that divides the data into subjects, each a stock task of its own; scores are averaged by size."""
    format: Literal["multiple_choice"] | None = None
    """Our own format: the choice with the highest log-likelihood given the context is the answer."""
    context: str = "{{context}}"
    """multiple_choice: the text before the answer, a Jinja template over the question's fields."""
    choices: str = "{{choices}}"
    """multiple_choice: a Jinja template that gives the list of choices."""
    label: str = "{{label}}"
    """multiple_choice: a Jinja template that gives the index of the right choice, from 0."""

    @model_validator(mode="after")
    def _is_one_kind(self) -> "Task":
        if (self.stock is None) == (self.format is None):
            raise ValueError(f"the task {self.task} needs either `stock` or `format`")
        if self.format is None and {"context", "choices", "label"} & self.model_fields_set:
            raise ValueError(f"the stock task {self.task} has its own prompt: leave out context, choices and label")
        if (self.subject_field is not None) != ("{subject}" in (self.stock or "")):
            raise ValueError(f"the task {self.task}: `subject_field` and {{subject}} in `stock` go together")
        if (self.shots > 0) != (self.shots_split is not None):
            raise ValueError(f"the task {self.task}: `shots` and `shots_split` go together")
        return self

    @property
    def is_raw(self) -> bool:
        """Whether the recipe itself makes its data."""
        return self.data.startswith(RAW_SCHEME)

    @property
    def splits(self) -> tuple[str, ...]:
        """The splits that it reads, that of the questions first."""
        return (self.split, self.shots_split) if self.shots_split not in (None, self.split) else (self.split,)

    @property
    def delimiter(self) -> str:
        """The text between context and choice in our own format: Chinese is written without spaces."""
        return "" if self.lang == "zh" else " "

    def folder(self, data: Path | None, raw: Path | None) -> Path | None:
        """The folder of its data; None if the place that it is in is not given."""
        if self.is_raw:
            return None if raw is None else raw / self.data.removeprefix(RAW_SCHEME)
        return None if data is None else data / self.data


class Published(Strict):
    """A score published in a report."""

    model: str
    """The model, as its report names it."""
    parameters: int = Field(gt=0)
    """Its parameters, embeddings included."""
    task: str
    """The suite's task."""
    metric: str
    """The metric of the score."""
    shots: int = Field(ge=0)
    """Solved examples before each question."""
    percent: float = Field(ge=0, le=100)
    """The score as printed, in percent; the ledger holds fractions, 0 to 1, for published and measured scores."""
    source: str
    """The report and the table."""


class Gate(Strict):
    """A score that a suite must reach."""

    task: str
    """The task."""
    metric: str
    """The metric, a fraction of 1."""
    at_least: float
    """The score to reach."""
    above_task: str | None = None
    """A control task whose score, by the same metric, must be exceeded."""
    margin: float = 0.0
    """How far the control must be exceeded."""


class Suite(Strict):
    """One file of tasks."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    """Its name in the ledger."""
    description: str = ""
    """What the suite measures, in a line or two."""
    tasks: list[Task] = Field(min_length=1)
    """The tasks, in the order in which they run."""
    published: list[Published] = []
    """Published scores to show beside our own."""
    gates: list[Gate] = []
    """Scores to reach; a gate is skipped if its tasks were not evaluated."""

    @model_validator(mode="after")
    def _names_its_own_tasks(self) -> "Suite":
        names = [task.task for task in self.tasks]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"the suite {self.name} has the task {twice[0]} twice")
        named = {row.task for row in self.published} | {gate.task for gate in self.gates}
        named |= {gate.above_task for gate in self.gates if gate.above_task}
        if unknown := sorted(named - set(names)):
            raise ValueError(f"the suite {self.name} names {unknown[0]}, which is none of its tasks")
        return self


def load_suites(names: list[str], beside: Path) -> list[Suite]:
    """Suites by their names in datasets_spec, or by their paths relative to `beside`; each name once."""
    suites: dict[str, Suite] = {}
    for name in names:
        path = named_spec("benchmarks", name, beside)
        suite = validate(Suite, read_yaml(path), path)
        if suite.name in suites:
            raise XmodelError(f"the suite {suite.name} is named twice", where=path, remedy="name it once")
        suites[suite.name] = suite
    return list(suites.values())


@dataclass(frozen=True)
class BadItem:
    """A line of a benchmark's file that cannot be asked."""

    line: int
    why: str


def read_lines(path: Path) -> tuple[list[tuple[int, dict[str, Any]]], list[BadItem]]:
    """(line number, item) of a benchmark's `<split>.jsonl`, and the lines that are no item. XmodelError: the file
    cannot be read, is compressed, or is empty."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise XmodelError("a benchmark file cannot be read", found=error.strerror or error, where=path) from None
    if data.startswith(COMPRESSED):
        raise XmodelError(
            "a benchmark file is compressed", expected="one JSON object a line", where=path, remedy="unpack it"
        )
    items: list[tuple[int, dict[str, Any]]] = []
    bad = []
    # Only \n ends a line: real questions contain U+2028 and U+0085.
    for number, line in enumerate(data.split(b"\n"), start=1):
        if not line.strip():
            continue
        try:
            item = json.loads(line)
        except RecursionError:
            bad.append(BadItem(number, "JSON that is nested too deeply"))
        except ValueError as error:
            bad.append(BadItem(number, f"not JSON: {error}"))
        else:
            if isinstance(item, dict):
                items.append((number, item))
            else:
                bad.append(BadItem(number, f"not a JSON object: {type(item).__name__}"))
    if not items and not bad:
        raise XmodelError(
            "a benchmark file is empty", expected="one item a line", where=path, remedy="fetch it again, or remove it"
        )
    return items, bad


def read_items(path: Path) -> list[tuple[int, dict[str, Any]]]:
    """(line number, item) of a benchmark's `<split>.jsonl`, for decontamination. XmodelError: the file cannot be read,
    or a line is no item; skipping it would keep another benchmark out of the corpus."""
    items, bad = read_lines(path)
    if bad:
        raise XmodelError(
            "a benchmark holds a line that is not an item",
            expected="one JSON object a line",
            found=bad[0].why,
            where=f"{path}, line {bad[0].line}",
            remedy="repair the file or fetch it again: without this item it would be another benchmark",
        )
    return items

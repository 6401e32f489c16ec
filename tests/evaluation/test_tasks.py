"""Suites and their data: what is refused, by name, and what the harness gets."""

import json
from pathlib import Path
from typing import Any

import pytest

from xmodel_core.errors import XmodelError
from xmodel_core.evaluation.scores import Score, pooled, published_rows, verdict
from xmodel_core.evaluation.tasks import STOCK, open_task, read_rows
from xmodel_core.specs.benchmarks import Gate, Suite, Task, load_suites
from xmodel_core.specs.sources import DATASETS_SPEC
from xmodel_core.specs.strict import validate

pytestmark = pytest.mark.xdist_group("evaluation")  # one process makes the session fixtures and imports the harness

SHIPPED = sorted(path.stem for path in (DATASETS_SPEC / "benchmarks").glob("*.yaml"))
OWN: dict[str, Any] = {"format": "multiple_choice", "data": "colours", "split": "test", "lang": "en", "metric": "acc"}
QUESTION = {"context": "Grass is", "choices": ["green", "red"], "label": 0}


def write(path: Path, *rows: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_suites_name_stock_tasks_that_exist(name: str) -> None:
    [suite] = load_suites([name], Path())
    for task in suite.tasks:
        if task.stock is not None and task.subject_field is None:
            assert (STOCK / f"{task.stock}.yaml").is_file()
        elif task.stock is not None:
            assert len(list(STOCK.glob(task.stock.format(subject="*") + ".yaml"))) > 50


def test_published_figures_become_fractions() -> None:
    rows = published_rows(load_suites(["commonsense", "chinese", "problem_solving"], Path()))
    by_key = {(row["model"], row["task"], row["metric"], row["shots"]): row for row in rows}
    assert len(by_key) == len(rows)
    assert by_key["Xmodel-LM-1.1B", "hellaswag", "acc", 0]["value"] == 0.4596
    assert by_key["Xmodel-2-1.2B", "hellaswag", "acc_norm", 10]["value"] == 0.6405
    assert {row["parameters"] for row in rows} == {1188136960, 1251755520, 1350059520}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"stock": "arc/arc_easy"}, "either `stock` or `format`"),
        ({"format": None}, "either `stock` or `format`"),
        ({"shots": 5}, "`shots` and `shots_split`"),
        ({"subject_field": "subject"}, "go together"),
        ({"metrik": "acc"}, "did you mean `metric`"),
    ],
)
def test_a_task_that_contradicts_itself_is_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(XmodelError, match=message):
        validate(Task, {"task": "colours", **OWN, **change}, "suite.yaml")


def test_a_suite_speaks_only_of_its_tasks() -> None:
    gate = {"task": "colors", "metric": "acc", "at_least": 0.5}
    with pytest.raises(XmodelError, match="colors, which is none of its tasks"):
        validate(Suite, {"name": "s", "tasks": [{"task": "colours", **OWN}], "gates": [gate]}, "suite.yaml")


def test_our_format_asks_as_it_says(tmp_path: Path) -> None:
    path = write(tmp_path / "test.jsonl", QUESTION)
    chinese = validate(Task, {"task": "c", **OWN, "lang": "zh", "context": "{{context}}呢，"}, "suite.yaml")
    for task, context, choice in (
        (validate(Task, {"task": "c", **OWN}, ""), "Grass is", " green"),
        (chinese, "Grass is呢，", "green"),
    ):
        [opened] = open_task(task, {"test": path})
        opened.task.build_all_requests()
        assert opened.task.instances[0].args == (context, choice)


def test_lines_end_only_at_newlines(tmp_path: Path) -> None:
    path = write(tmp_path / "test.jsonl", {**QUESTION, "context": "a\u2028b\x85c"}, QUESTION)
    assert [row["context"] for row in read_rows(path)] == ["a\u2028b\x85c", "Grass is"]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"context": "Gr', "line 2"),
        ("[1, 2]", "found: list"),
        ('{"context": "Sky is", "label": 1}', "the fields context, label, not context, choices, label"),
        ('{"context": "\\ud800", "label": ', "line 2"),
    ],
)
def test_a_line_that_is_no_question_is_refused(tmp_path: Path, line: str, message: str) -> None:
    path = write(tmp_path / "test.jsonl", QUESTION)
    path.write_text(path.read_text() + line + "\n")
    with pytest.raises(XmodelError, match=message):
        read_rows(path)


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(XmodelError, match="empty"):
        read_rows(write(tmp_path / "test.jsonl"))


@pytest.mark.parametrize(
    ("task", "message"),
    [
        ({**OWN, "label": "{{answer}}"}, "does not fit its prompt"),
        ({**OWN, "choices": "{{options}}"}, "the fields here are context, choices, label"),
        ({**OWN, "metric": "f1"}, "does not give the metric f1"),
        ({**OWN, "format": None, "stock": "arc/arc_easy"}, "does not fit its prompt"),
        ({**OWN, "format": None, "stock": "arc/arc_simple"}, "no arc/arc_simple.yaml"),
    ],
)
def test_data_and_prompt_that_do_not_fit(tmp_path: Path, task: dict[str, Any], message: str) -> None:
    path = write(tmp_path / "test.jsonl", QUESTION)
    with pytest.raises(XmodelError, match=message):
        open_task(validate(Task, {"task": "colours", **task}, ""), {"test": path})


def test_subjects_that_the_harness_does_not_have(tmp_path: Path) -> None:
    row = {"Question": "问", "A": "甲", "B": "乙", "C": "丙", "D": "丁", "Answer": "A", "subject": "alchemy"}
    shots = {"stock": "cmmlu/cmmlu_{subject}", "subject_field": "subject", "format": None}
    task = validate(Task, {"task": "cmmlu", **OWN, **shots}, "")
    for subject, message in (
        ("alchemy", "no cmmlu/cmmlu_alchemy.yaml"),
        ("../../x", "has no subject"),
        (3, "has no subject"),
    ):
        with pytest.raises(XmodelError, match=message):
            open_task(task, {"test": write(tmp_path / "test.jsonl", {**row, "subject": subject})})


def test_subjects_are_averaged_by_size() -> None:
    """Against numbers by hand: 1 of 2 right and 3 of 4 right are 4 of 6."""
    small = Score("acc", "none", 0.5, 0.5, 2)  # values 0, 1: variance .5, stderr sqrt(.5 / 2)
    large = Score("acc", "none", 0.75, 0.25, 4)  # values 0, 1, 1, 1: variance .25, stderr sqrt(.25 / 4)
    [score] = pooled([[small], [large]])
    assert (score.value, score.n) == (pytest.approx(4 / 6), 6)
    assert score.stderr == pytest.approx(((1 * 0.5 + 3 * 0.25) / 4 / 6) ** 0.5)
    alone = Score("acc", "none", 1.0, None, 1)
    assert pooled([[alone], [alone]])[0].stderr is None


@pytest.mark.parametrize(
    ("value", "control", "passed"), [(0.60, 0.35, True), (0.59, 0.1, False), (0.7, 0.5, False), (0.6, None, None)]
)
def test_a_gate_asks_for_height_and_distance(value: float, control: float | None, passed: bool | None) -> None:
    gate = Gate(task="cloze", metric="acc", at_least=0.60, above_task="wrong", margin=0.25)
    values = {("cloze", "acc"): value} | ({} if control is None else {("wrong", "acc"): control})
    judged = verdict(gate, "quickstart", values)
    assert (judged and judged["passed"]) == passed

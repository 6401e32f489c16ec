"""Suites and their data: what is refused, by name, and what the harness gets."""

import json
from pathlib import Path
from typing import Any

import pytest

from xmodel_core.errors import XmodelError
from xmodel_core.evaluation.scores import Score, pooled, published_rows, verdict
from xmodel_core.evaluation.tasks import STOCK, open_task
from xmodel_core.specs.benchmarks import Gate, Suite, Task, load_suites, read_items, read_lines
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
        [opened] = open_task(task, {"test": path}, "s").parts
        opened.task.build_all_requests()
        assert opened.task.instances[0].args == (context, choice)


def test_lines_end_only_at_newlines(tmp_path: Path) -> None:
    path = write(tmp_path / "test.jsonl", {**QUESTION, "context": "a\u2028b\x85c"}, QUESTION)
    assert [item["context"] for _, item in read_lines(path)[0]] == ["a\u2028b\x85c", "Grass is"]


BAD_ITEMS = {
    "hidden label": ({**QUESTION, "label": -1}, "names no choice"),
    "label beyond": ({**QUESTION, "label": 2}, "names no choice"),
    "label far beyond": ({**QUESTION, "label": 10**15}, "names no choice"),
    "label of 200 digits": ({**QUESTION, "label": 10**200}, "more than 64 bits"),
    "null label": ({**QUESTION, "label": None}, "`label`"),
    "no label": ({"context": "Grass is", "choices": ["green", "red"]}, "`label`"),
    "label of another kind": ({**QUESTION, "label": "red"}, "`label` is text, where most are whole number"),
    "label is true": ({**QUESTION, "label": True}, "`label` is true or false"),
    "label in a list": ({**QUESTION, "label": [0]}, "`label` is a list of whole number"),
    "no choices": ({**QUESTION, "choices": []}, "0 choices"),
    "null choices": ({**QUESTION, "choices": None}, "`choices`"),
    "one choice": ({**QUESTION, "choices": ["green"]}, "1 choices"),
    "an empty choice": ({**QUESTION, "choices": ["green", ""]}, "empty"),
    "a null choice": ({**QUESTION, "choices": ["green", None]}, "no list of texts"),
    "text for choices": ({**QUESTION, "choices": "green"}, "`choices` is text, where most are a list of text"),
    "numbers for choices": ({**QUESTION, "choices": [1, 2]}, "`choices`"),
    "choices of two kinds": ({**QUESTION, "choices": ["green", 2]}, "`choices`"),
    "no context": ({"choices": ["green", "red"], "label": 0}, "`context`"),
    "null context": ({**QUESTION, "context": None}, "`context`"),
    "half a character": ({**QUESTION, "context": "\ud800"}, "`context` holds half a character"),
    "a deep field": ({**QUESTION, "note": json.loads("[" * 50 + "]" * 50)}, "`note` is nested too deeply"),
}
BAD_LINES = {
    "cut": ('{"context": "Gr', "not JSON"),
    "a list": ("[1, 2]", "not a JSON object"),
    "5,000 digits": ('{"context": ' + "9" * 5000 + "}", "not JSON"),
    "nested": ("[" * 200_000, "nested"),
    "not UTF-8": (b"\xff\xfe\xfd", "not JSON"),
}


@pytest.mark.parametrize("case", [*BAD_ITEMS, *BAD_LINES])
def test_what_cannot_be_asked_is_set_aside_and_named(tmp_path: Path, case: str) -> None:
    if case in BAD_ITEMS:
        item, why = BAD_ITEMS[case]
        line: str | bytes = json.dumps(item)
    else:
        line, why = BAD_LINES[case]
    path = write(tmp_path / "test.jsonl", QUESTION, QUESTION)
    path.write_bytes(path.read_bytes() + (line.encode() if isinstance(line, str) else line) + b"\n\n")
    write(tmp_path / "more.jsonl", {**QUESTION, "context": "Snow is"}, {**QUESTION, "extra": "a field of its own"})
    path.write_bytes(path.read_bytes() + (tmp_path / "more.jsonl").read_bytes())
    opened = open_task(validate(Task, {"task": "c", **OWN}, ""), {"test": path}, "s")
    [bad] = opened.set_aside
    assert (bad["split"], bad["file"], bad["line"]) == ("test", "colours/test.jsonl", 3)
    assert why in bad["why"], bad
    docs: Any = opened.parts[0].task.eval_docs
    assert [doc["context"] for doc in docs] == ["Grass is", "Grass is", "Snow is", "Grass is"]


def test_an_item_of_a_stock_task_that_its_own_code_cannot_read(tmp_path: Path) -> None:
    """HellaSwag's code reads each label as a number: hidden ones are empty."""
    row = {"ctx_a": "A man", "ctx_b": "he", "activity_label": "Run", "endings": ["runs", "sits", "is", "was"], "ind": 1}
    labels = ["3", "", "1", "9", "0", "-1"]
    path = write(tmp_path / "validation.jsonl", *({**row, "label": label} for label in labels))
    stock = {"stock": "hellaswag/hellaswag", "format": None, "split": "validation"}
    opened = open_task(validate(Task, {"task": "h", **OWN, **stock}, ""), {"validation": path}, "s")
    assert [bad["line"] for bad in opened.set_aside] == [2, 4, 6]
    assert len(opened.parts[0].task.eval_docs) == 3
    write(path, *([{**row, "label": ""}] * 300))
    with pytest.raises(XmodelError, match=r"(?s)none of its validation items can be asked.*int\(\).*line 1"):
        open_task(validate(Task, {"task": "h", **OWN, **stock}, ""), {"validation": path}, "s")


def test_an_answer_that_is_hidden_or_missing(tmp_path: Path) -> None:
    row = {"question": "What is 1 + 1?", "answer": "1 + 1 is 2\n#### 2"}
    rows = [row, {**row, "answer": ""}, {**row, "answer": None}, {"question": "What is 1 + 1?"}, row]
    path = write(tmp_path / "test.jsonl", *rows)
    stock = {"stock": "gsm8k/gsm8k", "format": None, "metric": "exact_match"}
    opened = open_task(validate(Task, {"task": "g", **OWN, **stock}, ""), {"test": path}, "s")
    assert [bad["line"] for bad in opened.set_aside] == [2, 3, 4]


def test_examples_are_checked_as_questions_are(tmp_path: Path) -> None:
    test = write(tmp_path / "test.jsonl", QUESTION)
    dev = write(tmp_path / "dev.jsonl", QUESTION, {**QUESTION, "label": -1}, QUESTION)
    task = validate(Task, {"task": "c", **OWN, "shots": 2, "shots_split": "dev"}, "")
    [bad] = open_task(task, {"test": test, "dev": dev}, "s").set_aside
    assert (bad["split"], bad["line"]) == ("dev", 2)
    with pytest.raises(XmodelError, match="too few dev items"):
        open_task(task.model_copy(update={"shots": 3}), {"test": test, "dev": dev}, "s")


def test_decontamination_refuses_a_line_that_is_no_item(tmp_path: Path) -> None:
    path = write(tmp_path / "test.jsonl", QUESTION)
    path.write_text(path.read_text() + '{"context": "Gr\n')
    with pytest.raises(XmodelError, match="line 2"):
        read_items(path)


@pytest.mark.parametrize("data", [b"", b"\n\n", b"\x1f\x8b\x08\x00broken", b"\x28\xb5\x2f\xfd", None])
def test_a_file_without_items_is_refused(tmp_path: Path, data: bytes | None) -> None:
    path = tmp_path / "test.jsonl"
    path.mkdir() if data is None else path.write_bytes(data)
    with pytest.raises(XmodelError, match=r"empty|compressed|cannot be read"):
        read_lines(path)


@pytest.mark.parametrize(
    ("field", "template", "message"),
    [
        ("context", "{{context", "`context` of the task c is not a template"),
        ("label", "{% for %}", "`label` of the task c is not a template"),
        ("context", "{{context.__class__.__mro__}}", "unsafe"),
        ("choices", "{{choices.append(1)}}", "unsafe"),
        ("label", "{{cycler.__init__.__globals__}}", "unsafe"),
        ("context", "{{''.join([context]) | nosuch}}", "No filter named 'nosuch'"),
    ],
)
def test_templates_are_checked_and_read_nothing_but_the_item(
    tmp_path: Path, field: str, template: str, message: str
) -> None:
    path = write(tmp_path / "test.jsonl", QUESTION)
    task = validate(Task, {"task": "c", **OWN, field: template}, "")
    with pytest.raises(XmodelError, match=message) as refused:
        open_task(task, {"test": path}, "mine")
    assert field in str(refused.value)


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
        open_task(validate(Task, {"task": "colours", **task}, ""), {"test": path}, "s")


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
            open_task(task, {"test": write(tmp_path / "test.jsonl", {**row, "subject": subject})}, "s")


def test_subjects_are_averaged_by_size() -> None:
    """Against numbers by hand: 1 of 2 right and 3 of 4 right are 4 of 6."""
    small = Score("acc", "none", 0.5, 0.5, 2)  # values 0, 1: variance .5, stderr sqrt(.5 / 2)
    large = Score("acc", "none", 0.75, 0.25, 4)  # values 0, 1, 1, 1: variance .25, stderr sqrt(.25 / 4)
    [score] = pooled([[small], [large]])
    assert (score.value, score.n) == (pytest.approx(4 / 6), 6)
    assert score.stderr == pytest.approx(((1 * 0.5 + 3 * 0.25) / 4 / 6) ** 0.5)
    alone = Score("acc", "none", 1.0, None, 1)
    assert pooled([[alone], [alone]])[0].stderr is None
    assert pooled([[alone], [large]])[0].stderr is not None


def test_an_unknown_standard_error_stays_unknown() -> None:
    known, unknown = Score("f1", "none", 0.5, 0.1, 10), Score("f1", "none", 0.5, None, 10)
    for parts in ([[known], [unknown]], [[unknown], [unknown]], [[unknown]]):
        assert pooled(parts)[0].stderr is None


@pytest.mark.parametrize(
    ("value", "control", "passed"), [(0.60, 0.35, True), (0.59, 0.1, False), (0.7, 0.5, False), (0.6, None, None)]
)
def test_a_gate_asks_for_height_and_distance(value: float, control: float | None, passed: bool | None) -> None:
    gate = Gate(task="cloze", metric="acc", at_least=0.60, above_task="wrong", margin=0.25)
    values = {("cloze", "acc"): value} | ({} if control is None else {("wrong", "acc"): control})
    judged = verdict(gate, "quickstart", values)
    assert (judged and judged["passed"]) == passed

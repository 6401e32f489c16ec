"""The evaluation stage: scores, receipts, what is evaluated again and what is not, error messages."""

import json
import os
import random
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch

from xmodel_core.artifacts import Artifact, LocalFolder, Store
from xmodel_core.errors import XmodelError
from xmodel_core.evaluation import stage
from xmodel_core.evaluation.config import EvaluationConfig
from xmodel_core.evaluation.stage import CheckpointRef
from xmodel_core.ledger.tables import TABLES
from xmodel_core.model.network import Xmodel
from xmodel_core.specs.benchmarks import Suite, Task, load_suites
from xmodel_core.specs.strict import validate
from xmodel_core.tokenizer.tokenizer import Tokenizer

pytestmark = pytest.mark.xdist_group("evaluation")  # one process makes the session fixtures and imports the harness

COLOURS = {"en": ["red", "green", "blue", "white"], "zh": ["红色", "绿色", "蓝色", "白色"]}
CMMLU = {"stock": "cmmlu/cmmlu_{subject}", "subject_field": "subject", "shots": 2, "shots_split": "dev"}


def own(name: str, lang: str) -> dict[str, Any]:
    return {
        "task": name, "format": "multiple_choice", "data": f"raw://benchmarks/{name}", "split": "test",
        "lang": lang, "metric": "acc",
    }  # fmt: skip


def suite(**changes: Any) -> Suite:
    cmmlu = {"task": "cmmlu", "data": "cmmlu", "split": "test", "lang": "zh", "metric": "acc_norm", **CMMLU}
    data = {
        "name": "small",
        "tasks": [own("coats_en", "en"), own("coats_zh", "zh"), cmmlu],
        "published": [
            {
                "model": "Other",
                "parameters": 5,
                "task": "cmmlu",
                "metric": "acc",
                "shots": 5,
                "percent": 44.29,
                "source": "s",
            }
        ],
        "gates": [{"task": "coats_en", "metric": "acc", "at_least": 0.0, "above_task": "coats_zh", "margin": -1.0}],
    }
    return validate(Suite, {**data, **changes}, "suite.yaml")


def write(path: Path, rows: list[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


def exam(subject: str, count: int, draw: random.Random) -> list[dict[str, Any]]:
    return [
        {
            "Question": f"第{number}件外套的颜色", **dict(zip("ABCD", COLOURS["zh"], strict=True)),
            "Answer": draw.choice("ABCD"), "subject": subject,
        }
        for number in range(count)
    ]  # fmt: skip


class World:
    """A workspace, the data, a run's checkpoint, and the stage on them."""

    def __init__(self, root: Path, checkpoint: Path) -> None:
        self.store = Store(root / "workspace")
        self.data = root / "data"
        self.raw = Artifact("raw", "small", "a" * 64, LocalFolder(root / "raw"))
        self.training = Artifact("runs", "small", "b" * 64, LocalFolder(root / "workspace" / "runs" / "small-bbbbbbbb"))
        self.checkpoint = CheckpointRef(checkpoint, "small", "small-bbbbbbbb", 7)
        draw = random.Random(1)
        for lang in COLOURS:
            sentences = {"en": "The coat of Anna is", "zh": "小安的外套今天是"}
            rows = [
                {"context": sentences[lang], "choices": COLOURS[lang], "label": draw.randrange(4)} for _ in range(12)
            ]
            write(self.raw.path / "benchmarks" / f"coats_{lang}" / "test.jsonl", rows)
        for split, (some, more) in {"dev": (3, 3), "test": (2, 6)}.items():
            rows = [*exam("agronomy", some, draw), *exam("anatomy", more, draw)]
            write(self.data / "cmmlu" / f"{split}.jsonl", rows)

    def evaluate(self, only: Suite | None = None, **config: Any) -> Artifact:
        settings = EvaluationConfig(data=str(self.data), **config)
        return stage.run(settings, [only or suite()], self.checkpoint, self.raw, self.store)


@pytest.fixture
def world(tmp_path: Path, checkpoint: Path) -> World:
    return World(tmp_path, checkpoint)


def evals(artifact: Artifact) -> dict[tuple[str, str], dict[str, Any]]:
    rows = [row for receipt in artifact.receipts().values() for row in receipt.rows["evals"]]
    return {(row["task"], row["metric"]): row for row in rows}


def test_rows_samples_and_verdicts(world: World) -> None:
    done = world.evaluate()
    rows = evals(done)
    assert set(rows) == {(task, metric) for task in ("coats_en", "coats_zh", "cmmlu") for metric in ("acc", "acc_norm")}
    row = rows["cmmlu", "acc"]
    assert row["checkpoint_sha256"] == stage.checkpoint_digest(world.checkpoint.path, world.store)
    assert (row["model"], row["run"], row["step"], row["suite"]) == ("small", "small-bbbbbbbb", 7, "small")
    assert (row["shots"], row["sample_limit"], row["n"], row["filter"]) == (2, None, 8, "none")
    assert all(0 <= row["value"] <= 1 and row["stderr"] is not None for row in rows.values())
    assert set(row) == set(TABLES["evals"].columns)

    # Every question's answer is kept, and the scores are those of the answers.
    for task in ("coats_en", "coats_zh", "cmmlu"):
        samples = pq.read_table(done.path / "samples" / "small" / f"{task}.parquet").to_pylist()
        right = 0
        for sample in samples:
            best = max(range(4), key=lambda choice: sample["log_likelihoods"][choice])
            right += best == json.loads(sample["target"])
        assert right / len(samples) == pytest.approx(rows[task, "acc"]["value"])
    assert {sample["subject"] for sample in samples} == {"agronomy", "anatomy"}
    report = json.loads((done.path / "results" / "small" / "cmmlu.json").read_text())
    assert [report["subjects"][subject][0]["n"] for subject in ("agronomy", "anatomy")] == [2, 6]

    manifest = done.manifest()
    [published] = manifest["rows"]["published"]
    assert set(published) == set(TABLES["published"].columns)
    assert (published["suite"], published["model"], published["value"]) == ("small", "Other", 0.4429)
    [gate] = manifest["facts"]["gates"]
    assert gate["passed"] and gate["above_task"] == "coats_zh"
    assert gate["value"] == rows["coats_en", "acc"]["value"] and gate["control"] == rows["coats_zh", "acc"]["value"]
    assert [score["metric"] for score in manifest["facts"]["scores"]] == ["acc", "acc", "acc_norm"]


def test_log_likelihoods_are_the_models_own(world: World, model: Xmodel, tokenizer: Tokenizer) -> None:
    done = world.evaluate(tasks=["coats_zh"])
    sample = pq.read_table(done.path / "samples" / "small" / "coats_zh.parquet").to_pylist()[0]
    for context, continuation, value in zip(
        sample["contexts"], sample["continuations"], sample["log_likelihoods"], strict=True
    ):
        before, both = tokenizer.encode(context), tokenizer.encode(context + continuation)
        with torch.no_grad():
            log_probs_TV = model(torch.tensor([both[:-1]]))[0].log_softmax(-1)
        expected = sum(float(log_probs_TV[place - 1, both[place]]) for place in range(len(before), len(both)))
        assert value == pytest.approx(expected, abs=1e-4)


def test_shots_come_from_their_split(world: World) -> None:
    done = world.evaluate(tasks=["cmmlu"])
    sample = pq.read_table(done.path / "samples" / "small" / "cmmlu.parquet").to_pylist()[-1]
    context = sample["contexts"][0]
    assert context.startswith("以下是关于解剖学")
    assert context.count("答案：") == 3 and context.endswith("答案：")


def test_again_evaluates_nothing_and_locations_do_not_matter(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = world.evaluate()
    world.data = world.data.rename(tmp_path / "elsewhere")
    monkeypatch.setattr(stage, "_evaluate_task", lambda *_: pytest.fail("nothing is to be evaluated"))
    assert world.evaluate() == first


def test_a_killed_evaluation_continues(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    evaluated: list[str] = []
    evaluate_task = stage._evaluate_task

    def evaluate_until_killed(selected: Any, *rest: Any) -> None:
        evaluated.append(selected.task.task)
        if evaluated == ["coats_en", "coats_zh"]:
            raise KeyboardInterrupt
        evaluate_task(selected, *rest)

    monkeypatch.setattr(stage, "_evaluate_task", evaluate_until_killed)
    with pytest.raises(KeyboardInterrupt):
        world.evaluate()
    assert world.store.artifacts("evaluations") == []
    done = world.evaluate()
    assert evaluated == ["coats_en", "coats_zh", "coats_zh", "cmmlu"]
    assert len(evals(done)) == 6


def test_what_runs_on_other_hardware_is_the_same_evaluation(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    first = world.evaluate(batch_tokens=64)
    assert world.evaluate(batch_tokens=128, threads=2, device="cpu") == first
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(XmodelError, match=r"--set evaluation\.device=cpu"):
        world.evaluate(tasks=["coats_en"], device="cuda")
    config = EvaluationConfig().computed_as("cuda", 3)
    assert (config.device, config.threads) == ("cuda", 3)
    assert EvaluationConfig(device="cpu", threads=1).computed_as("cuda", 3) == EvaluationConfig(device="cpu", threads=1)


def test_scores_do_not_depend_on_the_batches(world: World, tmp_path: Path) -> None:
    def scores(store: Store, batch_tokens: int) -> list[tuple[Any, ...]]:
        world.store = store
        rows = evals(world.evaluate(batch_tokens=batch_tokens))
        return [(*key, row["value"], row["stderr"]) for key, row in rows.items()]

    assert scores(world.store, 1) == scores(Store(tmp_path / "other"), 4096)


def test_an_evaluation_under_way_is_not_begun_twice(
    world: World, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(stage, "LOOK_AGAIN_SECONDS", 0.05)
    evaluated: list[str] = []
    evaluate_task = stage._evaluate_task

    def slowly(selected: Any, *rest: Any) -> None:
        evaluated.append(selected.task.task)
        time.sleep(0.3)
        evaluate_task(selected, *rest)

    monkeypatch.setattr(stage, "_evaluate_task", slowly)
    with ThreadPoolExecutor(3) as pool:
        done = [pool.submit(world.evaluate) for _ in range(3)]
        assert len({one.result().fingerprint for one in done}) == 1
    assert evaluated == ["coats_en", "coats_zh", "cmmlu"]
    said = [line for line in capfd.readouterr().err.splitlines() if "waiting" in line]
    assert len(said) == 2 and f"process {os.getpid()}" in said[0]


def test_what_cannot_be_asked_is_counted_and_named(world: World) -> None:
    path = world.raw.path / "benchmarks" / "coats_en" / "test.jsonl"
    path.write_bytes(
        path.read_bytes() + b'{"context": "The coat is", "choices": ["red", "blue"], "label": -1}\n{"con\n'
    )
    done = world.evaluate()
    rows, facts = evals(done), done.manifest()["facts"]
    assert (rows["coats_en", "acc"]["n"], rows["coats_en", "acc"]["set_aside"]) == (12, 2)
    assert rows["coats_zh", "acc"]["set_aside"] == 0
    assert [(bad["task"], bad["line"]) for bad in facts["set_aside"]] == [("coats_en", 13), ("coats_en", 14)]
    assert [score["set_aside"] for score in facts["scores"]] == [2, 0, 0]


def test_no_question_is_asked_before_all_data_is_read(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stage, "_evaluate_task", lambda *_: pytest.fail("nothing is to be asked"))
    path = world.data / "cmmlu" / "test.jsonl"
    hidden = [{**json.loads(line), "Answer": "?"} for line in path.read_text(encoding="utf-8").splitlines()]
    write(path, hidden)
    with pytest.raises(XmodelError, match=r"(?s)none of its test items can be asked on agronomy.*test\.jsonl, line 1"):
        world.evaluate()


def test_a_checkpoint_of_no_run_here_is_booked_under_its_digest(world: World, checkpoint: Path) -> None:
    world.checkpoint = CheckpointRef(checkpoint, "mine", None, None)
    done = world.evaluate(tasks=["coats_en"])
    row = evals(done)["coats_en", "acc"]
    assert (row["run"], row["step"], row["checkpoint_sha256"]) == (None, None, done.manifest()["inputs"]["checkpoint"])
    assert row["model"] == f"mine-{row['checkpoint_sha256'][:8]}" == stage.booked_under(done)


def test_changed_data_is_evaluated_again(world: World) -> None:
    """Same path, same size: only the answers are others, and no cache of the harness may serve the earlier ones."""
    path = world.raw.path / "benchmarks" / "coats_en" / "test.jsonl"
    question = {"context": "The coat of Anna is", "choices": COLOURS["en"]}

    def score_of(label: int) -> float:
        write(path, [{**question, "label": label}] * 4)
        return evals(world.evaluate(tasks=["coats_en"]))["coats_en", "acc"]["value"]

    assert sorted(score_of(label) for label in range(4)) == [0.0, 0.0, 0.0, 1.0]


def test_sample_limit_takes_the_first_of_each_subject(world: World) -> None:
    rows = evals(world.evaluate(tasks=["cmmlu", "coats_en"], sample_limit=3))
    assert (rows["cmmlu", "acc"]["n"], rows["coats_en", "acc"]["n"]) == (2 + 3, 3)
    assert rows["cmmlu", "acc"]["sample_limit"] == 3


def test_data_that_is_not_there(world: World) -> None:
    (world.data / "cmmlu" / "dev.jsonl").unlink()
    done = world.evaluate()  # not named in the config: skipped, and recorded
    assert {task for task, _ in evals(done)} == {"coats_en", "coats_zh"}
    [skipped] = done.manifest()["facts"]["skipped"]
    assert skipped["task"] == "cmmlu" and "dev.jsonl" in skipped["why"]
    with pytest.raises(XmodelError) as refused:
        world.evaluate(tasks=["cmmlu"])
    assert "dev.jsonl" in str(refused.value) and str(world.data / "cmmlu") in str(refused.value)
    with pytest.raises(XmodelError, match="there is no task hellaswag"):
        world.evaluate(tasks=["hellaswag"])


def test_no_place_for_data_at_all(world: World) -> None:
    config = EvaluationConfig()
    only = suite(tasks=[suite().tasks[2].model_dump(exclude_unset=True)], gates=[])
    with pytest.raises(XmodelError, match=r"--set evaluation\.data=DIR"):
        stage.run(config, [only], world.checkpoint, None, world.store)


def test_a_folder_that_is_not_a_checkpoint(world: World, tmp_path: Path) -> None:
    world.checkpoint = CheckpointRef(tmp_path, "small", None, None)
    with pytest.raises(XmodelError, match=r"no config\.json"):
        world.evaluate()


def test_no_suites_give_an_empty_artifact(world: World) -> None:
    config = EvaluationConfig()
    done = stage.run(config, [], world.checkpoint, None, world.store)
    assert done.manifest()["facts"] == {"scores": [], "gates": [], "skipped": [], "set_aside": []}


def test_the_stage_imports_no_heavy_libraries() -> None:
    code = "import sys, xmodel_core.evaluation.stage; print({'torch', 'lm_eval', 'datasets'} & sys.modules.keys())"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "set()"


@pytest.mark.slow
@pytest.mark.shared_data
def test_every_shipped_task_runs_on_real_data(
    world: World, shared_data: Path, tokenizer: Tokenizer, model: Xmodel
) -> None:
    """Each task of the shipped suites, and its log-likelihoods one request at a time."""
    suites = load_suites(["commonsense", "chinese", "problem_solving"], Path())
    config = EvaluationConfig(data=str(shared_data / "bench"), sample_limit=2)
    done = stage.run(config, suites, world.checkpoint, None, world.store)
    facts = done.manifest()["facts"]
    assert facts["skipped"] == []
    tasks: dict[str, Task] = {task.task: task for one in suites for task in one.tasks}
    assert {score["task"] for score in facts["scores"]} == set(tasks)
    longest = model.config.max_position_embeddings
    for name in ("hellaswag", "xcopa_zh", "arc_easy", "cmmlu"):
        [path] = (done.path / "samples").glob(f"*/{name}.parquet")
        for sample in pq.read_table(path).to_pylist()[:5]:
            for context, continuation, value in zip(
                sample["contexts"], sample["continuations"], sample["log_likelihoods"], strict=True
            ):
                both = tokenizer.encode(context + continuation)
                scored = len(both) - len(tokenizer.encode(context.rstrip()))
                both = both[-(longest + 1) :]
                if not 0 < scored <= longest:
                    continue
                with torch.no_grad():
                    log_probs_TV = model(torch.tensor([both[:-1]]))[0].log_softmax(-1)
                places = range(len(both) - scored, len(both))
                expected = sum(float(log_probs_TV[place - 1, both[place]]) for place in places)
                assert value == pytest.approx(expected, abs=1e-4)

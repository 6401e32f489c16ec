"""Complete runs of the training stage: files on disk, accounts that close, and what a kill does not change."""

import json
import math
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch

from tests.training.conftest import small_tokenizer
from xmodel_core.artifacts import Artifact, LocalFolder, Store
from xmodel_core.artifacts.cache import cache_root
from xmodel_core.artifacts.token_shards import TokenShards
from xmodel_core.errors import XmodelError
from xmodel_core.model.weights import load_model
from xmodel_core.training import loop, stage
from xmodel_core.training.checkpoint.names import complete_checkpoints
from xmodel_core.training.metrics import SCHEMAS

TIMES = {"seconds", "tokens_per_second", "mfu", "created_at", "started_at", "finished_at"}


def rows(folder: Path, table: str) -> list[dict[str, Any]]:
    parts = sorted((folder / "metrics" / table).glob("*.parquet"))
    all_rows = [row for part in parts for row in pq.ParquetFile(part).read().to_pylist()]
    return [{key: value for key, value in row.items() if key not in TIMES} for row in all_rows]


def checkpoints_of(folder: Path) -> list[str]:
    return complete_checkpoints(LocalFolder(folder))


def weights(folder: Path) -> bytes:
    return (folder / checkpoints_of(folder)[-1] / "model.safetensors").read_bytes()


def everything(run: Artifact) -> dict[str, Any]:
    """Everything of a run except times and rates."""
    parts = sorted(part.relative_to(run.path).as_posix() for part in run.path.glob("metrics/*/*"))
    kept = checkpoints_of(run.path)
    return {"weights": weights(run.path), "parts": parts, "kept": kept, **{t: rows(run.path, t) for t in SCHEMAS}}


def test_a_run_s_files_and_books(trained: Any) -> None:
    run, announced = trained.run, trained.announced
    assert run.kind == "runs" and run.label.startswith("small-")
    assert stage.final_checkpoint(run).name == "step-00000036"
    # every 7, the phase's ends 24 and 36; of those the newest two and the phase ends stay
    assert [row["step"] for row in rows(run.path, "checkpoints")] == [7, 14, 21, 24, 28, 35, 36]
    assert [row["step"] for row in rows(run.path, "checkpoints") if row["kept"]] == [24, 35, 36]
    assert [name[-2:] for name in checkpoints_of(run.path)] == ["24", "35", "36"]
    assert announced[-1] == 36 and announced == sorted(set(announced))
    metrics = rows(run.path, "train_metrics")
    assert [row["step"] for row in metrics] == [1, 5, 7, 10, 14, 15, 20, 21, 24, 25, 28, 30, 35, 36]
    assert metrics[0]["loss"] == pytest.approx(math.log(64), abs=0.7)
    assert metrics[-1]["loss"] < metrics[0]["loss"] - 0.5
    assert [row["phase"] for row in metrics if row["step"] in (24, 25)] == ["stable", "decay"]
    assert metrics[-1]["tokens"] == 36 * 64
    # planned = consumed, to the token
    last = {row["source"]: row["tokens"] for row in rows(run.path, "consumed") if row["step"] == 36}
    assert last == {"zh_web": (150 + 40) * 8, "en_web": (42 + 56) * 8}
    validation = rows(run.path, "validation")
    assert {(row["step"], row["source"], row["lang"]) for row in validation} == {
        (step, *of) for step in (12, 24, 36) for of in (("zh_web", "zh"), ("en_web", "en"))
    }
    final = next(row for row in validation if row["step"] == 36 and row["source"] == "zh_web")
    # The text of exactly the 64 of 100 held-out tokens that are targets: the second to the 65th.
    targets = TokenShards(trained.workspace.shards["zh_web"], "validation").slice(1, 64).tolist()
    scored_bytes = sum(0 if token < 3 else 1 if token < 29 else 3 for token in targets)
    assert final["bits_per_byte"] == pytest.approx(final["loss"] * 64 / math.log(2) / scored_bytes)
    (row,) = rows(run.path, "runs")
    assert row["status"] == "finished" and row["world_size"] == 1 and "thread" in row["hardware"]
    model = load_model(stage.final_checkpoint(run))
    assert row["parameters"] == sum(p.numel() for p in model.parameters())
    visible = [path.name for path in run.path.iterdir() if not path.name.startswith(".")]
    assert sorted(visible) == ["checkpoints", "manifest.json", "metrics"]
    assert (stage.final_checkpoint(run) / "tokenizer.model").read_bytes() == small_tokenizer()


def test_the_same_again_is_found_and_elsewhere_is_bitwise(trained: Any, workspace: Any) -> None:
    first = trained.run
    modified = (first.path / "manifest.json").stat().st_mtime_ns
    assert trained.workspace.train() == first
    assert (first.path / "manifest.json").stat().st_mtime_ns == modified
    assert everything(workspace.train()) == everything(first)
    other = workspace.train(seed=1)
    assert other.label != first.label and weights(other.path) != weights(first.path)


def test_the_stream_of_a_finished_run_is_the_one_it_saw(trained: Any, tmp_path: Path) -> None:
    stream = stage.stream_of(trained.workspace.store, trained.run)
    assert stream.total_steps == len(trained.batches) == 36
    for step, batch in enumerate(trained.batches, 1):
        assert (stream.batch(step).tokens_BT == batch.tokens_BT).all()
    assert stream.consumed(36) == {"zh_web": 190 * 8, "en_web": 98 * 8}
    with pytest.raises(XmodelError, match="are no longer in the workspace"):
        stage.stream_of(Store(tmp_path), trained.run)


def test_an_error_leaves_complete_checkpoints_and_the_next_run_continues(
    trained: Any, workspace: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    real: Callable[..., tuple[float, float]] = loop.training_step

    def fails_at_30(*args: Any) -> tuple[float, float]:
        if args[5] == 30:
            raise OSError("pulled the plug")
        return real(*args)

    monkeypatch.setattr(loop, "training_step", fails_at_30)
    with pytest.raises(OSError, match="pulled the plug"):
        workspace.train()
    (folder,) = workspace.store.root.path.glob("runs/small-*")
    assert rows(folder, "runs")[0]["status"] == "failed"
    assert [name[-2:] for name in checkpoints_of(folder)] == ["21", "24", "28"][-2:]
    # a damaged newest checkpoint is skipped: the run continues from the one before
    newest = folder / checkpoints_of(folder)[-1]
    (newest / "optimizer.pt").write_bytes(b"half")
    # and what a kill leaves of a part that was being written is removed
    (folder / "metrics" / "train_metrics" / ".step-00000030.parquet.123.abcdef").write_bytes(b"half")
    monkeypatch.setattr(loop, "training_step", real)
    steps_run: list[int] = []
    monkeypatch.setattr(loop, "learning_rate", lambda c, s, f=loop.learning_rate: steps_run.append(s) or f(c, s))
    assert everything(workspace.train()) == everything(trained.run)
    assert steps_run == list(range(25, 37))


def test_checkpointed_gradients_train_the_same_bits(trained: Any, workspace: Any) -> None:
    assert everything(workspace.train(gradient_checkpointing=True)) == everything(trained.run)


@pytest.mark.slow
def test_a_compiled_run_repeats_itself_and_is_near_the_uncompiled(trained: Any, workspace: Any, tmp_path: Path) -> None:
    plain = rows(trained.run.path, "train_metrics")
    compiled = everything(workspace.train(compile=True))
    for one, two in zip(plain, compiled["train_metrics"], strict=True):
        assert two["loss"] == pytest.approx(one["loss"], rel=1e-3)
    shutil.rmtree(tmp_path / "runs")
    assert everything(workspace.train(compile=True)) == compiled


def test_compiling_without_a_compiler_is_refused_at_once(workspace: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("CXX", raising=False)
    with pytest.raises(XmodelError, match=r"there is no C\+\+ compiler here"):
        workspace.train(compile=True)
    assert not workspace.store.artifacts("runs")


def test_a_loss_that_is_not_finite_stops_by_name(workspace: Any) -> None:
    with pytest.raises(XmodelError, match="training diverged") as error:
        workspace.train(peak_lr=1e30, grad_clip=1e30)
    assert "step " in str(error.value) and "learning rate" in str(error.value)
    (folder,) = workspace.store.root.path.glob("runs/small-*")
    for name in checkpoints_of(folder):
        assert all(parameter.isfinite().all() for parameter in load_model(folder / name).parameters())


def test_what_does_not_belong_together_is_refused(workspace: Any) -> None:
    with pytest.raises(XmodelError, match="the sequences are longer than the model's context"):
        workspace.train(sequence_length=32, micro_batch_sequences=2)
    with pytest.raises(XmodelError, match="the plan belongs to another schedule"):
        workspace.train(decay_steps=13)
    with pytest.raises(XmodelError, match="no token shards here"):
        workspace._replace(shards={}).train()


GROWN: dict[str, Any] = {
    "batch_schedule": [
        {"after_steps": 10, "global_batch_tokens": 128},
        {"after_steps": 24, "sequence_length": 16, "micro_batch_sequences": 2},
    ]
}


@pytest.mark.parametrize("packing", ["concat", "best-fit"])
def test_lengths_change_in_mid_stream_and_the_books_close(workspace: Any, packing: str) -> None:
    grown = workspace.planned(**GROWN)
    run = grown.train(packing=packing, **GROWN)
    metrics = {row["step"]: row for row in rows(run.path, "train_metrics")}
    assert [metrics[step]["phase"] for step in (10, 15, 25)] == ["stable", "stable_2", "decay"]
    assert [metrics[step]["tokens"] for step in (10, 24, 36)] == [640, 640 + 14 * 128, 640 + 26 * 128]
    assert metrics[36]["loss"] < metrics[1]["loss"] - 0.5
    plan = json.loads(grown.plan.file("plan.json").read_bytes())
    planned = Counter()
    for phase in plan["phases"]:
        planned.update({source["source"]: source["planned_tokens"] for source in phase["sources"]})
    last = {row["source"]: row for row in rows(run.path, "consumed") if row["step"] == 36}
    assert {name: row["tokens"] for name, row in last.items()} == planned
    for name, row in last.items():
        assert (row["padding_tokens"] > 0) == (packing == "best-fit")
        size = workspace.shards[name].manifest()["facts"]["train_tokens"]
        assert row["epochs"] == pytest.approx((row["tokens"] - row["padding_tokens"]) / size)
    states = {name: json.loads((run.path / name / "state.json").read_bytes()) for name in checkpoints_of(run.path)}
    assert {state["step"]: state["tokens"] for state in states.values()} == {
        step: metrics[step]["tokens"] for step in (10, 24, 35, 36)
    }
    assert run.manifest()["facts"]["tokens"] == metrics[36]["tokens"]


def test_a_run_resumes_through_a_change_of_lengths(workspace: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    grown = workspace.planned(**GROWN)
    settings = {**GROWN, "packing": "best-fit"}
    unbroken = everything(grown.train(**settings))
    shutil.rmtree(next(workspace.store.root.path.glob("runs/small-*")))
    real: Callable[..., tuple[float, float]] = loop.training_step
    for stops_at in (9, 12, 26):

        def fails(*args: Any, at: int = stops_at) -> tuple[float, float]:
            if args[5] == at:
                raise OSError("pulled the plug")
            return real(*args)

        monkeypatch.setattr(loop, "training_step", fails)
        with pytest.raises(OSError, match="pulled the plug"):
            grown.train(**settings)
    monkeypatch.setattr(loop, "training_step", real)
    # Prefetch and other settings of the machine are no part of the run.
    assert everything(grown.train(**settings, prefetch_steps=0)) == unbroken


@pytest.mark.parametrize("packing", ["concat", "best-fit"])
def test_shards_read_through_a_small_cache_train_the_same_model(
    trained_with: Any, remote_workspace: Any, packing: str
) -> None:
    here = trained_with(packing).run
    there = remote_workspace.train(packing=packing, shard_cache_bytes=1, prefetch_steps=4)
    assert there.label == here.label
    # A byte is room for no page at all: each is fetched, used and gone.
    assert not list((cache_root() / "objects").rglob("documents-*.tokens"))
    name = "model.safetensors"
    assert (stage.final_checkpoint(there) / name).read_bytes() == (stage.final_checkpoint(here) / name).read_bytes()


def shard_file(workspace: Any, source: str, name: str) -> Path:
    return workspace.shards[source].path / name


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (lambda ws: shard_file(ws, "zh_web", "documents-00000.tokens").unlink(), "a token shard is missing"),
        (lambda ws: shard_file(ws, "zh_web", "documents-00000.index").unlink(), "a token shard is missing"),
        (
            lambda ws: os.truncate(shard_file(ws, "zh_web", "documents-00000.tokens"), 100),
            "a token shard is damaged",
        ),
        (
            lambda ws: flip_a_byte(shard_file(ws, "zh_web", "documents-00000.tokens")),
            "a token shard has changed since it was written",
        ),
        (
            lambda ws: flip_a_byte(shard_file(ws, "zh_web", "documents-00000.index"), 8),
            "a token shard has changed since it was written",
        ),
        (
            lambda ws: flip_a_byte(shard_file(ws, "zh_web", "documents-00000.index"), -8),
            "a token shard and its index do not belong together",
        ),
    ],
    ids=["missing", "no index", "damaged", "changed", "changed index", "another index"],
)
def test_bad_shards_are_refused_by_name_before_the_first_step(
    workspace: Any, monkeypatch: pytest.MonkeyPatch, harm: Callable[[Any], Any], message: str
) -> None:
    monkeypatch.setattr(loop, "training_step", lambda *args: pytest.fail("a step was taken"))
    harm(workspace)
    with pytest.raises(XmodelError, match=message) as error:
        workspace.train()
    assert "zh_web" in str(error.value) and "documents-00000" in str(error.value)


def flip_a_byte(path: Path, at: int = 0) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


def test_shards_of_another_tokenizer_are_refused(workspace: Any) -> None:
    other = workspace.tokenizer.__class__("tokenizer", "small", "f" * 64, workspace.tokenizer.folder)
    with pytest.raises(XmodelError, match="encoded with another tokenizer"):
        workspace._replace(tokenizer=other).train()


@pytest.mark.parametrize("packing", ["concat", "best-fit"])
def test_micro_batches_give_the_same_step(trained_with: Any, workspace: Any, packing: str) -> None:
    undivided = workspace.train(micro_batch_sequences=8, packing=packing)
    in_halves = trained_with(packing).run
    for one, two in zip(*(rows(run.path, "train_metrics") for run in (undivided, in_halves)), strict=True):
        assert one["loss"] == pytest.approx(two["loss"], abs=1e-4)


def test_settings_of_torch_are_put_back(workspace: Any) -> None:
    before = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    short = {"warmup_steps": 0, "stable_steps": 1, "decay_steps": 1}
    workspace.planned(**short).train(**short, threads_per_worker=2)
    assert before == (torch.get_num_threads(), torch.are_deterministic_algorithms_enabled())


RUN_IT = """
import sys
from pathlib import Path
from xmodel_core.artifacts import LocalFolder, Store
from xmodel_core.cluster import open_cluster
from xmodel_core.cluster.config import ClusterConfig
from xmodel_core.model.config import ModelConfig
from xmodel_core.training import stage
from xmodel_core.training.config import TrainingConfig
from xmodel_core.training.inputs import TrainingInputs
model, training = ModelConfig.model_validate_json(sys.argv[2]), TrainingConfig.model_validate_json(sys.argv[3])
store = Store(Path(sys.argv[1]))
shards = {artifact.name: artifact for artifact in store.artifacts("shards")}
plan, tokenizer = store.artifacts("plans")[0], store.artifacts("tokenizer")[0]
with open_cluster(ClusterConfig(workers=1)) as cluster:
    stage.run(TrainingInputs("small", model, training, plan, shards, tokenizer, store, cluster))
"""


@pytest.mark.parametrize("kills", [1, pytest.param(8, marks=pytest.mark.slow)])
def test_kill_9_at_any_moment_changes_nothing(workspace: Any, kills: int, small_settings: Any) -> None:
    model, training = small_settings
    unbroken = workspace.train(checkpoint_every_steps=3)
    expected = everything(unbroken)
    shutil.rmtree(unbroken.path)
    arguments = [model.model_dump_json(), json.dumps({**training, "checkpoint_every_steps": 3})]
    command = [sys.executable, "-c", RUN_IT, str(workspace.store.root), *arguments]
    run_row = unbroken.path / "metrics" / "runs" / "run.parquet"

    def written_at() -> int:
        return run_row.stat().st_mtime_ns if run_row.exists() else 0

    moment, latest = random.Random(5), 0.25
    killed = 0
    while killed < kills:
        before = written_at()
        process = subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        # The start takes seconds and the steps take milliseconds: count from the first file that it writes.
        while written_at() == before and process.poll() is None:
            time.sleep(0.005)
        time.sleep(moment.uniform(0, latest))
        process.kill()
        if process.wait() == 0:  # a fast machine: from the start again, and kill it sooner
            shutil.rmtree(unbroken.path)
            latest /= 2
            continue
        assert process.returncode == -signal.SIGKILL
        killed += 1
    again = workspace.train(checkpoint_every_steps=3)
    assert again == unbroken
    assert everything(again) == expected

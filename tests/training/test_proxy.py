"""Proxies: the same losses as a run's, and a result where they come apart."""

import math
from pathlib import Path
from typing import Any

import pytest

from tests.training.conftest import MODEL, TRAINING, Workspace
from xmodel_core.artifacts import open_folder
from xmodel_core.cluster import open_cluster
from xmodel_core.cluster.config import ClusterConfig
from xmodel_core.training.config import TrainingConfig
from xmodel_core.training.job import Job
from xmodel_core.training.metrics import read_rows
from xmodel_core.training.proxy import train_proxy
from xmodel_core.training.stage import job_of


def a_job(workspace: Workspace, tmp_path: Path, **changes: Any) -> Job:
    config = TrainingConfig(**{**TRAINING, **changes})
    folder = open_folder(tmp_path / "nothing")
    with open_cluster(ClusterConfig(workers=1)) as cluster:
        return job_of("proxy", folder, workspace.inputs(MODEL, config, cluster))


def test_its_losses_are_those_of_a_run(workspace: Workspace, tmp_path: Path) -> None:
    seen: list[int] = []
    proxy = train_proxy(a_job(workspace, tmp_path), lambda model, step: seen.append(step))
    run = workspace.train(log_every_steps=1)
    rows = [row for part in run.folder.names("metrics/train_metrics/*") for row in read_rows(run.folder, part)]
    assert [row["loss"] for row in rows] == list(proxy.losses)
    assert seen == list(range(37)) and not proxy.diverged
    assert proxy.last(2 / 36) == pytest.approx(sum(proxy.losses[-2:]) / 2)
    assert not (tmp_path / "nothing").exists()


def test_one_that_comes_apart_is_a_result(workspace: Workspace, tmp_path: Path) -> None:
    proxy = train_proxy(a_job(workspace, tmp_path, peak_lr=1e38, warmup_steps=0, stable_steps=24))
    assert proxy.diverged and len(proxy.losses) < 36 and math.isinf(proxy.last())

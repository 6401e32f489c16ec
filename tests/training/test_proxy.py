"""Proxies: the same losses as a run's, and a result where they diverge."""

import math
from pathlib import Path
from typing import Any

import pytest

from tests.training.conftest import MODEL, TRAINING, Trained, Workspace
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


def test_its_losses_are_those_of_a_run(trained: Trained, tmp_path: Path) -> None:
    inspected: list[int] = []
    proxy = train_proxy(a_job(trained.workspace, tmp_path), lambda model, step: inspected.append(step))
    folder = trained.run.folder
    rows = [row for part in folder.names("metrics/train_metrics/*") for row in read_rows(folder, part)]
    before = 0
    for row in rows:  # each has the mean loss since the row before
        since = proxy.losses[before : row["step"]]
        assert row["loss"] == sum(since) / len(since)
        before = row["step"]
    assert before == 36 and inspected == list(range(37)) and not proxy.diverged
    assert proxy.last(2 / 36) == pytest.approx(sum(proxy.losses[-2:]) / 2)
    assert not (tmp_path / "nothing").exists()


def test_one_that_diverges_is_a_result(workspace: Workspace, tmp_path: Path) -> None:
    proxy = train_proxy(a_job(workspace, tmp_path, peak_lr=1e38, warmup_steps=0, stable_steps=24))
    assert proxy.diverged and len(proxy.losses) < 36 and math.isinf(proxy.last())

"""The transfer test: every point is a proxy's own loss, and the best rates are told as they are."""

from typing import Any

import pytest
from matplotlib.image import imread

from tests.search.conftest import inputs_for
from tests.training.conftest import MODEL, Workspace
from xmodel_core.artifacts import Artifact, open_folder
from xmodel_core.cluster import open_cluster
from xmodel_core.cluster.config import ClusterConfig
from xmodel_core.errors import XmodelError
from xmodel_core.search.mup.lr_transfer import best_rates, run, transfers
from xmodel_core.search.mup.scaled import Widths, at_width, of_length
from xmodel_core.training.config import TrainingConfig
from xmodel_core.training.proxy import train_proxy
from xmodel_core.training.stage import job_of


def search(workspace: Workspace, training: TrainingConfig, workers: int = 1, **changes: Any) -> Artifact:
    short = of_length(training, 12)
    settings: dict[str, Any] = {"rates": [0.001, 0.01, 1e37], **changes}
    widths = settings.pop("widths", [16, 32])
    with open_cluster(ClusterConfig(workers=workers)) as cluster:
        return run(inputs_for(workspace, short, cluster), Widths(widths, layers=1, head_size=8), **settings)


def test_points_are_proxies_and_survive_kills(workspace: Workspace, training: TrainingConfig) -> None:
    tested = search(workspace, training)
    facts = tested.manifest()["facts"]
    losses = {(row["parametrisation"], row["width"], row["peak_lr"]): row["loss"] for row in facts["losses"]}
    assert len(losses) == 12 and losses["mup", 32, 1e37] is None
    short = of_length(training, 12).model_copy(update={"peak_lr": 0.01})
    folder, planned = open_folder(tested.path / "nothing"), workspace.planned(**short.model_dump())
    with open_cluster(ClusterConfig(workers=1)) as cluster:
        job = job_of("one", folder, planned.inputs(at_width(MODEL, 32, "mup", 16, 1, 8), short, cluster))
    assert losses["mup", 32, 0.01] == train_proxy(job).last()
    assert [(row["width"], row["best_lr"], row["at_edge"]) for row in facts["best"]] == [
        (16, 0.01, False),
        (32, 0.01, False),
    ] * 2
    assert facts["transfers"] == {"mup": True, "standard": True}
    assert imread(tested.path / "transfer.png").ndim == 3
    assert len((tested.path / "losses.tsv").read_text().splitlines()) == 13
    (tested.path / "manifest.json").unlink()
    (tested.path / "receipts/mup-00032-lr0.01-0.json").unlink()
    kept = (tested.path / "receipts/mup-00016-lr0.01-0.json").read_bytes()
    again = search(workspace, training, workers=2)
    assert again.manifest()["facts"] == facts
    assert (again.path / "receipts/mup-00016-lr0.01-0.json").read_bytes() == kept


def test_best_rates_are_told_as_they_are() -> None:
    def rows(width: int, *losses: float | None) -> list[dict[str, Any]]:
        rates = (1.0, 2.0, 4.0, 8.0)
        return [
            {"parametrisation": "mup", "width": width, "peak_lr": rate, "loss": loss}
            for rate, loss in zip(rates, losses, strict=True)
        ]

    near = best_rates([*rows(64, 3, 2, 2.5, 4), *rows(128, 3, 2.5, 2, None)])
    assert [(row["best_lr"], row["grid_steps"], row["at_edge"]) for row in near] == [(2, 0, False), (4, 1, False)]
    assert transfers(near) == {"mup": True}
    far = best_rates([*rows(64, 3, 2, 2.5, 4), *rows(128, 3, 2.5, 2.4, 2)])
    assert (far[1]["grid_steps"], far[1]["at_edge"]) == (2, True) and transfers(far) == {"mup": False}
    lost = best_rates([*rows(64, 3, 2, 2.5, 4), *rows(128, None, None, None, None)])
    assert lost[1]["best_lr"] is None and transfers(lost) == {"mup": False}


def test_too_few_widths_or_rates_are_refused(workspace: Workspace, training: TrainingConfig) -> None:
    with pytest.raises(XmodelError, match="too few widths or learning rates"):
        search(workspace, training, rates=[0.01, 0.02])

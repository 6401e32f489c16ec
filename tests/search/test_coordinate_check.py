"""The coordinate check at small widths: what muP holds still, what the standard parametrisation does not."""

import math
from pathlib import Path
from typing import Any

import pytest
from matplotlib.image import imread

from tests.search.conftest import inputs_for
from tests.training.conftest import MODEL, Workspace
from xmodel_core.artifacts import Artifact
from xmodel_core.cluster import open_cluster
from xmodel_core.cluster.config import ClusterConfig
from xmodel_core.errors import XmodelError
from xmodel_core.search.mup.coordinate_check import run, schedule, slope
from xmodel_core.search.mup.scaled import Widths
from xmodel_core.training.config import TrainingConfig


def check(workspace: Workspace, training: TrainingConfig, workers: int = 1, **changes: Any) -> Artifact:
    short = schedule(training, 2)
    settings: dict[str, Any] = {"steps": [1, 2], "seeds": 2, **changes}
    model, widths = settings.pop("model", MODEL), settings.pop("widths", [32, 64, 128])
    with open_cluster(ClusterConfig(workers=workers)) as cluster:
        inputs = inputs_for(workspace, short, cluster, model)
        return run(inputs, Widths(widths, layers=2, head_size=8), **settings)


def slopes(checked: Artifact, which: str, step: int, quantity: str = "size") -> dict[str, float]:
    return {
        row["role"]: row["slope"]
        for row in checked.manifest()["facts"]["table"]
        if (row["parametrisation"], row["step"], row["quantity"]) == (which, step, quantity)
    }


def test_activations_keep_their_size_under_mup_alone(workspace: Workspace, training: TrainingConfig) -> None:
    checked = check(workspace, training)
    start, plain = slopes(checked, "mup", 0), slopes(checked, "standard", 0)
    for role in ("embedding", "feed_forward_output", "residual", "final_hidden"):
        assert abs(start[role]) < 0.1, role
    # Theory: with independent weights of one standard deviation, products of queries and keys grow like the width, the
    # feed-forward's output like its 3/2 power; Table 6 divides logits by m where they add up like its square root.
    assert plain["attention_logits"] == pytest.approx(1, abs=0.2)
    assert plain["feed_forward_output"] == pytest.approx(1.5, abs=0.2)
    assert start["logits"] == pytest.approx(-0.5, abs=0.15)
    assert abs(start["attention_logits"]) < 0.2
    lines = (checked.path / "slopes.tsv").read_text().splitlines()
    assert lines[0].split("\t")[-3:] == ["width_32", "width_64", "width_128"]
    assert len(lines) == 1 + 2 * 7 * (1 + 2 + 2)
    assert all(imread(checked.path / f"{name}.png").ndim == 3 for name in ("sizes", "changes"))
    assert check(workspace, training) == checked


def test_it_finds_what_is_not_mup(workspace: Workspace, training: TrainingConfig) -> None:
    # Megatron's initial standard deviation of output projections has no width in it: the named conflict.
    depth = MODEL.model_copy(update={"output_projection_init": "depth"})
    found = slopes(check(workspace, training, model=depth), "mup", 0)
    assert found["feed_forward_output"] == pytest.approx(0.5, abs=0.15)


@pytest.mark.slow
def test_workers_and_kills_change_nothing(workspace: Workspace, training: TrainingConfig, tmp_path: Path) -> None:
    few: dict[str, Any] = {"widths": [16, 32], "seeds": 1, "steps": [1]}
    first = check(workspace, training, **few)
    facts = first.manifest()["facts"]
    kept = (first.path / "receipts/mup-00016-0.json").read_bytes()
    # As a kill leaves it: no manifest, one point missing.
    (first.path / "manifest.json").unlink()
    (first.path / "receipts/standard-00032-0.json").unlink()
    again = check(workspace, training, workers=2, **few)
    assert again.manifest()["facts"] == facts
    assert (again.path / "receipts/mup-00016-0.json").read_bytes() == kept


def test_what_is_no_check_is_refused(workspace: Workspace, training: TrainingConfig) -> None:
    with pytest.raises(XmodelError, match="too many tokens"):
        schedule(training, 20_000)
    with pytest.raises(XmodelError, match="two widths"):
        check(workspace, training, widths=[32, 32])


def test_a_slope_is_that_of_a_power() -> None:
    assert slope({64: 3 * 64**-0.5, 256: 3 * 256**-0.5, 1024: 3 * 1024**-0.5}) == pytest.approx(-0.5)
    assert math.isnan(slope({64: 1.0, 128: math.nan})) and math.isnan(slope({64: 0.0, 128: 1.0}))

"""The next trials follow from the losses known, and from nothing else."""

from typing import Any

import numpy as np
import pytest
from scipy.stats import linregress

from xmodel_core.search.config import SearchConfig
from xmodel_core.search.hparams.regression import fit
from xmodel_core.search.hparams.sampler import Sampler, Trial


def loss_of(trial: Trial) -> float | None:
    """Best at a learning rate of 0.02; everything above 0.05 diverges."""
    values = trial.hyperparameters
    return None if values.peak_lr > 0.05 else 4 + (50 * (values.peak_lr - 0.02)) ** 2 + 0.001 * values.scale_depth


def sampled(trials: int, seed: int = 0) -> tuple[list[Trial], Sampler]:
    sampler = Sampler(SearchConfig(trials_per_round=4, startup_trials=8, seed=seed))
    chosen: list[Trial] = []
    while len(chosen) < trials:
        asked = sampler.ask(4)
        sampler.tell(asked, [loss_of(trial) for trial in asked])
        chosen += asked
    return chosen, sampler


def test_the_same_losses_give_the_same_trials() -> None:
    assert sampled(24)[0] == sampled(24)[0] != sampled(24, seed=1)[0]


def test_it_avoids_what_diverges_and_approaches_the_best() -> None:
    trials = [trial for seed in range(3) for trial in sampled(60, seed)[0]]
    rates = {by: [t.hyperparameters.peak_lr for t in trials if t.sampled_by == by] for by in ("random", "tpe")}
    wild = {by: np.mean([rate > 0.05 for rate in chosen]) for by, chosen in rates.items()}
    assert wild["tpe"] < wild["random"] / 3
    assert np.median(np.abs(np.array(rates["tpe"]) - 0.02)) < 0.01


def test_the_trials_of_a_round_differ() -> None:
    trials, _ = sampled(40)
    rounds = [trials[first : first + 4] for first in range(8, 40, 4)]
    assert all(len({trial.hyperparameters for trial in four}) == 4 for four in rounds)


def test_importance_is_that_of_what_decides() -> None:
    _, sampler = sampled(60)
    importance = sampler.importance()
    assert sum(importance.values()) == pytest.approx(1)
    assert max(importance, key=lambda name: importance[name]) == "peak_lr"
    assert sampled(12)[1].importance() == {}


def test_the_regression_is_that_of_scipy() -> None:
    rng = np.random.default_rng(0)
    rates = rng.integers(1, 101, 40) / 1000
    rows = [{"peak_lr": rate, "same": 5, "loss": 3 + 17 * rate + rng.normal(0, 0.1)} for rate in rates]
    line = fit([*rows, {"peak_lr": 0.1, "same": 5, "loss": None}], ["peak_lr", "same"])
    theirs: Any = linregress(rates, [row["loss"] for row in rows])
    assert line is not None and line.observations == 40
    assert line.r2 == pytest.approx(theirs.rvalue**2)
    assert line.coefficients == pytest.approx({"constant": theirs.intercept, "peak_lr": theirs.slope})
    errors = {"constant": theirs.intercept_stderr, "peak_lr": theirs.stderr}
    assert line.standard_errors == pytest.approx(errors)


def test_too_few_trials_give_no_regression() -> None:
    rows = [{"peak_lr": lr, "loss": lr} for lr in (0.1, 0.2, 0.3)]
    assert fit(rows, ["peak_lr"]) is None and fit([], ["peak_lr"]) is None

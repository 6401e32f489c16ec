"""Which hyperparameters to try next: Optuna's TPE, in rounds.

Takes the ranges and the losses so far; gives the next trials. It is deterministic: the same sequence of `ask` and
`tell` gives the same trials, so a killed search is replayed from its receipts and no Optuna storage is needed.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution
from optuna.importance import PedAnovaImportanceEvaluator
from optuna.samplers import TPESampler
from optuna.trial import TrialState

from xmodel_core.model.config import ModelConfig
from xmodel_core.search.config import SearchConfig, Steps
from xmodel_core.training.config import TrainingConfig

SEARCHED = ("scale_emb", "dim_model_base", "scale_depth", "peak_lr")
FEWEST_FOR_IMPORTANCE = 20
"""With fewer trials the best tenth is one or two, whose spread is meaningless."""


@dataclass(frozen=True)
class Hyperparameters:
    """The values of one trial."""

    scale_emb: float
    dim_model_base: int
    scale_depth: float
    peak_lr: float

    def applied(self, model: ModelConfig, training: TrainingConfig) -> tuple[ModelConfig, TrainingConfig]:
        """The model and its training with these values in place of their own."""
        values = asdict(self)
        lr = values.pop("peak_lr")
        return model.model_copy(update=values), training.model_copy(update={"peak_lr": lr})


REPORT = Hyperparameters(scale_emb=12.0, dim_model_base=256, scale_depth=1.4, peak_lr=0.01)
"""Xmodel-2's own values. Its report states peak_lr; the others follow from MiniCPM's optimum (arXiv 2404.06395), which
it adopts, and from Xmodel-2.5's released training code."""


@dataclass(frozen=True)
class Trial:
    """A trial to run. Number 0 has the report's values, those of the sampler count from 1."""

    number: int
    sampled_by: str
    """`report`, `random` or `tpe`."""
    hyperparameters: Hyperparameters

    def row(self) -> dict[str, Any]:
        """Its columns of the table of trials."""
        return {"trial": self.number, "sampled_by": self.sampled_by, **asdict(self.hyperparameters)}


def _distribution(steps: Steps) -> FloatDistribution:
    return FloatDistribution(steps.low, steps.high, step=steps.step)


class Sampler:
    """Multivariate TPE with a constant liar: running trials count as bad ones until their losses are known, so that the
    trials of a round differ (Bergstra et al. 2011; Watanabe 2023, arXiv 2304.11127)."""

    def __init__(self, config: SearchConfig) -> None:
        optuna.logging.set_verbosity(optuna.logging.WARNING)  # a line per trial, which the ledger has
        self._config = config
        self._ranges: dict[str, BaseDistribution] = {
            "scale_emb": _distribution(config.scale_emb),
            "dim_model_base": CategoricalDistribution(config.dim_model_base),
            "scale_depth": _distribution(config.scale_depth),
            "peak_lr": _distribution(config.peak_lr),
        }
        tpe = TPESampler(
            n_startup_trials=config.startup_trials, seed=config.seed, multivariate=True, constant_liar=True
        )
        self._study = optuna.create_study(direction="minimize", sampler=tpe)
        self._finished = 0

    def ask(self, count: int) -> list[Trial]:
        """The next trials, chosen by the losses known so far."""
        source = "random" if self._finished < self._config.startup_trials else "tpe"
        return [self._next(source) for _ in range(count)]

    def _next(self, source: str) -> Trial:
        asked = self._study.ask(self._ranges)
        # Steps of 0.1 add up to 1.4000000000000001: rounded, the values are those of the table.
        values = {name: round(asked.params[name], 9) for name in SEARCHED}
        return Trial(asked.number + 1, source, Hyperparameters(**values))

    def tell(self, trials: Sequence[Trial], losses: Sequence[float | None]) -> None:
        """Records the losses of a round's trials, in the order asked; None for a proxy that diverged.

        Diverged trials are recorded as pruned. TPE ranks pruned trials below all others and so avoids their
        surroundings; failed ones it would ignore and try again; an invented loss would distort the importance.
        """
        for trial, loss in zip(trials, losses, strict=True):
            state = TrialState.PRUNED if loss is None else TrialState.COMPLETE
            self._study.tell(trial.number - 1, loss, state)
        self._finished += len(trials)

    def importance(self) -> dict[str, float]:
        """How much each hyperparameter decides whether a trial is among the best tenth; the values add up to 1. Empty
        for fewer than FEWEST_FOR_IMPORTANCE trials. PED-ANOVA (Watanabe et al. 2023, arXiv 2304.10255), which needs no
        random forest as fANOVA does."""
        if len(self._study.get_trials(deepcopy=False, states=[TrialState.COMPLETE])) < FEWEST_FOR_IMPORTANCE:
            return {}
        return optuna.importance.get_param_importances(self._study, evaluator=PedAnovaImportanceEvaluator())

"""A straight line through the trials: loss against each hyperparameter, by ordinary least squares.

Takes finished trials; gives coefficients, their standard errors and R². The lab did the same over 202 observations
(a comment in the LaTeX source of arXiv 2412.19638); its coefficients are kept here for comparison.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

CONSTANT = "constant"
LAB = {CONSTANT: 3.4267, "peak_lr": 17.3123, "scale_emb": -0.0034, "dim_model_base": 0.0044, "scale_depth": -0.0700}
LAB_R2, LAB_OBSERVATIONS = 0.678, 202


@dataclass(frozen=True)
class Line:
    """loss = constant + Σ coefficient · value."""

    r2: float
    observations: int
    coefficients: dict[str, float]
    standard_errors: dict[str, float]


def fit(trials: Sequence[Mapping[str, Any]], names: Sequence[str]) -> Line | None:
    """The line through the trials that have a loss. A hyperparameter that never changes is left out; None where there
    are fewer than two observations per coefficient, or the values are collinear."""
    finished = [trial for trial in trials if trial["loss"] is not None]
    varied = [name for name in names if len({trial[name] for trial in finished}) > 1]
    terms = [CONSTANT, *varied]
    if not varied or len(finished) < 2 * len(terms):
        return None
    values = np.array([[1.0, *(trial[name] for name in varied)] for trial in finished], dtype=np.float64)
    losses = np.array([trial["loss"] for trial in finished], dtype=np.float64)
    # Columns scaled to one magnitude: dim_model_base is ten thousand times peak_lr.
    sizes = np.abs(values).max(axis=0)
    scaled = values / sizes
    coefficients, _, rank, _ = np.linalg.lstsq(scaled, losses)
    if rank < len(terms):
        return None
    residual = float(np.sum((losses - scaled @ coefficients) ** 2))
    spread = float(np.sum((losses - losses.mean()) ** 2))
    variance = residual / (len(losses) - len(terms))
    errors = np.sqrt(variance * np.diag(np.linalg.inv(scaled.T @ scaled)))
    return Line(
        r2=1 - residual / spread if spread else 0.0,
        observations=len(losses),
        coefficients=dict(zip(terms, (coefficients / sizes).tolist(), strict=True)),
        standard_errors=dict(zip(terms, (errors / sizes).tolist(), strict=True)),
    )

"""The page of a search: one self-contained HTML file.

Takes the trials, the search's facts and its picture; gives HTML without external resources. Nothing in it depends on
when or where the search ran.
"""

from base64 import b64encode
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from xmodel_core.search.config import SearchConfig, Steps
from xmodel_core.search.hparams import regression
from xmodel_core.search.hparams.panels import NAMES
from xmodel_core.search.hparams.sampler import FEWEST_FOR_IMPORTANCE, REPORT

HERE = Path(__file__).parent


def _range(values: Steps | list[int]) -> str:
    if isinstance(values, Steps):
        return f"{values.low:g} to {values.high:g}, step {values.step:g}"
    return ", ".join(map(str, values))


def _short(value: float | None, digits: int = 4) -> str:
    return "–" if value is None else f"{value:.{digits}g}"


def _power(value: float) -> str:
    """6.2 × 10¹³"""
    digits, exponent = f"{value:.1e}".split("e")
    return f"{digits} × 10{str(int(exponent)).translate(str.maketrans('-0123456789', '⁻⁰¹²³⁴⁵⁶⁷⁸⁹'))}"


def _comparison(facts: Mapping[str, Any], config: SearchConfig) -> list[dict[str, Any]]:
    """One row per hyperparameter: the best trial beside the report."""
    return [
        {
            "name": name,
            "label": label,
            "range": _range(getattr(config, name)),
            "best": facts["best"][name],
            "tenth": facts["best_tenth"][name],
            "report": getattr(REPORT, name),
            "importance": facts["importance"].get(name),
        }
        for name, label in NAMES.items()
    ]


def _terms(line: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    """One row per coefficient of the regression, with the lab's."""
    if line is None:
        return []
    return [
        {
            "name": name,
            "value": value,
            "error": error,
            "t": value / error if error else None,
            "lab": regression.LAB.get(name),
        }
        for name, value in line["coefficients"].items()
        for error in [line["standard_errors"][name]]
    ]


def write_page(
    label: str,
    trials: Sequence[Mapping[str, Any]],
    facts: Mapping[str, Any],
    config: SearchConfig,
    panels: bytes,
) -> str:
    """The page as HTML. `label`: the search's; `trials`: rows, the report's first; `panels`: a PNG."""
    environment = Environment(
        loader=FileSystemLoader(HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"short": _short, "power": _power}
    ranked = sorted(trials, key=lambda row: (row["diverged"], row["loss"], row["trial"]))
    return environment.get_template("page.html").render(
        label=label,
        facts=facts,
        config=config,
        comparison=_comparison(facts, config),
        terms=_terms(facts["regression"]),
        lab_r2=regression.LAB_R2,
        lab_observations=regression.LAB_OBSERVATIONS,
        fewest_for_importance=FEWEST_FOR_IMPORTANCE,
        trials=ranked,
        diverged=[row["trial"] for row in trials if row["diverged"]],
        panels=b64encode(panels).decode(),
    )

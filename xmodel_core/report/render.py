"""The page: the facts about a run in, one HTML text out.

Takes the labels of the artifacts that belong together; gives a page that fetches nothing: style and figures are
inside. What a chapter shows comes from facts.py; how it looks is in page.html and page.css.
"""

from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from xmodel_core.artifacts import Place
from xmodel_core.report import facts, figures
from xmodel_core.report.facts import Subject
from xmodel_core.report.palette import COLOURS, LANGS

HERE = Path(__file__).parent
UNITS = ("docs", "chars")
LANGUAGE_NAMES = {"zh": "中文", "en": "English", "code": "code", "other": "other"}


def _river(flow: facts.Funnel) -> dict[str, Any]:
    return {
        "stages": flow.stages,
        "widest": {unit: max((getattr(stage, f"{unit}_out") for stage in flow.stages), default=0) for unit in UNITS},
        "langs": [lang for lang in flow.langs if lang in LANGS],
        "figure": figures.river(flow.rows) if flow.rows else "",
    }


def _drops(reasons: list[facts.DropReason]) -> list[facts.DropReason]:
    """Inside a stage, the reason with most documents first."""
    stages = list(dict.fromkeys(reason.stage for reason in reasons))
    return sorted(reasons, key=lambda reason: (stages.index(reason.stage), -reason.docs, reason.reason))


def _fertility(measured: facts.Fertility) -> dict[str, Any]:
    languages, sources = ([row for row in rows if row.tokens] for rows in measured)
    return {
        "languages": languages,
        "sources": sorted(sources, key=lambda row: (-row.tokens, row.source or "", row.lang)),
        "widest": max((row.tokens_per_char or 0 for row in sources), default=0),
    }


def _figures_of(run: facts.Training) -> dict[str, str]:
    measured = any(row["bits_per_byte"] is not None for row in run.validation_rows)
    return {
        "training": figures.training(run.metrics) if len(run.metrics) > 1 else "",
        "validation": figures.validation(run.validation_rows) if measured else "",
    }


def _group(value: float | int | None) -> str:
    return "–" if value is None else f"{value:,.0f}"


def _short(value: float | None) -> str:
    if value is None:
        return "–"
    for limit, suffix in ((1e12, " T"), (1e9, " B"), (1e6, " M"), (1e4, " k")):
        if abs(value) >= limit:
            scaled = value / (1e3 if limit == 1e4 else limit)
            return f"{scaled:.3g}{suffix}"
    return f"{value:,.0f}"


def _power(value: float) -> str:
    """6.2 × 10¹³"""
    digits, exponent = f"{value:.1e}".split("e")
    return f"{digits} × 10{str(int(exponent)).translate(str.maketrans('-0123456789', '⁻⁰¹²³⁴⁵⁶⁷⁸⁹'))}"


def _clock(seconds: float | None) -> str:
    if seconds is None:
        return "–"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60} h {minutes % 60:02d} min" if minutes >= 60 else f"{minutes} min {rest:02d} s"


def _digits(value: float | None, places: int = 3) -> str:
    return "–" if value is None else f"{value:.{places}f}"


def _percent(share: float | None, places: int = 1) -> str:
    return "–" if share is None else f"{100 * share:.{places}f} %"


def _of(part: float | None, total: float | None) -> float:
    """A share for a bar's width, in percent of its cell."""
    return round(100 * (part or 0) / total, 2) if total else 0.0


def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {
        "group": _group,
        "short": _short,
        "clock": _clock,
        "digits": _digits,
        "percent": _percent,
        "power": _power,
    }
    environment.globals |= {"of": _of, "colours": COLOURS, "names": LANGUAGE_NAMES, "langs": LANGS}
    return environment


def render(workspace: Place, subject: Subject) -> str:
    """The page about a subject, from the workspace's ledger. XmodelError where there is no ledger."""
    flow, mixture = facts.funnel(workspace, subject.corpus), facts.mixture(workspace, subject.run)
    training = facts.training(workspace, subject.run)
    scores = facts.scores(workspace, subject.run, subject.evaluation)
    artifacts = facts.lineage(workspace, subject)
    return (
        _environment()
        .get_template("page.html")
        .render(
            css=(HERE / "page.css").read_text(encoding="utf-8").replace("FONTS", figures.FONTS),
            subject=subject,
            run=facts.run_of(workspace, subject.run),
            seconds=sum(artifact["seconds"] or 0 for artifact in artifacts),
            funnel=_river(flow),
            drops=_drops(facts.drops(workspace, subject.corpus)),
            mixture=mixture,
            widest_source=max((source.planned_tokens or 0 for source in mixture.sources), default=0),
            balance=facts.language_shares(flow, mixture),
            fertility=_fertility(facts.fertility(workspace, subject.tokenizer)),
            training=training,
            training_figures=_figures_of(training),
            scores=scores,
            scores_figure=figures.scores(scores.headline) if scores.headline else "",
            books=facts.table(workspace, "@books").rows,
            artifacts=artifacts,
        )
    )

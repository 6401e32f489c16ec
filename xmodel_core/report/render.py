"""The page: queries of the ledger in, one HTML text out.

Takes the labels of what belongs together; gives a page that fetches nothing: style and figures are inside.
What a chapter shows is one function here; how it looks stands in page.html and page.css.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from xmodel_core.artifacts import Place
from xmodel_core.ledger.query import run_query
from xmodel_core.report import figures
from xmodel_core.report.figures import LANGS, Row

HERE = Path(__file__).parent
LANGUAGE_NAMES = {"zh": "中文", "en": "English", "code": "code", "other": "other"}


@dataclass(frozen=True)
class Subject:
    """What a page tells about: labels of artifacts, as the ledger knows them."""

    corpus: str
    tokenizer: str
    plan: str
    run: str
    evaluation: str | None = None


@dataclass(frozen=True)
class _Ledger:
    root: Place
    subject: Subject

    def rows(self, sql: str) -> list[Row]:
        """Rows as dicts; `$corpus`, `$run` … in the SQL stand for the subject's labels."""
        given = {name: label for name, label in asdict(self.subject).items() if f"${name}" in sql}
        columns, rows = run_query(self.root, sql, given)
        return [dict(zip(columns, row, strict=True)) for row in rows]


def _funnel(ledger: _Ledger) -> dict[str, Any]:
    rows = ledger.rows("select * from funnel where corpus = $corpus order by position, lang")
    stages: list[Row] = []
    for stage in dict.fromkeys(row["stage"] for row in rows):
        here = [row for row in rows if row["stage"] == stage]
        sums = {
            k: sum(row[k] or 0 for row in here)
            for k in ("docs_in", "docs_out", "docs_dropped", "chars_out", "chars_dropped")
        }
        docs, chars = ({row["lang"]: row[f"{unit}_out"] or 0 for row in here} for unit in ("docs", "chars"))
        stages.append({"stage": stage, **sums, "docs": docs, "chars": chars})
    widest = {unit: max((stage[f"{unit}_out"] for stage in stages), default=0) for unit in ("docs", "chars")}
    langs = [lang for lang in LANGS if any(row["lang"] == lang for row in rows)]
    return {"stages": stages, "widest": widest, "langs": langs, "figure": figures.river(rows) if rows else ""}


def _drops(ledger: _Ledger) -> list[Row]:
    rows = ledger.rows(
        """select d.stage, d.reason, d.lang, sum(d.docs)::bigint as docs, sum(d.chars)::bigint as chars,
            min(s.position) as position
        from document_drops d left join stages s using (stage) where corpus = $corpus and d.docs > 0
        group by d.stage, d.reason, d.lang"""
    )
    reasons: dict[tuple[Any, ...], Row] = {}
    for row in rows:
        key = (row["position"] or 99, row["stage"], row["reason"])
        line = reasons.setdefault(
            key, {"stage": row["stage"], "reason": row["reason"], "docs": 0, "chars": 0, "langs": {}}
        )
        line["docs"] += row["docs"]
        line["chars"] += row["chars"] or 0
        line["langs"][row["lang"]] = row["docs"]
    return [line for _, line in sorted(reasons.items(), key=lambda item: (item[0][0], -item[1]["docs"], item[0][2]))]


def _mixture(ledger: _Ledger) -> dict[str, Any]:
    rows = ledger.rows("select * from mixture where plan = $plan order by source, phase")
    eaten = {
        row["source"]: row
        for row in ledger.rows(
            "select source, max(tokens) as tokens, max(epochs) as epochs from consumed where run = $run group by source"
        )
    }
    phases = list(
        dict.fromkeys(
            row["phase"] for row in ledger.rows("select phase from train_metrics where run = $run order by step")
        )
    )
    phases = [p for p in phases if p in {r["phase"] for r in rows}] or sorted({row["phase"] for row in rows})
    sources: dict[str, Row] = {}
    for row in rows:
        line = sources.setdefault(
            row["source"],
            {key: row[key] for key in ("source", "lang", "category", "supply_tokens")} | {"planned": 0, "weights": {}},
        )
        line["planned"] += row["planned_tokens"] or 0
        line["weights"][row["phase"]] = row["weight"]
    for name, line in sources.items():
        line["consumed"] = eaten.get(name, {}).get("tokens")
        line["epochs"] = eaten.get(name, {}).get("epochs")
    lines = sorted(sources.values(), key=lambda line: (-line["planned"], line["source"]))
    return {
        "sources": lines,
        "phases": phases,
        "planned": sum(line["planned"] for line in lines),
        "consumed": sum(line["consumed"] or 0 for line in lines),
        "widest": max((line["planned"] for line in lines), default=0),
    }


def _balance(ledger: _Ledger, funnel: dict[str, Any], mixture: dict[str, Any]) -> list[Row]:
    """The languages' shares along the way: read, kept, planned, consumed. Documents count by their detected language,
    tokens by their source's declared one."""
    lines: list[Row] = []

    def add(what: str, unit: str, amounts: dict[str, int]) -> None:
        if total := sum(amounts.values()):
            shares = {lang: amount / total for lang, amount in amounts.items() if amount}
            lines.append({"what": what, "unit": unit, "total": total, "shares": shares})

    if funnel["stages"]:
        read = ledger.rows(
            "select lang, chars_in from funnel where corpus = $corpus qualify position = min(position) over ()"
        )
        add("read", "characters", {row["lang"]: row["chars_in"] or 0 for row in read})
        add("kept", "characters", funnel["stages"][-1]["chars"])
    for what, key in (("planned", "planned"), ("consumed", "consumed")):
        amounts: dict[str, int] = {}
        for line in mixture["sources"]:
            lang = line["lang"] if line["lang"] in LANGS else "other"
            amounts[lang] = amounts.get(lang, 0) + (line[key] or 0)
        add(what, "tokens", amounts)
    return lines


def _fertility(ledger: _Ledger) -> dict[str, Any]:
    query = (
        "select {group} sum(chars)::bigint as chars, sum(tokens)::bigint as tokens,"
        " sum(tokens) / nullif(sum(chars), 0) as tokens_per_char,"
        " sum(bytes) / nullif(sum(tokens), 0) as bytes_per_token"
        " from tokenizer_fertility where tokenizer = $tokenizer group by all having sum(tokens) > 0 order by {order}"
    )
    languages = ledger.rows(query.format(group="lang,", order="lang"))
    languages.sort(key=lambda row: LANGS.index(row["lang"]) if row["lang"] in LANGS else len(LANGS))
    sources = ledger.rows(
        query.format(group="source, lang, any_value(category) as category,", order="tokens desc, source, lang")
    )
    return {
        "languages": languages,
        "sources": sources,
        "widest": max((r["tokens_per_char"] or 0 for r in sources), default=0),
    }


def _training(ledger: _Ledger) -> dict[str, Any]:
    metrics = ledger.rows("select * from train_metrics where run = $run order by step")
    validation = ledger.rows("select * from validation where run = $run order by step, source, lang")
    first, last = ({row["source"]: row for row in rows} for rows in (validation[::-1], validation))
    table = [
        {
            "source": name,
            "lang": row["lang"],
            "first": first[name]["bits_per_byte"],
            "last": row["bits_per_byte"],
            "loss": row["loss"],
        }
        for name, row in sorted(last.items(), key=lambda item: (item[1]["lang"] or "", item[0]))
    ]
    rates = sorted(row["tokens_per_second"] for row in metrics if row["tokens_per_second"])
    return {
        "figure": figures.training(metrics) if len(metrics) > 1 else "",
        "steps": metrics[-1]["step"] if metrics else 0,
        "tokens": metrics[-1]["tokens"] if metrics else None,
        "loss": metrics[-1]["loss"] if metrics else None,
        "seconds": sum(row["seconds"] or 0 for row in metrics),  # each row's are its own steps'
        "rate": rates[len(rates) // 2] if rates else None,
        "mfu": max((row["mfu"] for row in metrics if row["mfu"]), default=None),
        "validation_figure": figures.validation(validation)
        if any(r["bits_per_byte"] is not None for r in validation)
        else "",
        "validation": table,
        "checkpoints": ledger.rows(
            "select step, tokens, path, bytes, kept from checkpoints where run = $run order by step"
        ),
    }


def _scores(ledger: _Ledger) -> dict[str, Any]:
    """Own scores of the run's last evaluated step among the published rows of the same task, metric and shots."""
    rows = ledger.rows(
        """with own as (select * from leaderboard where run = $run qualify step is not distinct from max(step) over ())
        select l.*, l.run is not null as own from leaderboard l
        where (l.run = $run and l.step is not distinct from (select max(step) from own))
            or (l.run is null and (l.suite, l.task, l.metric) in (select suite, task, metric from own))
        order by l.suite, l.task, l.metric, l.shots, l.value desc, l.model"""
    )
    facts: dict[str, Any] = {}
    if ledger.subject.evaluation:
        sql = "select facts::varchar as facts from artifacts where label = $evaluation and kind = 'evaluations'"
        facts = next((json.loads(row["facts"]) for row in ledger.rows(sql)), {})
    chief = {(score["suite"], score["task"]): score for score in facts.get("scores", [])}
    for row in rows:
        row["lang"] = chief.get((row["suite"], row["task"]), {}).get("lang")
    spoken = [row for row in rows if chief.get((row["suite"], row["task"]), row)["metric"] == row["metric"]]
    figure = figures.scores(spoken) if spoken else ""
    return {"rows": rows, "gates": facts.get("gates", []), "figure": figure}


def _artifacts(ledger: _Ledger) -> list[Row]:
    """Everything the run was made of, back to the raw documents, in the order in which it was made."""
    return ledger.rows(
        """with recursive lineage as (
            select * from artifacts where (kind, label) in (('corpus', $corpus), ('tokenizer', $tokenizer),
                ('plans', $plan), ('runs', $run), ('evaluations', $evaluation))
            union
            select a.* from lineage l join artifact_inputs i on (i.kind, i.label) = (l.kind, l.label)
                join artifacts a on a.fingerprint = i.fingerprint
        )
        select kind, label, path, created_at, seconds, code_version from lineage
        order by list_position(
            ['raw', 'scans', 'corpus', 'tokenizer', 'shards', 'plans', 'runs', 'evaluations'], kind), label"""
    )


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


def _of(part: float | None, whole: float | None) -> float:
    """A share for a bar's width, in percent of its cell."""
    return round(100 * (part or 0) / whole, 2) if whole else 0.0


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
    environment.globals |= {"of": _of, "colours": figures.COLOURS, "names": LANGUAGE_NAMES, "langs": LANGS}
    return environment


def render(workspace: Place, subject: Subject) -> str:
    """The page about a subject, from the workspace's ledger. XmodelError where there is no ledger."""
    ledger = _Ledger(workspace, subject)
    runs: Sequence[Row] = ledger.rows("select * from runs where run = $run")
    funnel, mixture = _funnel(ledger), _mixture(ledger)
    artifacts = _artifacts(ledger)
    return (
        _environment()
        .get_template("page.html")
        .render(
            css=(HERE / "page.css").read_text(encoding="utf-8").replace("FONTS", figures.FONTS),
            subject=subject,
            run=runs[0]
            if runs
            else {
                "recipe": subject.run,
                "parameters": None,
                "hardware": None,
                "flops": None,
                "world_size": None,
                "status": None,
            },
            seconds=sum(artifact["seconds"] or 0 for artifact in artifacts),
            funnel=funnel,
            drops=_drops(ledger),
            mixture=mixture,
            balance=_balance(ledger, funnel, mixture),
            fertility=_fertility(ledger),
            training=_training(ledger),
            scores=_scores(ledger),
            books=ledger.rows("select * from books"),
            artifacts=artifacts,
        )
    )

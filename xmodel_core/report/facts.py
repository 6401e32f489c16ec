"""What the ledger knows about a corpus, a tokenizer, a run and its scores: the facts that every reader shows.

Takes a workspace whose ledger is up to date and the label of an artifact; gives rows and their sums, from the
ledger's named queries and, where those leave a column out, from the tables behind them. The terminal, the Prefect UI
and the page only render these. Importing this loads no plotting library.
"""

import json
from collections.abc import Collection, Mapping
from math import isfinite
from typing import Any, NamedTuple

from xmodel_core.artifacts import Place
from xmodel_core.ledger.query import run_query
from xmodel_core.report.palette import LANGS

Row = dict[str, Any]

OWN = "this workspace"
"""The `source` of a leaderboard's rows that are not published ones."""


class Table(NamedTuple):
    """A named query's rows about one subject, without the columns that name the subject."""

    columns: list[str]
    rows: list[Row]


def table(root: Place, query: str, **labels: str) -> Table:
    """The rows of a named query (`@funnel`) whose columns have the values of `labels`, those columns left out."""
    columns, values = run_query(root, query)
    rows = [dict(zip(columns, row, strict=True)) for row in values]
    shown = [column for column in columns if column not in labels]
    kept = [row for row in rows if all(row[column] == label for column, label in labels.items())]
    return Table(shown, [{column: row[column] for column in shown} for row in kept])


def select(root: Place, sql: str, **parameters: str | None) -> list[Row]:
    """The rows of a statement as dicts; `parameters` fill `$name` in it."""
    columns, rows = run_query(root, sql, parameters)
    return [dict(zip(columns, row, strict=True)) for row in rows]


def without(row: Row, *columns: str) -> Row:
    """The row without some of its columns."""
    return {column: value for column, value in row.items() if column not in columns}


def ordered_languages(langs: Collection[str]) -> list[str]:
    """Chinese, English, code, other; then any that are none of these."""
    return [lang for lang in LANGS if lang in langs] + sorted(set(langs) - set(LANGS))


class StageFlow(NamedTuple):
    """Documents and characters through one stage of the corpus: totals, and by language what went out."""

    stage: str
    docs_in: int
    docs_dropped: int
    docs_out: int
    chars_in: int
    chars_dropped: int
    chars_out: int
    docs: dict[str, int]
    """Language → documents out."""
    chars: dict[str, int]
    """Language → characters out."""


class Funnel(NamedTuple):
    """A corpus stage by stage."""

    rows: list[Row]
    """Per stage and language, in stage order: the view `funnel`."""
    stages: list[StageFlow]
    langs: list[str]

    @property
    def chars_read(self) -> dict[str, int]:
        """Language → characters that came into the first stage."""
        return {row["lang"]: row["chars_in"] or 0 for row in self.rows if row["stage"] == self.stages[0].stage}


def funnel(root: Place, corpus: str) -> Funnel:
    """The flow of a corpus's documents, summed over its sources."""
    rows = select(root, "select * from funnel where corpus = $corpus order by position, lang", corpus=corpus)
    stages = []
    sums = ("docs_in", "docs_dropped", "docs_out", "chars_in", "chars_dropped", "chars_out")
    for stage in dict.fromkeys(row["stage"] for row in rows):
        of_stage = [row for row in rows if row["stage"] == stage]
        totals = {column: sum(row[column] or 0 for row in of_stage) for column in sums}
        docs, chars = ({row["lang"]: row[f"{unit}_out"] or 0 for row in of_stage} for unit in ("docs", "chars"))
        stages.append(StageFlow(stage, **totals, docs=docs, chars=chars))
    return Funnel(rows, stages, ordered_languages({row["lang"] for row in rows}))


class DropReason(NamedTuple):
    """What one stage dropped for one reason."""

    stage: str
    reason: str
    docs: int
    langs: dict[str, int]
    """Language → documents."""
    chars: int


def drops(root: Place, corpus: str) -> list[DropReason]:
    """Every reason for which a corpus dropped documents, stage by stage, those with most in one language first."""
    reasons: dict[tuple[str, str], list[Row]] = {}
    for row in table(root, "@drops", corpus=corpus).rows:
        reasons.setdefault((row["stage"], row["reason"]), []).append(row)
    return [
        DropReason(
            stage,
            reason,
            sum(row["docs"] for row in rows),
            {row["lang"]: row["docs"] for row in rows},
            sum(row["chars"] or 0 for row in rows),
        )
        for (stage, reason), rows in reasons.items()
    ]


def balance(root: Place, corpus: str, mixture_shares: Mapping[str, float]) -> Table:
    """What is kept of each source and language, beside the share of training tokens that the mixture asks for
    (`mixture_share`, from source → share; 0 where it does not name the source)."""
    columns, rows = table(root, "@balance", corpus=corpus)
    # The query's own weight is that of the newest plan; here it is that of the recipe at hand.
    kept = [column for column in columns if column != "mixture_weight"]
    shares = [{"mixture_share": mixture_shares.get(row["source"], 0.0)} for row in rows]
    return Table(
        [*kept, "mixture_share"],
        [without(row, "mixture_weight") | share for row, share in zip(rows, shares, strict=True)],
    )


class FertilityRow(NamedTuple):
    """A tokenizer on the text of one language, of one source or (source is None) of all."""

    source: str | None
    lang: str
    category: str | None
    bytes: int | None
    measured: Row
    """The columns of `@fertility`, ratios rounded: chars, tokens, tokens_per_char, bytes_per_token …"""

    @property
    def chars(self) -> int:
        """Characters of the text."""
        return self.measured["chars"]

    @property
    def tokens(self) -> int:
        """Tokens of the text, no end of document counted."""
        return self.measured["tokens"]

    @property
    def tokens_per_char(self) -> float | None:
        """Not rounded."""
        return self.tokens / self.chars if self.chars else None

    @property
    def bytes_per_token(self) -> float | None:
        """Not rounded."""
        return self.bytes / self.tokens if self.bytes is not None and self.tokens else None


class Fertility(NamedTuple):
    """How short a tokenizer makes the text of its corpus."""

    languages: list[FertilityRow]
    sources: list[FertilityRow]


def fertility(root: Place, tokenizer: str) -> Fertility:
    """Tokens per character and bytes per token, by language, then by source and language."""
    sizes = select(
        root,
        "select source, lang, any_value(category) as category, sum(bytes)::bigint as bytes from tokenizer_fertility"
        " where tokenizer = $tokenizer group by grouping sets ((source, lang), (lang))",
        tokenizer=tokenizer,
    )
    size_of = {(row["source"] or "all", row["lang"]): row for row in sizes}
    languages, sources = {}, []
    for row in table(root, "@fertility", tokenizer=tokenizer).rows:
        size, measured = size_of[row["source"], row["lang"]], without(row, "source", "lang")
        if row["source"] == "all":
            languages[row["lang"]] = FertilityRow(None, row["lang"], None, size["bytes"], measured)
        else:
            sources.append(FertilityRow(row["source"], row["lang"], size["category"], size["bytes"], measured))
    return Fertility([languages[lang] for lang in ordered_languages(languages.keys())], sources)


class MixtureSource(NamedTuple):
    """One source in a run's mixture; tokens over all phases."""

    source: str
    lang: str
    category: str | None
    weight: float | None
    """Mean over the phases, each counted by its planned tokens."""
    weights: dict[str, float]
    """Phase → weight."""
    supply_tokens: int | None
    planned_tokens: int | None
    consumed_tokens: int | None
    epochs: float | None
    """How often the run has read the source so far."""


class Mixture(NamedTuple):
    """Planned and consumed tokens of a run."""

    sources: list[MixtureSource]
    """The one with most planned tokens first."""
    phases: list[str]
    """In the order in which they were trained."""
    planned: int
    consumed: int


def mixture(root: Place, run: str) -> Mixture:
    """What a run's plan takes of each source, and what the run has consumed of it."""
    planned = select(
        root,
        "select m.* from mixture m join runs r using (plan) where r.run = $run order by m.source, m.phase",
        run=run,
    )
    trained = select(root, "select phase from train_metrics where run = $run order by step", run=run)
    phases = list(dict.fromkeys(row["phase"] for row in trained))
    planned_phases = {row["phase"] for row in planned}
    first: dict[str, Row] = {}
    weights: dict[str, dict[str, float]] = {}
    for row in planned:
        first.setdefault(row["source"], row)
        weights.setdefault(row["source"], {})[row["phase"]] = row["weight"]
    sources = [
        MixtureSource(**without(row, "plan"), category=first[row["source"]]["category"], weights=weights[row["source"]])
        for row in table(root, "@mixture", run=run).rows
    ]
    return Mixture(
        sources,
        [phase for phase in phases if phase in planned_phases] or sorted(planned_phases),
        sum(source.planned_tokens or 0 for source in sources),
        sum(source.consumed_tokens or 0 for source in sources),
    )


class LanguageShares(NamedTuple):
    """How an amount of text is divided among the languages."""

    what: str
    """read, kept, planned, consumed"""
    unit: str
    total: int
    shares: dict[str, float]


def language_shares(flow: Funnel, mixed: Mixture) -> list[LanguageShares]:
    """The languages' shares along the way; amounts that are nothing are left out. Characters count by detected
    language, tokens by the language their source declares."""
    amounts: list[tuple[str, str, dict[str, int]]] = []
    if flow.stages:
        amounts += [("read", "characters", flow.chars_read), ("kept", "characters", flow.stages[-1].chars)]
    for what in ("planned", "consumed"):
        tokens: dict[str, int] = {}
        for source in mixed.sources:
            lang = source.lang if source.lang in LANGS else "other"
            tokens[lang] = tokens.get(lang, 0) + (getattr(source, f"{what}_tokens") or 0)
        amounts.append((what, "tokens", tokens))
    return [
        LanguageShares(what, unit, total, {lang: amount / total for lang, amount in by_lang.items() if amount})
        for what, unit, by_lang in amounts
        if (total := sum(by_lang.values()))
    ]


class Loss(NamedTuple):
    """The training loss at about twenty steps of a run."""

    rows: list[Row]
    finite: list[Row]
    """Those whose loss is a finite number."""


def loss(root: Place, run: str) -> Loss:
    """The rows of `@loss`."""
    rows = table(root, "@loss", run=run).rows
    return Loss(rows, [row for row in rows if row["loss"] is not None and isfinite(row["loss"])])


class Validation(NamedTuple):
    """One source's held-out documents, at the first and the last measurement."""

    source: str
    lang: str | None
    first: float | None
    """Bits per byte."""
    last: float | None
    loss: float | None
    """Nats per token, at the last."""


class Training(NamedTuple):
    """A training run, every logged step of it."""

    metrics: list[Row]
    """The run's rows of train_metrics, in step order."""
    validation_rows: list[Row]
    """The run's rows of validation, in step order."""
    validation: list[Validation]
    checkpoints: list[Row]

    @property
    def steps(self) -> int:
        """The last logged step."""
        return self.metrics[-1]["step"] if self.metrics else 0

    @property
    def tokens(self) -> int | None:
        """Tokens trained by the last logged step."""
        return self.metrics[-1]["tokens"] if self.metrics else None

    @property
    def loss(self) -> float | None:
        """Training loss at the last logged step, nats per token."""
        return self.metrics[-1]["loss"] if self.metrics else None

    @property
    def seconds(self) -> float:
        """Seconds of training: each logged row has those of its own steps."""
        return sum(row["seconds"] or 0 for row in self.metrics)

    @property
    def rate(self) -> float | None:
        """Median tokens per second."""
        rates = sorted(row["tokens_per_second"] for row in self.metrics if row["tokens_per_second"])
        return rates[len(rates) // 2] if rates else None

    @property
    def mfu(self) -> float | None:
        """The best share of the hardware's peak FLOPs."""
        return max((row["mfu"] for row in self.metrics if row["mfu"]), default=None)


def training(root: Place, run: str) -> Training:
    """A run's metrics, validation and checkpoints."""
    metrics = select(root, "select * from train_metrics where run = $run order by step", run=run)
    rows = select(root, "select * from validation where run = $run order by step, source, lang", run=run)
    first, last = ({row["source"]: row for row in ordered} for ordered in (rows[::-1], rows))
    validation = [
        Validation(name, row["lang"], first[name]["bits_per_byte"], row["bits_per_byte"], row["loss"])
        for name, row in sorted(last.items(), key=lambda item: (item[1]["lang"] or "", item[0]))
    ]
    checkpoints = select(
        root, "select step, tokens, path, bytes, kept from checkpoints where run = $run order by step", run=run
    )
    return Training(metrics, rows, validation, checkpoints)


class Leaderboard(NamedTuple):
    """All scores of some checkpoints, at every evaluated step, and the published rows of their tasks."""

    rows: list[Row]
    own: int
    published: int


def leaderboard(root: Place, *checkpoints: str) -> Leaderboard:
    """The rows of `@scores` of runs, by their labels, or of checkpoints of no run here, by their `model`; and the
    published ones of the same suite, task and metric."""
    rows = table(root, "@scores").rows
    own = [row for row in rows if row["source"] == OWN and (row["run"] or row["model"]) in checkpoints]
    tasks = {(row["suite"], row["task"], row["metric"]) for row in own}
    shown = [
        row
        for row in rows
        if row in own or (row["source"] != OWN and (row["suite"], row["task"], row["metric"]) in tasks)
    ]
    return Leaderboard(shown, len(own), len(shown) - len(own))


class Scores(NamedTuple):
    """The scores of a run's last evaluated step among published ones."""

    rows: list[Row]
    """Rows of the view leaderboard with `own` (whether it is this run's) and the task's `lang`, best first."""
    headline: list[Row]
    """Those in the metric that speaks for their task."""
    gates: list[Row]
    """The gates' verdicts, as the evaluation's manifest has them."""


def scores(root: Place, run: str, evaluation: str | None) -> Scores:
    """Own scores of the last evaluated step, and the published rows of the same suite, task and metric."""
    rows = select(
        root,
        """with own as (select * from leaderboard where run = $run qualify step is not distinct from max(step) over ())
        select l.*, l.run is not null as own from leaderboard l
        where (l.run = $run and l.step is not distinct from (select max(step) from own))
            or (l.source <> $here and (l.suite, l.task, l.metric) in (select suite, task, metric from own))
        order by l.suite, l.task, l.metric, l.shots, l.value desc, l.model""",
        run=run,
        here=OWN,
    )
    evaluated: Row = {}
    if evaluation:
        sql = "select facts::varchar as facts from artifacts where label = $evaluation and kind = 'evaluations'"
        evaluated = next((json.loads(row["facts"]) for row in select(root, sql, evaluation=evaluation)), {})
    chief = {(score["suite"], score["task"]): score for score in evaluated.get("scores", [])}
    for row in rows:
        row["lang"] = chief.get((row["suite"], row["task"]), {}).get("lang")
    headline = [row for row in rows if chief.get((row["suite"], row["task"]), row)["metric"] == row["metric"]]
    return Scores(rows, headline, evaluated.get("gates", []))


class Trials(NamedTuple):
    """The trials of a hyperparameter search."""

    rows: list[Row]
    """The lowest loss first, those that diverged last; trial 0 is at the report's values."""
    sampled: list[Row]
    """All but trial 0."""

    @property
    def diverged(self) -> int:
        """How many of the sampled ones diverged."""
        return sum(row["diverged"] for row in self.sampled)

    @property
    def best_loss(self) -> float | None:
        """The lowest loss of the sampled ones."""
        return self.sampled[0]["loss"] if self.sampled else None


def trials(root: Place, search: str) -> Trials:
    """The rows of `@trials`."""
    rows = table(root, "@trials", search=search).rows
    return Trials(rows, [row for row in rows if row["trial"]])


class Subject(NamedTuple):
    """The labels of the artifacts that belong to one run."""

    corpus: str
    tokenizer: str
    plan: str
    run: str
    evaluation: str | None = None


def run_of(root: Place, run: str) -> Row:
    """The run's row of `runs`, every column None where the ledger has no such run."""
    columns = ("recipe", "parameters", "hardware", "flops", "world_size", "status")
    rows = select(root, "select * from runs where run = $run", run=run)
    return rows[0] if rows else dict.fromkeys(columns)


def lineage(root: Place, subject: Subject) -> list[Row]:
    """Every artifact that the subject was built from, back to the raw documents, in the order of the stages."""
    return select(
        root,
        """with recursive lineage as (
            select * from artifacts where (kind, label) in (('corpus', $corpus), ('tokenizer', $tokenizer),
                ('plans', $plan), ('runs', $run), ('evaluations', $evaluation))
            union
            select a.* from lineage l join artifact_inputs i on (i.kind, i.label) = (l.kind, l.label)
                join artifacts a on a.fingerprint = i.fingerprint
        )
        select kind, label, path, created_at, seconds, code_version from lineage
        order by list_position(
            ['raw', 'scans', 'corpus', 'tokenizer', 'shards', 'plans', 'runs', 'evaluations'], kind), label""",
        **subject._asdict(),
    )

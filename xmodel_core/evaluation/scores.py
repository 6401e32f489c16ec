"""Scores from what lm-evaluation-harness returns: averaged over subjects, as ledger rows, as verdicts.

Takes the harness's results of one task (or of its subjects); gives a `Score` for each metric and filter,
the answer to each question as a Parquet file, and which gates are passed. Fractions of 1 throughout.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from xmodel_core.specs.benchmarks import Gate, Suite

SAMPLES = pa.schema(
    {
        "subject": pa.string(),
        "question": pa.int64(),
        "filter": pa.string(),
        "fields": pa.string(),
        "target": pa.string(),
        "contexts": pa.list_(pa.string()),
        "continuations": pa.list_(pa.string()),
        "log_likelihoods": pa.list_(pa.float64()),
        "greedy": pa.list_(pa.bool_()),
        "answer": pa.string(),
        "metrics": pa.string(),
    }
)
"""One row per question and filter. `fields` and `metrics` are JSON; `answer` is a generated text as filtered."""


@dataclass(frozen=True)
class Score:
    """One metric of one task under one filter, over `n` questions."""

    metric: str
    filter: str
    value: float
    stderr: float | None
    n: int


def scores_of(result: Mapping[str, Any]) -> list[Score]:
    """The scores in one of the harness's results, whose keys read `acc,none` and `acc_stderr,none`."""
    scores = []
    for key, value in result.items():
        metric, comma, filter_name = key.partition(",")
        if comma and not metric.endswith("_stderr"):
            stderr = result.get(f"{metric}_stderr,{filter_name}")
            known = isinstance(stderr, int | float)  # "N/A" for a single question
            scores.append(
                Score(metric, filter_name, float(value), float(stderr) if known else None, int(result["sample_len"]))
            )
    return scores


def pooled(parts: Sequence[Sequence[Score]]) -> list[Score]:
    """The scores of a task from those of its subjects: averaged by size, so each question counts the same.

    The standard error is that of a pooled variance, as the harness computes it for groups: a subject's own
    variance is n·stderr², and the subjects' are averaged by their degrees of freedom, n - 1.
    """
    if len(parts) == 1:
        return list(parts[0])
    scores = []
    for place, first in enumerate(parts[0]):
        column = [part[place] for part in parts]
        assert all((score.metric, score.filter) == (first.metric, first.filter) for score in column)
        n = sum(score.n for score in column)
        value = sum(score.value * score.n for score in column) / n
        freedom = n - len(column)
        # One question alone has no variance and no degree of freedom; else an unknown error leaves the sum unknown.
        counted = [score for score in column if score.n > 1]
        squares = [(score.n - 1) * score.n * score.stderr**2 for score in counted if score.stderr is not None]
        known = freedom > 0 and len(squares) == len(counted)
        stderr = (sum(squares) / freedom / n) ** 0.5 if known else None
        scores.append(Score(first.metric, first.filter, value, stderr, n))
    return scores


def sample_rows(subject: str | None, samples: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """One row per question of one of the harness's tasks: the question, the model's answer, its metrics."""
    rows = []
    for sample in samples:
        first_answers = [responses[0] for responses in sample["resps"]]
        scored = all(isinstance(answer, tuple) for answer in first_answers)
        filtered = sample["filtered_resps"]
        rows.append(
            {
                "subject": subject,
                "question": sample["doc_id"],
                "filter": sample["filter"],
                "fields": json.dumps(sample["doc"], ensure_ascii=False, sort_keys=True),
                "target": json.dumps(sample["target"], ensure_ascii=False),
                "contexts": [arguments[0] for arguments in sample["arguments"]],
                "continuations": [arguments[1] for arguments in sample["arguments"]] if scored else None,
                "log_likelihoods": [answer[0] for answer in first_answers] if scored else None,
                "greedy": [answer[1] for answer in first_answers] if scored else None,
                "answer": None if scored else str(filtered[0]),
                "metrics": json.dumps({name: float(sample[name]) for name in sample["metrics"]}, sort_keys=True),
            }
        )
    return rows


def write_samples(rows: list[dict[str, Any]], path: Path) -> None:
    """Writes the questions' answers as Parquet."""
    pq.write_table(pa.Table.from_pylist(rows, SAMPLES), path, compression="zstd")


def published_rows(suites: Sequence[Suite]) -> list[dict[str, Any]]:
    """The ledger's `published` rows of suites, percent as printed turned into fractions."""
    return [
        {
            "model": row.model,
            "parameters": row.parameters,
            "suite": suite.name,
            "task": row.task,
            "metric": row.metric,
            "shots": row.shots,
            "value": round(row.percent / 100, 6),
            "source": row.source,
        }
        for suite in suites
        for row in suite.published
    ]


def verdict(gate: Gate, suite: str, values: Mapping[tuple[str, str], float]) -> dict[str, Any] | None:
    """Whether a gate is passed, by `values` of (task, metric); `control` is the score of `above_task`. None where
    a task of the gate was not evaluated."""
    value = values.get((gate.task, gate.metric))
    control = values.get((gate.above_task, gate.metric)) if gate.above_task else None
    if value is None or (gate.above_task and control is None):
        return None
    passed = value >= gate.at_least and (control is None or value - control >= gate.margin)
    return {
        "suite": suite,
        "task": gate.task,
        "metric": gate.metric,
        "value": value,
        "at_least": gate.at_least,
        "above_task": gate.above_task,
        "control": control,
        "margin": gate.margin,
        "passed": passed,
    }

"""A synthetic workspace with everything that a page can show: two rivers, two phases, scores, gates."""

import math
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from xmodel_core.artifacts import Artifact, Identity, Store
from xmodel_core.ledger.build import refresh

Row = dict[str, Any]
SOURCES = {
    "百科": ("zh", "encyclopedia", 5200, 620, 0.62),
    "小说": ("zh", "book", 1900, 1800, 0.68),
    "wiki": ("en", "encyclopedia", 4300, 1500, 0.24),
    "reviews": ("en", "social", 3800, 480, 0.27),
    "programs": ("code", "code", 1500, 900, 0.33),
}
LOSSES = {
    "read": (0.01, "unreadable"),
    "exact": (0.09, "exact_copy"),
    "lines": (0.0, ""),
    "language": (0.05, "wrong_language"),
}
LOSSES |= {"quality": (0.12, "too_short"), "near": (0.08, "near_copy"), "mask": (0.0, "")}
PHASES = {"stable": 160, "decay": 40}


def _flow(corpus: str) -> tuple[list[Row], list[Row], dict[str, int]]:
    flow, drops, kept = [], [], {}
    for source, (lang, _, docs, mean, _) in SOURCES.items():
        for stage, (share, reason) in LOSSES.items():
            out = round(docs * (1 - share))
            removed = docs * 3 if stage == "lines" else 0
            flow.append(
                {"corpus": corpus, "stage": stage, "source": source, "lang": lang}
                | {"docs_in": docs, "docs_out": out, "docs_dropped": docs - out}
                | {"chars_in": docs * mean, "chars_out": out * mean - removed, "chars_dropped": (docs - out) * mean}
                | {"chars_removed_in_kept": removed}
            )
            if docs > out:
                drops.append(
                    {"corpus": corpus, "stage": stage, "source": source, "lang": lang, "reason": reason}
                    | {"docs": docs - out, "chars": (docs - out) * mean}
                )
            if removed:  # what the next stages take in has three characters less per document
                mean -= 3
            docs = out
        kept[source] = docs
    return flow, drops, kept


def _part(run: Path, table: str, rows: list[Row]) -> None:
    path = run / "metrics" / table / "00000.parquet"
    path.parent.mkdir(parents=True)
    pq.write_table(pa.Table.from_pylist(rows), path)


def _metrics(folder: Path, run: str, plan: str, tokenizer: str, planned: dict[str, int]) -> None:
    steps = sum(PHASES.values())
    train, consumed, validation = [], [], []
    for step in range(1, steps + 1):
        phase = "stable" if step <= PHASES["stable"] else "decay"
        lr = 0.004 * min(1, step / 20) if phase == "stable" else 0.004 * (steps - step) / PHASES["decay"]
        loss = 2.1 + 6.2 * math.exp(-step / 22) + 0.12 * math.sin(step * 7.3) - (0.25 if phase == "decay" else 0)
        train.append(
            {"run": run, "step": step, "phase": phase, "tokens": step * 8192, "loss": loss, "lr": lr, "grad_norm": 1.0}
            | {"tokens_per_second": 21000 + 900 * math.sin(step), "seconds": 0.39, "mfu": None}
        )
        if step % 20 == 0:
            for source, (lang, *_) in SOURCES.items():
                tokens = planned[source] * step // steps
                consumed.append(
                    {"run": run, "step": step, "phase": phase, "source": source, "lang": lang, "tokens": tokens}
                    | {"epochs": 2.0 * step / steps}
                )
                start = {"zh": 3.1, "en": 2.4, "code": 2.0}[lang] + len(source) / 50
                validation.append(
                    {"run": run, "step": step, "source": source, "lang": lang, "loss": 3.0}
                    | {"bits_per_byte": 0.4 + start * math.exp(-step / 60)}
                )
    times = {"started_at": "2026-11-20T20:00:00", "finished_at": "2026-11-20T20:01:20"}
    names = {"recipe": "quickstart", "plan": plan, "tokenizer": tokenizer, "hardware": "x86-64, 2 cores, fp32"}
    about = {"run": run, "status": "finished", "world_size": 1, "parameters": 6_316_032, "flops": 6.2e13}
    _part(folder, "runs", [about | names | times])
    _part(folder, "train_metrics", train)
    _part(folder, "consumed", consumed)
    _part(folder, "validation", validation)
    checkpoints = [{"step": s, "tokens": s * 8192, "bytes": 25_264_128, "kept": s == steps} for s in (100, steps)]
    _part(folder, "checkpoints", [{"run": run, "path": f"checkpoints/step-{c['step']:08d}"} | c for c in checkpoints])


def build(root: Path) -> dict[str, Artifact]:
    """The workspace, its ledger up to date; gives what a report is about."""
    store = Store(root)
    corpus_identity = Identity("corpus", "quickstart", 1, {}, {})
    flow, drops, kept = _flow(corpus_identity.label)
    facts = {"sources": {s: {"documents_digest": f"d-{s}", "docs": docs} for s, docs in kept.items()}}
    corpus = store.build(corpus_identity).commit({"document_flow": flow, "document_drops": drops}, facts)
    tokenizer = store.build(Identity("tokenizer", "quickstart", 1, {}, {"corpus": corpus.fingerprint})).commit()
    shards, planned, mixture = {}, {}, []
    for number, (source, (lang, category, _, mean, per_char)) in enumerate(SOURCES.items()):
        identity = Identity("shards", source, 1, {}, {"tokenizer": tokenizer.fingerprint})
        tokens, chars = round(kept[source] * mean * per_char), kept[source] * mean
        row = {"shards": identity.label, "source": source, "lang": lang}
        files = [("documents-00000", kept[source] - 20, tokens), ("validation-00000", 20, 4000)]
        rows = {"token_shards": [row | {"shard": n, "docs": d, "tokens": t} for n, d, t in files]}
        size = chars * 3 if lang == "zh" else chars
        fertility = {"tokenizer": tokenizer.label, "source": source, "lang": lang, "category": category}
        rows["tokenizer_fertility"] = [fertility | {"chars": chars, "bytes": size, "tokens": tokens}]
        facts = {"documents_digest": f"d-{source}", "train_tokens": tokens, "docs": kept[source]}
        shards[source] = store.build(identity).commit(rows, facts)
        weights = {"stable": (0.3, 0.2, 0.25, 0.15, 0.1), "decay": (0.35, 0.05, 0.35, 0.05, 0.2)}
        planned[source] = 0
        for phase, share in weights.items():
            take = round(share[number] * PHASES[phase] * 8192)
            planned[source] += take
            mixture.append(
                {"phase": phase, "source": source, "lang": lang, "category": category, "weight": share[number]}
                | {"supply_tokens": tokens, "planned_tokens": take, "epochs": take / tokens}
            )
    inputs = {source: artifact.fingerprint for source, artifact in shards.items()}
    plan_identity = Identity("plans", "quickstart", 1, {}, inputs)
    plan = store.build(plan_identity).commit({"mixture": [{"plan": plan_identity.label, **row} for row in mixture]})
    run_identity = Identity("runs", "quickstart", 1, {}, {"plan": plan.fingerprint, "tokenizer": tokenizer.fingerprint})
    opened = store.build(run_identity)
    _metrics(opened.folder.path, run_identity.label, plan.label, tokenizer.label, planned)
    run = opened.commit()
    evaluation = store.build(Identity("evaluations", "quickstart", 1, {}, {"run": run.fingerprint})).commit(
        *_scores(run.label)
    )
    refresh(root)
    parts = {"corpus": corpus, "tokenizer": tokenizer, "plan": plan, "run": run, "evaluation": evaluation}
    return parts


def _scores(run: str) -> tuple[dict[str, list[Row]], dict[str, Any]]:
    own = {"facts_zh": 0.83, "facts_en": 0.78, "facts_zh_control": 0.27, "facts_en_control": 0.25, "arc_easy": 0.271}
    evals = [
        {
            "model": "quickstart",
            "run": run,
            "step": 200,
            "suite": "harness" if task == "arc_easy" else "sample_world",
            "task": task,
        }
        | {"metric": "acc", "filter": "none", "shots": 0, "value": value, "stderr": 0.022, "n": 400, "seconds": 3.0}
        for task, value in own.items()
    ]
    published = [
        {"model": model, "parameters": size, "suite": "harness", "task": "arc_easy", "metric": "acc", "shots": 0}
        | {"value": value, "source": "a report, table 3"}
        for model, size, value in (("Model A", 1_100_000_000, 0.55), ("Model B", 1_200_000_000, 0.612))
    ]
    gates = [
        {
            "task": f"facts_{lang}",
            "metric": "acc",
            "value": own[f"facts_{lang}"],
            "at_least": 0.6,
            "margin": 0.25,
            "passed": True,
        }
        | {"control": f"facts_{lang}_control", "control_value": own[f"facts_{lang}_control"]}
        for lang in ("zh", "en")
    ]
    chief = [{key: row[key] for key in ("suite", "task", "metric")} for row in evals]
    scores = [row | {"lang": "zh" if "zh" in row["task"] else "en"} for row in chief]
    return {"evals": evals, "published": published}, {"gates": gates, "scores": scores}


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Store, dict[str, Artifact]]:
    """Shared by the tests that only read it."""
    root = tmp_path_factory.mktemp("workspace")
    return Store(root), build(root)


@pytest.fixture
def fresh(tmp_path: Path) -> tuple[Store, dict[str, Artifact]]:
    """One to change."""
    return Store(tmp_path), build(tmp_path)

"""How long each stage takes, about: measured rates where the workspace has any, else figures from elsewhere.

Takes a store, a recipe and the sources' stocks; gives hours per stage. Estimates for a person to decide
by, good to a factor of two: nothing is timed here and nothing depends on them.
"""

import os
from dataclasses import dataclass
from statistics import median

from xmodel_core.artifacts import Artifact, Store
from xmodel_core.config import Recipe
from xmodel_core.model.cost import dense_bf16_peak
from xmodel_core.planning.supply import Stock

# Megabytes of text per second of one core, and documents per second of the one process that decides: measured on
# real Chinese, English and code text (tests/benchmarks/bench_memory.py; docs/scale.md works with the same figures).
SCAN_MB_PER_SECOND = 7.5
LINES_MB_PER_SECOND = 52.0
NEAR_DOCUMENTS_PER_SECOND = 500_000  # 10 million for each of 20 keys
DOCUMENTS_MB_PER_SECOND = 12.0
ENCODE_MB_PER_SECOND = 14.0
DECIDED_PER_SECOND = 29_000
TOKENIZER_CHARS_PER_SECOND = 200_000
WORLD_SECONDS = 10.0
# What training a small model in fp32 reaches on one thread of a server CPU (AVX-512), and how much a further one adds.
CPU_FLOPS = 5.3e10
FURTHER_THREAD = 0.35
# A plan is made where the GPU need not be. What models of about a billion parameters reach of its peak: 40 % in
# MPT-1b's published table (8 H100), 55 % on Xmodel-LM's model card.
GPU = "H100"
GPU_UTILISATION = 0.40


@dataclass(frozen=True)
class Figures:
    """Rates that the hours follow from."""

    scan_mb_per_second_and_core: float
    documents_mb_per_second_and_core: float
    encode_mb_per_second_and_core: float
    decided_documents_per_second: float
    tokenizer_characters_per_second: float
    training_flops_per_second: float
    cores: int


def _text_mb(corpus: Artifact) -> float:
    """Megabytes of text that went into a corpus."""
    flow = corpus.manifest()["rows"].get("document_flow", [])
    return sum(row["bytes_in"] or 0 for row in flow if row["stage"] == "read") / 1e6


def _measured(store: Store) -> dict[str, float]:
    """Rates of the newest corpus, tokenizer and runs of this workspace that took long enough to tell. What a manifest
    calls seconds are those of all its shards together: rates of one core."""
    rates: dict[str, float] = {}
    for corpus in store.artifacts("corpus")[-1:]:
        manifest, mb = corpus.manifest(), _text_mb(corpus)
        scans = {artifact.fingerprint: artifact for artifact in store.artifacts("scans")}
        used = [scans[print_] for print_ in manifest["inputs"].values() if print_ in scans]
        seconds = sum(artifact.manifest()["seconds"] for artifact in used)
        if mb > 1 and seconds > 1:
            rates["scan"] = mb / seconds
    for tokenizer in store.artifacts("tokenizer")[-1:]:
        manifest = tokenizer.manifest()
        if manifest["seconds"] > 1:
            rates["tokenizer"] = manifest["config"]["sample_characters"] / manifest["seconds"]
    return rates


def _training_rate(store: Store, recipe: Recipe, flops_per_token: float) -> tuple[float, str]:
    """FLOP/s of all workers, and where the figure is from."""
    import pyarrow.parquet as pq

    training = recipe.training
    shape = recipe.model.model_dump(mode="json")
    for run in reversed(store.artifacts("runs")):
        # Only a run of the same shape and settings of the machine says what this one will do.
        config = run.manifest()["config"]
        same = all(config["training"][key] == getattr(training, key) for key in ("precision", "threads_per_worker"))
        parts = list(run.files("metrics/train_metrics/*.parquet").values())
        if config["model"] == shape and same and parts:
            speeds = [v for part in parts for v in pq.read_table(part)["tokens_per_second"].to_pylist() if v]
            if speeds:
                return median(
                    speeds
                ) * flops_per_token, f"training: {median(speeds):,.0f} tokens a second, as {run.label}"
    if training.device == "cuda":
        peak = dense_bf16_peak(GPU)
        assert peak is not None
        rate = training.workers * peak * GPU_UTILISATION
        said = (
            f"training: {training.workers} GPUs of {GPU} class, {peak / 1e12:.0f} TFLOP/s dense bf16, "
            f"{GPU_UTILISATION:.0%} of it reached"
        )
        return rate, said
    rate = training.workers * CPU_FLOPS * (1 + FURTHER_THREAD * (training.threads_per_worker - 1))
    said = (
        f"training: CPU, {training.workers} × {training.threads_per_worker} threads, {rate / 1e9:.0f} GFLOP/s in all; "
        "a GPU is far faster"
    )
    return rate, said


class Rates:
    """The rates of this machine, as far as they are known, and what is assumed of the rest."""

    def __init__(self, store: Store, recipe: Recipe, flops_per_token: float) -> None:
        measured = _measured(store)
        training, said = _training_rate(store, recipe, flops_per_token)
        self.flops_per_token = flops_per_token
        self.figures = Figures(
            scan_mb_per_second_and_core=measured.get("scan", SCAN_MB_PER_SECOND),
            documents_mb_per_second_and_core=DOCUMENTS_MB_PER_SECOND,
            encode_mb_per_second_and_core=ENCODE_MB_PER_SECOND,
            decided_documents_per_second=DECIDED_PER_SECOND,
            tokenizer_characters_per_second=measured.get("tokenizer", TOKENIZER_CHARS_PER_SECOND),
            training_flops_per_second=training,
            cores=recipe.cluster.workers or os.cpu_count() or 1,
        )
        by = "as the last corpus of this workspace" if "scan" in measured else "as in docs/scale.md"
        self.assumptions = [
            f"corpus: {self.figures.scan_mb_per_second_and_core:.1f} MB of text a second on each of "
            f"{self.figures.cores} cores, {by}",
            said,
            "evaluation is not estimated: it depends on how many questions have data",
            "hours are estimates, good to a factor of two",
        ]


def stage_hours(stage: str, found: list[Stock], recipe: Recipe, rates: Rates, tokens: int) -> float:
    """Hours of one row of the plan's stages; those of scans and shards are spread over the sources evenly."""
    figures = rates.figures
    mb = sum(stock.bytes_text for stock in found) / 1e6
    chars = sum(stock.chars or 0 for stock in found)
    documents = sum(stock.documents or 0 for stock in found)
    training = recipe.training
    validations = training.total_steps // training.validate_every_steps + len(training.phases())
    # A forward pass alone: a third of what a token costs in training.
    validated = validations * training.validation_tokens * len(found) / 3
    seconds = {
        "sample world": WORLD_SECONDS,
        "benchmarks": 0.0,
        "perplexity models": 0.0,
        "scan": mb / figures.scan_mb_per_second_and_core / figures.cores / len(found),
        "lines": mb / LINES_MB_PER_SECOND / figures.cores / len(found),
        "near copies": documents / NEAR_DOCUMENTS_PER_SECOND / figures.cores,
        # One process decides on columns, then every core writes.
        "corpus": documents / figures.decided_documents_per_second
        + mb / figures.documents_mb_per_second_and_core / figures.cores,
        "tokenizer": min(recipe.tokenizer.sample_characters, chars) / figures.tokenizer_characters_per_second,
        "shards": mb / figures.encode_mb_per_second_and_core / figures.cores / len(found),
        "plan": 0.0,
        "run": (tokens + validated) * rates.flops_per_token / figures.training_flops_per_second,
        "evaluation": 0.0,
    }
    return round(seconds[stage] / 3600, 6)

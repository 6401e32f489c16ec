"""Estimated duration of each stage: throughput measured in the workspace where there is any, else reference figures.

Takes a store, a recipe and the estimated size of each source; gives seconds of wall time per stage and item. Estimates
to decide by, good to a factor of two: nothing is timed here and nothing depends on them.
"""

import os
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from statistics import median
from typing import Any

from xmodel_core.artifacts import Artifact, Store
from xmodel_core.config import Recipe
from xmodel_core.model.cost import dense_bf16_peak
from xmodel_core.planning.supply import SourceEstimate

WORLD_SECONDS = 10.0
# What training a small model in fp32 reaches on one thread of a server CPU (AVX-512), and how much a further one adds.
CPU_FLOPS = 5.3e10
FURTHER_THREAD = 0.35
# A plan is made where the GPU need not be. What models of about a billion parameters reach of its peak: 40 % in
# MPT-1b's published table (8 H100), 55 % on Xmodel-LM's model card.
GPU = "H100"
GPU_UTILISATION = 0.40
SHORTEST_SECONDS = 1.0
"""What took less is no measure: starting took most of it."""
LARGEST_EXTRAPOLATION = 100
"""How many times as much work a measured rate may stand for: a small corpus takes most of its time for starting."""


@dataclass(frozen=True)
class CorpusThroughput:
    """Text per second of one core, in megabytes unless named otherwise. The defaults were measured on real Chinese,
    English and code text (tests/benchmarks/bench_memory.py; docs/scale.md works with the same figures)."""

    scan_mb_per_second_and_core: float = 7.5
    lines_mb_per_second_and_core: float = 52.0
    near_documents_per_second_and_core: float = 500_000.0
    """10 million for each of 20 keys."""
    documents_mb_per_second_and_core: float = 12.0
    decided_documents_per_second: float = 29_000.0
    """Of the one process that decides."""
    tokenizer_characters_per_second: float = 200_000.0
    encode_mb_per_second_and_core: float = 14.0


@dataclass(frozen=True)
class Measurement:
    """How much work a stage of this workspace did, in the unit of its rate, and in how many seconds of one core."""

    amount: float
    seconds: float

    @property
    def rate(self) -> float:
        """Work per second."""
        return self.amount / self.seconds


LABELS = {
    "scan_mb_per_second_and_core": "scan: {:.1f} MB of text a second and core",
    "lines_mb_per_second_and_core": "lines: {:.1f} MB of text a second and core",
    "near_documents_per_second_and_core": "near copies: {:,.0f} documents a second and core",
    "documents_mb_per_second_and_core": "documents: {:.1f} MB of text a second and core",
    "decided_documents_per_second": "decisions: {:,.0f} documents a second",
    "tokenizer_characters_per_second": "tokenizer: {:,.0f} characters a second",
    "encode_mb_per_second_and_core": "shards: {:.1f} MB of text a second and core",
}


def _seconds(artifacts: Iterable[Artifact]) -> float:
    """A manifest's seconds are those of all its shards together: of one core."""
    return sum(artifact.manifest()["seconds"] for artifact in artifacts)


def _flow_sum(corpus: dict[str, Any], stage: str, column: str) -> float:
    rows = corpus["rows"].get("document_flow", [])
    return sum(row[column] or 0 for row in rows if row["stage"] == stage)


def measured_throughput(store: Store) -> dict[str, Measurement]:
    """Measurements of the newest corpus, tokenizer and token shards of a workspace, as far as each took long enough to
    tell, by field of `CorpusThroughput`."""
    measurements: dict[str, Measurement] = {}

    def measure(field: str, amount: float, seconds: float) -> None:
        if amount > 0 and seconds >= SHORTEST_SECONDS:
            measurements[field] = Measurement(amount, seconds)

    for corpus in store.artifacts("corpus")[-1:]:
        manifest = corpus.manifest()
        read_mb = _flow_sum(manifest, "read", "bytes_in") / 1e6
        by_print = {made.fingerprint: made for kind in ("pairs", "scans", "rescans") for made in store.artifacts(kind)}
        # A corpus names its pairs, and the pairs name the scans and rescans of all sources.
        pairs = by_print.get(manifest["inputs"]["pairs"])
        inputs = pairs.manifest()["inputs"].values() if pairs else []
        used = [by_print[fingerprint] for fingerprint in inputs if fingerprint in by_print]
        measure("scan_mb_per_second_and_core", read_mb, _seconds(made for made in used if made.kind == "scans"))
        rescans = [made for made in used if made.kind == "rescans"]
        names = {made.name for made in rescans}
        rows = [row for row in manifest["rows"].get("document_flow", []) if row["stage"] == "read"]
        rescanned_mb = sum(row["bytes_in"] or 0 for row in rows if row["source"] in names) / 1e6
        measure("lines_mb_per_second_and_core", rescanned_mb, _seconds(rescans))
        documents = _flow_sum(manifest, "read", "docs_in")
        measure("near_documents_per_second_and_core", documents, _seconds([pairs] if pairs else []))
        written = [receipt.seconds for name, receipt in corpus.receipts().items() if name.startswith("documents-")]
        measure("documents_mb_per_second_and_core", read_mb, sum(written))
    for tokenizer in store.artifacts("tokenizer")[-1:]:
        facts = tokenizer.manifest()
        measure("tokenizer_characters_per_second", facts["config"]["sample_characters"], facts["seconds"])
        shards = [made for made in store.artifacts("shards") if _made_with(made, tokenizer)]
        encoded_mb = sum(_encoded_bytes(made) for made in shards) / 1e6
        measure("encode_mb_per_second_and_core", encoded_mb, _seconds(shards))
    return measurements


def _made_with(shards: Artifact, tokenizer: Artifact) -> bool:
    return shards.manifest()["inputs"]["tokenizer"] == tokenizer.fingerprint


def _encoded_bytes(shards: Artifact) -> float:
    """Bytes of text that a source's shards were encoded from, as their receipts count them."""
    rows = [row for receipt in shards.receipts().values() for row in receipt.rows.get("tokenizer_fertility", [])]
    return sum(row["bytes"] for row in rows)


def _training_throughput(store: Store, recipe: Recipe, flops_per_token: float) -> tuple[float, str]:
    """FLOP/s of all workers, and a line that says where the figure is from."""
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
                tokens = median(speeds)
                return tokens * flops_per_token, f"training: {tokens:,.0f} tokens a second, measured in {run.label}"
    if training.device == "cuda":
        peak = dense_bf16_peak(GPU)
        assert peak is not None
        line = (
            f"training: {training.workers} GPUs of {GPU} class, {peak / 1e12:.0f} TFLOP/s dense bf16, "
            f"{GPU_UTILISATION:.0%} of it reached"
        )
        return training.workers * peak * GPU_UTILISATION, line
    rate = training.workers * CPU_FLOPS * (1 + FURTHER_THREAD * (training.threads_per_worker - 1))
    line = (
        f"training: CPU, {training.workers} × {training.threads_per_worker} threads, {rate / 1e9:.0f} GFLOP/s in all; "
        "a GPU is far faster"
    )
    return rate, line


def _planned_amounts(recipe: Recipe, sources: Sequence[SourceEstimate]) -> dict[str, float]:
    """How much work a recipe is for each rate of `CorpusThroughput`, in the rate's unit."""
    mb = sum(estimate.bytes_text for estimate in sources) / 1e6
    documents = sum(estimate.documents or 0 for estimate in sources)
    characters = min(recipe.tokenizer.sample_characters, sum(estimate.chars or 0 for estimate in sources))
    amounts = {field.name: mb for field in fields(CorpusThroughput) if "_mb_" in field.name}
    amounts |= {field.name: float(documents) for field in fields(CorpusThroughput) if "documents_per" in field.name}
    return {**amounts, "tokenizer_characters_per_second": float(characters)}


class Throughput:
    """The throughput of this machine, as far as it is known, and what is assumed of the rest."""

    def __init__(self, store: Store, recipe: Recipe, sources: Sequence[SourceEstimate], flops_per_token: float) -> None:
        planned = _planned_amounts(recipe, sources)
        measured = {
            field: measurement
            for field, measurement in measured_throughput(store).items()
            if planned[field] <= LARGEST_EXTRAPOLATION * measurement.amount
        }
        self.corpus = CorpusThroughput(**{field: measurement.rate for field, measurement in measured.items()})
        self.training_flops_per_second, training_line = _training_throughput(store, recipe, flops_per_token)
        self.cores = recipe.cluster.workers or os.cpu_count() or 1
        lines = [
            f"{LABELS[field.name].format(getattr(self.corpus, field.name))}, "
            f"{'measured in this workspace' if field.name in measured else 'as in docs/scale.md'}"
            for field in fields(self.corpus)
        ]
        self.assumptions = [
            *lines,
            f"cores: {self.cores}",
            training_line,
            "evaluation is not estimated: it depends on how many questions have data",
            "hours are estimates, good to a factor of two",
        ]

    def figures(self) -> dict[str, float]:
        """The figures that the hours follow from, by name."""
        training = {"training_flops_per_second": self.training_flops_per_second, "cores": self.cores}
        return {**asdict(self.corpus), **training}


@dataclass(frozen=True)
class Workload:
    """What a recipe would work on, and how fast; its methods give the estimated seconds of each stage's items."""

    recipe: Recipe
    sources: Sequence[SourceEstimate]
    throughput: Throughput
    flops_per_token: float

    def _mb(self, source: str | None = None) -> float:
        """Megabytes of text of one source, or of all."""
        return sum(e.bytes_text for e in self.sources if source in (None, e.source.name)) / 1e6

    def _documents(self) -> int:
        return sum(estimate.documents or 0 for estimate in self.sources)

    def nothing(self, _: str) -> float:
        """Too little to count, or unknown."""
        return 0.0

    def sample_world(self, _: str) -> float:
        """The embedded world."""
        return WORLD_SECONDS

    def scan(self, source: str) -> float:
        """One source's scan."""
        return self._mb(source) / self.throughput.corpus.scan_mb_per_second_and_core / self.throughput.cores

    def lines(self, source: str) -> float:
        """One source's boilerplate lines."""
        return self._mb(source) / self.throughput.corpus.lines_mb_per_second_and_core / self.throughput.cores

    def near_copies(self, _: str) -> float:
        """Near copies over all sources."""
        rate = self.throughput.corpus.near_documents_per_second_and_core
        return self._documents() / rate / self.throughput.cores

    def corpus(self, _: str) -> float:
        """One process decides on columns, then every core writes."""
        rates = self.throughput.corpus
        writing = self._mb() / rates.documents_mb_per_second_and_core / self.throughput.cores
        return self._documents() / rates.decided_documents_per_second + writing

    def tokenizer(self, _: str) -> float:
        """SentencePiece on the sample."""
        characters = sum(estimate.chars or 0 for estimate in self.sources)
        sample = min(self.recipe.tokenizer.sample_characters, characters)
        return sample / self.throughput.corpus.tokenizer_characters_per_second

    def shards(self, source: str) -> float:
        """One source's encoding."""
        return self._mb(source) / self.throughput.corpus.encode_mb_per_second_and_core / self.throughput.cores

    def training(self, _: str) -> float:
        """All steps, and the validations between them."""
        training = self.recipe.training
        validations = training.total_steps // training.validate_every_steps + len(training.phases())
        # A forward pass alone: a third of what a token costs in training.
        validated = validations * training.validation_tokens * len(self.sources) / 3
        tokens = training.total_tokens + validated
        return tokens * self.flops_per_token / self.throughput.training_flops_per_second

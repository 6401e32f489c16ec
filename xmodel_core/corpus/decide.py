"""Decisions: for every document kept, or the stage and reason of its drop. Columns only, no text.

Takes the columns of all scans, sources in order; gives `Decisions` and the rows of the ledger's
funnel. Stages: read, exact, language, quality, near, contamination. A changed threshold costs seconds, because
nothing here opens a text.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from xmodel_core.corpus.config import CorpusConfig
from xmodel_core.corpus.decontaminate import BenchmarkIndex
from xmodel_core.corpus.dedup import exact_copies, near_copies
from xmodel_core.corpus.features import FEATURES
from xmodel_core.corpus.layout import Array
from xmodel_core.corpus.rules import KEPT, judge
from xmodel_core.specs import Source

STAGES = ("read", "exact", "language", "quality", "near", "contamination")
# Code stands among prose of every source; a source that declares a language admits no other.
ADMITTED = {"zh": ("zh", "code"), "en": ("en", "code"), "code": ("code", "en", "zh"), "multi": ("zh", "en", "code")}


@dataclass(frozen=True)
class ScannedFile:
    """One raw file of a source and the scan of it."""

    source: Source
    index: int
    """Its place in the source's order."""
    raw: str
    """The raw file's name, relative to the source."""
    scan: Path

    @property
    def name(self) -> str:
        """The name of its documents and decisions."""
        return f"{self.source.name}-{self.index:05d}"


@dataclass(frozen=True)
class Decisions:
    """One entry per document, in the order of sources, files and rows."""

    files: tuple[ScannedFile, ...]
    file: Array
    """int32: index into files."""
    row: Array
    """int64: row in the raw file."""
    id: Array
    """Unique inside a source."""
    lang: Array
    script: Array
    chars: Array
    bytes: Array
    stage: Array
    """Index into STAGES of the stage that dropped it; len(STAGES) where it is kept."""
    reason: Array
    """Empty where it is kept."""
    detail: Array
    """What is wrong with an unreadable record, else None."""
    survivor: Array
    """Position of the document that stands for it: itself, or the one it is a copy of."""
    cluster_size: Array
    """Documents that a kept one stands for, itself included."""
    features: dict[str, Array]
    benchmark_items: pa.ListArray
    """The items of benchmarks that each document shares a passage with."""

    @property
    def kept(self) -> Array:
        return self.stage == len(STAGES)

    def of_file(self, index: int) -> slice:
        """The positions of one file's documents."""
        begin, end = np.searchsorted(self.file, [index, index + 1])
        return slice(int(begin), int(end))

    def table(self, index: int) -> pa.Table:
        """The decisions on one file's documents, as the contract's columns."""
        part = self.of_file(index)
        file = self.files[index]
        kept = self.kept[part]
        copy = self.survivor[part] != np.arange(part.start, part.stop)
        survivor = self.survivor[part]
        sources = [self.files[f].source.name for f in self.file[survivor]]
        return pa.table(
            {
                "source": pa.array([file.source.name] * len(kept), pa.string()),
                "id": pa.array(self.id[part], pa.string()),
                "kept": pa.array(kept),
                "stage": pa.array([None if s == len(STAGES) else STAGES[s] for s in self.stage[part]], pa.string()),
                "reason": pa.array([reason or None for reason in self.reason[part]], pa.string()),
                "detail": pa.array(self.detail[part], pa.string()),
                "kept_source": pa.array(sources, pa.string(), mask=~copy),
                "kept_id": pa.array(self.id[survivor], pa.string(), mask=~copy),
                "lang": pa.array(self.lang[part], pa.string()),
                "script": pa.array(self.script[part], pa.string()),
                "chars": pa.array(self.chars[part], pa.int64()),
                "cluster_size": pa.array(self.cluster_size[part], pa.int64(), mask=~kept),
                "raw_file": pa.array([file.raw] * len(kept), pa.string()),
                "raw_row": pa.array(self.row[part], pa.int64()),
            }
        )


def _objects(column: pa.ChunkedArray) -> Array:
    result = np.empty(len(column), object)
    result[:] = column.to_pylist()
    return result


def unique_ids(ids: Sequence[str], files: Sequence[str], rows: Sequence[int]) -> list[str]:
    """A source's ids, in file and row order: the first of equal ones stays, each later gets `#file:row`."""
    seen: set[str] = set()
    unique = []
    for name, file, row in zip(ids, files, rows, strict=True):
        while name in seen:  # once, unless an id of the source's own looks like one of ours
            name = f"{name}#{file}:{row}"
        seen.add(name)
        unique.append(name)
    return unique


def _columns(files: Sequence[ScannedFile]) -> tuple[pa.Table, Array]:
    """(everything but text, url, meta and signature; the file of each row)."""
    wanted = [
        "id",
        "lang",
        "script",
        "chars",
        "bytes",
        "raw_row",
        "unreadable",
        "text_hash",
        "benchmark_items",
        *FEATURES,
    ]
    tables = [pq.read_table(file.scan, columns=wanted, memory_map=True) for file in files]
    lengths = [len(table) for table in tables]
    return pa.concat_tables(tables), np.repeat(np.arange(len(files), dtype=np.int32), lengths)


def _signatures(files: Sequence[ScannedFile], file: Array, wanted: Array) -> Array:
    """uint32 [len(wanted), k]: the signatures of the documents at these positions, one file in memory at a time."""
    parts = []
    for index in np.unique(file[wanted]):
        first = np.searchsorted(file, index)
        column = pq.read_table(files[index].scan, columns=["signature"])["signature"].combine_chunks()
        matrix = column.values.to_numpy().reshape(len(column), -1)
        parts.append(matrix[wanted[file[wanted] == index] - first])
    return np.concatenate(parts) if parts else np.zeros((0, 1), np.uint32)


def decide(files: Sequence[ScannedFile], config: CorpusConfig) -> Decisions:
    """The decision on every document of these files, which stand in the order in which copies survive."""
    table, file = _columns(files)
    total = len(table)
    lang, unreadable = _objects(table["lang"]), _objects(table["unreadable"])
    columns = {name: table[name].to_numpy() for name in FEATURES}
    source_of_file = [f.source for f in files]
    names = np.array([f.source.name for f in files], object)[file] if total else np.zeros(0, object)

    stage = np.full(total, len(STAGES), np.int8)
    reason = np.full(total, "", object)
    survivor = np.arange(total)

    def drop(mask: Array, where: str, why: Any) -> None:
        mask = mask & (stage == len(STAGES))
        stage[mask] = STAGES.index(where)
        reason[mask] = why[mask] if isinstance(why, np.ndarray) else why

    drop(np.array([why is not None for why in unreadable], bool), "read", "unreadable")

    # Which language and quality say is known beforehand, so that of exact copies the survivor is one that
    # stays: a text is not lost because its first copy stands in a source of another language.
    wrong = np.zeros(total, bool)
    poor = np.full(total, KEPT, object)
    ids = np.empty(total, object)
    raw_ids, rows = table["id"].to_pylist(), table["raw_row"].to_numpy()
    for source in dict.fromkeys(f.source.name for f in files):
        part = np.flatnonzero(names == source)
        if not len(part):
            continue
        spec = source_of_file[file[part[0]]]
        wrong[part] = ~np.isin(lang[part].astype(str), ADMITTED[spec.lang])
        poor[part] = judge({n: c[part] for n, c in columns.items()}, lang[part], spec.policy, config)
        raw_files = [files[f].raw for f in file[part]]
        ids[part] = unique_ids([raw_ids[p] for p in part], raw_files, rows[part].tolist())

    readable = np.flatnonzero(stage == len(STAGES))
    if len(readable):
        flat = b"".join(table["text_hash"].take(pa.array(readable)).to_pylist())
        hashes = np.frombuffer(flat, np.uint64).reshape(-1, 2)
        rank = (wrong | (poor != KEPT))[readable].astype(np.int8)
        survivor[readable] = readable[exact_copies(hashes, rank)]
    drop(survivor != np.arange(total), "exact", "exact_copy")
    size = np.bincount(survivor, minlength=total)

    drop(wrong, "language", "wrong_language")
    drop(poor != KEPT, "quality", poor)

    left = np.flatnonzero(stage == len(STAGES))
    clusters = near_copies(_signatures(files, file, left), config.scan.bands, config.near.jaccard_threshold)
    survivor[left] = left[clusters]
    drop(survivor != np.arange(total), "near", "near_copy")
    survivor = survivor[survivor]  # an exact copy of a near copy: both are copies of the one that stays
    cluster_size = np.bincount(survivor[left], size[left], minlength=total).astype(np.int64)

    benchmark_items = table["benchmark_items"].combine_chunks()
    # An unreadable record has no items at all, a readable one a list of them, most often empty.
    items = pc.call_function(
        "coalesce", [pc.call_function("list_value_length", [benchmark_items]), pa.scalar(0, pa.int32())]
    )
    drop(items.to_numpy(zero_copy_only=False) > 0, "contamination", "contaminated")

    return Decisions(
        files=tuple(files),
        file=file,
        row=rows,
        id=ids,
        lang=lang,
        script=_objects(table["script"]),
        chars=table["chars"].to_numpy(),
        bytes=table["bytes"].to_numpy(),
        stage=stage,
        reason=reason,
        detail=unreadable,
        survivor=survivor,
        cluster_size=cluster_size,
        features=columns,
        benchmark_items=benchmark_items,
    )


def contamination_rows(decisions: Decisions, corpus: str, index: BenchmarkIndex) -> list[dict[str, Any]]:
    """The rows of contamination: of each source and language, documents dropped for a benchmark's items, and how
    many different items those are."""
    found: dict[tuple[str, str], list[Array]] = {}
    for position in np.flatnonzero(decisions.stage == STAGES.index("contamination")):
        key = decisions.files[decisions.file[position]].source.name, decisions.lang[position]
        found.setdefault(key, []).append(decisions.benchmark_items[int(position)].values.to_numpy())
    rows = []
    for (source, lang), documents in sorted(found.items()):
        docs = Counter(benchmark for items in documents for benchmark in index.per_benchmark(items))
        for benchmark, items in index.per_benchmark(np.concatenate(documents)).items():
            key = {"corpus": corpus, "benchmark": benchmark, "source": source, "lang": lang}
            rows.append({**key, "docs": docs[benchmark], "items": items})
    return rows


def ledger_rows(decisions: Decisions, corpus: str) -> dict[str, list[dict[str, Any]]]:
    """The rows of document_flow and document_drops: what entered, left and was dropped, stage by stage.

    Stages here judge all sources together, so `seconds` is 0; nothing is removed inside a kept document.
    """
    flow: list[dict[str, Any]] = []
    drops: list[dict[str, Any]] = []
    names = np.array([f.source.name for f in decisions.files], object)
    of_document = names[decisions.file] if len(decisions.file) else np.zeros(0, object)
    for source in dict.fromkeys(f.source.name for f in decisions.files):
        for lang in ("zh", "en", "code", "other"):
            part = np.flatnonzero((of_document == source) & (decisions.lang == lang))
            if not len(part):
                continue
            stage, chars, size = decisions.stage[part], decisions.chars[part], decisions.bytes[part]
            key = {"corpus": corpus, "source": source, "lang": lang}
            for index, name in enumerate(STAGES):
                enters, falls = stage >= index, stage == index
                flow.append(
                    {
                        **key,
                        "stage": name,
                        "docs_in": int(enters.sum()),
                        "docs_out": int((enters & ~falls).sum()),
                        "docs_dropped": int(falls.sum()),
                        "chars_in": int(chars[enters].sum()),
                        "chars_out": int(chars[enters & ~falls].sum()),
                        "chars_dropped": int(chars[falls].sum()),
                        "chars_removed_in_kept": 0,
                        "bytes_in": int(size[enters].sum()),
                        "bytes_out": int(size[enters & ~falls].sum()),
                        "seconds": 0.0,
                    }
                )
                reasons = decisions.reason[part[falls]]
                for why in sorted(set(reasons)):
                    docs = reasons == why
                    dropped = {"docs": int(docs.sum()), "chars": int(chars[falls][docs].sum())}
                    drops.append({**key, "stage": name, "reason": why, **dropped})
    return {"document_flow": flow, "document_drops": drops}

"""Decisions: for every document kept, or the stage and reason of its drop. Columns only, no text.

Takes the columns of all scanned files, sources in order, and the pairs that are alike; gives `Decisions` and the
rows of the ledger's funnel. A changed threshold costs seconds, because nothing here opens a text.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from xmodel_core.corpus.config import CorpusConfig
from xmodel_core.corpus.decontaminate import BenchmarkIndex
from xmodel_core.corpus.dedup import clusters, exact_copies
from xmodel_core.corpus.features import FEATURES
from xmodel_core.corpus.layout import Array
from xmodel_core.corpus.rules import KEPT, judge
from xmodel_core.corpus.scanned import REMOVED, ScannedFile

STAGES = ("read", "exact", "lines", "language", "quality", "near", "contamination")
# Code stands among prose of every source; a source that declares a language admits no other.
ADMITTED = {"zh": ("zh", "code"), "en": ("en", "code"), "code": ("code", "en", "zh"), "multi": ("zh", "en", "code")}


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
    """Characters of the text that was judged, boilerplate lines removed."""
    bytes: Array
    removed: dict[str, Array]
    """Boilerplate lines, and their characters and bytes, that were removed before it was judged."""
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

    def kept_digest(self, index: int) -> str:
        """SHA-256 of what the documents of one file take from the decisions on them."""
        table = self.table(index)
        table = table.filter(table["kept"]).select(["id", "lang", "script", "cluster_size", "raw_row"])
        return hashlib.sha256(json.dumps(table.to_pydict()).encode()).hexdigest()

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


_DECISIVE = ("id", "lang", "script", "chars", "bytes", "raw_row", "unreadable", "text_hash", "benchmark_items")


def decide(files: Sequence[ScannedFile], pairs: Array, config: CorpusConfig) -> Decisions:
    """The decision on every document of these files, which stand in the order in which copies survive. `pairs`
    [m, 2] are near copies of one another, by position."""
    table = pa.concat_tables([file.columns([*_DECISIVE, *REMOVED, *FEATURES]) for file in files])
    file = np.repeat(np.arange(len(files), dtype=np.int32), [f.rows for f in files])
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

    # A near copy of any copy is one of all: clusters are made of first copies, and the others belong to theirs.
    first = np.arange(total)
    readable = np.flatnonzero(stage == len(STAGES))
    if len(readable):
        flat = b"".join(table["text_hash"].take(pa.array(readable)).to_pylist())
        hashes = np.frombuffer(flat, np.uint64).reshape(-1, 2)
        rank = (wrong | (poor != KEPT))[readable].astype(np.int8)
        survivor[readable] = readable[exact_copies(hashes, rank)]
        first[readable] = readable[exact_copies(hashes, np.zeros_like(rank))]
    drop(survivor != np.arange(total), "exact", "exact_copy")
    size = np.bincount(survivor, minlength=total)

    drop(wrong, "language", "wrong_language")
    drop(poor != KEPT, "quality", poor)

    left = np.flatnonzero(stage == len(STAGES))
    _, where, which = np.unique(clusters(total, pairs)[first[left]], return_index=True, return_inverse=True)
    survivor[left] = left[where[which]]
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
        removed={name: table[name].to_numpy() for name in REMOVED},
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
    """The rows of document_flow, document_drops and edits: what entered, left and was dropped, stage by stage, and
    the lines removed from inside kept documents. Stages here judge all sources together, so `seconds` is 0."""
    flow: list[dict[str, Any]] = []
    drops: list[dict[str, Any]] = []
    edits: list[dict[str, Any]] = []
    names = np.array([f.source.name for f in decisions.files], object)
    of_document = names[decisions.file] if len(decisions.file) else np.zeros(0, object)
    for source in dict.fromkeys(f.source.name for f in decisions.files):
        for lang in ("zh", "en", "code", "other"):
            part = np.flatnonzero((of_document == source) & (decisions.lang == lang))
            if not len(part):
                continue
            stage = decisions.stage[part]
            lines, lost_chars, lost_bytes = (decisions.removed[name][part] for name in REMOVED)
            key = {"corpus": corpus, "source": source, "lang": lang}
            for index, name in enumerate(STAGES):
                enters, falls = stage >= index, stage == index
                # Who was dropped earlier lost no lines, whatever its rescan says.
                still = index <= STAGES.index("lines")
                chars = decisions.chars[part] + still * lost_chars
                size = decisions.bytes[part] + still * lost_bytes
                removed = (lost_chars, lost_bytes) if name == "lines" else (np.zeros_like(chars),) * 2
                flow.append(
                    {
                        **key,
                        "stage": name,
                        "docs_in": int(enters.sum()),
                        "docs_out": int((enters & ~falls).sum()),
                        "docs_dropped": int(falls.sum()),
                        "chars_in": int(chars[enters].sum()),
                        "chars_out": int((chars - removed[0])[enters & ~falls].sum()),
                        "chars_dropped": int(chars[falls].sum()),
                        "chars_removed_in_kept": int(removed[0][enters & ~falls].sum()),
                        "bytes_in": int(size[enters].sum()),
                        "bytes_out": int((size - removed[1])[enters & ~falls].sum()),
                        "seconds": 0.0,
                    }
                )
                reasons = decisions.reason[part[falls]]
                for why in sorted(set(reasons)):
                    docs = reasons == why
                    dropped = {"docs": int(docs.sum()), "chars": int(chars[falls][docs].sum())}
                    drops.append({**key, "stage": name, "reason": why, **dropped})
            edited = decisions.kept[part] & (lines > 0)
            if edited.any():
                counts = {"docs": int(edited.sum()), "edits": int(lines[edited].sum())}
                chars = int(lost_chars[edited].sum())
                edits.append({**key, "kind": "boilerplate_line", **counts, "chars": chars})
    return {"document_flow": flow, "document_drops": drops, "edits": edits}

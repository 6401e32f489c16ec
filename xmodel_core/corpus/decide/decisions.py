"""Decisions: for every document kept, or the stage and reason of its drop. Columns only, no text.

Takes the columns of all scanned files, sources in order, and the pairs that are alike; gives `Decisions` and the
rows of the ledger's funnel. A changed threshold costs seconds, because nothing here opens a text. Columns are read
file by file: of all documents at once only what finds copies is held, about a hundred bytes for each.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import xxhash

from xmodel_core.corpus.config import CorpusConfig
from xmodel_core.corpus.contamination.benchmark_index import BenchmarkIndex
from xmodel_core.corpus.copies.dedup import clusters, exact_copies
from xmodel_core.corpus.measure.scanned import REMOVED, ScannedFile, digests, first_rows
from xmodel_core.corpus.rules import COLUMNS, KEPT, NAMES, judge
from xmodel_core.corpus.text.batch import Array

STAGES = ("read", "exact", "lines", "language", "quality", "near", "contamination")
REASONS = (KEPT, "unreadable", "exact_copy", "wrong_language", *NAMES, "near_copy", "contaminated")
LANGUAGES = ("zh", "en", "code", "other")
# Code stands among prose of every source; a source that declares a language admits no other.
ADMITTED = {"zh": ("zh", "code"), "en": ("en", "code"), "code": ("code", "en", "zh"), "multi": ("zh", "en", "code")}


@dataclass(frozen=True)
class Decisions:
    """One entry per document, in the order of sources, files and rows: its position."""

    files: tuple[ScannedFile, ...]
    stage: Array
    """int8: index into STAGES of the stage that dropped it; len(STAGES) where it is kept."""
    reason: Array
    """int16: index into REASONS."""
    survivor: Array
    """int64: position of the document that stands for it: itself, or the one it is a copy of."""
    cluster_size: Array
    """int64: documents that a kept one stands for, itself included."""
    renamed: tuple[dict[int, str], ...]
    """For each file, by row: the new ids of documents whose id stood in their source before."""

    @property
    def kept(self) -> Array:
        return self.stage == len(STAGES)

    @cached_property
    def _begins(self) -> Array:
        return first_rows(self.files)

    def of_file(self, index: int) -> slice:
        """The positions of one file's documents."""
        return slice(int(self._begins[index]), int(self._begins[index + 1]))

    def ids(self, index: int) -> list[str]:
        """The ids of one file's documents, each unique in its source."""
        ids = self.files[index].columns(["id"])["id"].to_pylist()
        for row, name in self.renamed[index].items():
            ids[row] = name
        return ids

    @cached_property
    def survivors(self) -> dict[int, tuple[str, str]]:
        """(source, id), by position, of the documents that stand for copies."""
        positions = np.unique(self.survivor[self.survivor != np.arange(len(self.survivor))])
        found = {}
        for index, file in enumerate(self.files):
            part = self.of_file(index)
            mine = positions[(positions >= part.start) & (positions < part.stop)].tolist()
            ids = self.ids(index) if mine else []
            found |= {position: (file.source.name, ids[position - part.start]) for position in mine}
        return found

    def kept_digest(self, index: int) -> str:
        """SHA-256 of what the documents of one file take from the decisions on them."""
        part = self.of_file(index)
        made = hashlib.sha256(self.kept[part].tobytes() + self.cluster_size[part].tobytes())
        made.update(json.dumps(self.renamed[index]).encode())
        return made.hexdigest()

    def table(self, index: int) -> pa.Table:
        """The decisions on one file's documents, as the contract's columns."""
        part, file = self.of_file(index), self.files[index]
        columns = file.columns(["lang", "script", "chars", "unreadable", "raw_row"])
        kept, survivor = self.kept[part], self.survivor[part]
        stands = survivor == np.arange(part.start, part.stop)
        of = [None if itself else self.survivors[p] for p, itself in zip(survivor.tolist(), stands, strict=True)]
        return pa.table(
            {
                "source": pa.array([file.source.name] * len(kept), pa.string()),
                "id": pa.array(self.ids(index), pa.string()),
                "kept": pa.array(kept),
                "stage": pa.array([*STAGES, None], pa.string()).take(pa.array(self.stage[part])),
                "reason": pa.array([None, *REASONS[1:]], pa.string()).take(pa.array(self.reason[part])),
                "detail": columns["unreadable"],
                "kept_source": pa.array([each and each[0] for each in of], pa.string()),
                "kept_id": pa.array([each and each[1] for each in of], pa.string()),
                "lang": columns["lang"],
                "script": columns["script"],
                "chars": columns["chars"],
                "cluster_size": pa.array(self.cluster_size[part], pa.int64(), mask=~kept),
                "raw_file": pa.array([file.raw] * len(kept), pa.string()),
                "raw_row": columns["raw_row"],
            }
        )


def unique_ids(files: Sequence[ScannedFile], hashes: Sequence[Array]) -> list[dict[int, str]]:
    """For each file of one source, by row: new ids, with `#file:row`, for all but the first of equal ones. `hashes`:
    uint64, those of each file's ids; two that collide cost one of them its plain name, nothing more."""
    known, first = np.unique(np.concatenate(hashes), return_index=True)
    again = np.ones(sum(map(len, hashes)), bool)
    again[first] = False
    renamed: list[dict[int, str]] = [{} for _ in files]
    taken: set[np.uint64] = set()
    for file, begin, new in zip(files, first_rows(files), renamed, strict=False):
        rows = np.flatnonzero(again[begin : begin + file.rows]).tolist()
        columns = file.columns(["id", "raw_row"]).take(pa.array(rows, pa.int64())).to_pylist() if rows else []
        for row, record in zip(rows, columns, strict=True):
            name = record["id"]
            # Once, unless an id of the source's own looks like one of ours.
            while (key := np.uint64(id_hash(name))) in taken or known[np.searchsorted(known, key) % len(known)] == key:
                name = f"{name}#{file.raw}:{record['raw_row']}"
            taken.add(key)
            new[row] = name
    return renamed


def id_hash(name: str) -> int:
    """What ids are compared by."""
    return xxhash.xxh3_64_intdigest(name)


_DECISIVE = ("id", "lang", "unreadable", "text_hash", "benchmark_items")


def decide(files: Sequence[ScannedFile], pairs: Array, config: CorpusConfig) -> Decisions:
    """The decision on every document of these files, which stand in the order in which copies survive. `pairs`
    [m, 2] are near copies of one another, by position."""
    begins = first_rows(files)
    total = int(begins[-1])
    unreadable, wrong, contaminated = (np.zeros(total, bool) for _ in range(3))
    poor = np.zeros(total, np.int16)
    hashes = np.zeros((total, 2), np.uint64)
    id_hashes: dict[str, list[Array]] = {}
    for file, begin in zip(files, begins, strict=False):
        part = slice(begin, begin + file.rows)
        table = file.columns([*_DECISIVE, *COLUMNS])
        lang = np.array(table["lang"].to_pylist(), object)
        unreadable[part] = table["unreadable"].is_valid().to_numpy()
        wrong[part] = ~np.isin(lang.astype(str), ADMITTED[file.source.lang])
        features = {name: table[name].to_numpy() for name in COLUMNS}
        names, which = np.unique(judge(features, lang, file.source.policy, config), return_inverse=True)
        poor[part] = np.array([REASONS.index(name) for name in names], np.int16)[which]
        hashes[part] = digests(table["text_hash"])
        # An unreadable record has no items at all, a readable one a list of them, most often empty.
        items = pc.call_function("list_value_length", [table["benchmark_items"]])
        contaminated[part] = np.nan_to_num(items.to_numpy()) > 0
        ids = np.fromiter(map(id_hash, table["id"].to_pylist()), np.uint64, file.rows)
        id_hashes.setdefault(file.source.name, []).append(ids)

    stage = np.full(total, len(STAGES), np.int8)
    reason = np.zeros(total, np.int16)
    survivor = np.arange(total)

    def drop(mask: Array, where: str, why: str | Array) -> None:
        mask = mask & (stage == len(STAGES))
        stage[mask] = STAGES.index(where)
        reason[mask] = REASONS.index(why) if isinstance(why, str) else why[mask]

    drop(unreadable, "read", "unreadable")

    # Which language and quality say is known beforehand, so that of exact copies the survivor is one that
    # stays: a text is not lost because its first copy stands in a source of another language.
    # A near copy of any copy is one of all: clusters are made of first copies, and the others belong to theirs.
    first = np.arange(total)
    readable = np.flatnonzero(~unreadable)
    rank = (wrong | (poor > 0))[readable].astype(np.int8)
    survivor[readable] = readable[exact_copies(hashes[readable], rank)]
    first[readable] = readable[exact_copies(hashes[readable], np.zeros_like(rank))]
    del hashes
    drop(survivor != np.arange(total), "exact", "exact_copy")
    size = np.bincount(survivor, minlength=total)

    drop(wrong, "language", "wrong_language")
    drop(poor > 0, "quality", poor)

    left = np.flatnonzero(stage == len(STAGES))
    _, where, which = np.unique(clusters(total, pairs)[first[left]], return_index=True, return_inverse=True)
    survivor[left] = left[where[which]]
    drop(survivor != np.arange(total), "near", "near_copy")
    survivor = survivor[survivor]  # an exact copy of a near copy: both are copies of the one that stays
    cluster_size = np.bincount(survivor[left], size[left], minlength=total).astype(np.int64)

    drop(contaminated, "contamination", "contaminated")

    renamed: list[dict[int, str]] = []
    for source, ids in id_hashes.items():
        renamed += unique_ids([file for file in files if file.source.name == source], ids)
    return Decisions(tuple(files), stage, reason, survivor, cluster_size, tuple(renamed))


def contamination_rows(decisions: Decisions, corpus: str, index: BenchmarkIndex) -> list[dict[str, Any]]:
    """The rows of contamination: of each source and language, documents dropped for a benchmark's items, and how
    many different items those are."""
    found: dict[tuple[str, str], list[Array]] = {}
    for number, file in enumerate(decisions.files):
        dropped = decisions.stage[decisions.of_file(number)] == STAGES.index("contamination")
        if dropped.any():
            table = file.columns(["lang", "benchmark_items"]).filter(pa.array(dropped))
            for lang, items in zip(*(column.to_pylist() for column in table.columns), strict=True):
                found.setdefault((file.source.name, lang), []).append(np.array(items))
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
    flow: dict[tuple[str, str, str], Counter[str]] = {}
    drops: dict[tuple[str, str, str, str], Counter[str]] = {}
    edits: dict[tuple[str, str], Counter[str]] = {}
    for number, file in enumerate(decisions.files):
        part = decisions.of_file(number)
        table = file.columns(["lang", "chars", "bytes", *REMOVED])
        langs = np.array(table["lang"].to_pylist(), object)
        for lang in set(langs):
            mine = langs == lang
            stage, reason = decisions.stage[part][mine], decisions.reason[part][mine]
            kept_chars, kept_bytes, lines, lost_chars, lost_bytes = (
                table[name].to_numpy()[mine] for name in ("chars", "bytes", *REMOVED)
            )
            for index, name in enumerate(STAGES):
                enters, falls = stage >= index, stage == index
                goes_on = enters & ~falls
                # Who was dropped earlier lost no lines, whatever its rescan says.
                still = index <= STAGES.index("lines")
                chars, size = kept_chars + still * lost_chars, kept_bytes + still * lost_bytes
                removed = (lost_chars, lost_bytes) if name == "lines" else (np.zeros_like(chars),) * 2
                flow.setdefault((file.source.name, lang, name), Counter()).update(
                    docs_in=int(enters.sum()),
                    docs_out=int(goes_on.sum()),
                    docs_dropped=int(falls.sum()),
                    chars_in=int(chars[enters].sum()),
                    chars_out=int((chars - removed[0])[goes_on].sum()),
                    chars_dropped=int(chars[falls].sum()),
                    chars_removed_in_kept=int(removed[0][goes_on].sum()),
                    bytes_in=int(size[enters].sum()),
                    bytes_out=int((size - removed[1])[goes_on].sum()),
                )
                for why in np.unique(reason[falls]).tolist():
                    dropped = drops.setdefault((file.source.name, lang, name, REASONS[why]), Counter())
                    docs = reason[falls] == why
                    dropped.update(docs=int(docs.sum()), chars=int(chars[falls][docs].sum()))
            edited = (stage == len(STAGES)) & (lines > 0)
            if edited.any():
                edits.setdefault((file.source.name, lang), Counter()).update(
                    docs=int(edited.sum()), edits=int(lines[edited].sum()), chars=int(lost_chars[edited].sum())
                )

    sources = list(dict.fromkeys(file.source.name for file in decisions.files))

    def order(key: tuple[str, ...]) -> tuple[int | str, ...]:
        return sources.index(key[0]), LANGUAGES.index(key[1]), *(STAGES.index(name) for name in key[2:3]), *key[3:]

    def rows(table: dict[Any, Counter[str]], names: Sequence[str], **more: Any) -> list[dict[str, Any]]:
        keys = sorted(table, key=order)
        return [{"corpus": corpus, **dict(zip(names, key, strict=True)), **table[key], **more} for key in keys]

    return {
        "document_flow": rows(flow, ("source", "lang", "stage"), seconds=0.0),
        "document_drops": rows(drops, ("source", "lang", "stage", "reason")),
        "edits": rows(edits, ("source", "lang"), kind="boilerplate_line"),
    }

"""Decisions: for every document kept, or the stage and reason of its drop. Columns only, no text.

Takes the columns of all scanned files, sources in order, and the pairs of near copies; gives `Decisions`. A changed
threshold costs seconds, because nothing here opens a text. Columns are read file by file: of all documents at once only
what finds copies is held in memory, about a hundred bytes for each.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import xxhash

from xmodel_core.corpus.config import CorpusConfig
from xmodel_core.corpus.copies.dedup import clusters, exact_copies
from xmodel_core.corpus.measure.scanned import ScannedFile, digests, first_rows
from xmodel_core.corpus.rules import COLUMNS, KEPT, NAMES, judge
from xmodel_core.corpus.text.batch import Array

STAGES = ("read", "exact", "lines", "language", "quality", "near", "contamination")
REASONS = (KEPT, "unreadable", "exact_copy", "wrong_language", *NAMES, "near_copy", "contaminated")
# Sources of prose hold code, too; a source that declares a language admits no other.
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
    """For each file, by row: the new ids of documents whose id was taken in their source."""

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
        keys = {}
        for index, file in enumerate(self.files):
            part = self.of_file(index)
            of_file = positions[(positions >= part.start) & (positions < part.stop)].tolist()
            ids = self.ids(index) if of_file else []
            keys |= {position: (file.source.name, ids[position - part.start]) for position in of_file}
        return keys

    def kept_digest(self, index: int) -> str:
        """SHA-256 of the decisions that the documents of one file depend on: kept, cluster sizes, new ids."""
        part = self.of_file(index)
        digest = hashlib.sha256(self.kept[part].tobytes() + self.cluster_size[part].tobytes())
        digest.update(json.dumps(self.renamed[index]).encode())
        return digest.hexdigest()

    def table(self, index: int) -> pa.Table:
        """The decisions on one file's documents: the columns of decisions/*.parquet."""
        part, file = self.of_file(index), self.files[index]
        columns = file.columns(["lang", "script", "chars", "unreadable", "raw_row"])
        kept, survivor = self.kept[part], self.survivor[part]
        stands = survivor == np.arange(part.start, part.stop)
        copied = [None if itself else self.survivors[p] for p, itself in zip(survivor.tolist(), stands, strict=True)]
        return pa.table(
            {
                "source": pa.array([file.source.name] * len(kept), pa.string()),
                "id": pa.array(self.ids(index), pa.string()),
                "kept": pa.array(kept),
                "stage": pa.array([*STAGES, None], pa.string()).take(pa.array(self.stage[part])),
                "reason": pa.array([None, *REASONS[1:]], pa.string()).take(pa.array(self.reason[part])),
                "detail": columns["unreadable"],
                "kept_source": pa.array([each and each[0] for each in copied], pa.string()),
                "kept_id": pa.array([each and each[1] for each in copied], pa.string()),
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
    uint64 arrays, of each file's ids; where two ids collide, one gets a suffix that it did not need."""
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
            # One round, unless the source has an id of this form itself.
            while (key := np.uint64(id_hash(name))) in taken or known[np.searchsorted(known, key) % len(known)] == key:
                name = f"{name}#{file.raw}:{record['raw_row']}"
            taken.add(key)
            new[row] = name
    return renamed


def id_hash(name: str) -> int:
    """The hash by which ids are compared."""
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

    def drop(mask: Array, stage_name: str, reasons: str | Array) -> None:
        mask = mask & (stage == len(STAGES))
        stage[mask] = STAGES.index(stage_name)
        reason[mask] = REASONS.index(reasons) if isinstance(reasons, str) else reasons[mask]

    drop(unreadable, "read", "unreadable")

    # Language and quality are judged before copies are dropped, so that of exact copies one survives that those stages
    # keep: a text is not lost because its first copy is in a source of another language. A near copy of one exact copy
    # is a near copy of all: clusters consist of first copies, and the others join theirs.
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

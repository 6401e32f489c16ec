"""The second pass: the kept documents of one scanned file, masked and written; and samples of the dropped.

Takes a scan and the decisions on it; gives documents without personal data, and for each reason a bounded number
of whole dropped documents to read. What is masked is counted per language and kind in the shard's receipt.
"""

import contextlib
import gzip
import heapq
import itertools
import json
import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import xxhash

from xmodel_core.artifacts import Artifact, Folder, ShardWriter, file_digest, write_shard
from xmodel_core.corpus.decide.decisions import REASONS, Decisions
from xmodel_core.corpus.mask.masking import Kind, mask
from xmodel_core.corpus.measure.scanned import ScannedFile
from xmodel_core.corpus.rules import COLUMNS
from xmodel_core.corpus.text.batch import Array

DOCUMENTS = pa.schema(
    [
        ("source", pa.string()),
        ("id", pa.string()),
        ("text", pa.string()),
        ("lang", pa.string()),
        ("declared_lang", pa.string()),
        ("script", pa.string()),
        ("url", pa.string()),
        ("meta", pa.string()),
        ("cluster_size", pa.int64()),
        ("raw_file", pa.string()),
        ("raw_row", pa.int64()),
    ]
)
_REPEATED = ["source", "lang", "declared_lang", "script", "raw_file"]  # columns with few different values


@dataclass(frozen=True)
class DocumentsTask:
    """One item of the cluster's map: everything a worker needs to write one file's documents."""

    folder: Folder
    file: ScannedFile
    kinds: tuple[Kind, ...]
    """Personal data to mask."""
    made_of: str
    """Fingerprint of all that the documents follow from."""
    earlier: Artifact | None = None
    """A corpus that made the same documents of the same."""

    @property
    def shard(self) -> str:
        return f"documents-{self.file.name}"


# SentencePiece writes a space as U+2581, LOWER ONE EIGHTH BLOCK, so no tokenizer of that kind can tell the two apart.
# It stands in for a rule or a blank to fill in, as a low line does, and one character for one keeps every count.
RESERVED_CHARACTER, WRITTEN_INSTEAD = "\u2581", "_"


def _sizes(texts: pa.ChunkedArray) -> Array:
    """int64 [n, 2]: characters and bytes of each text."""
    return np.stack([pc.call_function(name, [texts]).to_numpy() for name in ("utf8_length", "binary_length")], 1)


class _Masking:
    """Masks texts and keeps count per language: of texts and their sizes, and of edits by kind."""

    def __init__(self, kinds: tuple[Kind, ...]) -> None:
        self._kinds = kinds
        self._flow: dict[str, Counter[str]] = {}
        self._edits: dict[tuple[str, str], Counter[str]] = {}

    def __call__(self, texts: pa.ChunkedArray, langs: list[str]) -> pa.ChunkedArray:
        """The texts, masked."""
        pairs = zip(texts.to_pylist(), langs, strict=True)
        masked = pa.chunked_array([[self._one(text, lang) for text, lang in pairs]], pa.string())
        sizes = np.concatenate((_sizes(texts), _sizes(masked)), 1)
        for lang in set(langs):
            mine = sizes[np.array(langs) == lang]
            chars_in, bytes_in, chars_out, bytes_out = mine.sum(0).tolist()
            self._flow.setdefault(lang, Counter()).update(
                docs=len(mine), chars_in=chars_in, chars_out=chars_out, bytes_in=bytes_in, bytes_out=bytes_out
            )
        return masked

    def _one(self, text: str, lang: str) -> str:
        masked, edits = mask(text, self._kinds)
        if reserved := masked.count(RESERVED_CHARACTER):
            masked = masked.replace(RESERVED_CHARACTER, WRITTEN_INSTEAD)
            counts = self._edits.setdefault((lang, "reserved_character"), Counter())
            counts.update(docs=1, edits=reserved, chars=reserved)
        for kind in {edit.kind for edit in edits}:
            mine = [edit for edit in edits if edit.kind == kind]
            chars = sum(edit.end - edit.start for edit in mine)
            self._edits.setdefault((lang, kind), Counter()).update(docs=1, edits=len(mine), chars=chars)
        return masked

    def facts(self) -> dict[str, Any]:
        """For the receipt."""
        return {
            "docs": sum(count["docs"] for count in self._flow.values()),
            "chars": sum(count["chars_out"] for count in self._flow.values()),
            "mask": [{"lang": lang, **counts} for lang, counts in sorted(self._flow.items())],
            "edits": [{"lang": lang, "kind": kind, **n} for (lang, kind), n in sorted(self._edits.items())],
        }


def write_documents(task: DocumentsTask) -> None:
    """Writes documents/<source>-NNNNN.parquet from the scan and decisions/<source>-NNNNN.parquet, or copies it from an
    earlier corpus that made the same."""
    path, source = f"documents/{task.file.name}.parquet", task.file.source
    with write_shard(task.folder, task.shard) as shard:
        facts = _copied(task.earlier, path, shard.file(path)) if task.earlier else None
        shard.facts.update(facts or _written(task, shard.file(path)))
        shard.facts.update(source=source.name, lang=source.lang, made_of=task.made_of)


def _copied(earlier: Artifact, path: str, target: Path) -> dict[str, Any] | None:
    """The earlier receipt's facts; None where its file is gone or damaged."""
    receipt = earlier.receipts()[f"documents-{Path(path).stem}"]
    with contextlib.suppress(OSError):
        shutil.copyfile(earlier.file(path), target)
        if [(entry.path, entry.sha256) for entry in receipt.files] == [(path, file_digest(target))]:
            return receipt.facts
    return None


def _written(task: DocumentsTask, target: Path) -> dict[str, Any]:
    decisions = pq.ParquetFile(task.folder.file(f"decisions/{task.file.name}.parquet")).read(use_threads=False)
    masking = _Masking(task.kinds)
    with pq.ParquetWriter(
        target,
        DOCUMENTS,
        compression="zstd",
        compression_level=3,
        use_dictionary=_REPEATED,  # pyright: ignore[reportArgumentType] (its stub knows a flag)
    ) as writer:
        for begin, texts in task.file.groups(["text", "url", "meta"]):
            verdicts = decisions.slice(begin, len(texts))
            keep = verdicts["kept"].combine_chunks()
            both = verdicts.filter(keep)
            both = both.append_column("text", masking(texts["text"].filter(keep), both["lang"].to_pylist()))
            for name in ("url", "meta"):
                both = both.append_column(name, texts[name].filter(keep))
            declared = pa.array([task.file.source.lang] * len(both), pa.string())
            both = both.append_column("declared_lang", declared).select(DOCUMENTS.names)
            if len(both):
                writer.write_table(both.cast(DOCUMENTS))
    return masking.facts()


def masking_rows(receipts: Sequence[dict[str, Any]], corpus: str) -> dict[str, list[dict[str, Any]]]:
    """The rows of document_flow for the stage mask, and of edits, from the facts of the documents' receipts."""
    flow: dict[tuple[str, str], Counter[str]] = {}
    edits: dict[tuple[str, str, str], Counter[str]] = {}
    for facts in receipts:
        source = facts["source"]
        for row in facts["mask"]:
            counts = {key: value for key, value in row.items() if key != "lang"}
            flow.setdefault((source, row["lang"]), Counter()).update(counts)
        for row in facts["edits"]:
            counts = {key: row[key] for key in ("docs", "edits", "chars")}
            edits.setdefault((source, row["lang"], row["kind"]), Counter()).update(counts)
    return {
        "document_flow": [
            {
                "corpus": corpus,
                "source": source,
                "lang": lang,
                "stage": "mask",
                "docs_in": count["docs"],
                "docs_out": count["docs"],
                "docs_dropped": 0,
                "chars_in": count["chars_in"],
                "chars_out": count["chars_out"],
                "chars_dropped": 0,
                "chars_removed_in_kept": count["chars_in"] - count["chars_out"],
                "bytes_in": count["bytes_in"],
                "bytes_out": count["bytes_out"],
                "seconds": 0.0,
            }
            for (source, lang), count in flow.items()
        ],
        "edits": [
            {"corpus": corpus, "source": source, "lang": lang, "kind": kind, **count}
            for (source, lang, kind), count in edits.items()
        ],
    }


def write_decisions(shard: ShardWriter, decisions: Decisions, index: int) -> None:
    """Writes one file's decisions, and the features of what is dropped of it."""
    file = decisions.files[index]
    table = decisions.table(index)
    pq.write_table(table, shard.file(f"decisions/{file.name}.parquet"), compression="zstd")
    for name, feature in zip(COLUMNS, file.columns(COLUMNS).columns, strict=True):
        table = table.append_column(name, feature)
    dropped = table.filter(pa.array(~decisions.kept[decisions.of_file(index)]))
    strings = [field.name for field in dropped.schema if pa.types.is_string(field.type)]
    pq.write_table(
        dropped,
        shard.file(f"dropped/{file.name}.parquet"),
        compression="zstd",
        write_statistics=False,
        use_dictionary=strings,  # pyright: ignore[reportArgumentType] (its stub knows a flag)
    )


class _Chosen(NamedTuple):
    """A dropped document to show."""

    key: int
    position: int
    file: int
    id: str
    lang: str


def _chosen(decisions: Decisions, per_reason: int) -> dict[int, list[_Chosen]]:
    """Reason → the dropped documents to show: those whose keys hash lowest, in document order.

    What was unreadable has no text to show; its detail stands in the decisions.
    """
    chosen: dict[int, list[_Chosen]] = {}
    for index, file in enumerate(decisions.files):
        part = decisions.of_file(index)
        reasons = decisions.reason[part]
        rows = np.flatnonzero((reasons > 0) & (reasons != REASONS.index("unreadable"))).tolist()
        if rows:
            ids, langs = decisions.ids(index), file.columns(["lang"])["lang"].to_pylist()
        for row in rows:
            key = xxhash.xxh3_64_intdigest(f"{file.source.name}\0{ids[row]}")
            one = _Chosen(key, part.start + row, index, ids[row], langs[row])
            chosen.setdefault(int(reasons[row]), []).append(one)
        chosen = {reason: heapq.nsmallest(per_reason, each) for reason, each in chosen.items()}
    return {reason: sorted(each, key=lambda one: one.position) for reason, each in chosen.items()}


def write_dropped_samples(shard: ShardWriter, decisions: Decisions, per_reason: int) -> None:
    """Writes dropped_samples/<reason>.jsonl.gz, texts as they were judged; reads only the groups of rows that hold a
    chosen document."""
    for reason, documents in sorted(_chosen(decisions, per_reason).items()):
        if not documents:
            return
        path = shard.file(f"dropped_samples/{REASONS[reason]}.jsonl.gz")
        with path.open("wb") as raw, gzip.GzipFile("", "wb", fileobj=raw, mtime=0) as packed:
            for index, mine in itertools.groupby(documents, key=lambda one: one.file):
                of_row = {one.position - decisions.of_file(index).start: one for one in mine}
                for row, text in decisions.files[index].texts(np.array(list(of_row))):
                    one = of_row[row]
                    copy = int(decisions.survivor[one.position])
                    of, of_id = decisions.survivors[copy] if copy != one.position else (None, None)
                    record = {
                        "source": decisions.files[index].source.name,
                        "id": one.id,
                        "lang": one.lang,
                        "reason": REASONS[reason],
                        "kept_source": of,
                        "kept_id": of_id,
                        "text": text,
                    }
                    packed.write(json.dumps(record, ensure_ascii=False).encode() + b"\n")

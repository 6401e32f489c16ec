"""The second pass: the kept documents of one scanned file, masked and written; and samples of the dropped.

Takes a scan and the decisions on it; gives documents without personal data, and for each reason a bounded number
of whole dropped documents to read. What is masked is counted per language and kind in the shard's receipt.
"""

import contextlib
import gzip
import json
import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import xxhash

from xmodel_core.artifacts import Artifact, Folder, ShardWriter, file_digest, write_shard
from xmodel_core.corpus.decide import STAGES, Decisions
from xmodel_core.corpus.mask import Kind, mask
from xmodel_core.corpus.scanned import ScannedFile

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


class _Masking:
    """Masks texts and keeps count per language: of texts and their sizes, and of edits by kind."""

    def __init__(self, kinds: tuple[Kind, ...]) -> None:
        self._kinds = kinds
        self._flow: dict[str, Counter[str]] = {}
        self._edits: dict[tuple[str, str], Counter[str]] = {}

    def __call__(self, text: str, lang: str) -> str:
        masked, edits = mask(text, self._kinds)
        self._flow.setdefault(lang, Counter()).update(
            docs=1,
            chars_in=len(text),
            chars_out=len(masked),
            bytes_in=len(text.encode()),
            bytes_out=len(masked.encode()),
        )
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
    decisions = pq.read_table(task.folder.file(f"decisions/{task.file.name}.parquet"))
    masking = _Masking(task.kinds)
    with pq.ParquetWriter(target, DOCUMENTS, compression="zstd", compression_level=3) as writer:
        for begin, texts in task.file.groups(["text", "url", "meta"]):
            verdicts = decisions.slice(begin, len(texts))
            keep = verdicts["kept"].combine_chunks()
            both = verdicts.filter(keep)
            kept = texts["text"].filter(keep).to_pylist()
            masked = [masking(text, lang) for text, lang in zip(kept, both["lang"].to_pylist(), strict=True)]
            both = both.append_column("text", pa.array(masked, pa.string()))
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
    name = decisions.files[index].name
    table = decisions.table(index)
    pq.write_table(table, shard.file(f"decisions/{name}.parquet"), compression="zstd")
    part = decisions.of_file(index)
    for feature, column in decisions.features.items():
        table = table.append_column(feature, pa.array(column[part]))
    pq.write_table(
        table.filter(pa.array(~decisions.kept[part])), shard.file(f"dropped/{name}.parquet"), compression="zstd"
    )


def _chosen(decisions: Decisions, per_reason: int) -> Iterator[tuple[str, np.ndarray]]:
    """(reason, positions of the dropped documents to show): those whose keys hash lowest, in document order.

    What was unreadable has no text to show; its detail stands in the decisions.
    """
    for reason in sorted(set(decisions.reason[decisions.stage < len(STAGES)]) - {"unreadable"}):
        positions = np.flatnonzero(decisions.reason == reason)
        keys = [
            xxhash.xxh3_64_intdigest(f"{decisions.files[decisions.file[p]].source.name}\0{decisions.id[p]}")
            for p in positions
        ]
        yield reason, np.sort(positions[np.argsort(np.array(keys, np.uint64), kind="stable")[:per_reason]])


def write_dropped_samples(shard: ShardWriter, decisions: Decisions, per_reason: int) -> None:
    """Writes dropped_samples/<reason>.jsonl.gz, texts as they were judged; reads only the groups of rows that hold a
    chosen document."""
    for reason, positions in _chosen(decisions, per_reason):
        if not per_reason:
            return
        path = shard.file(f"dropped_samples/{reason}.jsonl.gz")
        with path.open("wb") as raw, gzip.GzipFile("", "wb", fileobj=raw, mtime=0) as packed:
            for index in np.unique(decisions.file[positions]):
                mine = positions[decisions.file[positions] == index]
                begin = decisions.of_file(int(index)).start
                for position, text in decisions.files[index].texts(mine - begin):
                    at = int(begin + position)
                    copy = int(decisions.survivor[at])
                    of = decisions.files[decisions.file[copy]].source.name
                    row = {
                        "source": decisions.files[index].source.name,
                        "id": decisions.id[at],
                        "lang": decisions.lang[at],
                        "reason": reason,
                        "kept_source": of if copy != at else None,
                        "kept_id": decisions.id[copy] if copy != at else None,
                        "text": text,
                    }
                    packed.write(json.dumps(row, ensure_ascii=False).encode() + b"\n")

"""The second pass: the kept documents of one scanned file, written; and samples of the dropped.

Takes a scan and the decisions on it; gives documents, and for each reason a bounded number of whole
dropped documents to read. No text is decoded twice: what is written is what was scanned.
"""

import gzip
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import xxhash

from xmodel_core.artifacts import ShardWriter, write_shard
from xmodel_core.corpus.decide import STAGES, Decisions, ScannedFile

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

    folder: Path
    file: ScannedFile

    @property
    def shard(self) -> str:
        return f"documents-{self.file.name}"


def write_documents(task: DocumentsTask) -> None:
    """Writes documents/<source>-NNNNN.parquet from the scan and decisions/<source>-NNNNN.parquet."""
    decisions = pq.read_table(task.folder / "decisions" / f"{task.file.name}.parquet")
    scan = pq.ParquetFile(task.file.scan)
    docs = chars = begin = 0
    with write_shard(task.folder, task.shard) as shard:
        target = shard.file(f"documents/{task.file.name}.parquet")
        with pq.ParquetWriter(target, DOCUMENTS, compression="zstd", compression_level=3) as writer:
            for group in range(scan.num_row_groups):
                texts = scan.read_row_group(group, columns=["text", "url", "meta"], use_threads=False)
                verdicts = decisions.slice(begin, len(texts))
                begin += len(texts)
                keep = verdicts["kept"].combine_chunks()
                both = verdicts.filter(keep)
                for name in texts.column_names:
                    both = both.append_column(name, texts[name].filter(keep))
                declared = pa.array([task.file.source.lang] * len(both), pa.string())
                both = both.append_column("declared_lang", declared).select(DOCUMENTS.names)
                if len(both):
                    writer.write_table(both.cast(DOCUMENTS))
                docs += len(both)
                lengths = pc.call_function("utf8_length", [both["text"]])
                chars += pc.call_function("sum", [lengths]).as_py() or 0
        shard.facts.update(source=task.file.source.name, lang=task.file.source.lang, docs=docs, chars=chars)


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
    """Writes dropped_samples/<reason>.jsonl.gz; reads only the groups of rows that hold a chosen document."""
    for reason, positions in _chosen(decisions, per_reason):
        if not per_reason:
            return
        path = shard.file(f"dropped_samples/{reason}.jsonl.gz")
        with path.open("wb") as raw, gzip.GzipFile("", "wb", fileobj=raw, mtime=0) as packed:
            for index in np.unique(decisions.file[positions]):
                mine = positions[decisions.file[positions] == index]
                begin = decisions.of_file(int(index)).start
                for position, text in _texts(decisions.files[index].scan, mine - begin):
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


def _texts(scan: Path, rows: np.ndarray) -> Iterator[tuple[int, str]]:
    file = pq.ParquetFile(scan)
    begin = 0
    for group in range(file.num_row_groups):
        end = begin + file.metadata.row_group(group).num_rows
        mine = rows[(rows >= begin) & (rows < end)]
        if len(mine):
            texts = file.read_row_group(group, columns=["text"], use_threads=False)["text"]
            for row in mine.tolist():
                yield row, texts[row - begin].as_py()
        begin = end

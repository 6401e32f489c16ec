"""What was decided, as files: each document's decision, the features of the dropped, and samples of the dropped.

Takes the decisions on all scanned files; gives decisions/ and dropped/, one Parquet file per raw file, and
dropped_samples/, for each reason a bounded number of complete dropped documents to read.
"""

import gzip
import heapq
import itertools
import json
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import xxhash

from xmodel_core.artifacts import Build, ShardWriter, write_shard
from xmodel_core.corpus.decide.decisions import REASONS, Decisions
from xmodel_core.corpus.rules import COLUMNS


def write_all_decisions(build: Build, decisions: Decisions, samples_per_reason: int) -> None:
    """Writes what has no receipt yet: the decisions of each file, and the samples of the dropped."""
    for index, file in enumerate(decisions.files):
        shard = f"decisions-{file.name}"
        if build.finished(shard) is None:
            with write_shard(build.folder, shard) as writer:
                write_decisions(writer, decisions, index)
    if build.finished("dropped-samples") is None:
        with write_shard(build.folder, "dropped-samples") as writer:
            write_dropped_samples(writer, decisions, samples_per_reason)


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


class _Sample(NamedTuple):
    """A dropped document that is shown."""

    key: int
    position: int
    file: int
    id: str
    lang: str


def _choose_samples(decisions: Decisions, per_reason: int) -> dict[int, list[_Sample]]:
    """Reason → the dropped documents to show: those whose keys hash lowest, in document order.

    The unreadable have no text to show; their detail is in the decisions.
    """
    chosen: dict[int, list[_Sample]] = {}
    for index, file in enumerate(decisions.files):
        part = decisions.of_file(index)
        reasons = decisions.reason[part]
        rows = np.flatnonzero((reasons > 0) & (reasons != REASONS.index("unreadable"))).tolist()
        if rows:
            ids, langs = decisions.ids(index), file.columns(["lang"])["lang"].to_pylist()
        for row in rows:
            key = xxhash.xxh3_64_intdigest(f"{file.source.name}\0{ids[row]}")
            sample = _Sample(key, part.start + row, index, ids[row], langs[row])
            chosen.setdefault(int(reasons[row]), []).append(sample)
        chosen = {reason: heapq.nsmallest(per_reason, each) for reason, each in chosen.items()}
    return {reason: sorted(each, key=lambda sample: sample.position) for reason, each in chosen.items()}


def write_dropped_samples(shard: ShardWriter, decisions: Decisions, per_reason: int) -> None:
    """Writes dropped_samples/<reason>.jsonl.gz, texts as they were judged; reads only the groups of rows that hold a
    chosen document."""
    for reason, documents in sorted(_choose_samples(decisions, per_reason).items()):
        if not documents:
            return
        path = shard.file(f"dropped_samples/{REASONS[reason]}.jsonl.gz")
        with path.open("wb") as raw, gzip.GzipFile("", "wb", fileobj=raw, mtime=0) as packed:
            for index, samples in itertools.groupby(documents, key=lambda sample: sample.file):
                of_row = {sample.position - decisions.of_file(index).start: sample for sample in samples}
                for row, text in decisions.files[index].texts(np.array(list(of_row))):
                    sample = of_row[row]
                    survivor = int(decisions.survivor[sample.position])
                    is_copy = survivor != sample.position
                    kept_source, kept_id = decisions.survivors[survivor] if is_copy else (None, None)
                    record = {
                        "source": decisions.files[index].source.name,
                        "id": sample.id,
                        "lang": sample.lang,
                        "reason": REASONS[reason],
                        "kept_source": kept_source,
                        "kept_id": kept_id,
                        "text": text,
                    }
                    packed.write(json.dumps(record, ensure_ascii=False).encode() + b"\n")

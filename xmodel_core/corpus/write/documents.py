"""The kept documents of the scanned files, masked and written; the only stage after the scan that reads texts.

Takes the scans and the decisions on them; gives documents/<source>-NNNNN.parquet without personal data. A file whose
documents an earlier corpus of the same name has written from the same inputs is copied.
"""

import contextlib
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from xmodel_core.artifacts import Artifact, Build, Folder, Store, file_digest, fingerprint, finished_shard, write_shard
from xmodel_core.cluster import Cluster
from xmodel_core.corpus.decide.decisions import Decisions
from xmodel_core.corpus.mask.kinds import Kind, MaskConfig
from xmodel_core.corpus.measure.scanned import ScannedFile
from xmodel_core.corpus.write.masked import CountingMask

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
INPUTS_FACT = "made_of"
"""The receipt's fact that holds the fingerprint of all inputs."""


@dataclass(frozen=True)
class DocumentsTask:
    """One item of the cluster's map: everything a worker needs to write one file's documents."""

    folder: Folder
    file: ScannedFile
    kinds: tuple[Kind, ...]
    """Personal data to mask."""
    inputs: str
    """Fingerprint of all that the documents depend on."""
    earlier: Artifact | None = None
    """A corpus that has written the same documents from the same inputs."""

    @property
    def shard(self) -> str:
        return f"documents-{self.file.name}"


def documents_tasks(
    build: Build, decisions: Decisions, scans: Mapping[str, Sequence[str | None]], config: MaskConfig, store: Store
) -> list[DocumentsTask]:
    """One per file. `scans`: source → the fingerprints of its scan and rescan."""
    version = build.identity.version
    earlier = {
        (name, receipt.facts[INPUTS_FACT]): corpus
        for corpus in store.artifacts("corpus", build.identity.name)
        for name, receipt in corpus.receipts().items()
        if INPUTS_FACT in receipt.facts
    }
    tasks = []
    for index, file in enumerate(decisions.files):
        inputs = fingerprint([version, *scans[file.source.name], config.model_dump(), decisions.kept_digest(index)])
        same = earlier.get((f"documents-{file.name}", inputs))
        tasks.append(DocumentsTask(build.folder, file, config.kinds, inputs, same))
    return tasks


def write_all_documents(build: Build, tasks: Sequence[DocumentsTask], cluster: Cluster) -> list[dict[str, Any]]:
    """Writes the files that have no receipt yet; the facts of all receipts."""
    missing = [task for task in tasks if build.finished(task.shard) is None]
    sizes = [float(task.file.scan.bytes) for task in missing]
    cluster.map(write_documents, missing, "write documents", unit="bytes", sizes=sizes)
    return [receipt.facts for task in tasks if (receipt := build.finished(task.shard))]


def write_documents(task: DocumentsTask) -> None:
    """Writes documents/<source>-NNNNN.parquet from the scan and decisions/<source>-NNNNN.parquet, or copies it from an
    earlier corpus."""
    if finished_shard(task.folder, task.shard):
        return
    path, source = f"documents/{task.file.name}.parquet", task.file.source
    with write_shard(task.folder, task.shard) as shard:
        facts = _copy(task.earlier, path, shard.file(path)) if task.earlier else None
        shard.facts.update(facts or _write(task, shard.file(path)))
        shard.facts.update({"source": source.name, "lang": source.lang, INPUTS_FACT: task.inputs})


def _copy(earlier: Artifact, path: str, target: Path) -> dict[str, Any] | None:
    """The earlier receipt's facts; None where its file is gone or damaged."""
    receipt = earlier.receipts()[f"documents-{Path(path).stem}"]
    with contextlib.suppress(OSError):
        shutil.copyfile(earlier.folder.file(path), target)
        if [(entry.path, entry.sha256) for entry in receipt.files] == [(path, file_digest(target))]:
            return receipt.facts
    return None


def _write(task: DocumentsTask, target: Path) -> dict[str, Any]:
    decisions = pq.ParquetFile(task.folder.file(f"decisions/{task.file.name}.parquet")).read(use_threads=False)
    mask = CountingMask(task.kinds)
    with pq.ParquetWriter(
        target,
        DOCUMENTS,
        compression="zstd",
        compression_level=3,
        use_dictionary=_REPEATED,  # pyright: ignore[reportArgumentType] (its stub knows a flag)
    ) as writer:
        for begin, scanned in task.file.groups(["text", "url", "meta"]):
            decided = decisions.slice(begin, len(scanned))
            keep = decided["kept"].combine_chunks()
            rows = decided.filter(keep)
            rows = rows.append_column("text", mask(scanned["text"].filter(keep), rows["lang"].to_pylist()))
            for name in ("url", "meta"):
                rows = rows.append_column(name, scanned[name].filter(keep))
            declared = pa.array([task.file.source.lang] * len(rows), pa.string())
            rows = rows.append_column("declared_lang", declared).select(DOCUMENTS.names)
            if len(rows):
                writer.write_table(rows.cast(DOCUMENTS))
    return mask.facts()

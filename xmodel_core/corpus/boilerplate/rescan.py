"""The rescan of one source: its boilerplate lines are found, removed from the documents that hold them, and those
documents measured again.

Takes the scanned files of one source; gives for each file the rows that lost lines, with their new text and its
measures, so that every later decision is made on the text as it will be kept. Other documents are not read.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from xmodel_core.artifacts import Build, Folder, finished_shard, write_shard
from xmodel_core.cluster import Cluster
from xmodel_core.corpus.boilerplate.lines import Stripped, boilerplate_hashes, holds_any, strip
from xmodel_core.corpus.config import CorpusConfig, LinesConfig, ScanConfig
from xmodel_core.corpus.copies.near import first_copies
from xmodel_core.corpus.measure.scan import batches, load_index, load_models, measured, measured_fields
from xmodel_core.corpus.measure.scanned import REMOVED, ScannedFile
from xmodel_core.corpus.references import ReferenceFiles
from xmodel_core.corpus.text.batch import Array, make_batch
from xmodel_core.specs import Source

LINES = "lines.npy"
"""A saved array: the hashes of the lines that a source repeats."""


def counts_lines(source: Source) -> bool:
    """Whether a source's repeated lines are boilerplate: in programs and instructions they are content."""
    return source.policy == "prose" and source.category != "sft"


def repeated_lines(files: Sequence[ScannedFile], config: LinesConfig) -> Array:
    """uint64, ascending: the hashes of the lines that a source repeats. Copies count once: a page that occurs ten
    times in a crawl does not make its own lines boilerplate."""
    first = np.split(first_copies(files), np.cumsum([file.rows for file in files])[:-1])

    def columns() -> Iterator[pa.ListArray]:
        for file, rows in zip(files, first, strict=True):
            yield file.columns(["line_hashes"])["line_hashes"].combine_chunks().filter(pa.array(rows))

    return boilerplate_hashes(columns, config)


@dataclass(frozen=True)
class RescanTask:
    """One scanned file; the hashes of the boilerplate lines are in `folder`."""

    folder: Folder
    file: ScannedFile
    config: LinesConfig
    scan_config: ScanConfig
    references: ReferenceFiles


def rescan_source(
    build: Build, files: Sequence[ScannedFile], config: CorpusConfig, references: ReferenceFiles, cluster: Cluster
) -> int:
    """Rescans the files of one source that have no receipt yet; the number of documents that lost lines."""
    if build.finished("lines") is None:
        with write_shard(build.folder, "lines") as shard:
            np.save(shard.file(LINES), repeated_lines(files, config.lines))
    tasks = [RescanTask(build.folder, file, config.lines, config.scan, references) for file in files]
    missing = [task for task in tasks if build.finished(task.file.name) is None]
    sizes = [float(task.file.scan.bytes) for task in missing]
    cluster.map(rescan_file, missing, f"remove lines {build.identity.name}", unit="bytes", sizes=sizes)
    receipts = [receipt for task in tasks if (receipt := build.finished(task.file.name))]
    return sum(receipt.facts["documents"] for receipt in receipts)


def rescan_file(task: RescanTask) -> None:
    """Writes <source>-NNNNN.parquet: row, text, the scan's measured columns, and what was removed; no file where
    nothing was."""
    if finished_shard(task.folder, task.file.name):
        return
    repeated = np.load(task.folder.file(LINES))
    names = ["row", "text", "chars", "bytes", *REMOVED]
    schema = pa.schema(
        [(name, pa.string() if name == "text" else pa.int64()) for name in names] + measured_fields(task.scan_config)
    )
    index, models = load_index(task.references.benchmarks), load_models(task.references.models)
    columns = task.file.columns(["line_hashes", "lang"])
    rows = np.flatnonzero(holds_any(columns["line_hashes"].combine_chunks(), repeated))
    lang = columns["lang"].to_numpy()
    with write_shard(task.folder, task.file.name) as shard, ExitStack() as closing:
        writer, documents = None, 0
        for batch in batches(task.file.texts(rows), lambda entry: len(entry[1])):
            texts = [text for _, text in batch]
            stripped = strip(texts, make_batch(texts), repeated, task.config)
            changed = [at for at, result in enumerate(stripped) if result.lines]
            if not changed:
                continue
            new = [stripped[at].text for at in changed]
            changed_rows = np.array([batch[at][0] for at in changed])
            facts = {
                **measured(new, make_batch(new), lang[changed_rows], task.scan_config, index, models),
                "row": changed_rows,
                "text": new,
                **_removed([texts[at] for at in changed], [stripped[at] for at in changed]),
            }
            arrays = [pa.array(facts[field.name], field.type, from_pandas=True) for field in schema]
            if writer is None:
                writer = closing.enter_context(
                    pq.ParquetWriter(
                        shard.file(f"{task.file.name}.parquet"),
                        schema,
                        compression="zstd",
                        compression_level=1,
                        write_statistics=False,
                    )
                )
            writer.write_table(pa.table(arrays, schema=schema))
            documents += len(changed)
        closing.close()  # on disk before the shard is put in place
        shard.facts.update(documents=documents)


def _removed(texts: Sequence[str], stripped: Sequence[Stripped]) -> dict[str, Any]:
    """The columns REMOVED: lines, characters and bytes that each text lost."""
    sizes = (
        [result.lines for result in stripped],
        [result.characters for result in stripped],
        [len(a.encode()) - len(b.text.encode()) for a, b in zip(texts, stripped, strict=True)],
    )
    return dict(zip(REMOVED, sizes, strict=True))

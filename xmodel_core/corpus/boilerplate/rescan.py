"""Boilerplate lines leave a source: found by counting over its scan, removed from the documents that hold them.

Takes the scanned files of one source; gives for each the rows that lost lines, with their new text and measured
again, so that every later decision is made on the text as it will be kept. Other documents are not read.
"""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from xmodel_core.artifacts import Folder, write_shard
from xmodel_core.corpus.boilerplate.lines import boilerplate, holders, strip
from xmodel_core.corpus.config import LinesConfig, ScanConfig
from xmodel_core.corpus.copies.near import first_copies
from xmodel_core.corpus.measure.scan import batches, load_index, load_models, measured, measured_fields
from xmodel_core.corpus.measure.scanned import REMOVED, ScannedFile
from xmodel_core.corpus.references import ReferenceFiles
from xmodel_core.corpus.text.batch import Array, make_batch
from xmodel_core.specs import Source

LINES = "lines.npy"
"""A saved array: the hashes of the lines that a source repeats."""

GROUP_ROWS = 1000


def repeats_lines(source: Source) -> bool:
    """Whether lines are counted in a source: programs and instructions say the same lines and mean them."""
    return source.policy == "prose" and source.category != "sft"


def repeated_lines(files: Sequence[ScannedFile], config: LinesConfig) -> Array:
    """uint64, ascending: the hashes of the lines that a source repeats. Copies count once: a page that stands ten
    times in a crawl does not make its own lines boilerplate."""
    first = np.split(first_copies(files), np.cumsum([file.rows for file in files])[:-1])

    def columns() -> Any:
        for file, mine in zip(files, first, strict=True):
            yield file.columns(["line_hashes"])["line_hashes"].combine_chunks().filter(pa.array(mine))

    return boilerplate(columns, config)


@dataclass(frozen=True)
class RescanTask:
    """One scanned file; the hashes of the lines that leave it lie in the folder."""

    folder: Folder
    file: ScannedFile
    config: LinesConfig
    scan_config: ScanConfig
    references: ReferenceFiles


def rescan(task: RescanTask) -> None:
    """Writes <source>-NNNNN.parquet: row, text, the scan's measured columns, and what was removed; no file where
    nothing was."""
    found = np.load(task.folder.file(LINES))
    names = ["row", "text", "chars", "bytes", *REMOVED]
    schema = pa.schema(
        [(name, pa.string() if name == "text" else pa.int64()) for name in names] + measured_fields(task.scan_config)
    )
    index, models = load_index(task.references.benchmarks), load_models(task.references.models)
    columns = task.file.columns(["line_hashes", "lang"])
    rows = np.flatnonzero(holders(columns["line_hashes"].combine_chunks(), found))
    lang = columns["lang"].to_numpy()
    with write_shard(task.folder, task.file.name) as shard, ExitStack() as closing:
        writer, documents = None, 0
        for batch in batches(task.file.texts(rows), lambda entry: len(entry[1])):
            texts = [text for _, text in batch]
            results = strip(texts, make_batch(texts), found, task.config)
            changed = [at for at, result in enumerate(results) if result.lines]
            if not changed:
                continue
            old, new = [texts[at] for at in changed], [results[at].text for at in changed]
            mine = np.array([batch[at][0] for at in changed])
            facts = measured(new, make_batch(new), lang[mine], task.scan_config, index, models)
            removed = (
                [results[at].lines for at in changed],
                [results[at].characters for at in changed],
                [len(a.encode()) - len(b.encode()) for a, b in zip(old, new, strict=True)],
            )
            facts |= {"row": mine, "text": new, **dict(zip(REMOVED, removed, strict=True))}
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

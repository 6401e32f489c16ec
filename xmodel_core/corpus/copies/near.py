"""Near copies over all sources: which pairs of documents are similar, and by how much exactly.

Takes the scans (and rescans without boilerplate lines) of all files, in the order in which copies survive; gives
pairs.parquet: `a`, `b` (int64, positions in that order, a < b) and `jaccard` (float32) of every candidate pair with a
similarity of at least LEAST_JACCARD. The one idea: keys bring candidates together generously and cheaply, then each
pair is compared by its complete sets of shingles, so nothing is dropped on an estimate. What is dropped is decided
later, on these figures: another threshold compares nothing again.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from xmodel_core.artifacts import Artifact, Build, Folder, finished_shard, write_shard
from xmodel_core.cluster import Cluster
from xmodel_core.corpus.config import LEAST_JACCARD, ScanConfig
from xmodel_core.corpus.copies.dedup import candidates, exact_copies
from xmodel_core.corpus.copies.jaccard import jaccard
from xmodel_core.corpus.measure.scan import batches
from xmodel_core.corpus.measure.scanned import ScannedFile, digests, first_rows
from xmodel_core.corpus.measure.signature import NO_KEY, key_names, shingle_sets
from xmodel_core.corpus.text.batch import Array, make_batch

FIRST_COPIES = "first-copies.npy"
"""A saved array: which documents are compared at all."""
KEYS_AT_A_TIME = 5
"""Of 20. More at a time open each file less often, at a cost of 8 bytes a document and key."""
PAIRS = pa.schema([("a", pa.int64()), ("b", pa.int64()), ("jaccard", pa.float32())])


def first_copies(files: Sequence[ScannedFile]) -> Array:
    """bool per document: readable, and the first of its exact copies; the only ones that need comparing."""
    columns = [file.columns(["text_hash", "unreadable"]) for file in files]
    readable = np.flatnonzero(np.concatenate([table["unreadable"].is_null().to_numpy() for table in columns]))
    hashes = np.concatenate([digests(table["text_hash"]) for table in columns])
    first = np.zeros(len(hashes), bool)
    first[readable[np.unique(exact_copies(hashes[readable], np.zeros(len(readable), np.int8)))]] = True
    return first


def write_pairs(build: Build, files: tuple[ScannedFile, ...], config: ScanConfig, cluster: Cluster) -> dict[str, int]:
    """Writes pairs.parquet; how many pairs were compared, of how many documents. The keys' candidates and the sets of
    shingles, together as large as the documents' text, are shards of the build's `work`."""
    if build.finished("first-copies") is None:
        with write_shard(build.folder, "first-copies") as shard:
            np.save(shard.file(FIRST_COPIES), first_copies(files))
    key_tasks = _candidates_tasks(build.work, build.folder, key_names(config), files)
    missing = [task for task in key_tasks if finished_shard(task.work, task.shard) is None]
    cluster.map(find_candidates, missing, "find near copies", "keys", [float(len(task.keys)) for task in missing])
    pairs = np.unique(np.concatenate([np.load(build.work.file(f"{task.shard}.npy")) for task in key_tasks]), axis=0)

    begins = first_rows(files)
    documents = np.unique(pairs)
    shingles_tasks = _shingles_tasks(build.work, files, begins, documents)
    missing = [task for task in shingles_tasks if finished_shard(task.work, task.shard) is None]
    sizes = [float(len(task.rows)) for task in missing]
    cluster.map(write_shingles, missing, "compare near copies", "docs", sizes)
    if build.finished("pairs") is None:
        with write_shard(build.folder, "pairs") as shard:
            similarity = jaccard_of_pairs(shingles_tasks, begins, pairs)
            pq.write_table(filter_pairs(pairs, similarity), shard.file("pairs.parquet"))
    return {"compared": len(pairs), "documents": len(documents)}


@dataclass(frozen=True)
class CandidatesTask:
    """A few keys over all documents: which documents share one."""

    work: Folder
    folder: Folder
    """Where FIRST_COPIES is."""
    keys: tuple[str, ...]
    files: tuple[ScannedFile, ...]

    @property
    def shard(self) -> str:
        return f"candidates-{self.keys[0]}"


def _candidates_tasks(
    work: Folder, folder: Folder, keys: Sequence[str], files: tuple[ScannedFile, ...]
) -> list[CandidatesTask]:
    return [
        CandidatesTask(work, folder, tuple(keys[first : first + KEYS_AT_A_TIME]), files)
        for first in range(0, len(keys), KEYS_AT_A_TIME)
    ]


def find_candidates(task: CandidatesTask) -> None:
    """Writes candidates-<first key>.npy: int64 [m, 2], a < b. Memory: about 80 bytes per document."""
    if finished_shard(task.work, task.shard):
        return
    with write_shard(task.work, task.shard) as shard:
        tables = [file.columns(task.keys) for file in task.files]
        first = np.load(task.folder.file(FIRST_COPIES))
        pairs = []
        for key in task.keys:
            keys = np.concatenate([table[key].to_numpy() for table in tables])
            pairs.append(candidates(np.where(first, keys, NO_KEY)))
        np.save(shard.file(f"{task.shard}.npy"), np.unique(np.concatenate(pairs), axis=0))


@dataclass(frozen=True)
class ShinglesTask:
    """The documents of one file that are to be compared."""

    work: Folder
    file: ScannedFile
    rows: Array
    """int64, ascending: rows of the scan."""

    @property
    def shard(self) -> str:
        return f"shingles-{self.file.name}"


def _shingles_tasks(work: Folder, files: Sequence[ScannedFile], begins: Array, documents: Array) -> list[ShinglesTask]:
    """One task per file; `begins` [files + 1] are the files' first positions, `documents` positions, ascending."""
    return [
        ShinglesTask(work, file, documents[(documents >= begin) & (documents < begin + file.rows)] - begin)
        for file, begin in zip(files, begins, strict=False)
    ]


def write_shingles(task: ShinglesTask) -> None:
    """Writes the sets of shingles of some documents: <shard>.npy, uint64, and <shard>-offsets.npy, int64 [rows + 1]."""
    if finished_shard(task.work, task.shard):
        return
    values, sizes = [np.zeros(0, np.uint64)], [np.zeros(0, np.int64)]
    with write_shard(task.work, task.shard) as shard:
        for texts in batches((text for _, text in task.file.texts(task.rows)), len):
            hashes, offsets = shingle_sets(make_batch(texts))
            values.append(hashes)
            sizes.append(np.diff(offsets))
        np.save(shard.file(f"{task.shard}.npy"), np.concatenate(values))
        offsets = np.concatenate(([0], np.cumsum(np.concatenate(sizes))))
        np.save(shard.file(f"{task.shard}-offsets.npy"), offsets.astype(np.int64))


def jaccard_of_pairs(tasks: Sequence[ShinglesTask], begins: Array, pairs: Array) -> Array:
    """float64 [m]: the Jaccard similarity of each of `pairs` [m, 2], positions of documents. `begins` [files + 1] are
    the files' first positions; the sets are memory-mapped, not loaded."""
    sets = [
        (
            np.load(task.work.file(f"{task.shard}.npy"), mmap_mode="r"),
            np.load(task.work.file(f"{task.shard}-offsets.npy")),
        )
        for task in tasks
    ]
    file = np.searchsorted(begins, pairs, "right") - 1
    similarity = np.zeros(len(pairs))
    if not len(pairs):
        return similarity
    order = np.lexsort((file[:, 1], file[:, 0]))
    starts = np.flatnonzero(np.diff(file[order], axis=0, prepend=-1).any(1))
    for group in np.split(order, starts[1:]):
        a, b = file[group[0]]
        rows = [np.searchsorted(tasks[f].rows, pairs[group, i] - begins[f]) for i, f in enumerate((a, b))]
        similarity[group] = jaccard(sets[a], rows[0], sets[b], rows[1])
    return similarity


def filter_pairs(pairs: Array, similarity: Array) -> pa.Table:
    """PAIRS with a similarity of at least LEAST_JACCARD, in order."""
    close = similarity >= LEAST_JACCARD
    return pa.table([*pairs[close].T, similarity[close].astype(np.float32)], schema=PAIRS)


def read_pairs(pairs: Artifact, threshold: float) -> Array:
    """int64 [m, 2]: the pairs with at least this similarity."""
    table = pq.ParquetFile(pairs.file("pairs.parquet")).read()
    # The column is float32: a share like 0.7 is slightly less there.
    close = table["jaccard"].to_numpy() >= np.float32(threshold)
    return np.stack((table["a"].to_numpy(), table["b"].to_numpy()), 1)[close]

"""Memory and speed of the corpus room as the corpus grows to 4 and 16 times its size.

Takes real text ($XMODEL_SHARED_DATA, else ../shared/data); repeats a slice of it with a tenth of its words and Chinese
characters exchanged, so that no copy is a copy to the dedup; scans, decides and writes each size in a process of its
own through the entry points. Prints for each: peak memory per worker and of the deciding process, MB per second. The
corpus grows twice: in larger files (a worker must not hold a file) and in more files (it must not hold on to one).
Fails where the books do not close.

    python tests/benchmarks/bench_memory.py [--megabytes 8] [--times 1 4 16] [--workers 2] [--write]
"""

import argparse
import gzip
import json
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil
from results_file import hardware, write_results

from xmodel_core.artifacts import Artifact, Store
from xmodel_core.cluster import Cluster, ClusterConfig, open_cluster
from xmodel_core.corpus.config import CorpusConfig
from xmodel_core.corpus.references import References
from xmodel_core.corpus.stage import SourceScan, build_corpus, find_near_pairs, index_benchmarks, remove_lines, scan
from xmodel_core.ledger.build import refresh
from xmodel_core.ledger.query import run_query
from xmodel_core.specs import Source, SourceFiles, resolve
from xmodel_core.tokenizer import stage as tokenizer_stage
from xmodel_core.tokenizer.config import TokenizerConfig

LANGUAGES = ("zh", "en", "code")
FILES = 4  # per language at size 1
EXCHANGED = 0.10  # of words and characters: two copies of a text then share (0.9 ** 10) of their 5-grams, Jaccard 0.2
FLAT = 1.20  # what the largest may need of the smallest
EVEN = 0.85  # what the largest must reach of the smallest; that it may be faster, what is done once being spread
WARMING_BYTES = 300_000
TOKENIZER = TokenizerConfig(vocab_size=8192, sample_characters=2_000_000)
_TOKEN = re.compile(r"[A-Za-z]{2,}|[\u4e00-\u9fff]")


@dataclass(frozen=True)
class Stage:
    """What one stage took, workers and parent together where it has both."""

    wall_seconds: float
    worker_seconds: float
    """CPU seconds of the workers, together."""
    own_seconds: float
    """CPU seconds of this process."""
    worker_megabytes: float
    """Peak of the largest worker."""
    own_megabytes: float
    """Peak of this process."""


@dataclass(frozen=True)
class Size:
    """One size of the corpus, measured."""

    shape: str
    times: int
    files: int
    megabytes: float
    documents: int
    kept: int
    idle_worker_megabytes: float
    """A worker that has scanned a few small files: code, models and tables, no text."""
    idle_own_megabytes: float
    scan: Stage
    lines: Stage
    near: Stage
    corpus: Stage
    encode: Stage


def texts_of(data: Path, lang: str, size: float) -> list[str]:
    """Documents of all the language's sources, drawn at random, of that many bytes together."""
    texts = []
    for path in sorted((data / "corpora").glob(f"{lang}_*/*.jsonl.gz")):
        with gzip.open(path, "rt", encoding="utf-8", newline="\n") as stream:
            texts += [json.loads(line)["text"] for line in stream]
    random.Random(0).shuffle(texts)
    taken: list[str] = []
    held = 0
    while held < size:
        taken.append(texts[len(taken)])
        held += len(taken[-1].encode())
    return taken


def perturbed(text: str, others: Sequence[str], rng: random.Random) -> str:
    """The text with a share of its words and Chinese characters exchanged for some of other texts."""

    def other(match: re.Match[str]) -> str:
        return rng.choice(others) if rng.random() < EXCHANGED else match[0]

    return _TOKEN.sub(other, text)


def vocabulary(texts: Sequence[str], rng: random.Random) -> list[str]:
    """Words and characters of some texts, as often as they occur there."""
    return _TOKEN.findall("\n".join(rng.sample(texts, min(len(texts), 200))))


def write_corpus(folder: Path, slices: dict[str, list[str]], times: int, shape: str) -> None:
    """<lang>/part-NNN.jsonl.gz: that many perturbed repetitions, in larger files or in more of them."""
    for lang, texts in slices.items():
        others = vocabulary(texts, random.Random(lang))
        (folder / lang).mkdir(parents=True)
        for part in range(FILES):
            for repetition in range(times):
                number = part if shape == "larger files" else part + repetition * FILES
                path = folder / lang / f"part-{number:03d}.jsonl.gz"
                rng = random.Random(f"{lang} {part} {repetition}")
                with gzip.open(path, "at", encoding="utf-8", compresslevel=1) as stream:
                    for index, text in enumerate(texts[part::FILES]):
                        record = {"id": f"{part}-{repetition}-{index}", "text": perturbed(text, others, rng)}
                        stream.write(json.dumps(record, ensure_ascii=False) + "\n")


def workers_of_this_process() -> list[psutil.Process]:
    """The pool's workers: children of the fork server, which is a child of ours."""
    return [worker for server in psutil.Process().children() for worker in server.children()]


def peak_megabytes(process: int) -> float:
    """The most memory that it has held at once since its peak was last reset (VmHWM)."""
    status = Path(f"/proc/{process}/status").read_text()
    return int(re.findall(r"VmHWM:\s+(\d+) kB", status)[0]) / 1e3


def reset_peak(process: int) -> None:
    Path(f"/proc/{process}/clear_refs").write_text("5")


def cpu_seconds() -> tuple[float, float]:
    """(of the workers, of this process)"""
    spent = [worker.cpu_times() for worker in workers_of_this_process()]
    return sum(each.user + each.system for each in spent), time.process_time()


def measured(work: Callable[[], object]) -> Stage:
    """What the work took; the pool's workers must be there before it."""
    workers = [worker.pid for worker in workers_of_this_process()]
    for process in (*workers, os.getpid()):
        reset_peak(process)
    begin, (theirs, own) = time.monotonic(), cpu_seconds()
    work()
    wall, (theirs_then, own_then) = time.monotonic() - begin, cpu_seconds()
    assert [worker.pid for worker in workers_of_this_process()] == workers, "a worker was lost or added"
    peak = max(map(peak_megabytes, workers))
    return Stage(wall, theirs_then - theirs, own_then - own, peak, peak_megabytes(os.getpid()))


def sources_of(folder: Path, store: Store) -> list[SourceFiles]:
    return [
        resolve(Source(name=lang, lang=lang, category="web", license="various", uri=str(folder / lang)), store.digest)
        for lang in LANGUAGES
    ]


def warm(folder: Path, store: Store, cluster: Cluster, benchmarks: Artifact, files: int) -> None:
    """Loads code, models and tables in every worker: the same small texts in more files than there are workers."""
    for lang in LANGUAGES:
        raw = folder / "warm" / lang
        raw.mkdir(parents=True)
        with gzip.open(folder / lang / "part-000.jsonl.gz", "rt", encoding="utf-8") as stream:
            lines = [line for line, _ in zip(stream, range(200), strict=False)]
        for number in range(files):
            (raw / f"part-{number:03d}.jsonl").write_text("".join(lines)[:WARMING_BYTES], encoding="utf-8")
        source = Source(name=f"warm_{lang}", lang=lang, category="web", license="various", uri=str(raw))
        scan(resolve(source, store.digest), CorpusConfig().scan, store, cluster, References(benchmarks))
    shutil.rmtree(folder / "warm")
    for artifact in store.artifacts("scans"):
        shutil.rmtree(artifact.path)


def measure(folder: Path, benchmarks_folder: Path, shape: str, times: int, workers: int) -> Size:
    """One size, in this process; the raw files are in `folder`."""
    store, config = Store(folder / "store"), CorpusConfig()
    (folder / "store").mkdir()
    sources = sources_of(folder, store)
    with open_cluster(ClusterConfig(workers=workers)) as cluster:
        benchmarks = index_benchmarks("bench", benchmarks_folder, {}, store)
        references = References(benchmarks)
        warm(folder, store, cluster, benchmarks, 4 * workers)
        for process in (*(worker.pid for worker in workers_of_this_process()), os.getpid()):
            reset_peak(process)
        idle = max(peak_megabytes(worker.pid) for worker in workers_of_this_process())
        idle_own = peak_megabytes(os.getpid())

        scans: list[Artifact] = []
        scanned = measured(lambda: scans.extend(scan(s, config.scan, store, cluster, references) for s in sources))
        parts: list[SourceScan] = []
        lines = measured(
            lambda: parts.extend(
                remove_lines(*both, config, store, cluster, references) for both in zip(sources, scans, strict=True)
            )
        )
        pairs: list[Artifact] = []
        near = measured(lambda: pairs.append(find_near_pairs("bench", parts, config.scan, store, cluster)))
        built: list[Artifact] = []
        corpus = measured(
            lambda: built.append(build_corpus("bench", parts, pairs[0], config, store, cluster, benchmarks))
        )
        tokenizer = tokenizer_stage.train_tokenizer(
            "bench", built[0], [files.source for files in sources], TOKENIZER, store
        )
        encode = tokenizer_stage.encode_source
        encoded = measured(lambda: [encode(s.source, built[0], tokenizer, TOKENIZER, store, cluster) for s in sources])
    refresh(store.root)
    books = run_query(store.root, "@books")[1]
    assert not books, f"the books do not close: {books[:3]}"
    flow = [row for row in built[0].manifest()["rows"]["document_flow"] if row["stage"] == "read"]
    return Size(
        shape,
        times,
        sum(len(source.files) for source in sources),
        sum(row["bytes_in"] for row in flow) / 1e6,
        sum(row["docs_in"] for row in flow),
        sum(facts["docs"] for facts in built[0].manifest()["facts"]["sources"].values()),
        idle,
        idle_own,
        scanned,
        lines,
        near,
        corpus,
        encoded,
    )


HEAD = """\
| the corpus grows in | × | files | MB | documents | kept | worker MB: scan | lines | near | documents | encode \
| own MB: near | decide | MB/s: scan | lines | near | documents | encode | decide documents/s |
|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|"""


def row(size: Size) -> str:
    stages = (size.scan, size.lines, size.near, size.corpus, size.encode)
    rates = " | ".join(f"{size.megabytes / stage.worker_seconds:.2f}" for stage in stages)
    peaks = " | ".join(f"{stage.worker_megabytes:.0f}" for stage in stages)
    return (
        f"| {size.shape} | {size.times} | {size.files} | {size.megabytes:.1f} | {size.documents:,} | "
        f"{size.kept / size.documents:.1%} | {peaks} | {size.near.own_megabytes:.0f} | "
        f"{size.corpus.own_megabytes:.0f} | {rates} | "
        f"{size.documents / size.corpus.own_seconds:,.0f} |"
    )


def verdicts(sizes: Sequence[Size]) -> Iterator[str]:
    """In words: flat or not, even or not."""
    readings: dict[str, Callable[[Size], float]] = {
        "scan, memory per worker": lambda size: size.scan.worker_megabytes,
        "lines, memory per worker": lambda size: size.lines.worker_megabytes,
        "near copies, memory per worker": lambda size: size.near.worker_megabytes,
        "documents, memory per worker": lambda size: size.corpus.worker_megabytes,
        "encode, memory per worker": lambda size: size.encode.worker_megabytes,
        "deciding process, memory": lambda size: size.corpus.own_megabytes,
        "scan, MB per CPU second": lambda size: size.megabytes / size.scan.worker_seconds,
        "lines, MB per CPU second": lambda size: size.megabytes / size.lines.worker_seconds,
        "near copies, MB per CPU second": lambda size: size.megabytes / size.near.worker_seconds,
        "documents, MB per CPU second": lambda size: size.megabytes / size.corpus.worker_seconds,
        "encode, MB per CPU second": lambda size: size.megabytes / size.encode.worker_seconds,
        "decide, documents per CPU second": lambda size: size.documents / size.corpus.own_seconds,
    }
    for shape in dict.fromkeys(size.shape for size in sizes):
        compared = [size for size in sizes if size.shape == shape or size.times == sizes[0].times]
        for name, read in readings.items():
            values = [read(size) for size in compared]
            ratio = values[-1] / values[0]
            held = ratio <= FLAT if "memory" in name else ratio >= EVEN
            listed = ", ".join(f"{value:.3g}" for value in values)
            yield f"- {shape}: {name}: {listed}; {ratio:.2f} ({'held' if held else 'MISSED'})"
    smallest, largest = sizes[0], max(sizes, key=lambda size: size.documents)
    more = largest.corpus.own_megabytes - smallest.corpus.own_megabytes
    per_document = more * 1e6 / (largest.documents - smallest.documents)
    seconds = largest.corpus.own_seconds - smallest.corpus.own_seconds
    yield (
        f"- Each further document costs the deciding process {per_document:,.0f} bytes, and "
        f"{1e6 * seconds / (largest.documents - smallest.documents):,.0f} microseconds of CPU."
    )
    yield (
        f"- Idle (code, models, tables of benchmarks): a worker {smallest.idle_worker_megabytes:.0f} to "
        f"{largest.idle_worker_megabytes:.0f} MB, the deciding process {smallest.idle_own_megabytes:.0f} MB."
    )


def measured_apart(
    data: Path, slices: dict[str, list[str]], shape: str, times: int, workers: int, scratch: Path
) -> Size:
    """One size in a process of its own, its files removed behind it."""
    with tempfile.TemporaryDirectory(prefix="bench-memory-", dir=scratch) as place:
        folder = Path(place)
        write_corpus(folder, slices, times, shape)
        words = [sys.executable, __file__, "--one", place, shape, str(times), "--workers", str(workers)]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "XMODEL_SHARED_DATA": str(data)}
        subprocess.run(words, check=True, env=environment, stdout=sys.stderr)
        measures: dict[str, Any] = json.loads((folder / "size.json").read_text())
        stages = {name: Stage(**measures.pop(name)) for name in ("scan", "lines", "near", "corpus", "encode")}
        return Size(**{**measures, **stages})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=float, default=8.0, help="of text at size 1")
    parser.add_argument("--times", type=int, nargs="+", default=[1, 4, 16])
    parser.add_argument("--shapes", nargs="+", default=["larger files", "more files"])
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--scratch", type=Path, help="a folder with room for ten times the largest corpus")
    parser.add_argument("--write", action="store_true", help="into tests/benchmarks/results/")
    parser.add_argument("--one", nargs=3, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    data = Path(os.environ.get("XMODEL_SHARED_DATA", "../shared/data")).resolve()
    if not data.is_dir():
        sys.exit(f"no real corpora at {data}; set XMODEL_SHARED_DATA")
    if asked.one:
        folder, shape, times = asked.one
        size = measure(Path(folder), data / "bench", shape, int(times), asked.workers)
        (Path(folder) / "size.json").write_text(json.dumps(asdict(size)))
        return
    slices = {lang: texts_of(data, lang, asked.megabytes * 1e6 / len(LANGUAGES)) for lang in LANGUAGES}
    sizes: list[Size] = []
    print(HEAD, flush=True)
    for shape in asked.shapes:
        for times in asked.times:
            if times == asked.times[0] and sizes:
                continue  # the smallest is the same in both shapes
            sizes.append(measured_apart(data, slices, shape, times, asked.workers, asked.scratch))
            print(row(sizes[-1]), flush=True)
    notes = "\n".join(verdicts(sizes))
    print(f"\n{notes}")
    if asked.write:
        intro = (
            f"{hardware()}, {asked.workers} workers. Memory is the peak resident set (VmHWM) of the largest worker, in "
            "MB of 10^6 bytes, reset between stages; rates are MB of raw text per CPU second "
            "of the workers, and documents per CPU second of the deciding process."
        )
        table = "\n".join([HEAD, *map(row, sizes)])
        write_results("memory_cpu", "Memory and speed as the corpus grows", f"{intro}\n\n{table}\n\n{notes}")


if __name__ == "__main__":
    main()

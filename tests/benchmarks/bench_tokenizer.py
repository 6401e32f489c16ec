"""Encoding to finished shards against SentencePiece's own batch rate and Hugging Face's tokenizers, in turn.

Takes real text ($XMODEL_SHARED_DATA, else ../shared/data) as the corpus stage writes it, and a tokenizer trained on a
part of it. Ours is measured end to end: Parquet in; tokens, index, sums, checksums and receipt on disk. SentencePiece
gets lists of documents in memory and gives numpy arrays; tokenizers reads the exported tokenizer.json, the path that
datatrove's DocumentTokenizer takes. One thread is timed in CPU seconds, more in seconds of the clock. Prints MB
of text per second, and ours over theirs: median over the rounds of the ratio within a round, least and most beside.

    python tests/benchmarks/bench_tokenizer.py [--megabytes 16] [--rounds 5] [--threads 1 2] [--pieces 16000] [--write]
"""

import argparse
import gzip
import json
import os
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

os.environ.update(TOKENIZERS_PARALLELISM="false", OMP_NUM_THREADS="1")

import pyarrow as pa
import pyarrow.parquet as pq
import sentencepiece
import tokenizers
from results_file import hardware, write_results

from xmodel_core.artifacts import Artifact, Identity, Store, fingerprint, write_shard
from xmodel_core.cluster import Cluster, ClusterConfig
from xmodel_core.specs import Source
from xmodel_core.tokenizer.config import TokenizerConfig
from xmodel_core.tokenizer.stage import encode_source, train_tokenizer

SOURCES = {
    "zh": ("zh_lctt", "zh_laws", "zh_modern_histories", "zh_mlqa_wiki", "zh_c3", "zh_literature", "zh_iflytek_apps"),
    "en": ("en_gitenberg", "en_standardebooks", "en_c4_demo", "en_tydi_wiki", "en_us_speeches", "en_lctt_sources"),
}
FILES = 4
ROWS_OF_A_GROUP = 1_000


def real_texts(data: Path, lang: str, megabytes: float) -> list[str]:
    """Documents of the language's sources, mixed, of that many bytes together."""
    texts = []
    for source in SOURCES[lang]:
        for path in sorted((data / "corpora" / source).glob("part-*.jsonl.gz")):
            with gzip.open(path, "rt", encoding="utf-8", newline="\n") as lines:
                texts += [json.loads(line)["text"] for line in lines]
    random.Random(0).shuffle(texts)
    chosen, size = [], 0
    for text in texts:
        if size >= megabytes * 1e6:
            break
        chosen.append(text)
        size += len(text.encode())
    return chosen


def as_corpus(store: Store, sources: dict[str, list[str]]) -> Artifact:
    """The texts as the corpus stage writes them: documents files, receipts, digests."""
    build = store.build(Identity("corpus", "bench", 1, {}, {}))
    facts = {}
    for source, texts in sources.items():
        digests = []
        for number in range(FILES):
            part = texts[number::FILES]
            with write_shard(build.folder, f"documents-{source}-{number:05d}") as shard:
                table = pa.table(
                    {
                        "source": [source] * len(part),
                        "id": [f"{number}-{row}" for row in range(len(part))],
                        "text": part,
                        "lang": [source] * len(part),
                    }
                )
                path = shard.file(f"documents/{source}-{number:05d}.parquet")
                pq.write_table(table, path, row_group_size=ROWS_OF_A_GROUP, compression="zstd")
                shard.facts.update(source=source, docs=len(part))
            receipt = build.finished(f"documents-{source}-{number:05d}")
            assert receipt is not None
            digests.append([receipt.files[0].path, receipt.files[0].sha256])
        facts[source] = {"documents_digest": fingerprint(digests), "docs": len(texts)}
    return build.commit(facts={"sources": facts})


def seconds(work: Callable[[], object], threads: int) -> float:
    clock = time.process_time if threads == 1 else time.perf_counter
    started = clock()
    work()
    return clock() - started


def measure(data: Path, folder: Path, asked: argparse.Namespace) -> list[str]:
    """The lines of the table."""
    texts = {lang: real_texts(data, lang, asked.megabytes) for lang in SOURCES}
    store = Store(folder / "store")
    corpus = as_corpus(store, texts)
    config = TokenizerConfig(vocab_size=asked.pieces, sample_characters=2_000_000)
    artifact = train_tokenizer("bench", corpus, [], config, store)
    model = artifact.file("tokenizer.model").read_bytes()
    own = sentencepiece.SentencePieceProcessor(model_proto=model)
    theirs = tokenizers.Tokenizer.from_file(str(artifact.file("tokenizer.json")))
    theirs.encode_special_tokens = True
    lines = []
    for threads in asked.threads:
        os.environ["TOKENIZERS_PARALLELISM"] = "true" if threads > 1 else "false"
        cluster = Cluster(ClusterConfig(workers=threads))
        for lang, documents in texts.items():
            megabytes = sum(len(text.encode()) for text in documents) / 1e6
            source = Source(name=lang, lang="multi", category="web", license="", uri="")
            number = 0

            def ours(source: Source = source, cluster: Cluster = cluster) -> None:
                nonlocal number
                number += 1
                place = Store(folder / f"{source.name}-{cluster.workers}-{number}")
                encode_source(source, corpus, artifact, config, place, cluster)

            ways: dict[str, Callable[[], object]] = {
                "ours": ours,
                "SentencePiece": lambda d=documents, n=threads: own.encode_as_numpy(d, num_threads=n),
                "tokenizers": lambda d=documents: theirs.encode_batch_fast(d, add_special_tokens=False),
            }
            ours()  # worker processes, the tokenizer in each
            times: dict[str, list[float]] = {name: [] for name in ways}
            for round_ in range(asked.rounds):
                for name in [*ways][round_ % len(ways) :] + [*ways][: round_ % len(ways)]:
                    times[name].append(seconds(ways[name], threads))
            cells = [f"{megabytes / statistics.median(taken):.1f}" for taken in times.values()]
            for name in ("SentencePiece", "tokenizers"):
                ratios = [other / base for base, other in zip(times["ours"], times[name], strict=True)]
                cells.append(f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})")
            lines.append(f"| {lang} | {threads} | {megabytes:.1f} | {' | '.join(cells)} |")
            print(lines[-1], flush=True)
        cluster.close()
    return lines


HEAD = """\
| text | threads | MB | ours MB/s | SentencePiece MB/s | tokenizers MB/s | ours / SentencePiece | ours / tokenizers |
|---|---|---|---|---|---|---|---|"""


def main() -> None:
    parser = argparse.ArgumentParser(description="Encoding beside SentencePiece and tokenizers.")
    parser.add_argument("--megabytes", type=float, default=16)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--pieces", type=int, default=16_000)
    parser.add_argument("--write", action="store_true", help="into tests/benchmarks/results/")
    asked = parser.parse_args()
    data = Path(os.environ.get("XMODEL_SHARED_DATA", "../shared/data")).resolve()
    if not data.is_dir():
        sys.exit(f"no real corpora at {data}: set XMODEL_SHARED_DATA")
    print(HEAD)
    with tempfile.TemporaryDirectory(prefix="xmodel-bench-") as folder:
        lines = measure(data, Path(folder), asked)
    if asked.write:
        made = (
            f"{asked.pieces:,} unigram pieces; median of {asked.rounds} rounds, interleaved; one thread in CPU seconds"
        )
        versions = f"sentencepiece {version('sentencepiece')}, tokenizers {version('tokenizers')}"
        about = f"{hardware()}, {os.cpu_count()} cores. {made}. {versions}."
        write_results("tokenizer_cpu", "Encoding to token shards", "\n".join([about, "", HEAD, *lines]))


if __name__ == "__main__":
    main()

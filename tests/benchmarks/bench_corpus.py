"""The corpus room against datatrove's stock blocks: the same documents, one process, one core, in turn.

Takes real text ($XMODEL_SHARED_DATA, else ../shared/data); prints documents and MB per second of both sides for
each stage and language, their ratio (median of the rounds'), and how often both decide alike. The stock blocks
need spacy and, for Chinese, jieba, which Xmodel itself does without: `pip install spacy jieba`. What is missing
is skipped by name.

    python tests/benchmarks/bench_corpus.py [--megabytes 1] [--rounds 5] [--write]
"""

import argparse
import gzip
import importlib.util
import json
import os
import platform
import random
import re
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from datatrove.data import Document
from datatrove.pipeline.dedup import MinhashDedupSignature
from datatrove.pipeline.dedup.minhash import MinhashConfig
from datatrove.pipeline.filters import (
    C4QualityFilter,
    FineWebQualityFilter,
    GopherQualityFilter,
    GopherRepetitionFilter,
)

from xmodel_core.corpus.config import CorpusConfig
from xmodel_core.corpus.features import FUNCTION_CHARACTERS, features
from xmodel_core.corpus.layout import lay_out
from xmodel_core.corpus.rules import KEPT, judge
from xmodel_core.corpus.signature import signatures

# datatrove's name for Chinese must be this one: `zho` and `zh` give tokenizers that do not segment.
LANGUAGES = {"en": "en", "zh": "cmn_Hani"}
NEEDS = {"en": ("spacy",), "zh": ("spacy", "jieba")}
BANDS, ROWS = 14, 8  # datatrove's own, on both sides
TOP_NGRAMS_CHINESE: Any = ((2, 0.256), (3, 0.201), (4, 0.171))  # datatrove declares one pair and takes three
BATCH_CHARACTERS = 300_000
OURS_REPEATED = 5  # ours takes milliseconds where stock takes seconds: so many times in a round


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
        ratio = statistics.median(theirs / mine for mine, theirs in zip(self.ours, self.stock, strict=True))
        return (
            f"| {self.stage} | {self.lang} | {self.documents} | {self.documents / stock:,.0f} | "
            f"{self.megabytes / stock:.2f} | {self.documents / ours:,.0f} | {self.megabytes / ours:.1f} | "
            f"**{ratio:.0f}×** | {self.agreement} |"
        )


HEAD = """\
| stage | language | documents | stock docs/s | stock MB/s | ours docs/s | ours MB/s | ratio | both sides agree |
|---|---|---|---|---|---|---|---|---|"""


def real_texts(data: Path, lang: str, megabytes: float) -> list[str]:
    """Documents of all the language's sources, drawn at random, of so many MB together."""
    texts: list[str] = []
    for path in sorted((data / "corpora").glob(f"{lang}_*/*.jsonl.gz")):
        with gzip.open(path, "rt", encoding="utf-8", newline="\n") as stream:
            texts += [json.loads(line)["text"] for line in stream]
    random.Random(0).shuffle(texts)
    size, taken = 0, []
    for text in texts:
        if size >= megabytes * 1e6:
            break
        taken.append(text)
        size += len(text.encode())
    return taken


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
    for batch in batches(texts):
        layout = lay_out(batch)
        yield features(layout, np.full(len(batch), lang == "zh"))


def our_rules(texts: Sequence[str], lang: str) -> list[bool]:
    kept: list[bool] = []
    for columns in our_columns(texts, lang):
        reasons = judge(columns, np.full(len(columns["words"]), lang, object), "prose", CorpusConfig())
        kept += [reason == KEPT for reason in reasons]
    return kept


def stock_rules(lang: str) -> Callable[[Sequence[str]], list[bool]]:
    """Gopher's repetition and quality, C4, FineWeb, one after another as in FineWeb; a dropped document goes no
    further. For Chinese with the values of FineWeb-2's cmn_Hani.yml, as far as ours have them too."""
    language = LANGUAGES[lang]
    if lang == "zh":
        repetition = GopherRepetitionFilter(dup_line_frac=0.287, top_n_grams=TOP_NGRAMS_CHINESE, language=language)
        quality = GopherQualityFilter(
            min_avg_word_length=1, max_non_alpha_words_ratio=0.735, stop_words=[*FUNCTION_CHARACTERS], language=language
        )
        web = FineWebQualityFilter(line_punct_thr=0.106, language=language)
    else:
        repetition, quality, web = GopherRepetitionFilter(), GopherQualityFilter(), FineWebQualityFilter()
    c4 = C4QualityFilter(filter_no_terminal_punct=False, language=language)
    blocks = (repetition, quality, c4, web)

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
    return np.concatenate([signatures(lay_out(batch), BANDS * ROWS) for batch in batches(texts)])


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

    def meet(a: np.ndarray, b: np.ndarray) -> bool:
        return bool((a == b).reshape(BANDS, ROWS).all(1).any())

    mine = our_signatures([text for pair in pairs for text in pair]).reshape(len(pairs), 2, -1)
    ours = [meet(a, b) for a, b in mine]
    known = {text: one(text) for text in sample}
    stock = [meet(known[a], one(b)) for a, b in pairs]
    same = sum(a == b for a, b in zip(ours, stock, strict=True)) / len(pairs)
    return f"{same:.1%} of {len(pairs)} edited copies (met: ours {sum(ours)}, stock {sum(stock)})"


def seconds(work: Callable[[], object], times: int = 1) -> float:
    """Of this process on its core: what others do to the machine in the meantime does not count."""
    begin = time.process_time()
    for _ in range(times):
        work()
    return (time.process_time() - begin) / times


def measure(data: Path, lang: str, megabytes: float, rounds: int) -> list[Measured]:
    texts = real_texts(data, lang, megabytes)
    size = sum(len(text.encode()) for text in texts) / 1e6
    rules, (signing, one) = stock_rules(lang), stock_signatures(lang)
    kept, theirs = our_rules(texts, lang), rules(texts)  # also loads tokenizers and compiled code
    decided = f"{same_rules(texts, lang)} at stock's thresholds (kept at each one's own: {sum(kept)}, {sum(theirs)})"
    met = same_meetings(texts, lang, one)
    results = [
        Measured("quality and repetition rules", lang, len(texts), size, [], [], decided),
        Measured(f"MinHash signatures, {BANDS}×{ROWS}", lang, len(texts), size, [], [], met),
    ]
    for _ in range(rounds):
        results[0].ours.append(seconds(lambda: our_rules(texts, lang), OURS_REPEATED))
        results[0].stock.append(seconds(lambda: rules(texts)))
        results[1].ours.append(seconds(lambda: our_signatures(texts), OURS_REPEATED))
        results[1].stock.append(seconds(lambda: signing(texts)))
    return results


def hardware() -> str:
    """The processor's name."""
    try:
        names = re.findall(r"^model name\s*: (.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    except OSError:
        names = []
    return (names or [platform.processor() or platform.machine()])[0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=float, default=1.0, help="of text per language")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--write", action="store_true", help="into tests/benchmarks/results/")
    asked = parser.parse_args()
    data = Path(os.environ.get("XMODEL_SHARED_DATA", "../shared/data")).resolve()
    if not data.is_dir():
        sys.exit(f"no real corpora at {data}; set XMODEL_SHARED_DATA")
    from loguru import logger  # datatrove's: it tells of every block it runs

    logger.remove()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    lines = [
        f"{hardware()}, one core, {asked.rounds} rounds in turn, {asked.megabytes:g} MB per language; CPU seconds.",
        "Versions: " + ", ".join(f"{name} {version(name)}" for name in ("datatrove", "numpy")) + ".",
        "",
        HEAD,
    ]
    for lang in LANGUAGES:
        missing = [name for name in NEEDS[lang] if importlib.util.find_spec(name) is None]
        if missing:
            lines.append(f"\nskipped {lang}: the stock blocks need {', '.join(missing)}\n")
            continue
        lines += [measured.row() for measured in measure(data, lang, asked.megabytes, asked.rounds)]
    table = "\n".join(lines)
    print(table)
    if asked.write:
        date = datetime.now(UTC).date().isoformat()
        name = re.sub(r"[^a-z0-9]+", "-", hardware().lower()).strip("-")
        target = Path(__file__).parent / "results" / f"corpus_{name}_{date}.md"
        target.parent.mkdir(exist_ok=True)
        target.write_text(f"# Corpus: ours against datatrove's stock blocks\n\n{table}\n", encoding="utf-8")
        print(f"\nwritten to {target}")


if __name__ == "__main__":
    main()

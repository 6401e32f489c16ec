"""Main text of real pages: ours beside trafilatura, resiliparse, readability-lxml and jusText, page by page in turn.

Takes $XMODEL_SHARED_DATA/web (else ../shared/data/web); prints each one's F1, pages per CPU second and speed beside
trafilatura's, median of the rounds. English F1 is the mean over pages: of words where gold has the complete text, of
segments where gold has only what must (`with`) and must not (`without`) appear; Chinese is over marked segments
(gold_pages.py). Ours starts from bytes; the others are handed the decoded page, free of charge.
readability-lxml and jusText come with the `dev` extra.

    python tests/benchmarks/bench_extraction.py [--rounds 3] [--write]
"""

import argparse
import logging
import os
import statistics
import sys
import time
from collections.abc import Callable
from importlib.metadata import version

os.environ.setdefault("OMP_NUM_THREADS", "1")

import gold_pages
import lxml.html
import trafilatura
from resiliparse.extract.html2text import extract_plain_text
from results_file import hardware, write_results

from xmodel_core.corpus.read.encoding import decode
from xmodel_core.corpus.read.extract import Unextractable, extract

try:
    import justext
    from readability import Document
except ImportError as error:
    sys.exit(f"{error.name} is not installed: pip install readability-lxml jusText (or the `dev` extra)")

ENGLISH_WORDS = justext.get_stoplist("English")
CHINESE_WORDS = frozenset(
    "的一是不了在人有我他这个们中来上大为和国地到以说时要就出会可也你对生能而子那得于着下自之年过"
)
LIBRARIES = ("trafilatura", "resiliparse", "readability-lxml", "jusText", "turbohtml")


def by_justext(html: str, words: frozenset[str]) -> str:
    paragraphs = justext.justext(html.encode(), words, encoding="utf-8")
    return "\n".join(paragraph.text for paragraph in paragraphs if not paragraph.is_boilerplate)


def by_readability(html: str) -> str:
    return "\n".join(lxml.html.fromstring(Document(html).summary(html_partial=True)).itertext())


def ours(page: bytes) -> str:
    try:
        return extract(page)
    except Unextractable:
        return ""


def others(words: frozenset[str]) -> dict[str, Callable[[str], str | None]]:
    return {
        "trafilatura": lambda html: trafilatura.extract(html, include_comments=False),
        "trafilatura, favor_precision": lambda html: trafilatura.extract(
            html, include_comments=False, favor_precision=True
        ),
        "resiliparse": lambda html: extract_plain_text(html, main_content=True, alt_texts=False),
        "readability-lxml": by_readability,
        "jusText": lambda html: by_justext(html, words),
    }


def measure(pages: list[gold_pages.Page], words: frozenset[str], rounds: int) -> tuple[dict, dict]:
    """(text of each page, CPU seconds of each round) by name; each page by all, in turn, before the next."""
    decoded = [decode(page.data) for page in pages]
    rivals = others(words)
    texts: dict[str, list[str]] = {name: [] for name in ["ours", *rivals]}
    seconds: dict[str, list[float]] = {name: [0.0] * rounds for name in texts}
    for warm in ("ours", *rivals):  # loads what is loaded once
        ours(pages[0].data) if warm == "ours" else rivals[warm](decoded[0])
    for number in range(rounds):
        for page, html in zip(pages, decoded, strict=True):
            for name in texts:
                begin = time.process_time()
                try:
                    text = ours(page.data) if name == "ours" else rivals[name](html) or ""
                except Exception:  # a library that fails on a page has no text for it
                    text = ""
                seconds[name][number] += time.process_time() - begin
                if number == 0:
                    texts[name].append(text)
    return texts, seconds


def mean_f1(pages: list[gold_pages.Page], texts: list[str], kind: Callable[[gold_pages.Page], bool]) -> float:
    return statistics.mean(page.f1(text) for page, text in zip(pages, texts, strict=True) if kind(page))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--write", action="store_true", help="into tests/benchmarks/results/")
    asked = parser.parse_args()
    if not gold_pages.web().is_dir():
        sys.exit(f"no real pages at {gold_pages.web()}; set XMODEL_SHARED_DATA")
    logging.disable(logging.CRITICAL)
    lines = [
        f"{hardware()}, one core, {asked.rounds} rounds, page by page in turn; CPU seconds, median of the rounds.",
        "Versions: " + ", ".join(f"{name} {version(name)}" for name in LIBRARIES) + ".",
    ]
    for title, pages, words in (
        ("English", gold_pages.english(), ENGLISH_WORDS),
        ("Chinese", gold_pages.chinese(), CHINESE_WORDS),
    ):
        texts, seconds = measure(pages, words, asked.rounds)
        complete = [page for page in pages if page.text is not None]
        lines += ["", f"## {title}: {len(pages)} pages, {len(complete)} of them with their whole text", ""]
        lines += [
            "| | F1 of words | F1 of segments | F1, all pages | pages/s | × trafilatura |",
            "|---|---|---|---|---|---|",
        ]
        for name, extracted in texts.items():
            times = [base / own for base, own in zip(seconds["trafilatura"], seconds[name], strict=True)]
            words_f1 = f"{mean_f1(pages, extracted, lambda page: page.text is not None):.4f}" if complete else ""
            lines.append(
                f"| {name} | {words_f1} | {mean_f1(pages, extracted, lambda page: page.text is None):.4f} "
                f"| {mean_f1(pages, extracted, lambda page: True):.4f} "
                f"| {len(pages) / statistics.median(seconds[name]):.1f} | {statistics.median(times):.2f} |"
            )
    table = "\n".join(lines)
    print(table)
    if asked.write:
        write_results("extraction_cpu", "Main text of web pages: ours beside four libraries", table)


if __name__ == "__main__":
    main()

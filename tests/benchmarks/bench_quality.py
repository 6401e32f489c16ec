"""Quality, measured: what the room keeps, drops, merges, masks and finds, beside labels and beside made truth.

Takes the shared data ($XMODEL_SHARED_DATA, else ../shared/data) and tests/corpus/labels.tsv; runs scans and decisions
through the room's entry points and prints tables; --write puts them into docs/quality.md. Made documents use texts
of the held-out half only. Pages of the web need fastwarc and resiliparse; without them they are skipped by name.

    python -m tests.benchmarks.bench_quality [--write] [--count 40]
"""

import argparse
import importlib.util
import os
import random
import re
import sys
import tempfile
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import opencc

from tests.benchmarks.made_documents import EDITS, foreign_pages, jaccard, junk_pages
from tests.corpus.conftest import make_corpus
from tests.corpus.real_documents import Label, chance, declared, half_of, read_labels, real_documents, write_sources
from tests.corpus.test_mask import LOOK_ALIKES, PERSONAL
from xmodel_core.artifacts import Store
from xmodel_core.corpus.contamination.benchmark_index import BenchmarkIndex, build_index
from xmodel_core.corpus.contamination.benchmark_items import counted_files
from xmodel_core.corpus.contamination.passages import TEMPLATE_FIELDS
from xmodel_core.corpus.mask.masking import mask
from xmodel_core.corpus.text.batch import make_batch
from xmodel_core.specs.benchmarks import read_items

DOCS = Path(__file__).resolve().parents[2] / "docs" / "quality.md"
BEGIN = "<!-- measured: everything below is written by make bench-quality -->"
PASSED = ("near", "contamination", "mask")  # stages after the judgement of a document by itself
Documents = dict[str, dict[str, str]]
Key = tuple[str, str]
Table = list[Sequence[Any]]


class Report:
    """Markdown, printed as it is made."""

    def __init__(self) -> None:
        self.parts: list[str] = []

    def add(self, text: str) -> None:
        print(text + "\n", flush=True)
        self.parts.append(text)

    def table(self, title: str, head: Sequence[str], rows: Table) -> None:
        lines = [f"### {title}", "", "| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
        lines += ["| " + " | ".join(map(_cell, row)) + " |" for row in rows]
        self.add("\n".join(lines))


def _cell(value: Any) -> str:
    return f"{value:.3f}" if isinstance(value, float) else f"{value:,}" if isinstance(value, int) else str(value)


def share(part: float, total: float) -> float | str:
    """A share, or – where there is nothing to share."""
    return part / total if total else "–"


def decided(documents: Mapping[str, Mapping[str, str]], folder: Path) -> tuple[dict[Key, dict], dict[Key, str]]:
    """(decision, kept text) of every document, made through the room's entry points."""
    made = make_corpus(write_sources(documents, folder / "raw"), Store(folder / "store"))
    decisions = {(row["source"], row["id"]): row for row in made.decisions}
    texts = {(row["source"], row["id"]): row["text"] for row in made.rows("documents")}
    return decisions, texts


def verdict(decisions: Mapping[Key, dict], key: Key) -> str:
    """Why a document goes judged by itself: unreadable, wrong_language or a rule's name; "" where it may stay.
    A copy is judged as the document that stands for it, if that is declared to be in the same language."""
    row = decisions[key]
    if row["stage"] == "exact":
        # Of equal texts the one stays that its source admits: where the sources differ, this one's does not.
        if {declared(key[0]), declared(row["kept_source"])} == {"zh", "en"}:
            return "wrong_language"
        row = decisions[row["kept_source"], row["kept_id"]]
    return "" if row["kept"] or row["stage"] in PASSED or row["stage"] == "exact" else row["reason"]


def group_of(label: Label) -> str:
    """The declared kind of text that a label's source holds."""
    family = label.source.split("_")[0]
    return f"{family} {declared(label.source)}" if family in ("sft", "web") else family


def measure_labels(
    report: Report, labels: Sequence[Label], decisions: Mapping[Key, dict], texts: Any, docs: Any
) -> None:
    """Tables over the labelled documents, held-out half first."""
    why = {label.key: verdict(decisions, label.key) for label in labels}
    keep = [label for label in labels if label.verdict == "keep"]
    drop = [label for label in labels if label.verdict == "drop"]

    def of(some: Iterable[Label], half: str) -> list[Label]:
        return [label for label in some if label.half == half]

    def weighted(some: Sequence[Label], test: Callable[[Label], bool]) -> float | str:
        return share(sum(label.weight for label in some if test(label)), sum(label.weight for label in some))

    rows: Table = []
    for half in ("held_out", "tuning"):
        good, bad = of(keep, half), of(drop, half)
        stay = [label for label in good if not why[label.key]]
        same = [label for label in stay if label.key in texts]

        def unchanged(label: Label) -> bool:
            return texts[label.key].split() == docs[label.source][label.id].split()

        rows.append(
            (half, "clean, kept", len(good), share(len(stay), len(good)), weighted(good, lambda x: not why[x.key]))
        )
        rows.append(
            (
                half,
                "of those that stay, unchanged but for white space",
                len(same),
                share(sum(map(unchanged, same)), len(same)),
                weighted(same, unchanged),
            )
        )
        for name, kinds in (
            ("gibberish and repetition, dropped", ("gibberish", "repetition")),
            ("boilerplate, spam, fragments, dropped", ("boilerplate", "spam", "fragment")),
            ("wrong language, dropped", ("wrong_language",)),
        ):
            part = [label for label in bad if label.kind in kinds]
            gone = sum(bool(why[label.key]) for label in part)
            rows.append((half, name, len(part), share(gone, len(part)), weighted(part, lambda x: bool(why[x.key]))))
    report.table("Labelled documents", ("half", "what", "n", "of the labelled", "of the whole corpus (weighted)"), rows)

    for title, name_of in (
        ("By rule: of what it drops, how much was labelled so (precision)", lambda x: why[x.key]),
        ("By language", lambda x: x.lang),
        ("By family of sources", group_of),
        ("By source", lambda x: x.source),
    ):
        rows = []
        for name in sorted({name_of(label) for label in labels} - {""}):
            named = [label for label in labels if name_of(label) == name]
            cells: list[Any] = [name]
            for half in ("held_out", "tuning"):
                dropped = [label for label in of(named, half) if why[label.key]]
                right = [label for label in dropped if label.verdict == "drop"]
                bad = [label for label in of(named, half) if label.verdict == "drop"]
                good = [label for label in of(named, half) if label.verdict == "keep"]
                precision = (len(dropped), share(len(right), len(dropped)))
                if title.startswith("By rule"):
                    cells += [*precision, weighted(dropped, lambda x: x.verdict == "drop")]
                else:
                    cells += [*precision, len(bad), share(len(right), len(bad)), len(good)]
                    cells.append(weighted(good, lambda x: not why[x.key]))
            rows.append(cells)
        once = (
            ("dropped", "precision", "weighted")
            if title.startswith("By rule")
            else ("dropped", "precision", "to drop", "recall", "to keep", "kept, weighted")
        )
        report.table(title, ("", *(f"held out: {x}" for x in once), *(f"tuning: {x}" for x in once)), rows)

    rows = []
    for kind in sorted({label.kind for label in drop}):
        of_kind = [label for label in drop if label.kind == kind]
        reasons = Counter(why[label.key] or "kept" for label in of_kind)
        rows.append(
            (
                kind,
                len(of_kind),
                share(sum(bool(why[x.key]) for x in of_kind), len(of_kind)),
                str(dict(reasons.most_common())),
            )
        )
    report.table("By kind of bad document, both halves (recall)", ("kind", "n", "dropped", "by"), rows)


def measure_whole(report: Report, decisions: Mapping[Key, dict]) -> None:
    """What becomes of the whole corpus, by rule."""
    rows = Counter((row["stage"], row["reason"]) for row in decisions.values() if not row["kept"])
    table: Table = [(stage, reason, count) for (stage, reason), count in sorted(rows.items())]
    table.append(("", "kept", sum(row["kept"] for row in decisions.values())))
    report.table("The whole corpus, one run", ("stage", "reason", "documents"), table)


def held_out(docs: Mapping[str, Mapping[str, str]], prefix: str, count: int, least: int, most: int) -> list[str]:
    """Texts of the held-out half of the sources with this prefix, between lengths in characters."""
    drawn = sorted(
        (chance("made", source, id), text)
        for source, texts in docs.items()
        if source.startswith(prefix)
        for id, text in texts.items()
        if least <= len(text) <= most and half_of(source, id) == "held_out"
    )
    return [text for _, text in drawn[:count]]


def measure_made(report: Report, docs: Documents, folder: Path, count: int) -> None:
    """Made gibberish and boilerplate, and other languages, judged through the entry points."""
    made: Documents = {"zh_made": {}, "en_made": {}, "code_made": {}}
    kind_of: dict[Key, tuple[str, str, str]] = {}

    def add(source: str, family: str, kind: str, lang: str, text: str) -> None:
        key = source, str(len(made[source]))
        made[source][key[1]] = text
        kind_of[key] = family, kind, lang

    texts = {lang: held_out(docs, f"{lang}_", count, 400, 4000) for lang in ("zh", "en")}
    for lang, some in texts.items():
        for family, kind, page in junk_pages(some, lang, count):
            add(f"{lang}_made", family, kind, lang, page)
        other = "en" if lang == "zh" else "zh"
        for page in texts[other]:
            add(f"{lang}_made", "wrong language", "the other language, real", other, page)
    for lang, page in foreign_pages(max(4, count // 4)):
        for source in ("zh_made", "en_made"):
            add(source, "wrong language", lang, lang, page)
    for url, text in docs.get("web_en", {}).items():
        if (lang := _foreign(url)) is not None:
            add("en_made", "wrong language", f"{lang}, real pages", lang, text)
    decisions, _ = decided({name: texts for name, texts in made.items() if texts}, folder)
    tally: dict[tuple[str, str, str], Counter] = defaultdict(Counter)
    for key, (family, kind, _) in kind_of.items():
        # wrong_language is no virtue of a rule for junk, but the page is gone; a copy of a dropped page is dropped.
        tally[family, kind, key[0][:2]][verdict(decisions, key) or "kept"] += 1
    rows: Table = []
    for family in ("gibberish", "boilerplate", "wrong language"):
        total: Counter = Counter()
        for (its, kind, lang), reasons in sorted(tally.items()):
            if its == family:
                n = reasons.total()
                kept = reasons["kept"]
                by = ", ".join(f"{name} {many}" for name, many in reasons.most_common(3))
                rows.append((family, kind, lang, n, share(n - kept, n), by))
                total += reasons
        rows.append(
            (f"**{family}**", "all", "", total.total(), share(total.total() - total["kept"], total.total()), "")
        )
    report.table("Made pages: dropped", ("family", "kind", "declared", "n", "dropped", "by"), rows)


_INDEX: dict[str, str] = {}


def _foreign(url: str) -> str | None:
    lang = _INDEX.get(url, "en")
    return None if lang in ("en", "zh") else lang


def measure_copies(report: Report, docs: Documents, folder: Path, count: int) -> None:
    """Exact copies, and edited copies at known similarity: who is merged."""
    traditional = opencc.OpenCC("s2t")
    made: Documents = {"zh_first": {}, "en_first": {}, "zh_second": {}, "en_second": {}}
    truth: dict[Key, tuple[str, float, Key]] = {}
    for lang in ("zh", "en"):
        originals = held_out(docs, f"{lang}_", count * 20, 500, 6000)
        half = len(originals) // 2
        for number, text in enumerate(originals[:half]):
            rng = random.Random(f"copy {lang} {number}")
            first = f"{lang}_first", str(number)
            made[first[0]][first[1]] = text
            other = originals[half + number]
            name, edit = list(EDITS.items())[number % len(EDITS)]
            if number % 10 == 9:
                name, copy = "exact", re.sub(r"[ \n]+", lambda gap: gap[0] + " ", text) + "\n"
            elif lang == "zh" and number % 10 == 8:
                name, copy = "script converted", traditional.convert(text)
            else:
                copy = edit(text, other, lang, rng.uniform(0.02, 0.6), rng)
            second = f"{lang}_second", str(number)
            made[second[0]][second[1]] = copy or other  # all sentences dropped
            truth[second] = name, jaccard(text, made[second[0]][second[1]]), first
    decisions, _ = decided(made, folder)
    bins = ((0.9, 1.01), (0.8, 0.9), (0.7, 0.8), (0.6, 0.7), (0.5, 0.6), (0.0, 0.5))
    rows: Table = []
    # Both must have passed the judgement by themselves: a pair with a dropped page is no pair.
    pairs = {
        key: value for key, value in truth.items() if not verdict(decisions, key) and not verdict(decisions, value[2])
    }

    def merged(key: Key, first: Key) -> bool:
        row = decisions[key]
        kept_copy = (row["source"], row["id"]) if row["kept"] else (row["kept_source"], row["kept_id"])
        row = decisions[first]
        return kept_copy == ((row["source"], row["id"]) if row["kept"] else (row["kept_source"], row["kept_id"]))

    exact = [key for key, (name, _, _) in pairs.items() if name == "exact"]
    gone = sum(decisions[key]["reason"] == "exact_copy" for key in exact)
    rows.append(("exact but for white space", "zh, en", len(exact), share(gone, len(exact))))
    for low, high in bins:
        for lang in ("zh", "en"):
            some = [
                (key, value[2])
                for key, value in pairs.items()
                if value[0] not in ("exact", "script converted") and low <= value[1] < high and key[0].startswith(lang)
            ]
            together = sum(merged(*pair) for pair in some)
            rows.append((f"Jaccard {low:.1f} to {min(high, 1):.1f}", lang, len(some), share(together, len(some))))
    for low, high in ((0.8, 1.01), (0.7, 1.01)):
        some = [(k, v[2]) for k, v in pairs.items() if v[0] not in ("exact", "script converted") and low <= v[1] < high]
        rows.append((f"**Jaccard {low} and more**", "both", len(some), share(sum(merged(*p) for p in some), len(some))))
    some = [(key, value[2]) for key, value in pairs.items() if value[0] == "script converted"]
    if some:
        rows.append(("simplified turned traditional", "zh", len(some), share(sum(merged(*p) for p in some), len(some))))
    report.table("Copies: merged", ("what", "language", "pairs", "merged"), rows)


def measure_merges(report: Report, docs: Documents, decisions: Mapping[Key, dict]) -> None:
    """Of the whole corpus's near copies: how alike each and its survivor really are."""
    likeness = [
        (jaccard(docs[source][id], docs[row["kept_source"]][row["kept_id"]]), (source, id))
        for (source, id), row in decisions.items()
        if row["reason"] == "near_copy"
    ]
    values = np.array([value for value, _ in likeness])
    rows: Table = [
        (f"{low:.1f} to {low + 0.1:.1f}", int(((values >= low) & (values < low + 0.1)).sum()))
        for low in (0.9, 0.8, 0.7, 0.6, 0.5)
    ]
    rows.append(("below 0.5", int((values < 0.5).sum())))
    rows[0] = ("0.9 to 1.0", int((values >= 0.9).sum()))
    report.table(
        "Near copies of the whole corpus: exact Jaccard with the document that stands for them",
        ("Jaccard", "documents"),
        rows,
    )


def measure_masking(report: Report, docs: Documents, count: int) -> None:
    """Personal data and look-alikes put into real texts that hold none."""
    hosts = [
        text for lang in ("zh", "en") for text in held_out(docs, f"{lang}_", count, 300, 2000) if not mask(text)[1]
    ]
    rng = random.Random(11)
    rows: Table = []
    total: Counter = Counter()
    found_of: dict[str, Counter] = defaultdict(Counter)
    for kind, cases in PERSONAL.items():
        for case in cases:
            for host in rng.sample(hosts, 6):
                cut = host.find("\n", len(host) // 3) if "\n" in host[len(host) // 3 :] else len(host)
                masked_kinds = Counter(edit.kind for edit in mask(f"{host[:cut]}\n{case}\n{host[cut:]}")[1])
                right = min(masked_kinds[kind], 1)
                found_of[kind] += Counter(planted=1, found=right)
                for other, many in masked_kinds.items():
                    found_of[other]["wrong"] += many - right * (other == kind)
    for kind, cells in sorted(found_of.items()):
        precision = cells["found"] / max(cells["found"] + cells["wrong"], 1)
        recall = cells["found"] / max(cells["planted"], 1)
        rows.append((kind, cells["planted"], precision, recall, 2 * precision * recall / max(precision + recall, 1e-9)))
        total += cells
    precision = total["found"] / (total["found"] + total["wrong"])
    recall = total["found"] / total["planted"]
    rows.append(("**all**", total["planted"], precision, recall, 2 * precision * recall / (precision + recall)))
    report.table("Personal data in real texts", ("kind", "n", "precision", "recall", "F1"), rows)
    alike = [(name, case) for name, cases in LOOK_ALIKES.items() for case in cases for _ in range(6)]
    masked = Counter(name for name, case in alike if mask(f"{rng.choice(hosts)}\n{case}\n")[1])
    names = f" ({', '.join(masked)})" if masked else ""
    report.add(f"Look-alikes masked: {masked.total()} of {len(alike):,}{names}.")


HOST = {
    "zh": "山谷里的人都说，今年的梨比去年好。",
    "en": "People of the valley say that the pears are better this year. ",
}


def _whole_words(text: str, begin: int, end: int) -> str:
    """The window, made longer where an end of it cuts a word or a figure in two: nobody copies half a word."""
    while begin and re.match("[A-Za-z0-9]{2}", text[begin - 1 : begin + 1]):
        begin -= 1
    while end < len(text) and re.match("[A-Za-z0-9]{2}", text[end - 1 : end + 1]):
        end += 1
    return text[begin:end]


def measure_contamination(report: Report, shared: Path, docs: Documents, count: int) -> None:
    """Windows of benchmarks' fields put into a page: 13 words, 26 characters, and twice that."""
    index = build_index(shared / "bench")
    windows: list[tuple[str, str, str]] = []
    fields: dict[str, set[str]] = {}
    rng = random.Random(7)
    patterns = {"en": (r"[^\W_]+", 13), "zh": (r"\S", 26)}
    for benchmark, paths in counted_files(shared / "bench", {}).items():
        items = [item for path in paths for _, item in read_items(path)]
        fields[benchmark] = {value for item in items for value in item.values() if isinstance(value, str)}
        for item in rng.sample(items, min(len(items), count * 5)):
            for text in (value for value in item.values() if isinstance(value, str)):
                inked = re.sub(r"\s", "", text)
                han = len(re.findall(r"[\u3400-\u9fff]", text))
                lang = "zh" if han > 0.3 * len(inked) else "en"
                pattern, size = patterns[lang]
                spans = [match.span() for match in re.finditer(pattern, text)]
                for factor in (1, 2):
                    if len(spans) >= size * factor:
                        at = rng.randrange(len(spans) - size * factor + 1)
                        window = _whole_words(text, spans[at][0], spans[at + size * factor - 1][1])
                        windows.append(
                            (benchmark, f"{size * factor} {'words' if lang == 'en' else 'characters'}", window)
                        )
    hits_of: dict[str, Counter] = defaultdict(Counter)
    missed: dict[str, Counter] = defaultdict(Counter)
    template: Counter = Counter()
    for begin in range(0, len(windows), 1000):
        part = windows[begin : begin + 1000]
        pages = [HOST["en"] + "\n" + window + "\n" + HOST["zh"] for _, _, window in part]
        hits = np.diff(index.hits(make_batch(pages)).offsets) > 0
        for (benchmark, size, window), hit in zip(part, hits.tolist(), strict=True):
            hits_of[size][hit] += 1
            missed[size][benchmark] += not hit
            if not hit and sum(window in field for field in fields[benchmark]) > TEMPLATE_FIELDS:
                template[size] += 1
    rows: Table = []
    for size, cells in sorted(hits_of.items()):
        most = ", ".join(f"{name} {many}" for name, many in missed[size].most_common(4) if many)
        own = cells.total() - template[size]
        rows.append((size, cells.total(), share(cells[True], cells.total()), own, share(cells[True], own), most))
    head = ("window", "n", "found", f"n, in at most {TEMPLATE_FIELDS} fields", "found", "missed most in")
    report.table("Windows of benchmarks, found", head, rows)
    _measure_leak(report, shared, docs, index)


def _measure_leak(report: Report, shared: Path, docs: Documents, index: BenchmarkIndex) -> None:
    """The natural leak: documents of math_llm_adapters that hold a test question of GSM8K whole."""
    questions = [item["question"] for _, item in read_items(shared / "bench/gsm8k/test.jsonl")]
    plain = {" ".join(re.findall(r"[^\W_]+", question.lower())) for question in questions}
    starts = {tuple(question.split()[:8]): question for question in plain}
    counts: Counter = Counter()
    for source, texts in docs.items():
        part = (
            list(texts.values()) if source == "math_llm_adapters" else held_out({source: texts}, source, 200, 0, 10**6)
        )
        for begin in range(0, len(part), 500):
            hits = np.diff(index.hits(make_batch(part[begin : begin + 500])).offsets) > 0
            for text, hit in zip(part[begin : begin + 500], hits.tolist(), strict=True):
                words = re.findall(r"[^\W_]+", text.lower()) if source == "math_llm_adapters" else []
                near = {starts.get(tuple(words[at : at + 8])) for at in range(len(words))} - {None}
                leaked = any(f" {question} " in f" {' '.join(words)} " for question in near)
                counts["leaked" if leaked else "clean"] += 1
                counts["leaked, found" if leaked else "clean, hit"] += hit
    rows: Table = [
        (
            "documents of math_llm_adapters with a GSM8K test question",
            counts["leaked"],
            share(counts["leaked, found"], counts["leaked"]),
        ),
        ("all its others, and 200 of each other source", counts["clean"], share(counts["clean, hit"], counts["clean"])),
    ]
    report.table("The natural leak", ("documents", "n", "removed"), rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("--write", action="store_true", help="put the tables into docs/quality.md")
    parser.add_argument("--count", type=int, default=40, help="made documents of each kind and language")
    arguments = parser.parse_args()
    shared = Path(os.environ.get("XMODEL_SHARED_DATA", "../shared/data")).resolve()
    if not shared.is_dir():
        sys.exit(f"no real corpora at {shared}: set XMODEL_SHARED_DATA")
    web = all(importlib.util.find_spec(name) for name in ("fastwarc", "resiliparse"))
    if not web:
        print("pages of the web are skipped: fastwarc and resiliparse are not installed")
    labels = [label for label in read_labels() if web or not label.source.startswith("web_")]
    docs = real_documents(shared, web)
    if web:
        from tests.corpus.real_documents import page_languages

        _INDEX.update(page_languages(shared))
    report = Report()
    with tempfile.TemporaryDirectory(prefix="xmodel-quality-") as place:
        folder = Path(place)
        decisions, texts = decided(docs, folder / "whole")
        measure_labels(report, labels, decisions, texts, docs)
        measure_whole(report, decisions)
        measure_merges(report, docs, decisions)
        measure_made(report, docs, folder / "made", arguments.count)
        measure_copies(report, docs, folder / "copies", arguments.count)
    measure_masking(report, docs, arguments.count)
    measure_contamination(report, shared, docs, arguments.count)
    if arguments.write:
        head = DOCS.read_text(encoding="utf-8").split(BEGIN)[0]
        DOCS.write_text(head + BEGIN + "\n\n" + "\n\n".join(report.parts) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

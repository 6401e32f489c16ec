"""The decisions as rows of the ledger: the funnel, the drops by reason, removed lines, contamination.

Takes `Decisions` and the columns of the scanned files; gives rows by table. Everything is counted from the decisions
on all documents, never while they are made, so that the books close.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from xmodel_core.corpus.contamination.benchmark_index import BenchmarkIndex
from xmodel_core.corpus.decide.decisions import REASONS, STAGES, Decisions
from xmodel_core.corpus.measure.scanned import REMOVED
from xmodel_core.corpus.text.batch import Array

LANGUAGES = ("zh", "en", "code", "other")


def contamination_rows(decisions: Decisions, corpus: str, index: BenchmarkIndex) -> list[dict[str, Any]]:
    """The rows of contamination: for each source and language the documents dropped for items of a benchmark, and how
    many different items those are."""
    items_of: dict[tuple[str, str], list[Array]] = {}
    for number, file in enumerate(decisions.files):
        dropped = decisions.stage[decisions.of_file(number)] == STAGES.index("contamination")
        if dropped.any():
            table = file.columns(["lang", "benchmark_items"]).filter(pa.array(dropped))
            for lang, items in zip(*(column.to_pylist() for column in table.columns), strict=True):
                items_of.setdefault((file.source.name, lang), []).append(np.array(items))
    rows = []
    for (source, lang), documents in sorted(items_of.items()):
        docs = Counter(benchmark for items in documents for benchmark in index.per_benchmark(items))
        for benchmark, items in index.per_benchmark(np.concatenate(documents)).items():
            key = {"corpus": corpus, "benchmark": benchmark, "source": source, "lang": lang}
            rows.append({**key, "docs": docs[benchmark], "items": items})
    return rows


def funnel_rows(decisions: Decisions, corpus: str) -> dict[str, list[dict[str, Any]]]:
    """The rows of document_flow, document_drops and edits: what enters, leaves and is dropped, stage by stage, and the
    lines removed from inside kept documents. All sources are decided together, so `seconds` is 0."""
    flow: dict[tuple[str, str, str], Counter[str]] = {}
    drops: dict[tuple[str, str, str, str], Counter[str]] = {}
    edits: dict[tuple[str, str], Counter[str]] = {}
    for number, file in enumerate(decisions.files):
        part = decisions.of_file(number)
        table = file.columns(["lang", "chars", "bytes", *REMOVED])
        langs = np.array(table["lang"].to_pylist(), object)
        for lang in set(langs):
            in_lang = langs == lang
            stage, reason = decisions.stage[part][in_lang], decisions.reason[part][in_lang]
            kept_chars, kept_bytes, lines, lost_chars, lost_bytes = (
                table[name].to_numpy()[in_lang] for name in ("chars", "bytes", *REMOVED)
            )
            for index, name in enumerate(STAGES):
                enters, dropped = stage >= index, stage == index
                leaves = enters & ~dropped
                # A document that was dropped before the stage `lines` lost none, whatever its rescan counts.
                with_lines = index <= STAGES.index("lines")
                chars, size = kept_chars + with_lines * lost_chars, kept_bytes + with_lines * lost_bytes
                removed = (lost_chars, lost_bytes) if name == "lines" else (np.zeros_like(chars),) * 2
                flow.setdefault((file.source.name, lang, name), Counter()).update(
                    docs_in=int(enters.sum()),
                    docs_out=int(leaves.sum()),
                    docs_dropped=int(dropped.sum()),
                    chars_in=int(chars[enters].sum()),
                    chars_out=int((chars - removed[0])[leaves].sum()),
                    chars_dropped=int(chars[dropped].sum()),
                    chars_removed_in_kept=int(removed[0][leaves].sum()),
                    bytes_in=int(size[enters].sum()),
                    bytes_out=int((size - removed[1])[leaves].sum()),
                )
                for code in np.unique(reason[dropped]).tolist():
                    counts = drops.setdefault((file.source.name, lang, name, REASONS[code]), Counter())
                    docs = reason[dropped] == code
                    counts.update(docs=int(docs.sum()), chars=int(chars[dropped][docs].sum()))
            edited = (stage == len(STAGES)) & (lines > 0)
            if edited.any():
                edits.setdefault((file.source.name, lang), Counter()).update(
                    docs=int(edited.sum()), edits=int(lines[edited].sum()), chars=int(lost_chars[edited].sum())
                )

    sources = list(dict.fromkeys(file.source.name for file in decisions.files))

    def order(key: tuple[str, ...]) -> tuple[int | str, ...]:
        return sources.index(key[0]), LANGUAGES.index(key[1]), *(STAGES.index(name) for name in key[2:3]), *key[3:]

    def rows(table: dict[Any, Counter[str]], names: Sequence[str], **more: Any) -> list[dict[str, Any]]:
        keys = sorted(table, key=order)
        return [{"corpus": corpus, **dict(zip(names, key, strict=True)), **table[key], **more} for key in keys]

    return {
        "document_flow": rows(flow, ("source", "lang", "stage"), seconds=0.0),
        "document_drops": rows(drops, ("source", "lang", "stage", "reason")),
        "edits": rows(edits, ("source", "lang"), kind="boilerplate_line"),
    }

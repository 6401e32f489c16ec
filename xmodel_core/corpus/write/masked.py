"""Kept texts as they are written: masked, and without the one character that tokenizers reserve; all changes counted.

Takes texts with their languages; gives the texts to write and, for the receipt, sizes before and after per language
and edits per language and kind; from the receipts of all files, the ledger's rows of the stage `mask`.
"""

from collections import Counter
from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from xmodel_core.corpus.mask.kinds import Kind
from xmodel_core.corpus.mask.masking import mask
from xmodel_core.corpus.text.batch import Array

# SentencePiece writes a space as U+2581, LOWER ONE EIGHTH BLOCK, so no tokenizer of that kind can distinguish the two.
# In texts it is a rule or a blank to fill in, as a low line is, and one character for one keeps every count.
RESERVED_CHARACTER, REPLACEMENT = "\u2581", "_"


def _sizes(texts: pa.ChunkedArray) -> Array:
    """int64 [n, 2]: characters and bytes of each text."""
    return np.stack([pc.call_function(name, [texts]).to_numpy() for name in ("utf8_length", "binary_length")], 1)


class CountingMask:
    """Masks texts; counts texts and their sizes per language, and edits per language and kind."""

    def __init__(self, kinds: Collection[Kind]) -> None:
        self._kinds = kinds
        self._flow: dict[str, Counter[str]] = {}
        self._edits: dict[tuple[str, str], Counter[str]] = {}

    def __call__(self, texts: pa.ChunkedArray, langs: list[str]) -> pa.ChunkedArray:
        """The texts, masked."""
        with_lang = zip(texts.to_pylist(), langs, strict=True)
        masked = pa.chunked_array([[self._masked(text, lang) for text, lang in with_lang]], pa.string())
        sizes = np.concatenate((_sizes(texts), _sizes(masked)), 1)
        for lang in set(langs):
            of_lang = sizes[np.array(langs) == lang]
            chars_in, bytes_in, chars_out, bytes_out = of_lang.sum(0).tolist()
            self._flow.setdefault(lang, Counter()).update(
                docs=len(of_lang), chars_in=chars_in, chars_out=chars_out, bytes_in=bytes_in, bytes_out=bytes_out
            )
        return masked

    def _masked(self, text: str, lang: str) -> str:
        masked, edits = mask(text, self._kinds)
        if reserved := masked.count(RESERVED_CHARACTER):
            masked = masked.replace(RESERVED_CHARACTER, REPLACEMENT)
            counts = self._edits.setdefault((lang, "reserved_character"), Counter())
            counts.update(docs=1, edits=reserved, chars=reserved)
        for kind in {edit.kind for edit in edits}:
            of_kind = [edit for edit in edits if edit.kind == kind]
            chars = sum(edit.end - edit.start for edit in of_kind)
            self._edits.setdefault((lang, kind), Counter()).update(docs=1, edits=len(of_kind), chars=chars)
        return masked

    def facts(self) -> dict[str, Any]:
        """The counts, as the receipt of the documents holds them."""
        return {
            "docs": sum(count["docs"] for count in self._flow.values()),
            "chars": sum(count["chars_out"] for count in self._flow.values()),
            "mask": [{"lang": lang, **counts} for lang, counts in sorted(self._flow.items())],
            "edits": [{"lang": lang, "kind": kind, **n} for (lang, kind), n in sorted(self._edits.items())],
        }


def masking_rows(receipts: Sequence[dict[str, Any]], corpus: str) -> dict[str, list[dict[str, Any]]]:
    """Table → the rows of document_flow for the stage mask, and of edits, from the facts of the documents' receipts."""
    flow: dict[tuple[str, str], Counter[str]] = {}
    edits: dict[tuple[str, str, str], Counter[str]] = {}
    for facts in receipts:
        source = facts["source"]
        for row in facts["mask"]:
            counts = {key: value for key, value in row.items() if key != "lang"}
            flow.setdefault((source, row["lang"]), Counter()).update(counts)
        for row in facts["edits"]:
            counts = {key: row[key] for key in ("docs", "edits", "chars")}
            edits.setdefault((source, row["lang"], row["kind"]), Counter()).update(counts)
    return {
        "document_flow": [
            {
                "corpus": corpus,
                "source": source,
                "lang": lang,
                "stage": "mask",
                "docs_in": count["docs"],
                "docs_out": count["docs"],
                "docs_dropped": 0,
                "chars_in": count["chars_in"],
                "chars_out": count["chars_out"],
                "chars_dropped": 0,
                "chars_removed_in_kept": count["chars_in"] - count["chars_out"],
                "bytes_in": count["bytes_in"],
                "bytes_out": count["bytes_out"],
                "seconds": 0.0,
            }
            for (source, lang), count in flow.items()
        ],
        "edits": [
            {"corpus": corpus, "source": source, "lang": lang, "kind": kind, **count}
            for (source, lang, kind), count in edits.items()
        ],
    }

"""Perplexity of texts under an n-gram model of their language; the Xmodel-LM report's filter after its rules.

Takes KenLM models (Heafield, WMT 2011), one per language, and batches; gives one number per text. Characters in random
order have the same counts as prose; only their sequence differs. A model reads the words that the rest of the
scan counts, `TextBatch.words`, with a space between, and each line is a sentence: English in words, Chinese in
characters, case and width folded, without punctuation. The traditional script is folded, too: a model of simplified
text then finds a traditional encyclopedia as likely as a simplified one (measured), and serves both.

As a program it writes text in that form, for training a model on text that is known to be good:

    python -m xmodel_core.corpus.measure.perplexity < zh.txt | lmplz -o 5 > zh.arpa
    build_binary zh.arpa zh.kenlm

`lmplz` (modified Kneser-Ney smoothing, Heafield et al., ACL 2013) and `build_binary` are KenLM's own. An .arpa can be
named as it is; the binary is mapped, so it loads at once and workers of a machine share it.
"""

import sys
from collections.abc import Mapping
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from xmodel_core.corpus.config import not_a_model
from xmodel_core.corpus.text import characters as char
from xmodel_core.corpus.text.batch import Array, TextBatch, make_batch
from xmodel_core.errors import XmodelError

PERPLEXITY = "perplexity"
"""The column of scans and rescans: float32, null where none was measured."""
LARGEST_EXPONENT = 38.0  # of ten, in float32
BATCH_LINES = 5_000


class Sentences(NamedTuple):
    """The lines of a batch that hold words, as a model reads them."""

    lines: list[bytes]
    """UTF-8."""
    text: Array
    """int64: the text that each is in."""


def sentences(batch: TextBatch) -> Sentences:
    """Every line with a word in it, words folded, a space between."""
    words = batch.words
    if not len(words):
        return Sentences([], np.zeros(0, np.int64))
    sizes = words.ends - words.starts + 1
    ends = np.cumsum(sizes, dtype=np.int64)
    # The position after each word is for a separator; the batch has at least the text's own newline there.
    places = np.arange(ends[-1], dtype=np.int32)
    places -= np.repeat((ends - sizes - words.starts).astype(np.int32), sizes)
    codes = char.tables().folded[batch.codes[places]]
    line = np.searchsorted(batch.lines.starts, words.starts, "right")
    last = np.append(line[1:] != line[:-1], True)
    codes[ends - 1] = np.where(last, ord("\n"), ord(" "))
    return Sentences(codes.tobytes().decode("utf-32-le").encode().split(b"\n")[:-1], words.text[last])


class NgramModels:
    """The models of some languages, opened. XmodelError: no kenlm, or a file that it cannot read."""

    def __init__(self, files: Mapping[str, Path]) -> None:
        self._models = {lang: _open(lang, path) for lang, path in files.items()}

    def perplexity(self, batch: TextBatch, lang: Array) -> Array:
        """float32 [n]: 10^(-log10 p / (words + lines)) of each text under its language's model; the end of a line is
        predicted as a word is. NaN for a text without words and where there is no model of the language."""
        scored = sentences(batch)
        units = np.bincount(batch.words.text, minlength=batch.texts) + np.bincount(scored.text, minlength=batch.texts)
        result = np.full(batch.texts, np.nan, np.float32)
        for name, model in self._models.items():
            wanted = (lang == name) & (units > 0)
            scores = [model.score(scored.lines[line]) for line in np.flatnonzero(wanted[scored.text])]
            total = np.bincount(scored.text[wanted[scored.text]], scores, batch.texts)
            for text in np.flatnonzero(wanted):
                # Python's power is the C library's, whatever the processor: numpy's is not.
                result[text] = 10.0 ** min(-total[text] / units[text], LARGEST_EXPONENT)
        return result


def require_kenlm() -> Any:
    """The package; XmodelError where it is not installed."""
    try:
        import kenlm  # pyright: ignore[reportMissingImports] (an extra: types are checked without it, too)
    except ImportError:
        raise XmodelError(
            "corpus.perplexity names a model, but the package that reads it is not installed",
            expected="the Python package kenlm",
            remedy="uv pip install kenlm==0.3.0 into this environment (it is compiled: g++, two minutes), or name none",
        ) from None
    return kenlm


def _open(lang: str, path: Path) -> Any:
    kenlm = require_kenlm()
    config = kenlm.Config()
    config.show_progress = False
    config.arpa_complain = kenlm.ARPALoadComplain.NONE
    try:
        return kenlm.Model(str(path), config)
    except OSError as error:
        raise not_a_model("a model cannot be read", lang, path, error) from None


def main() -> None:
    """Text in UTF-8 on stdin, out on stdout as a model reads it."""
    while batch := list(islice(sys.stdin.buffer, BATCH_LINES)):
        text = b"".join(batch).decode("utf-8", "replace")
        sys.stdout.buffer.writelines(line + b"\n" for line in sentences(make_batch([text])).lines)


if __name__ == "__main__":
    main()

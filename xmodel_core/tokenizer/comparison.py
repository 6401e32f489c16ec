"""Compares tokenizers on the same text: tokens per character, byte pieces, round trips, code, longest pieces.

Takes documents and tokenizers by name (ours, any SentencePiece .model, any tokenizer.json); gives rows of sums per
tokenizer, source, language and kind of text. The kind is what our own tokenizers know of it: documents that they
learned from, others of the same sources, and sources that were held out entirely. Tokens are counted without BOS and
EOS; tokens per character is the Xmodel reports' compression rate.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import tokenizers

from xmodel_core.artifacts import file_digest
from xmodel_core.errors import XmodelError
from xmodel_core.tokenizer.documents import DocumentBatch, Files, held_out, held_out_below, read_documents
from xmodel_core.tokenizer.sample import Draw
from xmodel_core.tokenizer.tokenizer import Tokenizer

TextKind = Literal["learned_from", "unseen_document", "unseen_source"]
UNSEEN: tuple[TextKind, ...] = ("unseen_document", "unseen_source")
# Per source and kind of text, in document order: more text changes no figure in its second decimal.
MOST_CHARACTERS = 1_000_000
LONGEST_PIECES = 20
BYTE_PIECES = {f"<0x{byte:02X}>" for byte in range(256)}
MEASURES = ("docs", "chars", "bytes", "tokens", "byte_tokens", "unknown_tokens", "docs_changed")

CODE = {
    "four spaces": "def f(x):\n    if x:\n        return [y for y in x]\n    return None\n",
    "tabs": "func f(x int) int {\n\tif x > 0 {\n\t\treturn x\n\t}\n\treturn 0\n}\n",
    "CRLF": "class A:\r\n    x = 1\r\n\r\n    def f(self):\r\n        pass\r\n",
    "aligned": "short     = 1\nlonger    = 22\nlongest   = 333   # aligned\n",
    "deep": f"{' ' * 40}deep\n{chr(9) * 9}deeper\n",
    "blank lines": "a = 1\n\n\n\nb = 2\n\n    \n\nc = 3\n   \n",
}
"""Code whose white space carries meaning: decoding must restore it exactly."""


class Encoder(Protocol):
    """What a comparison needs of a tokenizer."""

    is_byte: np.ndarray

    @property
    def vocab_size(self) -> int: ...
    @property
    def unknown_id(self) -> int: ...
    def encode_arrays(self, texts: Sequence[str]) -> list[np.ndarray]: ...
    def decode(self, tokens: Sequence[int] | np.ndarray) -> str: ...
    def pieces(self) -> Iterator[str]: ...


class JsonTokenizer:
    """A tokenizer.json as Hugging Face's library reads it; special tokens in a text are text, as in ours."""

    def __init__(self, path: Path) -> None:
        try:
            self._model = tokenizers.Tokenizer.from_file(str(path))
        except Exception as error:  # the library raises nothing narrower
            raise XmodelError(
                "a tokenizer cannot be read",
                expected="Hugging Face's tokenizer.json",
                found=error,
                where=path,
                remedy="check the path; a SentencePiece model ends in .model",
            ) from None
        self._model.encode_special_tokens = True
        self._tokens = self._model.get_vocab(with_added_tokens=True)
        self.is_byte = np.zeros(max(self._tokens.values()) + 1, bool)
        self.is_byte[[i for token, i in self._tokens.items() if token in BYTE_PIECES]] = True

    @property
    def vocab_size(self) -> int:
        """Tokens, added ones included."""
        return len(self._tokens)

    @property
    def unknown_id(self) -> int:
        """The id of text that it cannot represent, -1 where it has none."""
        return self._tokens.get(getattr(self._model.model, "unk_token", None) or "<unk>", -1)

    def encode_arrays(self, texts: Sequence[str]) -> list[np.ndarray]:
        """int32 ids of each text; no special tokens are added."""
        encoded = self._model.encode_batch_fast(list(texts), add_special_tokens=False)
        return [np.array(one.ids, np.int32) for one in encoded]

    def decode(self, tokens: Sequence[int] | np.ndarray) -> str:
        """The text of token ids; special tokens give none."""
        return self._model.decode([int(token) for token in tokens])

    def pieces(self) -> Iterator[str]:
        """The text of every token, byte and special tokens left out."""
        special = {i for i, token in self._model.get_added_tokens_decoder().items() if token.special}
        for i in sorted(self._tokens.values()):
            if i not in special and not self.is_byte[i]:
                yield self._model.decode([i])


def open_tokenizer(path: Path) -> tuple[str, Encoder]:
    """A name (the file's, with digits of its sha256) and the tokenizer. XmodelError where it is unreadable."""
    tokenizer = JsonTokenizer(path) if path.suffix == ".json" else Tokenizer.load(path)
    # Every tokenizer.json and tokenizer.model has the same name: the folder's says more.
    name = path.resolve().parent.name if path.stem == "tokenizer" else path.stem
    return f"{name}-{file_digest(path)[:8]}", tokenizer


def longest_pieces(tokenizer: Encoder) -> list[str]:
    """Its longest pieces, spaces as spaces; pieces of equal length in code point order."""
    return sorted(tokenizer.pieces(), key=lambda piece: (-len(piece), piece))[:LONGEST_PIECES]


def code_rows(named: Mapping[str, Encoder]) -> list[dict[str, Any]]:
    """Per tokenizer and sample of CODE: its tokens, and whether decoding restores it exactly."""
    rows = []
    for name, tokenizer in named.items():
        for (sample, text), tokens in zip(CODE.items(), tokenizer.encode_arrays(list(CODE.values())), strict=True):
            exact = tokenizer.decode(tokens) == text
            rows.append({"tokenizer": name, "code": sample, "tokens": len(tokens), "exact": exact})
    return rows


@dataclass(frozen=True)
class ComparedDocuments:
    """The documents of a corpus, and which of them our own tokenizers learned from."""

    files: Files
    categories: Mapping[str, str]
    """Source → its category."""
    validation_documents: int
    """Held out per source (see documents.py)."""
    draws: Sequence[Draw]
    """What each tokenizer learned from; all must have held out the same sources. A text that any of them took counts
    as learned from."""

    def kinds(self, batch: DocumentBatch, source: str, held_out_below: int) -> list[TextKind]:
        """What the tokenizers know of each document."""
        if all(source in draw.held_out_sources for draw in self.draws):
            return ["unseen_source"] * len(batch.ids)
        category = self.categories.get(source, "")
        learned = np.logical_or.reduce(
            [draw.takes(source, category, batch.ids, batch.languages) for draw in self.draws]
        )
        learned &= ~held_out(source, batch.ids, held_out_below)
        return ["learned_from" if one else "unseen_document" for one in learned]


def compare(
    compared: ComparedDocuments, named: Mapping[str, Encoder], kinds: Sequence[TextKind] = ("learned_from", *UNSEEN)
) -> list[dict[str, Any]]:
    """Rows of tokenizer_comparison without `report`, per tokenizer, source, language and kind of text: of every source
    at most `MOST_CHARACTERS` (and a document more) of each kind in `kinds`."""
    sums: dict[tuple[str, str, str, str], np.ndarray] = defaultdict(lambda: np.zeros(len(MEASURES), np.int64))
    for source, files in sorted(compared.files.items()):
        bound = held_out_below(files, compared.validation_documents)
        room = dict.fromkeys(kinds, MOST_CHARACTERS)
        for batch in (batch for file in files for batch in read_documents(file)):
            if not any(left > 0 for left in room.values()):
                break
            kind_of, texts, chosen = compared.kinds(batch, source, bound), batch.texts, []
            for row, kind in enumerate(kind_of):
                if room.get(kind, 0) > 0:
                    chosen.append(row)
                    room[kind] -= len(texts[row])
            documents = [texts[row] for row in chosen]
            for name, tokenizer in named.items():
                encoded = tokenizer.encode_arrays(documents)
                for row, text, tokens in zip(chosen, documents, encoded, strict=True):
                    sums[name, source, batch.languages[row], kind_of[row]] += (
                        1,
                        len(text),
                        len(text.encode()),
                        len(tokens),
                        np.count_nonzero(tokenizer.is_byte[tokens]),
                        np.count_nonzero(tokens == tokenizer.unknown_id),
                        tokenizer.decode(tokens) != text,
                    )
    return [
        {"tokenizer": name, "pieces": named[name].vocab_size, "source": source, "lang": lang, "text": kind}
        | {"category": compared.categories.get(source, "")}
        | dict(zip(MEASURES, counts.tolist(), strict=True))
        for (name, source, lang, kind), counts in sorted(sums.items())
    ]


def rates(rows: Sequence[Mapping[str, Any]], *keys: str) -> dict[tuple[str, ...], float]:
    """Tokens per character by the values of some columns."""
    tokens: dict[tuple[str, ...], int] = defaultdict(int)
    chars: dict[tuple[str, ...], int] = defaultdict(int)
    for row in rows:
        key = tuple(row[name] for name in keys)
        tokens[key] += row["tokens"]
        chars[key] += row["chars"]
    return {key: tokens[key] / chars[key] for key in tokens if chars[key]}

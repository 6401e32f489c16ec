"""How tokenizers fare on the same text, and what a tokenizer is made of.

Takes documents and tokenizers by name (ours, any SentencePiece .model, any tokenizer.json); gives rows of sums per
tokenizer, source, language and kind of text. The kind is what the report's own tokenizers know of it: documents that
they learned from, others of the same sources, and sources that were held out whole. A character counts as one,
a token without BOS and EOS; tokens per character is the reports' compression rate.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import tokenizers

from xmodel_core.artifacts import file_digest
from xmodel_core.errors import XmodelError
from xmodel_core.tokenizer.documents import Rows, held_out, held_out_below, read_documents
from xmodel_core.tokenizer.sample import Draw, Files
from xmodel_core.tokenizer.tokenizer import Tokenizer

Text = Literal["learned_from", "unseen_document", "unseen_source"]
# Of each source and kind of text, in document order: more changes the second decimal of no figure.
MOST_CHARACTERS = 1_000_000
LONGEST_PIECES = 20
MEASURES = ("docs", "chars", "bytes", "tokens", "byte_tokens", "unknown_tokens", "docs_changed")

CODE = {
    "four spaces": "def f(x):\n    if x:\n        return [y for y in x]\n    return None\n",
    "tabs": "func f(x int) int {\n\tif x > 0 {\n\t\treturn x\n\t}\n\treturn 0\n}\n",
    "CRLF": "class A:\r\n    x = 1\r\n\r\n    def f(self):\r\n        pass\r\n",
    "aligned": "short     = 1\nlonger    = 22\nlongest   = 333   # aligned\n",
    "deep": f"{' ' * 40}deep\n{chr(9) * 9}deeper\n",
    "blank lines": "a = 1\n\n\n\nb = 2\n\n    \n\nc = 3\n   \n",
}
"""Code whose white space is its meaning: it must come back as it was."""


class Encoder(Protocol):
    """What the report asks of a tokenizer."""

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
        """The id of text that it cannot spell, -1 where it spells everything."""
        return self._tokens.get(getattr(self._model.model, "unk_token", None) or "<unk>", -1)

    def encode_arrays(self, texts: Sequence[str]) -> list[np.ndarray]:
        """int32 ids of each text; nothing is added."""
        encoded = self._model.encode_batch_fast(list(texts), add_special_tokens=False)
        return [np.array(one.ids, np.int32) for one in encoded]

    def decode(self, tokens: Sequence[int] | np.ndarray) -> str:
        """The text of token ids, special ones without text."""
        return self._model.decode([int(token) for token in tokens])

    def pieces(self) -> Iterator[str]:
        """The text of every token that has any."""
        special = {i for i, token in self._model.get_added_tokens_decoder().items() if token.special}
        for i in sorted(self._tokens.values()):
            if i not in special and not self.is_byte[i]:
                yield self._model.decode([i])


BYTE_PIECES = {f"<0x{byte:02X}>" for byte in range(256)}


def open_tokenizer(path: Path) -> tuple[str, Encoder]:
    """A tokenizer and the name of its file, with the first digits of its sha256; XmodelError where there is none."""
    reader = JsonTokenizer if path.suffix == ".json" else Tokenizer.load
    opened = reader(path)
    # tokenizer.json and tokenizer.model are everybody's name: the folder's says more.
    name = path.resolve().parent.name if path.stem == "tokenizer" else path.stem
    return f"{name}-{file_digest(path)[:8]}", opened


def longest_pieces(tokenizer: Encoder) -> list[str]:
    """Its longest pieces, spaces as spaces; of equal length in the order of their characters."""
    return sorted(tokenizer.pieces(), key=lambda piece: (-len(piece), piece))[:LONGEST_PIECES]


def code_rows(names: Mapping[str, Encoder]) -> list[dict[str, Any]]:
    """Per tokenizer and piece of code: its tokens, and whether it comes back as it was."""
    rows = []
    for name, tokenizer in names.items():
        for (what, text), tokens in zip(CODE.items(), tokenizer.encode_arrays(list(CODE.values())), strict=True):
            exact = tokenizer.decode(tokens) == text
            rows.append({"tokenizer": name, "code": what, "tokens": len(tokens), "exact": exact})
    return rows


def _kinds(source: str, rows: Rows, category: str, draws: Sequence[Draw], bound: int) -> list[Text]:
    """What the tokenizers know of each document; all must have held out the same sources."""
    if all(source in draw.held_out_sources for draw in draws):
        return ["unseen_source"] * len(rows.ids)
    seen = np.logical_or.reduce([draw.takes(source, category, rows.ids, rows.languages) for draw in draws])
    seen &= ~held_out(source, rows.ids, bound)
    return ["learned_from" if one else "unseen_document" for one in seen]


def compare(
    files: Files,
    categories: Mapping[str, str],
    validation_documents: int,
    draws: Sequence[Draw],
    names: Mapping[str, Encoder],
    texts: Sequence[Text] = ("learned_from", "unseen_document", "unseen_source"),
) -> list[dict[str, Any]]:
    """Rows of tokenizer_comparison without `report`: of every source at most `MOST_CHARACTERS` (and a document more)
    of each kind in `texts`. A text that any of `draws` took counts as learned from."""
    sums: dict[tuple[str, str, str, str], np.ndarray] = defaultdict(lambda: np.zeros(len(MEASURES), np.int64))
    for source in sorted(files):
        bound = held_out_below(files[source], validation_documents)
        room = dict.fromkeys(texts, MOST_CHARACTERS)
        for rows in (rows for file in files[source] for rows in read_documents(file)):
            if not any(left > 0 for left in room.values()):
                break
            kinds = _kinds(source, rows, categories.get(source, ""), draws, bound)
            all_of_them, chosen = rows.texts, []
            for row, kind in enumerate(kinds):
                if room.get(kind, 0) > 0:
                    chosen.append(row)
                    room[kind] -= len(all_of_them[row])
            documents = [all_of_them[row] for row in chosen]
            for name, tokenizer in names.items():
                encoded = tokenizer.encode_arrays(documents)
                for row, text, tokens in zip(chosen, documents, encoded, strict=True):
                    sums[name, source, rows.languages[row], kinds[row]] += (
                        1,
                        len(text),
                        len(text.encode()),
                        len(tokens),
                        np.count_nonzero(tokenizer.is_byte[tokens]),
                        np.count_nonzero(tokens == tokenizer.unknown_id),
                        tokenizer.decode(tokens) != text,
                    )
    return [
        {"tokenizer": name, "pieces": names[name].vocab_size, "source": source, "lang": lang, "text": kind}
        | {"category": categories.get(source, "")}
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

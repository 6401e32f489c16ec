"""A trained tokenizer: text to token ids and back, without loss.

Takes a tokenizer artifact or any SentencePiece model file, the released Xmodel ones included. A very
long text is encoded in parts that end where no piece continues: SentencePiece sums float32 scores over a
whole text, and over a book rounding errors would decide which pieces are chosen.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, overload

import numpy as np
import sentencepiece

from xmodel_core.artifacts import Artifact
from xmodel_core.errors import XmodelError

LONGEST_PART_CHARACTERS = 1 << 16
# No piece spans the border between newlines and the line after them, between a word and the space after it, or after a
# digit in tokenizers that split them. A cut is the last of these in a window; after a digit only where it has no other.
CUTS = (re.compile(r".*(?:\n(?=[^\n])|[^ \n](?= ))", re.DOTALL), re.compile(r".*[0-9]", re.DOTALL))


def _parts(text: str) -> Iterator[str]:
    """The text in parts of bounded length, cut after newlines, before spaces or after digits where there are any."""
    start = 0
    while len(text) - start > LONGEST_PART_CHARACTERS:
        end = start + LONGEST_PART_CHARACTERS
        match = next((match for cut in CUTS if (match := cut.match(text, start, end))), None)
        cut = match.end() if match else end
        yield text[start:cut]
        start = cut
    yield text[start:]


def _joined(parts: list[np.ndarray], eos: bool) -> np.ndarray:
    """The tokens of a text from those of its parts; with `eos` each part ends in one, and only the last is kept."""
    if len(parts) == 1:
        return parts[0]
    return np.concatenate([*(part[:-1] if eos else part for part in parts[:-1]), parts[-1]])


class Tokenizer:
    """A SentencePiece model; immutable and cheap to share. Opened by `Tokenizer.load`."""

    def __init__(self, model: bytes) -> None:
        self._model = sentencepiece.SentencePieceProcessor(model_proto=model)
        self.is_byte = np.array([self._model.is_byte(i) for i in range(self.vocab_size)])
        """[id] bool: whether it stands for one byte of a character without a piece."""
        # A model that puts a space before each text (the released ones do) would encode parts otherwise than the text.
        self._divisible = self._model.encode("\n", out_type=str) == ["\n"]

    @classmethod
    def load(cls, source: Artifact | Path) -> "Tokenizer":
        """A tokenizer from its artifact or from a .model file. XmodelError where there is none."""
        path = source.file("tokenizer.model") if isinstance(source, Artifact) else source
        try:
            return cls(path.read_bytes())
        except (OSError, RuntimeError) as error:
            raise XmodelError(
                "a tokenizer cannot be read",
                expected="a SentencePiece model",
                found=error,
                where=path,
                remedy="check the path; if the file is damaged, delete its folder and run again",
            ) from None

    @property
    def vocab_size(self) -> int:
        """Pieces, special and byte pieces included."""
        return self._model.vocab_size()

    @property
    def bos_id(self) -> int:
        """The id that begins a text, -1 where there is none. It is never added here."""
        return self._model.bos_id()

    @property
    def eos_id(self) -> int:
        """The id that ends every document of a shard."""
        return self._model.eos_id()

    @property
    def model(self) -> bytes:
        """The bytes of a .model file."""
        return self._model.serialized_model_proto()

    @cached_property
    def byte_ids(self) -> tuple[int, int]:
        """The first and the last id of byte pieces, which are contiguous; (0, -1) where there are none."""
        ids = np.flatnonzero(self.is_byte)
        assert len(ids) == 0 or ids[-1] - ids[0] + 1 == len(ids), "the ids of byte pieces are contiguous in every model"
        return (int(ids[0]), int(ids[-1])) if len(ids) else (0, -1)

    @property
    def unknown_id(self) -> int:
        """The id of text that has no piece, where there is no byte fallback."""
        return self._model.unk_id()

    @cached_property
    def special_ids(self) -> dict[str, int]:
        """Piece → id of all pieces that stand for no text."""
        ids = (i for i in range(self.vocab_size) if self._model.is_control(i) or self._model.is_unknown(i))
        return {self._model.id_to_piece(i): i for i in ids}

    def piece(self, token: int) -> str:
        """The piece of a token as the model writes it, with ▁ for a space and <0x0A> for a byte."""
        return self._model.id_to_piece(int(token))

    def pieces(self) -> Iterator[str]:
        """The text of every piece that has any, in the order of ids."""
        without_text = {*self.special_ids.values(), *np.flatnonzero(self.is_byte).tolist()}
        for i in range(self.vocab_size):
            if i not in without_text:
                yield self._model.id_to_piece(i).replace("▁", " ")

    def text_bytes(self) -> np.ndarray:
        """[id] int64: bytes of text in UTF-8 that a token stands for; 0 for special tokens."""
        counts = self.is_byte.astype(np.int64)
        without_text = {*self.special_ids.values(), *np.flatnonzero(self.is_byte).tolist()}
        for i in range(self.vocab_size):
            if i not in without_text:
                counts[i] = len(self._model.id_to_piece(i).replace("▁", " ").encode())
        return counts

    @overload
    def encode(self, text: str) -> list[int]: ...
    @overload
    def encode(self, text: Sequence[str]) -> list[list[int]]: ...
    def encode(self, text: str | Sequence[str]) -> list[int] | list[list[int]]:
        """Token ids of a text, or of each of several; no BOS, no EOS."""
        if isinstance(text, str):
            return self.encode_arrays([text])[0].tolist()
        return [tokens.tolist() for tokens in self.encode_arrays(text)]

    def encode_arrays(self, texts: Sequence[str] | Sequence[bytes], eos: bool = False) -> list[np.ndarray]:
        """int32 token ids of each text (bytes: in UTF-8), in one batch on one thread: workers run in parallel instead.
        `eos`: with the end-of-document token after each."""
        parts: list[Any] = []
        counts: list[int] = []
        for text in texts:
            # A text has at most as many characters as bytes.
            if len(text) <= LONGEST_PART_CHARACTERS or not self._divisible:
                parts.append(text)
                counts.append(1)
            else:
                split = [*_parts(text if isinstance(text, str) else text.decode())]
                parts += split
                counts.append(len(split))
        encoded = self._model.encode_as_numpy(parts, num_threads=1, add_eos=eos)
        if len(parts) == len(counts):
            return encoded
        arrays = iter(encoded)
        return [_joined([next(arrays) for _ in range(count)], eos) for count in counts]

    def decode(self, tokens: Iterable[int]) -> str:
        """The text of token ids; special pieces give no text, bytes that are no UTF-8 give U+FFFD."""
        return self._model.decode(
            tokens.tolist() if isinstance(tokens, np.ndarray) else [int(token) for token in tokens]
        )

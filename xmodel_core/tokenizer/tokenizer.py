"""A trained tokenizer: text to token ids and back, without loss.

Takes a tokenizer artifact or any SentencePiece model file, the released Xmodel ones included. A very
long text is encoded in parts that end where no piece goes on: SentencePiece sums float32 scores over a
whole text, and over a book the rounding would choose the pieces.
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
# Between a line and the newlines before it, or a word and the space before it, no piece goes on; nor after a digit, in
# tokenizers that split them. The last in a window, of the second kind where there is none of the first.
CUTS = (re.compile(r".*(?:\n(?=[^\n])|[^ \n](?= ))", re.DOTALL), re.compile(r".*[0-9]", re.DOTALL))


def _parts(text: str) -> Iterator[str]:
    """The text in parts of bounded length, cut after newlines, before spaces or after digits where there are any."""
    start = 0
    while len(text) - start > LONGEST_PART_CHARACTERS:
        end = start + LONGEST_PART_CHARACTERS
        found = next((found for cut in CUTS if (found := cut.match(text, start, end))), None)
        cut = found.end() if found else end
        yield text[start:cut]
        start = cut
    yield text[start:]


def _joined(parts: list[np.ndarray], eos: bool) -> np.ndarray:
    """The tokens of a text from those of its parts; `eos`: each part has one, the text has its last."""
    if len(parts) == 1:
        return parts[0]
    return np.concatenate([*(part[:-1] if eos else part for part in parts[:-1]), parts[-1]])


class Tokenizer:
    """Immutable and cheap to share; opened by `Tokenizer.load`."""

    def __init__(self, model: bytes) -> None:
        self._model = sentencepiece.SentencePieceProcessor(model_proto=model)
        self.is_byte = np.array([self._model.is_byte(i) for i in range(self.vocab_size)])
        """bool per id: whether it stands for one byte of a character without a piece."""
        # With a space put before each text (the released models do), parts would not add up to the whole.
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
        """The id that begins a text, -1 where there is none. Nothing adds it by itself."""
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
        """The first and the last id of byte pieces, which stand together; (0, -1) where there are none."""
        ids = np.flatnonzero(self.is_byte)
        assert len(ids) == 0 or ids[-1] - ids[0] + 1 == len(ids), "byte pieces stand together in every model"
        return (int(ids[0]), int(ids[-1])) if len(ids) else (0, -1)

    @property
    def unknown_id(self) -> int:
        """The id of text that even bytes do not cover."""
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
        """int32 token ids of each text (bytes: in UTF-8), in one batch on one thread: workers are the parallelism.
        `eos`: with the end of a document after each."""
        parts: list[Any] = []
        counts: list[int] = []
        for text in texts:
            # So many bytes hold no more characters.
            if len(text) <= LONGEST_PART_CHARACTERS or not self._divisible:
                parts.append(text)
                counts.append(1)
            else:
                own = [*_parts(text if isinstance(text, str) else text.decode())]
                parts += own
                counts.append(len(own))
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

"""Text from a checkpoint: prompts in, pieces of text out as they come, in whole characters and without stop strings.

Takes a checkpoint folder and prompts. The tokenizer comes from outside as two functions, for rooms do not know each
other; its file lies in the checkpoint folder beside the weights.
"""

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

import torch

from xmodel_core.errors import XmodelError
from xmodel_core.model.decode import Decoding
from xmodel_core.model.network import KeyValueCache, Xmodel
from xmodel_core.model.sampling import Sampling
from xmodel_core.model.weights import load_model, newest_checkpoint

TOKENIZER = "tokenizer.model"
UNFINISHED = "\ufffd"
LONGEST_UNFINISHED = 3
"""A character of UTF-8 has at most four bytes, so at most three can be waiting for the rest."""
WINDOW_TOKENS = 8
"""So much of a prompt is decoded with its continuation, or more where it gives no text."""
GREEDY = Sampling()


class Tokenizer(Protocol):
    """What generation needs of a tokenizer."""

    @property
    def eos_id(self) -> int:
        """The token after each document: it ends a text, and stands before the first one."""
        ...

    def encode(self, text: str) -> list[int]:
        """Token ids of a text, without special tokens."""
        ...

    def decode(self, tokens: list[int]) -> str:
        """The text of token ids; bytes that are no whole character become U+FFFD."""
        ...


def load_checkpoint(folder: Path, device: str = "cpu", dtype: str = "float32") -> tuple[Xmodel, Path]:
    """The model of a checkpoint, or of a run's newest, and the path of its tokenizer; XmodelError where it is not
    whole, or the device is not there. `dtype`: torch's name of it."""
    folder = newest_checkpoint(folder)
    tokenizer = folder / TOKENIZER
    try:
        torch.empty(1, device=device).item()
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        # torch may append a page about how CUDA errors are debugged
        raise XmodelError(
            "this device cannot be used",
            expected="cpu, or an accelerator of this machine such as cuda:0",
            found=f"{device}: {str(error).splitlines()[0]}",
        ) from None
    model = load_model(folder, device, getattr(torch, dtype))
    if not tokenizer.exists():
        raise XmodelError("a checkpoint without its tokenizer", expected=TOKENIZER, where=folder)
    return model, tokenizer


def generate_tokens(
    model: Xmodel,
    prompt: Sequence[int],
    max_new_tokens: int,
    sampling: Sampling = GREEDY,
    eos_id: int | None = None,
) -> Iterator[int]:
    """New token ids of one prompt; ends at `eos_id`, which is not given, at max_new_tokens, or where the model's
    context is full. XmodelError where the prompt alone fills it."""
    decoding = Decoding(model, [prompt], max_new_tokens, sampling)
    while decoding.room[0]:
        [token] = decoding.step()
        if token == eos_id:
            return
        yield token


class GrowingText:
    """The text of one row's new tokens as it grows: whole characters, and nothing of a stop string.

    A rare Chinese character is three byte tokens: until the last has come, the text ends in U+FFFD, and that much is
    held back; so is what may become a stop string. Only the last few tokens are decoded each time; they begin where
    text stands before the new, since a tokenizer writes a word's space only behind other text.
    """

    def __init__(self, tokenizer: Tokenizer, prompt: Sequence[int], stops: Sequence[str] = ()) -> None:
        self.tokenizer = tokenizer
        self.stops = [stop for stop in stops if stop]
        self.stopped = False
        """Whether a stop string has come. Nothing is given from there on."""
        size = WINDOW_TOKENS
        while size < len(prompt) and not tokenizer.decode(list(prompt[-size:])).strip(UNFINISHED):
            size *= 2
        self.window = list(prompt[-size:])
        self.given = len(tokenizer.decode(self.window))  # characters of the window
        self.fresh: list[int] = []  # the window's tokens since the last whole character
        self.held = ""

    def add(self, token: int) -> str:
        """What may be shown after one more token."""
        self.window.append(token)
        self.fresh.append(token)
        text = self.tokenizer.decode(self.window)
        waiting = len(text) - len(text.rstrip(UNFINISHED))
        piece = text[self.given : len(text) - min(waiting, LONGEST_UNFINISHED)]
        self.given += len(piece)
        if not waiting and (alone := self.tokenizer.decode(self.fresh)):
            self.window, self.fresh, self.given = self.fresh, [], len(alone)
        return self._before_a_stop(piece)

    def rest(self) -> str:
        """What was held back and became no stop string, at the end; an unfinished character is not given."""
        rest, self.held = self.held, ""
        return rest

    def _before_a_stop(self, piece: str) -> str:
        if self.stopped:
            return ""
        self.held += piece
        found = [(at + len(stop), at) for stop in self.stops if (at := self.held.find(stop)) >= 0]
        if found:  # the one that is whole first
            self.stopped = True
            text, self.held = self.held[: min(found)[1]], ""
            return text
        longest = max(map(len, self.stops), default=1)
        for at in range(max(0, len(self.held) - longest + 1), len(self.held)):
            if any(stop.startswith(self.held[at:]) for stop in self.stops):
                break
        else:
            at = len(self.held)
        text, self.held = self.held[:at], self.held[at:]
        return text


@dataclass(frozen=True)
class Piece:
    """What one row's text grew by; the last of a row says why it ends, and has all its tokens."""

    row: int
    text: str
    finish: Literal["stop", "eos", "length"] | None = None
    """A stop string; the end of a document; as many tokens as were asked for, or as the context holds."""
    tokens: tuple[int, ...] = ()
    """New tokens, those of a stop string included, the end-of-document not."""


def continue_tokens(
    model: Xmodel,
    tokenizer: Tokenizer,
    prompts: Sequence[Sequence[int]],
    max_new_tokens: int,
    sampling: Sampling = GREEDY,
    stops: Sequence[str] = (),
    cache: KeyValueCache | None = None,
) -> Iterator[Piece]:
    """Pieces of all rows' texts as they come; exactly one of each row has a `finish`. `cache`: see Decoding."""
    decoding = Decoding(model, prompts, max_new_tokens, sampling, cache)
    texts = [GrowingText(tokenizer, prompt, stops) for prompt in prompts]
    new: list[list[int]] = [[] for _ in prompts]
    while decoding.rows:
        done: set[int] = set()
        for row, token in zip(decoding.rows, decoding.step(), strict=True):
            text, finish = texts[row], None
            piece = ""
            if token == tokenizer.eos_id:
                finish = "eos"
            else:
                new[row].append(token)
                piece = text.add(token)
                finish = "stop" if text.stopped else None if decoding.room[row] else "length"
            if finish:
                done.add(row)
                yield Piece(row, piece + text.rest(), finish, tuple(new[row]))
            elif piece:
                yield Piece(row, piece)
        if done:
            decoding.finish(done)


def stream(
    model: Xmodel,
    tokenizer: Tokenizer,
    prompts: Sequence[str],
    max_new_tokens: int = 64,
    sampling: Sampling = GREEDY,
    stops: Sequence[str] = (),
) -> Iterator[Piece]:
    """Continues prompts, piece by piece. Each stands behind an end-of-document token, as every document but the very
    first did in training."""
    tokens = [[tokenizer.eos_id, *tokenizer.encode(prompt)] for prompt in prompts]
    yield from continue_tokens(model, tokenizer, tokens, max_new_tokens, sampling, stops)


class Conversation:
    """Turns of a text that grows, with the keys and values of what has been said kept between them."""

    def __init__(self, model: Xmodel, tokenizer: Tokenizer) -> None:
        self.model = model
        self.tokenizer = tokenizer
        weight = model.output_weight_VD
        self.cache = KeyValueCache(model.config, 1, model.config.max_position_embeddings, weight.dtype, weight.device)
        self.seen: list[int] = []
        """The tokens whose keys and values the cache has."""

    def answer(
        self, text: str, max_new_tokens: int, sampling: Sampling, stops: Sequence[str]
    ) -> Generator[Piece, None, None]:
        """Continues the whole conversation so far. Only what differs from the last call's tokens is computed."""
        tokens = [self.tokenizer.eos_id, *self.tokenizer.encode(text)]
        # At least the last is computed: its hidden state gives the first new token.
        pairs = zip(self.seen, tokens[:-1], strict=False)
        same = next((at for at, (a, b) in enumerate(pairs) if a != b), min(len(self.seen), len(tokens) - 1))
        self.cache.seen, self.seen = same, tokens[:same]
        new: tuple[int, ...] = ()
        for piece in continue_tokens(self.model, self.tokenizer, [tokens], max_new_tokens, sampling, stops, self.cache):
            new = piece.tokens
            self.seen = [*tokens, *new][: self.cache.seen]
            yield piece

"""Text from a model: prompts in, pieces of text out as they are generated; conversations that keep their cache.

Takes a model, a tokenizer and prompts; gives tokens, or pieces of text of whole characters, without stop strings.
"""

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from xmodel_core.model.generation.decoding import Decoding
from xmodel_core.model.generation.detokenize import IncrementalDetokenizer, Tokenizer
from xmodel_core.model.generation.sampling import Sampling
from xmodel_core.model.network import KeyValueCache, Xmodel

GREEDY = Sampling()


@dataclass(frozen=True)
class Piece:
    """What one row's text grew by; the last piece of a row says why it ends, and has all its tokens."""

    row: int
    text: str
    finish: Literal["stop", "eos", "length"] | None = None
    """A stop string; the end of a document; max_new_tokens, or a full context."""
    tokens: tuple[int, ...] = ()
    """New tokens, those of a stop string included, the end-of-document token not."""


def generate_tokens(
    model: Xmodel,
    prompt: Sequence[int],
    max_new_tokens: int,
    sampling: Sampling = GREEDY,
    eos_id: int | None = None,
) -> Iterator[int]:
    """New token ids of one prompt; ends before `eos_id`, at max_new_tokens, or where the model's context is full.
    XmodelError where the prompt alone fills it."""
    decoding = Decoding(model, [prompt], max_new_tokens, sampling)
    while decoding.room[0]:
        [token] = decoding.step()
        if token == eos_id:
            return
        yield token


def continue_tokens(
    model: Xmodel,
    tokenizer: Tokenizer,
    prompts: Sequence[Sequence[int]],
    max_new_tokens: int,
    sampling: Sampling = GREEDY,
    stops: Sequence[str] = (),
    cache: KeyValueCache | None = None,
) -> Iterator[Piece]:
    """Pieces of all rows' texts as they are generated; exactly one of each row has a `finish`. `cache`: see Decoding.
    XmodelError where a prompt is empty or fills the model's context."""
    decoding = Decoding(model, prompts, max_new_tokens, sampling, cache)
    texts = [IncrementalDetokenizer(tokenizer, prompt, stops) for prompt in prompts]
    new: list[list[int]] = [[] for _ in prompts]
    while decoding.rows:
        finished: set[int] = set()
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
                finished.add(row)
                yield Piece(row, piece + text.flush(), finish, tuple(new[row]))
            elif piece:
                yield Piece(row, piece)
        if finished:
            decoding.finish(finished)


def stream(
    model: Xmodel,
    tokenizer: Tokenizer,
    prompts: Sequence[str],
    max_new_tokens: int = 64,
    sampling: Sampling = GREEDY,
    stops: Sequence[str] = (),
) -> Iterator[Piece]:
    """Continues prompts, piece by piece. Each is put behind an end-of-document token, as every document but the first
    was in training."""
    tokens = [[tokenizer.eos_id, *tokenizer.encode(prompt)] for prompt in prompts]
    yield from continue_tokens(model, tokenizer, tokens, max_new_tokens, sampling, stops)


class Conversation:
    """A text that grows turn by turn, its keys and values kept between the turns."""

    def __init__(self, model: Xmodel, tokenizer: Tokenizer) -> None:
        self.model = model
        self.tokenizer = tokenizer
        weight = model.output_weight_VD
        self.cache = KeyValueCache(model.config, 1, model.config.max_position_embeddings, weight.dtype, weight.device)
        self.cached: list[int] = []
        """The tokens whose keys and values are in the cache."""

    def answer(
        self, text: str, max_new_tokens: int, sampling: Sampling, stops: Sequence[str]
    ) -> Generator[Piece, None, None]:
        """Continues `text`, the entire conversation so far. Only what differs from the last call's tokens is
        computed."""
        tokens = [self.tokenizer.eos_id, *self.tokenizer.encode(text)]
        # At least the last is computed: its hidden state gives the first new token.
        pairs = zip(self.cached, tokens[:-1], strict=False)
        shared = next((at for at, (a, b) in enumerate(pairs) if a != b), min(len(self.cached), len(tokens) - 1))
        self.cache.seen, self.cached = shared, tokens[:shared]
        new: tuple[int, ...] = ()
        for piece in continue_tokens(self.model, self.tokenizer, [tokens], max_new_tokens, sampling, stops, self.cache):
            new = piece.tokens
            self.cached = [*tokens, *new][: self.cache.seen]
            yield piece

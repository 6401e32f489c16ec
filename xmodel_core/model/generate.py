"""Text from a checkpoint: token by token with a key-value cache, streamed in whole characters.

Takes a checkpoint folder and a prompt; gives pieces of text. The tokenizer comes from outside as two
functions, for rooms do not know each other; its file lies in the checkpoint folder beside the weights.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import torch

from xmodel_core.errors import XmodelError
from xmodel_core.model.weights import load_model, newest_checkpoint
from xmodel_core.model.xmodel import KeyValueCache, Xmodel

TOKENIZER = "tokenizer.model"
UNFINISHED = "\ufffd"
LONGEST_UNFINISHED = 3
"""A character of UTF-8 has at most four bytes, so at most three can be waiting for the rest."""


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


def load_checkpoint(
    folder: Path, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32
) -> tuple[Xmodel, Path]:
    """The model of a checkpoint, or of a run's newest, and the path of its tokenizer; XmodelError where it is not
    whole."""
    folder = newest_checkpoint(folder)
    model = load_model(folder, device, dtype)
    tokenizer = folder / TOKENIZER
    if not tokenizer.exists():
        raise XmodelError("a checkpoint without its tokenizer", expected=TOKENIZER, where=folder)
    return model, tokenizer


@torch.inference_mode()
def generate_tokens(
    model: Xmodel,
    prompt: list[int],
    max_new_tokens: int,
    temperature: float = 0.0,
    seed: int = 0,
    eos_id: int | None = None,
) -> Iterator[int]:
    """New token ids, the likeliest each time at temperature 0, else drawn; ends at `eos_id`, which is not given,
    at max_new_tokens, or where the model's context is full. XmodelError where the prompt alone fills it."""
    longest = model.config.max_position_embeddings
    if not 0 < len(prompt) < longest:
        raise XmodelError(
            "a prompt of the wrong length",
            expected=f"1 to {longest - 1} tokens, the model's context",
            found=f"{len(prompt)} tokens",
            remedy="shorten the prompt",
        )
    weight = model.output_weight_VD
    length = min(longest, len(prompt) + max_new_tokens)
    cache = KeyValueCache(model.config, 1, length, weight.dtype, weight.device)
    generator = torch.Generator().manual_seed(seed)
    next_1T = torch.tensor([prompt], device=weight.device)
    for _ in range(length - len(prompt)):
        hidden_1TD = model.hidden(next_1T, cache)
        logits_V = (hidden_1TD[0, -1] @ weight.t()).float().cpu()  # drawn on the CPU: the same on every device
        if temperature > 0:
            token = int(torch.multinomial(torch.softmax(logits_V / temperature, -1), 1, generator=generator))
        else:
            token = int(logits_V.argmax())
        if token == eos_id:
            return
        yield token
        next_1T = torch.tensor([[token]], device=weight.device)


def whole_characters(tokenizer: Tokenizer, prompt: list[int], tokens: Iterator[int]) -> Iterator[str]:
    """The text of new tokens as it grows, never a broken character.

    A rare Chinese character is three byte tokens: until the last has come, the text ends in U+FFFD, and
    that much is held back. All tokens are decoded each time, the prompt's too, since a tokenizer writes the
    space before a word only where something stands before it.
    """
    seen = list(prompt)
    given = len(tokenizer.decode(seen))
    for token in tokens:
        seen.append(token)
        text = tokenizer.decode(seen)
        waiting = len(text) - len(text.rstrip(UNFINISHED))
        end = len(text) - min(waiting, LONGEST_UNFINISHED)
        if end > given:
            yield text[given:end]
            given = end


def stream(
    model: Xmodel,
    tokenizer: Tokenizer,
    prompt: str,
    max_new_tokens: int = 64,
    temperature: float = 0.0,
    seed: int = 0,
) -> Iterator[str]:
    """Continues a prompt, piece by piece. The prompt stands behind an end-of-document token, as every
    document but the very first did in training."""
    tokens = [tokenizer.eos_id, *tokenizer.encode(prompt)]
    new = generate_tokens(model, tokens, max_new_tokens, temperature, seed, tokenizer.eos_id)
    yield from whole_characters(tokenizer, tokens, new)

"""Generation: the cache changes nothing, seeds repeat, Chinese characters are never broken."""

from collections.abc import Iterator

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from xmodel_core.errors import XmodelError
from xmodel_core.model.config import ModelConfig
from xmodel_core.model.generate import generate_tokens, stream, whole_characters
from xmodel_core.model.xmodel import Xmodel, initialise


class Bytes:
    """A tokenizer of bytes: every Chinese character is three tokens, as under byte fallback."""

    eos_id = 256

    def encode(self, text: str) -> list[int]:
        return list(text.encode())

    def decode(self, tokens: list[int]) -> str:
        return bytes(token for token in tokens if token < 256).decode(errors="replace")


@pytest.fixture(scope="module")
def model() -> Xmodel:
    config = ModelConfig(
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=48,
        initializer_range=0.4,
    )
    model = Xmodel(config, 257)
    initialise(model, seed=5)
    return model.requires_grad_(False).eval()


def test_greedy_equals_the_uncached_forward(model: Xmodel) -> None:
    tokens = [1, 2, 3]
    for _ in range(30):
        tokens.append(int(model(torch.tensor([tokens]))[0, -1].argmax()))
    assert list(generate_tokens(model, [1, 2, 3], 30)) == tokens[3:]


@pytest.mark.parametrize("kind", ["random", "trained"])
def test_greedy_equals_the_uncached_forward_in_every_family(models: dict[tuple[str, str], Xmodel], kind: str) -> None:
    for (family, made), each in models.items():
        if made == kind:
            new = list(generate_tokens(each, [1, 2, 3], 200))
            logits = each(torch.tensor([[1, 2, 3, *new[:-1]]]))
            assert logits[0, 2:].argmax(-1).tolist() == new, family


def test_a_seed_repeats_and_another_differs(model: Xmodel) -> None:
    drawn = [list(generate_tokens(model, [1], 20, temperature=1.0, seed=seed)) for seed in (0, 0, 1)]
    assert drawn[0] == drawn[1] != drawn[2]


def test_ends_at_eos_and_at_a_full_context(model: Xmodel) -> None:
    free = list(generate_tokens(model, [1, 2, 3], 500))
    assert len(free) == 45
    stopped = list(generate_tokens(model, [1, 2, 3], 500, eos_id=free[10]))
    assert stopped == free[: free.index(free[10])]
    with pytest.raises(XmodelError, match="a prompt of the wrong length"):
        list(generate_tokens(model, [1] * 48, 1))


def test_streams_text(model: Xmodel) -> None:
    pieces = list(stream(model, Bytes(), "中文", 20))
    new = list(generate_tokens(model, [256, *"中文".encode()], 20, eos_id=256))
    assert Bytes().decode([*"中文".encode(), *new]).startswith("中文" + "".join(pieces))


# U+FFFD itself at the end of a text would be held back as unfinished.
TEXT = st.text(st.characters(exclude_characters="\ufffd", codec="utf-8"), max_size=12)


@given(TEXT, TEXT)
def test_pieces_are_whole_characters_and_add_up(prompt: str, text: str) -> None:
    def tokens() -> Iterator[int]:
        yield from text.encode()

    pieces = list(whole_characters(Bytes(), list(prompt.encode()), tokens()))
    assert "".join(pieces) == text


def test_bytes_that_never_become_a_character_do_not_hold_back_the_rest() -> None:
    tokens = iter([0xE4, 0xB8, *b"ab", 0xE4, 0xB8])
    assert "".join(whole_characters(Bytes(), [], tokens)) == "\ufffdab"
    junk = iter([0xE4] * 9)  # what stays unfinished at the end is not given
    assert "".join(whole_characters(Bytes(), [], junk)) == "\ufffd" * 6

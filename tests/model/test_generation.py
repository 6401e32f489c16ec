"""Generation: the cache and a batch change nothing, seeds repeat, Chinese characters are never broken, stop strings
never shown."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import (
    LogitsProcessorList,
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from tests.model.families import FAMILIES, assert_greedy
from xmodel_core.errors import XmodelError
from xmodel_core.model.config import ModelConfig
from xmodel_core.model.generation.decoding import Decoding
from xmodel_core.model.generation.detokenize import IncrementalDetokenizer
from xmodel_core.model.generation.generate import Conversation, continue_tokens, generate_tokens, stream
from xmodel_core.model.generation.sampling import Sampler, Sampling, process_logits
from xmodel_core.model.network import Xmodel, initialise

pytestmark = pytest.mark.xdist_group("small_models")  # one process makes the session fixture `models`


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
    new = list(generate_tokens(model, [1, 2, 3], 30))
    assert len(new) == 30
    assert_greedy(new, model(torch.tensor([[1, 2, 3, *new[:-1]]]))[0, 2:])


@pytest.mark.parametrize("kind", ["random", "trained"])
def test_greedy_equals_the_uncached_forward_in_every_family(models: dict[tuple[str, str], Xmodel], kind: str) -> None:
    for family in FAMILIES:
        model = models[family, kind]
        new = list(generate_tokens(model, [1, 2, 3], 200))
        assert len(new) == 200
        assert_greedy(new, model(torch.tensor([[1, 2, 3, *new[:-1]]]))[0, 2:])


def test_a_seed_repeats_and_another_differs(model: Xmodel) -> None:
    drawn = [list(generate_tokens(model, [1], 20, Sampling(1.0, seed=seed))) for seed in (0, 0, 1)]
    assert drawn[0] == drawn[1] != drawn[2]


def test_ends_at_eos_and_at_a_full_context(model: Xmodel) -> None:
    free = list(generate_tokens(model, [1, 2, 3], 500))
    assert len(free) == 45
    stopped = list(generate_tokens(model, [1, 2, 3], 500, eos_id=free[10]))
    assert stopped == free[: free.index(free[10])]
    with pytest.raises(XmodelError, match="a prompt of the wrong length"):
        list(generate_tokens(model, [1] * 48, 1))


MANY = [[7], [1, 2, 3], [4, 5, 6], list(range(40, 70)), [9, 8]]


def together(model: Xmodel, prompts: list[list[int]], new: int, sampling: Sampling) -> list[list[int]]:
    """Rows leave when a token is even and the fifth or later, each at a time of its own."""
    decoding = Decoding(model, prompts, new, sampling)
    texts: list[list[int]] = [[] for _ in prompts]
    while decoding.rows:
        for row, token in zip(decoding.rows, decoding.step(), strict=True):
            texts[row].append(token)
        decoding.finish({row for row in decoding.rows if not decoding.room[row] or ended(texts[row])})
    return texts


def ended(tokens: list[int]) -> bool:
    return len(tokens) >= 5 and tokens[-1] % 2 == 0


@pytest.mark.parametrize(
    "sampling",
    [Sampling(), Sampling(repetition_penalty=1.3), Sampling(1.0, 40, 0.9, 1.1, seed=3)],
    ids=["greedy", "penalty", "drawn"],
)
def test_a_row_is_as_it_is_alone(models: dict[tuple[str, str], Xmodel], sampling: Sampling) -> None:
    """In float64: in float32 the roundings of a batch may decide between ties."""
    for family in FAMILIES:
        model = in_double(models[family, "trained"])
        for row, text in enumerate(together(model, MANY, 40, sampling)):
            alone = Sampling(
                sampling.temperature,
                sampling.top_k,
                sampling.top_p,
                sampling.repetition_penalty,
                sampling.seed + row,
            )
            assert together(model, [MANY[row]], 40, alone) == [text], (family, row)
        assert together(model, MANY[:3], 40, sampling) == together(model, MANY, 40, sampling)[:3]


def in_double(model: Xmodel) -> Xmodel:
    double = Xmodel(model.config, model.vocab_size)
    double.load_state_dict(model.state_dict())
    for parameter in double.requires_grad_(False).parameters():
        parameter.data = parameter.data.double()
    return double


def test_rows_that_leave_a_batch_leave_the_others_as_they_are(models: dict[tuple[str, str], Xmodel]) -> None:
    """In float32, from packed copies of the weights."""
    for family in FAMILIES:
        model = models[family, "trained"]
        for prompt, new in zip(MANY, together(model, MANY, 40, Sampling()), strict=True):
            assert_greedy(new, model(torch.tensor([[*prompt, *new[:-1]]]))[0, len(prompt) - 1 :])


@pytest.mark.parametrize("new", [4, 40], ids=["plain weights", "packed copies"])
@pytest.mark.parametrize("batch", [1, 2])
def test_a_step_computes_what_the_network_does(models: dict[tuple[str, str], Xmodel], batch: int, new: int) -> None:
    for model in models.values():
        decoding = Decoding(model, [[5, 6, 7, 8], [9, 10]][:batch], new, Sampling())
        first = decoding.step()
        step = decoding._hidden(decoding.tokens_B)
        for row, prompt in enumerate([[5, 6, 7, 8], [9, 10]][:batch]):
            expected = model.hidden(torch.tensor([[*prompt, first[row]]]))[0, -1]
            torch.testing.assert_close(step[row], expected, rtol=1e-4, atol=1e-5)


def test_half_precision_decodes(model: Xmodel) -> None:
    half = Xmodel(model.config, 257)
    half.load_state_dict(model.state_dict())
    for parameter in half.requires_grad_(False).parameters():
        parameter.data = parameter.data.bfloat16()
    assert [len(text) for text in together(half, [[1], [2, 3]], 4, Sampling())] == [4, 4]


SETTINGS = [
    Sampling(0.7),
    Sampling(1.0, top_k=5),
    Sampling(1.3, top_p=0.8),
    Sampling(1.0, top_p=0.01),
    Sampling(0.5, 7, 0.9, 1.2),
    Sampling(1.0, top_k=10_000, repetition_penalty=0.8),
]


@pytest.mark.parametrize("sampling", SETTINGS)
def test_logits_are_processed_as_transformers_does(sampling: Sampling) -> None:
    """Its processors, in the order in which its generate applies them."""
    generator = torch.Generator().manual_seed(1)
    logits = 4 * torch.randn(6, 50, generator=generator)
    logits[0, :20] = logits[0].max()  # ties
    tokens = torch.randint(0, 50, (6, 8), generator=generator)
    theirs = LogitsProcessorList([RepetitionPenaltyLogitsProcessor(sampling.repetition_penalty)])
    theirs.append(TemperatureLogitsWarper(sampling.temperature))
    if sampling.top_k:
        theirs.append(TopKLogitsWarper(sampling.top_k))
    theirs.append(TopPLogitsWarper(sampling.top_p))
    seen = torch.zeros(6, 50, dtype=torch.bool).scatter_(1, tokens, True)
    assert torch.equal(process_logits(logits, seen, sampling), theirs(tokens, logits.clone()))  # type: ignore[arg-type]


def test_draws_follow_the_probabilities() -> None:
    probabilities = torch.tensor([0.5, 0.0, 0.3, 0.2])
    sampler = Sampler(Sampling(1.0), [[0]] * 2, 4)
    drawn = torch.stack([sampler.choose(probabilities.log().expand(2, 4)) for _ in range(4000)])
    for row in range(2):
        shares = torch.bincount(drawn[:, row], minlength=4) / 4000
        assert shares[1] == 0
        torch.testing.assert_close(shares, probabilities, atol=0.04, rtol=0)  # five standard deviations


def test_streams_text(model: Xmodel) -> None:
    pieces = list(stream(model, Bytes(), ["中文"], 20))
    new = list(generate_tokens(model, [256, *"中文".encode()], 20, eos_id=256))
    decoded = Bytes().decode([*"中文".encode(), *new])
    assert decoded.startswith("中文" + "".join(piece.text for piece in pieces))
    assert [piece.finish for piece in pieces][-1] == "length"
    assert pieces[-1].tokens == tuple(new)


def test_why_each_row_ends(model: Xmodel) -> None:
    class Letters(Bytes):
        """A token is a letter; the third token that the first prompt gets ends documents."""

        def decode(self, tokens: list[int]) -> str:
            return "".join(chr(0x4E00 + token) for token in tokens)

    letters = Letters()
    texts = [list(generate_tokens(model, prompt, 40)) for prompt in ([1, 2], [3])]
    letters.eos_id = texts[0][2]
    assert letters.eos_id not in texts[1][:2]
    stop = letters.decode(texts[1][:2])[-1]
    pieces = list(continue_tokens(model, letters, [[1, 2], [3], [5] * 46], 40, stops=[stop]))
    ends = {piece.row: piece for piece in pieces if piece.finish}
    assert (ends[0].finish, ends[0].tokens) == ("eos", tuple(texts[0][:2]))
    assert ends[1].finish == "stop"
    assert (ends[2].finish, len(ends[2].tokens)) == ("length", 2), "the context holds 48"


def test_a_conversation_computes_only_what_is_new(model: Xmodel, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []
    hidden = Xmodel.hidden

    def counted(self: Xmodel, tokens: torch.Tensor, *more: object) -> torch.Tensor:
        read.append(tokens.shape[1])
        return hidden(self, tokens, *more)  # type: ignore[arg-type]

    monkeypatch.setattr(Xmodel, "hidden", counted)
    talk = Conversation(model, Bytes())
    text = "ab"
    for more in ("cde", "f", "", "gh"):
        text += more
        fresh = list(stream(model, Bytes(), [text], 4))
        kept = list(talk.answer(text, 4, Sampling(), []))
        assert kept == fresh
    assert read[1::2] == [6, 1, 1, 2], "5 + end of document, then what each turn added"
    interrupted = talk.answer("abXYZ", 4, Sampling(), [])
    next(interrupted, None)
    interrupted.close()
    assert list(talk.answer(text, 4, Sampling(), [])) == list(stream(model, Bytes(), [text], 4))


# U+FFFD itself at the end of a text would be held back as unfinished.
TEXT = st.text(st.characters(exclude_characters="\ufffd", codec="utf-8"), max_size=12)
FEW = st.text("ab从前", max_size=14)
STOPS = st.lists(st.text("ab从前", min_size=1, max_size=4), max_size=3)


def grown(prompt: list[int], tokens: list[int], stops: list[str] | None = None) -> tuple[str, bool]:
    text = IncrementalDetokenizer(Bytes(), prompt, stops or [])
    pieces = [text.add(token) for token in tokens]
    return "".join(pieces) + text.flush(), text.stopped


@given(TEXT, TEXT)
def test_pieces_are_whole_characters_and_add_up(prompt: str, text: str) -> None:
    assert grown(list(prompt.encode()), list(text.encode())) == (text, False)


@given(FEW, STOPS)
def test_a_stop_string_and_what_follows_is_not_shown(text: str, stops: list[str]) -> None:
    """The stop string that is whole first ends the text, whatever the tokens."""
    ends = [(at + len(stop), at) for stop in stops if (at := text.find(stop)) >= 0]
    assert grown([], list(text.encode()), stops) == (text[: min(ends)[1]] if ends else text, bool(ends))


def test_what_may_become_a_stop_string_waits_and_the_rest_does_not() -> None:
    text = IncrementalDetokenizer(Bytes(), [], ["停止"])
    assert [text.add(token) for token in "a停".encode()] == ["a", "", "", ""]
    assert [text.add(token) for token in b"b"] == ["停b"]


def test_bytes_that_never_become_a_character_do_not_hold_back_the_rest() -> None:
    assert grown([], [0xE4, 0xB8, *b"ab", 0xE4, 0xB8]) == ("\ufffdab", False)
    assert grown([], [0xE4] * 9) == ("\ufffd" * 6, False)  # what stays unfinished at the end is not given


def test_decoding_is_linear_in_the_text() -> None:
    decoded: list[int] = []

    class Counted(Bytes):
        def decode(self, tokens: list[int]) -> str:
            decoded.append(len(tokens))
            return super().decode(tokens)

    text = IncrementalDetokenizer(Counted(), [97] * 500)
    for token in "从前，有一个小女孩。".encode() * 20:
        text.add(token)
    assert max(decoded) <= 12

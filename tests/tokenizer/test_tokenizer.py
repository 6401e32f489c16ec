"""Text to ids and back: nothing is lost or taken for a special token; a long text encodes as its parts."""

import random
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xmodel_core.errors import XmodelError
from xmodel_core.tokenizer import tokenizer as tokenizer_module
from xmodel_core.tokenizer.comparison import CODE
from xmodel_core.tokenizer.tokenizer import Tokenizer

pytestmark = pytest.mark.xdist_group("tokenizer")
# SentencePiece writes a space as U+2581, so that one character comes back as a space.
ANYTHING = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\u2581"))
PARTS = ["\n", "\t", " ", "    ", "\r\n", "def", "值", "x", "。", "7"]
INDENTED = st.lists(st.sampled_from(PARTS)).map("".join)


@given(text=ANYTHING | INDENTED)
def test_every_text_comes_back(either: Tokenizer, text: str) -> None:
    assert either.decode(either.encode(text)) == text


def random_text(rng: random.Random) -> str:
    """Up to 30 characters: of any plane, of one narrow range, or of the characters of code and prose."""
    kind, size = rng.randrange(4), rng.randrange(31)
    low, high = ((0, 0x110000), (0, 0x250), (0x2E80, 0xA000), (0, 0))[kind]
    if kind == 3:
        return "".join(rng.choices(PARTS, k=size))
    drawn = (chr(rng.randrange(low, high)) for _ in range(size))
    return "".join(character for character in drawn if not "\ud800" <= character <= "\udfff" and character != "▁")


@pytest.mark.parametrize("count", [20_000, pytest.param(1_000_000, marks=pytest.mark.exhaustive)])
def test_random_texts_come_back(either: Tokenizer, count: int) -> None:
    rng = random.Random(4)
    for _ in range(count // 5_000):
        texts = [random_text(rng) for _ in range(5_000)]
        for text, tokens in zip(texts, either.encode_arrays(texts), strict=True):
            assert either.decode(tokens) == text


@pytest.mark.parametrize("text", CODE.values(), ids=CODE)
def test_code_comes_back(either: Tokenizer, text: str) -> None:
    assert either.decode(either.encode(text)) == text


def test_the_space_sign_of_sentencepiece_becomes_a_space(tokenizer: Tokenizer) -> None:
    assert tokenizer.decode(tokenizer.encode("a\u2581b")) == "a b"


def test_white_space_is_pieces(tokenizer: Tokenizer) -> None:
    pieces = [tokenizer.piece(token) for token in tokenizer.encode("x\n\n\t\t        x\n")]
    assert "\n\n" in pieces and "\t\t" in pieces and pieces[-1] == "\n"
    assert any(set(piece) == {"▁"} and len(piece) > 1 for piece in pieces), "runs of spaces are pieces"


@pytest.mark.parametrize("special", ["<|im_start|>", "<|im_end|>", "<s>", "</s>", "<unk>", "<|reserved_1|>"])
def test_text_that_spells_a_special_token_is_text(either: Tokenizer, special: str) -> None:
    tokenizer = either
    tokens = tokenizer.encode(f"say {special} twice: {special}{special}")
    assert not set(tokens) & set(tokenizer.special_ids.values())
    assert tokenizer.decode(tokens).count(special) == 3
    assert not tokenizer.is_byte[tokens].any(), "its characters have pieces in any case"
    assert tokenizer.decode([tokenizer.special_ids[special]]) in ("", " ⁇ ")


def test_reserved_tokens_follow_the_special_ones(either: Tokenizer) -> None:
    ids = {
        "<unk>": 0,
        "<s>": 1,
        "</s>": 2,
        "<|im_start|>": 3,
        "<|im_end|>": 4,
        "<|reserved_0|>": 5,
        "<|reserved_1|>": 6,
    }
    assert either.special_ids == ids


def test_digits_stand_alone(tokenizer: Tokenizer) -> None:
    tokens = tokenizer.encode("1234")
    assert len(tokens) == 4


def test_ids_begin_as_in_the_reports(tokenizer: Tokenizer) -> None:
    assert (tokenizer.special_ids["<unk>"], tokenizer.bos_id, tokenizer.eos_id) == (0, 1, 2)
    assert tokenizer.vocab_size == 500


@given(texts=st.lists(ANYTHING, max_size=5))
def test_a_batch_is_its_texts(tokenizer: Tokenizer, texts: list[str]) -> None:
    assert tokenizer.encode(texts) == [tokenizer.encode(text) for text in texts]


def test_a_long_text_is_its_parts(either: Tokenizer, documents: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "\n".join(text for _, text, _ in documents("code", 5) + documents("zh", 5))
    tokens = either.encode(text)
    monkeypatch.setattr(tokenizer_module, "LONGEST_PART_CHARACTERS", 100)
    assert either.encode(text) == tokens
    (ended, short) = either.encode_arrays([text, "x"], eos=True)
    assert ended.tolist() == [*tokens, either.eos_id] and short[-1] == either.eos_id
    runs = "x\n\n\n\ny  z    " * 30  # cut neither inside newlines nor inside spaces
    monkeypatch.setattr(tokenizer_module, "LONGEST_PART_CHARACTERS", 1 << 16)
    tokens = either.encode(runs)
    for length in range(40, 60):
        monkeypatch.setattr(tokenizer_module, "LONGEST_PART_CHARACTERS", length)
        assert either.encode(runs) == tokens, length
    unspaced = '{"total":1,"values":[22,333],"garden":[]},' * 20  # cut after digits
    monkeypatch.setattr(tokenizer_module, "LONGEST_PART_CHARACTERS", 1 << 16)
    tokens = either.encode(unspaced)
    for length in range(40, 60):
        monkeypatch.setattr(tokenizer_module, "LONGEST_PART_CHARACTERS", length)
        assert either.encode(unspaced) == tokens, length
    one_line = "好" * 350
    assert either.decode(either.encode(one_line)) == one_line


def test_a_file_that_is_no_model_is_refused(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.model").write_bytes(b"not a model")
    with pytest.raises(XmodelError, match="a tokenizer cannot be read"):
        Tokenizer.load(tmp_path / "tokenizer.model")
    with pytest.raises(XmodelError, match="a tokenizer cannot be read"):
        Tokenizer.load(tmp_path / "missing.model")


@pytest.mark.shared_data
@pytest.mark.parametrize(("name", "pieces"), [("xmodel_32000", 32_000), ("xmodel_65280", 65_280)])
def test_the_released_tokenizers_load(shared_data: Path, name: str, pieces: int) -> None:
    released = Tokenizer.load(shared_data / "tokenizers" / f"{name}.model")
    assert released.vocab_size == pieces
    assert (released.bos_id, released.eos_id) == (1, 2)
    assert released.decode(released.encode("今天天气很好, isn't it?")) == "今天天气很好, isn't it?"


def test_where_a_text_stands_does_not_change_its_pieces(tokenizer: Tokenizer, documents: Any) -> None:
    """Scores of sixteenths add up exactly in float32; ties fall the same way anywhere."""
    texts = [text for lang in ("zh", "en", "code") for _, text, _ in documents(lang, 30, seed=7)]
    alone = [tokenizer.encode(f"{text}\nx") for text in texts]
    together = tokenizer.encode("".join(f"{text}\nx\n" for text in texts))
    newline = tokenizer.encode("\n")
    assert together == [token for tokens in alone for token in (*tokens, *newline)]


@pytest.mark.shared_data
def test_every_real_document_comes_back(real_texts: tuple[Iterable[list[str]], int], either: Tokenizer) -> None:
    files, every = real_texts
    documents = characters = 0
    for read in files:
        texts = [text.replace("▁", "_") for text in read]
        for text, tokens in zip(texts, either.encode_arrays(texts), strict=True):
            assert either.decode(tokens) == text
        documents += len(texts)
        characters += sum(map(len, texts))
    assert documents > 300_000 // every and characters > 80_000_000 // every, (documents, characters)

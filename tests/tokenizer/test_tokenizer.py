"""Text to ids and back: nothing is lost, nothing is mistaken for a special token, long texts add up."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xmodel_core.errors import XmodelError
from xmodel_core.tokenizer import tokenizer as tokenizer_module
from xmodel_core.tokenizer.tokenizer import Tokenizer

# SentencePiece writes a space as U+2581, so that one character comes back as a space.
ANYTHING = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\u2581"))
PARTS = ["\n", "\t", " ", "    ", "\r\n", "def", "值", "x", "。", "7"]
INDENTED = st.lists(st.sampled_from(PARTS)).map("".join)


@given(text=ANYTHING | INDENTED)
def test_every_text_comes_back(tokenizer: Tokenizer, text: str) -> None:
    assert tokenizer.decode(tokenizer.encode(text)) == text


def test_the_space_sign_of_sentencepiece_becomes_a_space(tokenizer: Tokenizer) -> None:
    assert tokenizer.decode(tokenizer.encode("a\u2581b")) == "a b"


def test_white_space_is_pieces(tokenizer: Tokenizer) -> None:
    pieces = [tokenizer.piece(token) for token in tokenizer.encode("x\n\n\t\t        x\n")]
    assert "\n\n" in pieces and "\t\t" in pieces and pieces[-1] == "\n"
    assert any(set(piece) == {"▁"} and len(piece) > 1 for piece in pieces), "runs of spaces are pieces"


@pytest.mark.parametrize("special", ["<|im_start|>", "<|im_end|>", "<s>", "</s>", "<unk>"])
def test_text_that_spells_a_special_token_is_text(tokenizer: Tokenizer, special: str) -> None:
    tokens = tokenizer.encode(f"say {special} twice: {special}{special}")
    assert not set(tokens) & set(tokenizer.special_ids.values())
    assert tokenizer.decode(tokens).count(special) == 3
    assert tokenizer.decode([tokenizer.special_ids[special]]) in ("", " ⁇ ")


def test_digits_stand_alone(tokenizer: Tokenizer) -> None:
    tokens = tokenizer.encode("1234")
    assert len(tokens) == 4


def test_ids_begin_as_in_the_reports(tokenizer: Tokenizer) -> None:
    assert (tokenizer.special_ids["<unk>"], tokenizer.bos_id, tokenizer.eos_id) == (0, 1, 2)
    assert tokenizer.vocab_size == 500


@given(texts=st.lists(ANYTHING, max_size=5))
def test_a_batch_is_its_texts(tokenizer: Tokenizer, texts: list[str]) -> None:
    assert tokenizer.encode(texts) == [tokenizer.encode(text) for text in texts]


def test_a_long_text_is_its_parts(tokenizer: Tokenizer, documents: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "\n".join(text for _, text, _ in documents("code", 5) + documents("zh", 5))
    whole = tokenizer.encode(text)
    monkeypatch.setattr(tokenizer_module, "LONGEST_PART_CHARACTERS", 100)
    assert tokenizer.encode(text) == whole
    one_line = "好" * 350
    assert tokenizer.decode(tokenizer.encode(one_line)) == one_line


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

"""tokenizer.json gives the ids of tokenizer.model: on any text, on real text, with its special tokens as text."""

import json
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tokenizers
from hypothesis import given
from hypothesis import strategies as st

from xmodel_core.tokenizer.tokenizer import Tokenizer
from xmodel_core.tokenizer.tokenizer_json import tokenizer_json

pytestmark = pytest.mark.xdist_group("tokenizer")
PARTS = [
    "\n",
    "\t",
    " ",
    "    ",
    "\r\n",
    "def",
    "值",
    "x",
    "。",
    "7",
    "<s>",
    "</s>",
    "<|im_end|>",
    "<0x0A>",
    "<unk>",
    "<",
]
TEXT = st.text(st.characters(exclude_categories=["Cs"])) | st.lists(st.sampled_from(PARTS)).map("".join)


def exported(tokenizer: Tokenizer) -> tokenizers.Tokenizer:
    """As Hugging Face's library reads it, special tokens in a text being text."""
    reader = tokenizers.Tokenizer.from_str(tokenizer_json(tokenizer.model))
    reader.encode_special_tokens = True
    return reader


@pytest.fixture(scope="module")
def both(either: Tokenizer) -> tuple[Tokenizer, tokenizers.Tokenizer]:
    return either, exported(either)


@given(text=TEXT)
def test_same_ids_and_back(both: tuple[Tokenizer, tokenizers.Tokenizer], text: str) -> None:
    ours, theirs = both
    ids = ours.encode(text)
    assert theirs.encode(text, add_special_tokens=False).ids == ids
    assert theirs.decode(ids) == ours.decode(ids)


def test_special_tokens_mean_themselves_unless_told_otherwise(either: Tokenizer) -> None:
    theirs = exported(either)
    theirs.encode_special_tokens = False
    ids = theirs.encode("a<|im_end|>", add_special_tokens=False).ids
    assert ids == [*either.encode("a"), either.special_ids["<|im_end|>"]]


def test_transformers_loads_the_artifact_with_its_chat_template(built: Any) -> None:
    transformers = pytest.importorskip("transformers")
    artifact = built.tokenizer
    ours, theirs = Tokenizer.load(artifact), transformers.AutoTokenizer.from_pretrained(artifact.path)
    text = "def f():\n\treturn  1\r\n农民修理 the boat"
    assert theirs.encode(text, add_special_tokens=False) == ours.encode(text)
    assert theirs.decode(ours.encode(text)) == text
    assert (theirs.bos_token_id, theirs.eos_token_id, len(theirs)) == (1, 2, ours.vocab_size)
    talk = [{"role": "user", "content": "你好"}]
    prompt = theirs.apply_chat_template(talk, add_generation_prompt=True, tokenize=False)
    assert prompt == "<|im_start|>user\n你好<|im_end|>\n<|im_start|>assistant\n"
    ids = theirs.encode(prompt, add_special_tokens=False)
    assert [token for token in ids if token in ours.special_ids.values()] == [3, 4, 3]


def scores_of(reader: tokenizers.Tokenizer) -> np.ndarray | None:
    """[id] score, special pieces' raised to that of an unknown character; None for a BPE, where nothing can tie."""
    vocab = json.loads(reader.to_str())["model"]["vocab"]
    return np.maximum([score for _, score in vocab], -99.0) if isinstance(vocab, list) else None


def tied(ours: Tokenizer, theirs: tokenizers.Tokenizer, scores: np.ndarray | None, texts: list[str]) -> int:
    """Asserts equal ids, or other pieces whose scores add up to the same but for the rounding of SentencePiece's
    float32 sum over the text, once for each of them. Returns how many texts tied."""
    ties = 0
    encoded = theirs.encode_batch_fast(texts, add_special_tokens=False)
    for text, tokens, other in zip(texts, ours.encode_arrays(texts), encoded, strict=True):
        if tokens.tolist() != other.ids:
            ties += 1
            assert scores is not None, text[:80]
            one, two = Counter(tokens.tolist()), Counter(other.ids)
            apart = [*(one - two).elements()], [*(two - one).elements()]
            rounding = np.spacing(np.float32(-scores[tokens].sum()))
            difference = abs(scores[apart[0]].sum() - scores[apart[1]].sum())
            assert difference <= rounding * max(map(len, apart)), (text[:80], difference, rounding)
    return ties


@pytest.mark.shared_data
def test_same_ids_on_real_text(real_texts: tuple[Iterable[list[str]], int], either: Tokenizer) -> None:
    """Ours never tie: their scores add up exactly."""
    files, every = real_texts
    theirs, documents = exported(either), 0
    scores = scores_of(theirs)
    for texts in files:
        assert tied(either, theirs, scores, texts) == 0, texts[0][:80]
        documents += len(texts)
    assert documents > 300_000 // every


@pytest.mark.shared_data
@pytest.mark.parametrize("name", ["xmodel_32000", "xmodel_65280"])
def test_the_released_tokenizers_on_real_text(
    shared_data: Path, real_texts: tuple[Iterable[list[str]], int], name: str
) -> None:
    files, every = real_texts
    released = Tokenizer.load(shared_data / "tokenizers" / f"{name}.model")
    theirs = exported(released)
    scores = scores_of(theirs)
    ties = documents = 0
    for texts in files:
        ties += tied(released, theirs, scores, texts)
        documents += len(texts)
    print(f"{name}: {ties} of {documents:,} texts tied")
    assert documents > 300_000 // every and ties < documents / 1000

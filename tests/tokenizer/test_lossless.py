"""A tokenizer gives every text back, whatever it was trained on: as tokenizer.model and as tokenizer.json."""

import random
import sys

import pytest
import tokenizers
from hypothesis import given
from hypothesis import strategies as st

from xmodel_core.tokenizer.config import TokenizerConfig
from xmodel_core.tokenizer.tokenizer import Tokenizer
from xmodel_core.tokenizer.tokenizer_json import tokenizer_json
from xmodel_core.tokenizer.train import train

pytestmark = pytest.mark.xdist_group("tokenizer")
RANDOM = random.Random(5)
HAN = "".join(map(chr, range(0x4E00, 0x4E00 + 60)))
LETTERS = "etaoinshrdlu"


def words(letters: str, between: str, lines: int = 300) -> list[str]:
    return [
        between.join("".join(RANDOM.choices(letters, k=RANDOM.randrange(2, 6))) for _ in range(8)) for _ in range(lines)
    ]


SAMPLES = {
    "no space": words(HAN, "，"),
    "few spaces": [*words(HAN, "。"), "一 二", "三 四"],
    "no ASCII": words(HAN, "\u3000"),
    "English without a space": words(LETTERS, "-"),
    "code": [
        line for name in words(LETTERS, "_", 150) for line in (f"def {name}():", f"\treturn {name[:4]}", "\t\t# x")
    ],
}
TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\u2581")) | st.lists(
    st.sampled_from([" ", "  ", "\t", "\n", "\r", "\u3000", "\u00a0", "\x00", "\ufeff", "一", "e", "<s>", "</s>", "7"])
).map("".join)
Pair = tuple[Tokenizer, tokenizers.Tokenizer]


def cases() -> list[object]:
    """Each sample for each kind of model; the default tests take the first."""
    both = [(sample, kind) for sample in SAMPLES for kind in ("unigram", "bpe")]
    marks = {case: [] if case[0] == "no space" else [pytest.mark.slow] for case in both}
    return [pytest.param(case, id=" ".join(case), marks=marks[case]) for case in both]


@pytest.fixture(scope="module", params=cases())
def pair(request: pytest.FixtureRequest) -> Pair:
    sample, kind = request.param
    config = TokenizerConfig(vocab_size=420, character_coverage=0.99, model_type=kind)
    model = train(lambda: iter(SAMPLES[sample]), config)
    exported = tokenizers.Tokenizer.from_str(tokenizer_json(model))
    exported.encode_special_tokens = True
    return Tokenizer(model), exported


@given(text=TEXT)
def test_every_text_comes_back(pair: Pair, text: str) -> None:
    ours, exported = pair
    ids = ours.encode(text)
    assert ours.decode(ids) == text
    assert exported.encode(text, add_special_tokens=False).ids == ids
    assert exported.decode(ids) == text


def test_a_space_is_one_token_and_every_character_comes_back(pair: Pair) -> None:
    ours, _ = pair
    assert len(ours.encode(" ")) == 1
    step = 4096
    for start in range(0, sys.maxunicode + 1, step * 8):  # an eighth of all characters
        text = "".join(
            chr(code) for code in range(start, start + step) if not 0xD800 <= code < 0xE000 and code != 0x2581
        )
        assert ours.decode(ours.encode(text)) == text

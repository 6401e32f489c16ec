"""Counts equal the reports' tables to the unit; nonsense shapes get one clear message."""

import pytest

from xmodel_core.errors import XmodelError
from xmodel_core.model.config import ModelConfig, count_parameters, flops_per_token
from xmodel_core.model.xmodel import Xmodel
from xmodel_core.specs.strict import validate

# name: layers, heads, KV heads, width, FFN, total, without embeddings
XMODEL_LM = {
    "nano": (6, 6, 1, 192, 512, 14_576_064, 2_288_064),
    "micro": (6, 6, 1, 384, 1024, 33_723_264, 9_147_264),
    "tiny": (8, 8, 2, 512, 1536, 56_893_952, 24_125_952),
    "small": (12, 12, 3, 768, 2048, 123_489_024, 74_337_024),
    "medium": (24, 16, 4, 1024, 2816, 336_118_784, 270_582_784),
    "large": (24, 16, 4, 1536, 4096, 692_921_856, 594_617_856),
    "xl": (24, 32, 4, 2048, 5632, 1_188_136_960, 1_057_064_960),
    "3B": (32, 32, 4, 2560, 6912, 2_334_558_720, 2_170_718_720),
    "7B": (32, 32, 32, 4096, 11008, 6_738_415_616, 6_476_271_616),
    "13B": (40, 40, 40, 5120, 13824, 13_015_864_320, 12_688_184_320),
    "34B": (48, 64, 8, 8192, 22016, 33_743_970_304, 33_219_682_304),
    "70B": (80, 64, 8, 8192, 22016, 55_890_419_712, 55_366_131_712),
}
XMODEL_2 = {
    "nano": (8, 4, 1, 256, 640, 21_958_912, 5_247_232),
    "nano, every head its own": (8, 4, 4, 256, 640, 22_745_344, 6_033_664),
    "micro": (12, 6, 1, 384, 960, 42_476_928, 17_409_408),
    "tiny": (18, 8, 4, 512, 1280, 82_987_520, 49_564_160),
    "tiny, every head its own": (18, 8, 8, 512, 1280, 87_706_112, 54_282_752),
    "small": (30, 9, 3, 576, 1440, 138_828_096, 101_226_816),
    "medium": (32, 15, 5, 960, 2400, 362_558_400, 299_889_600),
    "xl": (48, 24, 8, 1536, 3840, 1_251_755_520, 1_151_485_440),
    "2B": (40, 36, 6, 2304, 5760, 2_238_568_704, 2_088_163_584),
    "4B": (62, 40, 8, 2560, 6400, 4_190_036_480, 4_022_919_680),
}


def shape(layers: int, heads: int, shared: int, width: int, ffn: int, tied: bool) -> ModelConfig:
    return ModelConfig(
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=shared,
        hidden_size=width,
        intermediate_size=ffn,
        tie_word_embeddings=tied,
    )


@pytest.mark.parametrize("family", ["lm", "2"])
def test_counts_equal_the_fact_sheet(family: str) -> None:
    table, vocab, tied = (XMODEL_LM, 32_000, False) if family == "lm" else (XMODEL_2, 65_280, True)
    for name, (*numbers, total, non_embedding) in table.items():
        counts = count_parameters(shape(*numbers, tied=tied), vocab)
        assert (counts.total, counts.non_embedding) == (total, non_embedding), name


@pytest.mark.parametrize("tied", [True, False])
def test_counts_equal_the_tensors(tied: bool) -> None:
    config = shape(2, 4, 2, 32, 48, tied)
    model = Xmodel(config, 100)
    assert sum(p.numel() for p in model.parameters()) == count_parameters(config, 100).total


def test_flops_are_6n_and_attention() -> None:
    config = shape(48, 24, 8, 1536, 3840, True)
    full = flops_per_token(config, 65_280, 4096)
    assert full == 6 * 1_251_755_520 + 12 * 48 * 24 * 64 * 4096
    attention = full - 6 * 1_251_755_520
    assert flops_per_token(config, 65_280, 4096, causal=True) == full - attention / 2


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"num_attention_heads": 5}, "hidden_size 64 must be a multiple of num_attention_heads 5"),
        ({"num_key_value_heads": 3}, "num_attention_heads 4 must be a multiple of num_key_value_heads 3"),
        ({"hidden_size": 60}, "must be even"),
        ({"scale_emb": 12}, "together, or none"),
        ({"hidden_sise": 64}, "did you mean `hidden_size`?"),
        ({"vocab_size": 32000}, "`vocab_size` is not a field"),
    ],
)
def test_nonsense_gets_one_message(change: dict[str, int], said: str) -> None:
    right = {
        "hidden_size": 64,
        "intermediate_size": 96,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
    }
    with pytest.raises(XmodelError) as error:
        validate(ModelConfig, {**right, **change}, "recipe.yaml")
    assert said in str(error.value)
    assert "recipe.yaml" in str(error.value)

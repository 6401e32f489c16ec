"""Counts equal the reports' to the unit, for every preset; FLOPs and peaks are those that MFU is computed from."""

from pathlib import Path

import pytest

from flows.recipes import model_presets
from xmodel_core.model.config import ModelConfig
from xmodel_core.model.cost import count_parameters, dense_bf16_peak, flops_per_token
from xmodel_core.model.network import Xmodel

VOCABULARY = {"xmodel-lm": 32_000, "xmodel2": 65_280, "xmodel2.5": 129_280}
PARAMETERS = {  # in all, and without embeddings
    "xmodel-lm-nano": (14_576_064, 2_288_064),
    "xmodel-lm-micro": (33_723_264, 9_147_264),
    "xmodel-lm-tiny": (56_893_952, 24_125_952),
    "xmodel-lm-small": (123_489_024, 74_337_024),
    "xmodel-lm-medium": (336_118_784, 270_582_784),
    "xmodel-lm-large": (692_921_856, 594_617_856),
    "xmodel-lm-1.1b": (1_188_136_960, 1_057_064_960),
    "xmodel-lm-3b": (2_334_558_720, 2_170_718_720),
    "xmodel-lm-7b": (6_738_415_616, 6_476_271_616),
    "xmodel-lm-13b": (13_015_864_320, 12_688_184_320),
    "xmodel-lm-34b": (33_743_970_304, 33_219_682_304),
    "xmodel-lm-70b": (55_890_419_712, 55_366_131_712),
    "xmodel2-nano": (21_958_912, 5_247_232),
    "xmodel2-micro": (42_476_928, 17_409_408),
    "xmodel2-tiny": (82_987_520, 49_564_160),
    "xmodel2-small": (138_828_096, 101_226_816),
    "xmodel2-medium": (362_558_400, 299_889_600),
    "xmodel2-1.2b": (1_251_755_520, 1_151_485_440),
    "xmodel2-2b": (2_238_568_704, 2_088_163_584),
    "xmodel2-4b": (4_190_036_480, 4_022_919_680),
    "xmodel2.5-1.3b": (1_350_059_520, 1_151_485_440),
}
EVERY_HEAD_ITS_OWN = {  # without embeddings: the sizes that Xmodel-2's search for hyperparameters states
    "xmodel2-nano": 6_033_664,
    "xmodel2-micro": 20_358_528,
    "xmodel2-tiny": 54_282_752,
    "xmodel2-small": 114_497_856,
    "xmodel2-medium": 339_211_200,
    "xmodel2-1.2b": 1_302_480_384,
    "xmodel2-2b": 2_442_057_984,
    "xmodel2-4b": 4_673_036_800,
}


def test_every_preset_counts_as_the_reports() -> None:
    counted = {}
    for name, fields in model_presets().items():
        counts = count_parameters(ModelConfig(**fields), VOCABULARY[name.rpartition("-")[0]])
        counted[name] = (counts.total, counts.non_embedding)
    assert counted == PARAMETERS


def test_the_page_about_models_states_them() -> None:
    page = (Path(__file__).parents[2] / "docs" / "models.md").read_text(encoding="utf-8")
    stated = {}
    for line in page.splitlines():
        cells = [cell.strip().replace(",", "") for cell in line.strip("|").split("|")]
        if cells[0] in PARAMETERS:
            preset = ModelConfig(**model_presets()[cells[0]])
            shape = (preset.num_hidden_layers, preset.hidden_size, preset.intermediate_size)
            assert (*shape, preset.num_attention_heads, preset.num_key_value_heads) == tuple(map(int, cells[1:6]))
            stated[cells[0]] = tuple(map(int, cells[6:]))
    assert stated == PARAMETERS


def test_without_shared_heads_they_count_as_the_report_says() -> None:
    presets = model_presets()
    counted = {}
    for name in EVERY_HEAD_ITS_OWN:
        heads = presets[name]["num_attention_heads"]
        config = ModelConfig(**{**presets[name], "num_key_value_heads": heads})
        counted[name] = count_parameters(config, 65_280).non_embedding
    assert counted == EVERY_HEAD_ITS_OWN


@pytest.mark.parametrize("tied", [True, False])
def test_counts_equal_the_tensors(tied: bool) -> None:
    fields = {**model_presets()["xmodel2-nano"], "max_position_embeddings": 8, "tie_word_embeddings": tied}
    config = ModelConfig(**fields)
    model = Xmodel(config, 100)
    assert sum(p.numel() for p in model.parameters()) == count_parameters(config, 100).total


def test_flops_are_6n_and_attention() -> None:
    config = ModelConfig(**model_presets()["xmodel2-1.2b"])
    full = flops_per_token(config, 65_280, 4096)
    assert full == 6 * 1_251_755_520 + 12 * 48 * 24 * 64 * 4096
    attention = full - 6 * 1_251_755_520
    assert flops_per_token(config, 65_280, 4096, causal=True) == full - attention / 2


@pytest.mark.parametrize(
    ("gpu", "peak"),
    [
        ("NVIDIA H100 80GB HBM3", 989e12),
        ("NVIDIA H100 PCIe", 756e12),
        ("NVIDIA H100 NVL", 835e12),
        ("NVIDIA H200", 989e12),
        ("NVIDIA GH200 480GB", 989e12),
        ("NVIDIA H800", 989e12),
        ("NVIDIA H20", 148e12),
        ("NVIDIA B200", 2250e12),
        ("NVIDIA A100-SXM4-80GB", 312e12),
        ("NVIDIA A800 80GB PCIe", 312e12),
        ("NVIDIA L40S", 362e12),
        ("NVIDIA L4", 121e12),
        ("NVIDIA L40", None),
        ("NVIDIA GeForce RTX 4090", 165e12),
        ("NVIDIA GeForce RTX 3090", 71e12),
        ("Intel(R) Xeon(R) Processor", None),
    ],
)
def test_peaks_are_the_dense_ones(gpu: str, peak: float | None) -> None:
    assert dense_bf16_peak(gpu) == peak

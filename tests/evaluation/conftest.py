"""A small model, a small tokenizer and a checkpoint of the two, as a run leaves one."""

import random
from pathlib import Path

import pytest

from xmodel_core.model.config import ModelConfig
from xmodel_core.model.network import Xmodel, initialise
from xmodel_core.model.weights import save_model
from xmodel_core.tokenizer.config import TokenizerConfig
from xmodel_core.tokenizer.tokenizer import Tokenizer
from xmodel_core.tokenizer.train import train

COLOURS = ("red", "green", "blue", "white")
颜色 = ("红色", "绿色", "蓝色", "白色")
NAMES = ("Anna", "Boris", "Clara", "David", "Emma", "Felix")
名字 = ("小安", "小白", "小陈", "小丁", "小方", "小高")


def lines() -> list[str]:
    """Sentences about colours in two languages."""
    draw = random.Random(7)
    english = [f"The coat of {draw.choice(NAMES)} is {draw.choice(COLOURS)} today." for _ in range(150)]
    return english + [f"{draw.choice(名字)}的外套今天是{draw.choice(颜色)}的。" for _ in range(150)]


@pytest.fixture(scope="session")
def model_bytes() -> bytes:
    """A tokenizer.model of 336 pieces."""
    return train(lambda: iter(lines()), TokenizerConfig(vocab_size=336))


@pytest.fixture(scope="session")
def tokenizer(model_bytes: bytes) -> Tokenizer:
    return Tokenizer(model_bytes)


@pytest.fixture(scope="session")
def model(tokenizer: Tokenizer) -> Xmodel:
    """A model with muP, grouped heads and a context of 64 tokens; large weights, so that scores differ."""
    config = ModelConfig(
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=64,
        initializer_range=0.5,
        scale_emb=4,
        scale_depth=1.4,
        dim_model_base=16,
    )
    built = Xmodel(config, tokenizer.vocab_size)
    initialise(built, 3)
    return built.requires_grad_(False).eval()


@pytest.fixture(scope="session")
def checkpoint(model: Xmodel, model_bytes: bytes, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("checkpoints") / "step-00000007"
    folder.mkdir()
    save_model(model, folder)
    (folder / "tokenizer.model").write_bytes(model_bytes)
    return folder

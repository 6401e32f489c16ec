"""Small checkpoints, and `xmodel` typed at them."""

from typing import Any

from click.testing import CliRunner, Result

from flows.cli import main
from xmodel_core.model.config import ModelConfig
from xmodel_core.model.network import Xmodel, initialise
from xmodel_core.tokenizer.config import TokenizerConfig
from xmodel_core.tokenizer.train import train

SMALL: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 96,
    "initializer_range": 0.5,
}


def xmodel(*words: object, typed: str | None = None) -> Result:
    """The command as typed, in this process; `typed`: its standard input."""
    return CliRunner().invoke(main, [str(word) for word in words], input=typed)


def two_languages() -> bytes:
    """A tokenizer.model of 320 pieces."""
    lines = ["从前有一个小女孩。\n", "Once upon a time there was a small girl.\n"] * 40
    return train(lambda: iter(lines), TokenizerConfig(vocab_size=320))


def small_model(vocab_size: int, **settings: Any) -> Xmodel:
    """As drawn, large enough in its weights for greedy texts that differ."""
    model = Xmodel(ModelConfig(**{**settings, **SMALL}), vocab_size)
    initialise(model, 5)
    return model

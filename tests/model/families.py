"""One small model of each family, as initialised and after some training; comparisons that allow ties."""

from collections.abc import Sequence
from typing import Any

import torch

from flows.recipes import model_presets
from xmodel_core.model.config import ModelConfig
from xmodel_core.model.mup import parameter_groups
from xmodel_core.model.network import Xmodel, initialise

VOCAB = 160
TIE = 2e-4
"""Logits nearer than this are a tie: which is the larger depends on a processor's last bits."""
SMALL: dict[str, Any] = {
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
}
FAMILIES = ("xmodel-lm-1.1b", "xmodel2-1.2b", "xmodel2.5-1.3b")


def small(family: str) -> ModelConfig:
    """A family's settings on a small shape; m is 4 where there is muP."""
    fields = {**model_presets()[family], **SMALL}
    if "dim_model_base" in fields:
        fields["dim_model_base"] = 16
    return ModelConfig(**fields)


def initialised(config: ModelConfig) -> Xmodel:
    """As initialised, but with gains other than 1: a forgotten gain would not show."""
    model = Xmodel(config, VOCAB)
    initialise(model, seed=1)
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 1:
                parameter.uniform_(0.5, 1.5, generator=generator)
    return model


def trained(config: ModelConfig) -> Xmodel:
    """After 40 steps on arithmetic sequences modulo the vocabulary, with one token in eight at random."""
    model = initialised(config)
    peak = 0.01 if config.scale_emb else 0.003
    optimizer = torch.optim.AdamW(parameter_groups(model, 0.1), lr=peak)
    for group in optimizer.param_groups:
        group["lr"] = peak * group["lr_scale"]
    generator = torch.Generator().manual_seed(3)
    for _ in range(40):
        starts, steps = torch.randint(1, VOCAB, (2, 8, 1), generator=generator)
        tokens = (starts + steps * torch.arange(33)) % VOCAB
        noise = torch.rand(tokens.shape, generator=generator) < 0.125
        tokens[noise] = torch.randint(0, VOCAB, (int(noise.sum()),), generator=generator)
        loss = model(tokens[:, :-1], tokens[:, 1:])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model


def assert_greedy(tokens: Sequence[int], logits_TV: torch.Tensor) -> None:
    """Each token is the most likely one, or tied with it, by the logits before it, `[tokens, vocabulary]`."""
    chosen_T = logits_TV.gather(1, torch.tensor(tokens)[:, None])[:, 0]
    assert (logits_TV.amax(1) - chosen_T).max() < TIE

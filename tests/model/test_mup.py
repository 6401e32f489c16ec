"""Table 6, operation by operation: the forward written out from the report, initial weights and steps measured."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from tests.model.families import VOCAB, small
from xmodel_core.model.config import ModelConfig
from xmodel_core.model.network import Xmodel, initialise
from xmodel_core.model.weights import named_weights
from xmodel_core.training.config import TrainingConfig
from xmodel_core.training.optim.adamw import make_optimizer, set_learning_rate

pytestmark = pytest.mark.xdist_group("small_models")  # one process makes the session fixture `models`
FORWARD = ("embedding · scale_emb", "block · scale_depth / sqrt(layers)", "logits / m")


def written_out(
    weights: dict[str, Tensor], config: ModelConfig, tokens_T: Tensor, without: str | None = None
) -> Tensor:
    """Logits (T, V) of the report's model, in float64; `without`: an operation of Table 6 that is forgotten."""
    assert config.scale_emb and config.scale_depth and config.dim_model_base
    w = {name: weight.double() for name, weight in weights.items()}
    time, size = len(tokens_T), config.hidden_size // config.num_attention_heads
    block_scale = 1.0 if without == FORWARD[1] else config.scale_depth / math.sqrt(config.num_hidden_layers)
    product_scale = 1 / size if config.attention_scale == "1/d" else 1 / math.sqrt(size)
    turns_K = config.rope_theta ** (-2 * torch.arange(size // 2, dtype=torch.float64) / size)
    angles_TK = torch.arange(time, dtype=torch.float64)[:, None] * turns_K

    def norm(x_TD: Tensor, name: str) -> Tensor:
        return x_TD / (x_TD.square().mean(-1, keepdim=True) + config.rms_norm_eps).sqrt() * w[f"{name}.weight"]

    def turned(x_TK: Tensor) -> Tensor:
        real, imaginary = x_TK[:, : size // 2], x_TK[:, size // 2 :]
        cos, sin = angles_TK.cos(), angles_TK.sin()
        return torch.cat((real * cos - imaginary * sin, imaginary * cos + real * sin), -1)

    x_TD = w["model.embed_tokens.weight"][tokens_T] * (1.0 if without == FORWARD[0] else config.scale_emb)
    for layer in range(config.num_hidden_layers):
        at = f"model.layers.{layer}"
        n_TD = norm(x_TD, f"{at}.input_layernorm")
        q, k, v = (n_TD @ w[f"{at}.self_attn.{name}_proj.weight"].T for name in "qkv")
        heads = []
        for head in range(config.num_attention_heads):
            shared = head // (config.num_attention_heads // config.num_key_value_heads)
            q_TK, k_TK, v_TK = (x[:, i * size : (i + 1) * size] for x, i in ((q, head), (k, shared), (v, shared)))
            products_TT = turned(q_TK) @ turned(k_TK).T * product_scale
            later_TT = torch.ones(time, time).triu(1).bool()
            heads.append(products_TT.masked_fill(later_TT, -torch.inf).softmax(-1) @ v_TK)
        x_TD = x_TD + block_scale * (torch.cat(heads, -1) @ w[f"{at}.self_attn.o_proj.weight"].T)
        n_TD = norm(x_TD, f"{at}.post_attention_layernorm")
        gate, up = (n_TD @ w[f"{at}.mlp.{name}_proj.weight"].T for name in ("gate", "up"))
        x_TD = x_TD + block_scale * ((gate * gate.sigmoid() * up) @ w[f"{at}.mlp.down_proj.weight"].T)
    head = w["model.embed_tokens.weight" if config.tie_word_embeddings else "lm_head.weight"]
    m = 1.0 if without == FORWARD[2] else config.hidden_size / config.dim_model_base
    return norm(x_TD, "model.norm") @ head.T / m


@pytest.mark.parametrize("change", [{}, {"attention_scale": "1/d"}, {"tie_word_embeddings": False}])
@pytest.mark.parametrize("kind", ["random", "trained"])
def test_the_forward_has_each_operation_of_table_6(
    models: dict[tuple[str, str], Xmodel], kind: str, change: dict[str, Any]
) -> None:
    model = Xmodel(small("xmodel2-1.2b").model_copy(update=change), VOCAB)
    model.load_state_dict(models["xmodel2-1.2b", kind].state_dict(), strict=False)
    assert (model.config.width_multiplier, model.config.num_hidden_layers) == (4, 3)
    tokens = torch.randint(0, VOCAB, (40,), generator=torch.Generator().manual_seed(5))
    with torch.no_grad():
        logits = model(tokens[None])[0].double()
    weights = {name: weight.detach() for name, weight in named_weights(model).items()}
    size = logits.abs().max()
    assert (logits - written_out(weights, model.config, tokens)).abs().max() < 1e-5 * size
    for operation in FORWARD:
        forgotten = written_out(weights, model.config, tokens, without=operation)
        assert (logits - forgotten).abs().max() > 0.01 * size, operation


def expected_std(name: str, config: ModelConfig) -> float:
    """Of initial weights, from the report; o_proj and down_proj are where code and report differ."""
    m = config.hidden_size / 64
    if not name.startswith("model.layers."):
        return 0.1
    if config.output_projection_init == "depth" and name.endswith(("o_proj.weight", "down_proj.weight")):
        return 0.1 / math.sqrt(2 * config.num_hidden_layers)  # Megatron's: no width in it
    return 0.1 / math.sqrt(m)


@pytest.mark.parametrize("width", [64, 256])
@pytest.mark.parametrize("output_init", ["width", "depth"])
def test_every_initial_weight_is_drawn_as_table_6_says(width: int, output_init: str) -> None:
    shape = {"hidden_size": width, "intermediate_size": width * 5 // 2, "dim_model_base": 64}
    config = small("xmodel2-1.2b").model_copy(
        update={**shape, "output_projection_init": output_init, "tie_word_embeddings": False}
    )
    model = Xmodel(config, 1000)
    initialise(model, seed=3)
    for name, weight in named_weights(model).items():
        if weight.dim() == 1:
            assert (weight == 1).all(), name
        else:
            assert weight.std().item() == pytest.approx(expected_std(name, config), rel=0.04), name
            assert abs(weight.mean().item()) < 0.05 * weight.std().item(), name


@pytest.mark.parametrize("norm_gain_lr", ["base", "hidden"])
def test_every_weight_moves_at_its_rate(norm_gain_lr: str) -> None:
    config = small("xmodel2-1.2b").model_copy(update={"norm_gain_lr": norm_gain_lr, "tie_word_embeddings": False})
    model = Xmodel(config, VOCAB)
    initialise(model, seed=4)
    training = TrainingConfig(
        warmup_steps=0,
        decay_steps=1,
        peak_lr=1.0,
        weight_decay=0.0,
        eps=1e-20,
        global_batch_tokens=8,
        sequence_length=8,
        micro_batch_sequences=1,
    )
    optimizer = make_optimizer(model, training)
    set_learning_rate(optimizer, 0.01)
    tokens = torch.randint(0, VOCAB, (8, 33), generator=torch.Generator().manual_seed(6))
    model(tokens[:, :-1], tokens[:, 1:]).backward()
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    optimizer.step()
    for name, parameter in model.named_parameters():
        # AdamW's first step moves every weight that has a gradient by its learning rate, up or down.
        moved = (parameter.detach() - before[name]).abs().max().item()
        matrix_of_a_block = name.startswith("model.layers.") and parameter.dim() == 2
        slow = matrix_of_a_block or (parameter.dim() == 1 and norm_gain_lr == "hidden")
        assert moved == pytest.approx(0.01 / 4 if slow else 0.01, rel=1e-3), name
    assert functional.mse_loss(before["lm_head.weight"], model.state_dict()["lm_head.weight"]) > 0

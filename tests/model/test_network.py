"""Our block against transformers' classes, with the same weights: logits, loss and every gradient."""

import math
from typing import Any

import pytest
import torch
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import GraniteConfig, GraniteForCausalLM, LlamaConfig, LlamaForCausalLM

from tests.model.families import SMALL, VOCAB
from xmodel_core.model import arithmetic
from xmodel_core.model.config import ModelConfig
from xmodel_core.model.loss import LOGITS_AT_A_TIME, _loss_of_logits, _loss_of_logits_fusible, linear_cross_entropy
from xmodel_core.model.mup import parameter_groups
from xmodel_core.model.network import KeyValueCache, Linear, Xmodel, initialise
from xmodel_core.model.weights import named_weights

SHAPE: dict[str, Any] = {**SMALL, "max_position_embeddings": 64}
MUP: dict[str, Any] = {"scale_emb": 12.0, "scale_depth": 1.4, "dim_model_base": 16, "initializer_range": 0.1}


def random_model(**settings: Any) -> Xmodel:
    model = Xmodel(ModelConfig(**SHAPE, **settings), VOCAB)
    initialise(model, seed=1)
    with torch.no_grad():  # gains other than 1, or a forgotten gain would not show
        for parameter in model.parameters():
            if parameter.dim() == 1:
                parameter.uniform_(0.5, 1.5, generator=torch.Generator().manual_seed(len(parameter)))
    return model


def same_weights(reference: torch.nn.Module, model: Xmodel) -> None:
    """Puts our weights into a transformers model; a tied head is the only key that may be missing."""
    missing, unexpected = reference.load_state_dict(named_weights(model), strict=False)
    assert set(missing) <= {"lm_head.weight"}
    assert not unexpected
    if model.config.tie_word_embeddings:
        reference.tie_weights()  # type: ignore[operator]


def compare(model: Xmodel, reference: Any) -> None:
    tokens = torch.randint(0, VOCAB, (2, 33), generator=torch.Generator().manual_seed(0))
    ours, theirs = model(tokens), reference(tokens).logits
    assert (ours - theirs).abs().max() < 1e-5 * theirs.abs().max()
    loss = model(tokens[:, :-1], tokens[:, 1:])
    loss.backward()
    expected = reference(tokens, labels=tokens).loss
    expected.backward()
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
    theirs_by_name = {name: p.grad for name, p in reference.named_parameters() if p.grad is not None}
    gradients = Xmodel(model.config, VOCAB)
    for holder, gradient in zip(gradients.parameters(), model.parameters(), strict=True):
        assert gradient.grad is not None
        holder.data = gradient.grad
    for name, gradient in named_weights(gradients).items():
        error = (gradient - theirs_by_name[name]).norm() / theirs_by_name[name].norm()
        assert error < 1e-5, name


@pytest.mark.parametrize("tied", [False, True])
def test_equals_llama(tied: bool) -> None:
    model = random_model(tie_word_embeddings=tied, rope_theta=500.0)
    rope = {"rope_type": "default", "rope_theta": 500.0}
    config = LlamaConfig(**SHAPE, vocab_size=VOCAB, rms_norm_eps=1e-5, rope_parameters=rope, tie_word_embeddings=tied)
    reference = LlamaForCausalLM(config)
    same_weights(reference, model)
    compare(model, reference)


@pytest.mark.parametrize(("attention_scale", "multiplier"), [("1/sqrt(d)", 1 / math.sqrt(16)), ("1/d", 1 / 16)])
def test_mup_equals_granite(attention_scale: str, multiplier: float) -> None:
    model = random_model(**MUP, attention_scale=attention_scale)
    config = GraniteConfig(
        **SHAPE,
        vocab_size=VOCAB,
        rms_norm_eps=1e-5,
        tie_word_embeddings=True,
        embedding_multiplier=12.0,
        residual_multiplier=1.4 / math.sqrt(3),
        logits_scaling=64 / 16,
        attention_multiplier=multiplier,
    )
    reference = GraniteForCausalLM(config)
    same_weights(reference, model)
    compare(model, reference)


def test_the_chunked_loss_is_the_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(37, 8, generator=generator, requires_grad=True)
    weight = torch.randn(50, 8, generator=generator, requires_grad=True)
    targets = torch.randint(0, 50, (37,), generator=generator)
    targets[[3, 4, 36]] = -100  # padding, which does not count
    expected_loss = functional.cross_entropy(x @ weight.t(), targets)
    expected = torch.autograd.grad(expected_loss, (x, weight))
    monkeypatch.setitem(LOGITS_AT_A_TIME, "cpu", 50 * 10)  # four chunks, the last shorter
    loss = linear_cross_entropy(x, weight, targets)
    torch.testing.assert_close(loss, expected_loss)
    for ours, theirs in zip(torch.autograd.grad(loss, (x, weight)), expected, strict=True):
        torch.testing.assert_close(ours, theirs)
    nothing = linear_cross_entropy(x, weight, torch.full((37,), -100))
    assert nothing.item() == 0 and not torch.autograd.grad(nothing, x)[0].any()


def test_under_bf16_the_output_projection_s_gradient_is_fp32(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(64, 16, generator=generator)
    weight = torch.randn(50, 16, generator=generator, requires_grad=True)
    targets = torch.randint(0, 50, (64,), generator=generator)
    monkeypatch.setitem(LOGITS_AT_A_TIME, "cpu", 50 * 16)  # four chunks: their sum has more bits than each of them
    with torch.autocast("cpu", dtype=torch.bfloat16):
        (gradient,) = torch.autograd.grad(linear_cross_entropy(x, weight, targets), weight)
    rounded = x.bfloat16().float(), weight.detach().bfloat16().float().requires_grad_()
    (expected,) = torch.autograd.grad(functional.cross_entropy(rounded[0] @ rounded[1].t(), targets), rounded[1])
    assert gradient.dtype == torch.float32
    assert (gradient != gradient.bfloat16().float()).float().mean() > 0.5
    torch.testing.assert_close(gradient, expected, rtol=0.02, atol=2e-3)


def test_both_ways_to_the_loss_of_logits_agree() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = 20 * torch.randn(7, 50, generator=generator)
    targets, weights = torch.randint(0, 50, (7,), generator=generator), torch.rand(7, generator=generator)
    in_place, fusible = logits.clone(), logits.clone()
    one = _loss_of_logits(in_place, targets, weights)
    two = _loss_of_logits_fusible(fusible, targets, weights)
    leaf = logits.clone().requires_grad_()
    expected_loss = (functional.cross_entropy(leaf, targets, reduction="none") * weights).sum()
    for loss, gradient in ((one, in_place), (two, fusible)):
        torch.testing.assert_close(loss, expected_loss)
        torch.testing.assert_close(gradient, torch.autograd.grad(expected_loss, leaf, retain_graph=True)[0])


def test_loss_never_holds_the_full_logits() -> None:
    x, weight = torch.zeros(64, 8, requires_grad=True), torch.zeros(2**20, 8)
    sizes: list[int] = []

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            result = func(*args, **(kwargs or {}))
            sizes.extend(r.numel() for r in [result] if isinstance(r, torch.Tensor))
            return result

    with Watch():
        linear_cross_entropy(x, weight, torch.zeros(64, dtype=torch.long))
    assert max(sizes) == LOGITS_AT_A_TIME["cpu"] < 64 * 2**20


def gradients_of(model: Xmodel, **documents: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, int]:
    """(loss, all gradients, bytes kept for the backward pass) of two sequences."""
    tokens = torch.randint(0, VOCAB, (2, 33), generator=torch.Generator().manual_seed(0))
    kept: dict[int, int] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        kept[tensor.data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        loss = model(tokens[:, :-1], tokens[:, 1:], **documents)
    gradients = torch.autograd.grad(loss, list(model.parameters()))
    return loss.detach(), torch.cat([gradient.flatten() for gradient in gradients]), sum(kept.values())


def test_activation_checkpointing_gives_the_same_bits_from_less_memory() -> None:
    model = random_model(**MUP)
    documents = torch.arange(32).expand(2, 32) // 10
    for packed in ({}, {"documents_BT": documents}):
        model.configure_training(compiled=False, activation_checkpointing=False)
        loss, gradients, kept = gradients_of(model, **packed)
        model.configure_training(compiled=False, activation_checkpointing=True)
        again, recomputed, less = gradients_of(model, **packed)
        assert torch.equal(again, loss) and torch.equal(recomputed, gradients)
        assert less < kept / 2


@pytest.mark.slow
@pytest.mark.parametrize("bf16", [False, True])
def test_compiled_without_a_break_and_once_for_all_layers(bf16: bool) -> None:
    model = random_model(**MUP)
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bf16):
        loss, gradients, _ = gradients_of(model)
        torch._dynamo.reset()
        torch._dynamo.utils.counters.clear()
        model.configure_training(compiled=True, activation_checkpointing=False)
        compiled, close, _ = gradients_of(model)
        model.configure_training(compiled=True, activation_checkpointing=True)
        again, same, _ = gradients_of(model)
    counted = torch._dynamo.utils.counters
    assert not counted["graph_break"]
    assert counted["stats"]["unique_graphs"] == 2  # a block, and the loss of some logits
    tolerance = 2e-2 if bf16 else 1e-5
    assert (compiled - loss).abs() < tolerance * loss and (close - gradients).norm() < tolerance * gradients.norm()
    assert torch.equal(again, compiled) and torch.equal(same, close)


def same_up_to_rounding(computed: torch.Tensor, exact: torch.Tensor) -> None:
    """Sums in fp32, rounded once to bf16: half a unit in the last of its 8 bits."""
    torch.testing.assert_close(computed.double(), exact, rtol=2**-8, atol=1e-6)


def test_bf16_without_instructions_is_rounded_as_with_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arithmetic, "CPU_HAS_BF16", False)
    generator = torch.Generator().manual_seed(0)
    layer, x = Linear(16, 8), torch.randn(5, 16, generator=generator, requires_grad=True)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = layer(x)
    assert y.dtype == torch.bfloat16
    exact = x.bfloat16().double() @ layer.weight.bfloat16().double().t()
    same_up_to_rounding(y, exact)
    weight = torch.randn(5, 8, generator=generator).bfloat16()
    dx, dweight = torch.autograd.grad(y, (x, layer.weight), weight)
    assert dx.dtype == dweight.dtype == torch.float32
    same_up_to_rounding(dx, weight.double() @ layer.weight.bfloat16().double())
    same_up_to_rounding(dweight, weight.double().t() @ x.bfloat16().double())


def test_bf16_autocast_is_near_fp32() -> None:
    model = random_model(**MUP)
    tokens = torch.randint(0, VOCAB, (2, 33), generator=torch.Generator().manual_seed(0))
    exact = model(tokens[:, :-1], tokens[:, 1:])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = model(tokens[:, :-1], tokens[:, 1:])
    loss.backward()
    assert loss.dtype == torch.float32
    assert all(p.grad is not None and p.grad.dtype == torch.float32 for p in model.parameters())
    assert loss.item() == pytest.approx(exact.item(), abs=0.02)


@pytest.mark.parametrize("settings", [{}, MUP, {**MUP, "attention_scale": "1/d", "rope_theta": 5e5}])
def test_cached_equals_uncached(settings: dict[str, Any]) -> None:
    model = random_model(**settings).requires_grad_(False)
    tokens = torch.randint(0, VOCAB, (2, 20), generator=torch.Generator().manual_seed(3))
    uncached = model(tokens)
    cache = KeyValueCache(model.config, 2, 20, torch.float32, torch.device("cpu"))
    parts = [model(tokens[:, start:end], cache=cache) for start, end in ((0, 7), (7, 12), (12, 13), (13, 20))]
    torch.testing.assert_close(torch.cat(parts, 1), uncached, rtol=1e-5, atol=1e-5)


def test_roles_learn_and_decay_as_table_6_says() -> None:
    for choice, norm_scale in (("base", 1.0), ("hidden", 0.25)):
        model = random_model(**MUP, norm_gain_lr=choice)
        groups = {group["name"]: group for group in parameter_groups(model, weight_decay=0.1)}
        assert {n: (g["lr_scale"], g["weight_decay"], len(g["params"])) for n, g in groups.items()} == {
            "hidden": (0.25, 0.1, 12),
            "embedding": (1.0, 0.1, 1),
            "norm": (norm_scale, 0.0, 7),
        }
    untied = random_model(tie_word_embeddings=False)
    plain = parameter_groups(untied, weight_decay=0.1)
    assert [group["lr_scale"] for group in plain] == [1.0, 1.0, 1.0]
    assert sum(len(group["params"]) for group in plain) == len(
        list(random_model(tie_word_embeddings=False).parameters())
    )


def test_initial_weights_as_table_6_says() -> None:
    wide: dict[str, Any] = {**SHAPE, "hidden_size": 512, "intermediate_size": 1280, **MUP, "dim_model_base": 128}
    for choice, output_std in (("width", 0.1 / 2), ("depth", 0.1 / math.sqrt(6))):
        model = Xmodel(ModelConfig(**{**wide, "output_projection_init": choice}), 2000)
        initialise(model, seed=7)
        named = named_weights(model)
        assert named["model.embed_tokens.weight"].std().item() == pytest.approx(0.1, rel=0.01)
        for name in ("self_attn.q_proj", "self_attn.v_proj", "mlp.gate_proj"):
            assert named[f"model.layers.1.{name}.weight"].std().item() == pytest.approx(0.05, rel=0.01)
        for name in ("self_attn.o_proj", "mlp.down_proj"):
            assert named[f"model.layers.1.{name}.weight"].std().item() == pytest.approx(output_std, rel=0.01)
        assert (named["model.norm.weight"] == 1).all()


@pytest.mark.parametrize("settings", [{}, MUP, {**MUP, "attention_scale": "1/d", "rope_theta": 5e5}])
def test_documents_told_apart_are_as_if_alone(settings: dict[str, Any]) -> None:
    model = random_model(**settings)
    first, second = torch.randint(0, VOCAB, (1, 12), generator=torch.Generator().manual_seed(0)).split((5, 7), 1)
    together = torch.cat((first, second, torch.zeros(1, 4, dtype=torch.long)), 1)
    documents = torch.tensor([[0] * 5 + [1] * 7 + [-1] * 4])
    logits = model(together, documents_BT=documents)
    torch.testing.assert_close(logits[:, :5], model(first))
    # RoPE is relative: where the second begins changes nothing.
    torch.testing.assert_close(logits[:, 5:12], model(second), atol=1e-5, rtol=1e-4)
    targets = torch.cat((first[:, 1:], torch.tensor([[-100]]), second[:, 1:], torch.full((1, 5), -100)), 1)
    alone = [functional.cross_entropy(model(d)[0, :-1], d[0, 1:], reduction="sum") for d in (first, second)]
    apart = torch.stack(alone).sum() / 10
    packed = model(together, targets, documents_BT=documents)
    torch.testing.assert_close(packed, apart, atol=1e-5, rtol=1e-4)
    weights = list(model.parameters())
    for ours, theirs in zip(torch.autograd.grad(packed, weights), torch.autograd.grad(apart, weights), strict=True):
        assert (ours - theirs).norm() < 1e-5 * theirs.norm()

"""Recorded activations are the network's own: attention maps reproduce its output, gradients are autograd's."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from matplotlib.image import imread

from flows.cli import main
from tests.model.families import FAMILIES, VOCAB, small
from xmodel_core.errors import XmodelError
from xmodel_core.model.diagnose import diagnose
from xmodel_core.model.network import Block, Xmodel, initialise
from xmodel_core.model.probe import ROLES, ActivationSizes, activations, recording
from xmodel_core.model.weights import TOKENIZER, save_model
from xmodel_core.tokenizer.config import TokenizerConfig
from xmodel_core.tokenizer.tokenizer import Tokenizer
from xmodel_core.tokenizer.train import train

Models = dict[tuple[str, str], Xmodel]
pytestmark = pytest.mark.xdist_group("small_models")  # one process makes the session fixture `models`
TEXT = torch.randint(0, VOCAB, (2, 24), generator=torch.Generator().manual_seed(1))


def blocks(model: Xmodel) -> list[Block]:
    return [block for block in model.model.layers if isinstance(block, Block)]


@pytest.mark.parametrize("family", FAMILIES)
def test_attention_is_what_the_kernel_computed(models: Models, family: str) -> None:
    model = models[family, "trained"]
    attention = blocks(model)[1].self_attn
    seen: dict[str, Any] = {}
    hooks = [
        attention.qkv_proj.register_forward_hook(lambda _m, _i, output: seen.__setitem__("qkv", output)),
        attention.o_proj.register_forward_pre_hook(lambda _m, inputs: seen.__setitem__("attended", inputs[0])),
    ]
    with torch.no_grad(), recording(model) as recorded:
        model(TEXT)
    for hook in hooks:
        hook.remove()
    weights_BHTT = recorded["attention_logits"][1].softmax(-1)
    torch.testing.assert_close(weights_BHTT.sum(-1), torch.ones(2, 4, 24))
    assert (weights_BHTT.triu(1) == 0).all()
    v_BTGK = seen["qkv"].view(2, 24, 8, 16)[:, :, 6:]
    v_BHTK = v_BTGK.transpose(1, 2).repeat_interleave(2, 1)
    attended_BTHK = (weights_BHTT @ v_BHTK).transpose(1, 2)
    torch.testing.assert_close(attended_BTHK.reshape(2, 24, 64), seen["attended"], rtol=1e-4, atol=1e-5)


def test_activations_are_the_networks_own(models: Models) -> None:
    model = models["xmodel2-1.2b", "random"]
    recorded = activations(model, TEXT)
    assert {role: len(tensors) for role, tensors in recorded.items()} == {
        role: 1 if role in ("embedding", "final_hidden", "logits") else 3 for role in ROLES
    }
    with torch.no_grad():
        torch.testing.assert_close(recorded["embedding"][0], model.model.embed_tokens(TEXT) * 12)
        torch.testing.assert_close(recorded["final_hidden"][0], model.model.norm(recorded["residual"][2]))
        torch.testing.assert_close(recorded["logits"][0], model(TEXT))
    s = model.config.residual_scale
    both = recorded["attention_output"][0] * s + recorded["feed_forward_output"][0] * s
    torch.testing.assert_close(recorded["embedding"][0] + both, recorded["residual"][0], rtol=1e-4, atol=1e-5)
    assert recorded["attention_logits"][0].shape == (2, 4, 24 * 25 // 2)


def test_sizes_are_mean_absolutes_and_changes_since_the_first_measurement() -> None:
    model = Xmodel(small("xmodel2-1.2b"), VOCAB)
    initialise(model, 1)
    sizes = ActivationSizes(TEXT.numpy())
    first = sizes.measure(model)
    assert all(of["change"] == 0 and of["size"] > 0 for of in first.values())
    with torch.no_grad():
        model.model.embed_tokens.weight.mul_(1.5)
    second = sizes.measure(model)
    assert second["embedding"]["size"] == pytest.approx(1.5 * first["embedding"]["size"], rel=1e-5)
    assert second["embedding"]["change"] == pytest.approx(0.5 * first["embedding"]["size"], rel=1e-5)


def test_gradient_norms_are_autograds(models: Models) -> None:
    model = models["xmodel2.5-1.3b", "trained"]
    diagnosis = diagnose(model, TEXT[0].tolist())
    assert not any(parameter.requires_grad for parameter in model.parameters())  # left as it was
    model.requires_grad_(True)
    model.zero_grad()
    loss = model(TEXT[:1, :-1], TEXT[:1, 1:])
    loss.backward()
    for layer, row in enumerate(diagnosis.figures["layers"]):
        block = blocks(model)[layer]
        for part, module in (("all", block), ("attention", block.self_attn), ("feed_forward", block.mlp)):
            flat = torch.cat([p.grad.flatten() for p in module.parameters() if p.grad is not None])
            assert row["gradient_norm"][part] == pytest.approx(flat.norm().item(), rel=1e-4), part
    norm = torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None]).norm().item()
    model.zero_grad()
    model.requires_grad_(False)
    assert diagnosis.figures["gradient_norm"] == pytest.approx(norm, rel=1e-4)
    assert diagnosis.figures["loss"] == pytest.approx(loss.item(), rel=1e-5)
    row, maps = diagnosis.figures["layers"][1], diagnosis.maps_LHTT
    assert maps.shape == (3, 4, 23, 23)
    assert row["first_token_share"][2] == pytest.approx(maps[1, 2, 1:, 0].mean(), rel=1e-4)
    p = maps[1, 2]
    assert row["entropy"][2] == pytest.approx(-(p * np.log(np.where(p > 0, p, 1))).sum(-1).mean(), rel=1e-4)


def test_texts_of_a_wrong_length_are_refused(models: Models) -> None:
    for count in (2, 258):
        with pytest.raises(XmodelError, match="the text has the wrong length"):
            diagnose(models["xmodel2-1.2b", "random"], [1] * count)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    lines = ["从前有一个小女孩。\n", "Once upon a time there was a small girl.\n"] * 40
    pieces = train(lambda: iter(lines), TokenizerConfig(vocab_size=320))
    model = Xmodel(small("xmodel2-1.2b"), Tokenizer(pieces).vocab_size)
    initialise(model, 5)
    folder = tmp_path_factory.mktemp("run") / "checkpoint"
    folder.mkdir()
    save_model(model, folder)
    (folder / TOKENIZER).write_bytes(pieces)
    return folder


def test_the_command_writes_pictures_and_figures(checkpoint: Path, tmp_path: Path) -> None:
    text, out = "从前有一个小女孩。Once upon a time.", tmp_path / "out"
    words = ["diagnose", str(checkpoint), str(out), "--head", "0", "--head", "3"]
    done = CliRunner().invoke(main, [*words, "--prompt", text])
    assert done.exit_code == 0, done.output
    figures = json.loads((out / "diagnosis.json").read_text())
    assert "".join(figures["pieces"][1:]).replace(" ", "") == text.replace(" ", "")
    assert len(figures["layers"]) == 3 and len(figures["layers"][0]["entropy"]) == 4
    assert all(imread(out / name).ndim == 3 for name in ("attention.png", "layers.png"))
    for more, message in (
        (["--prompt", text], "there is a diagnosis already"),
        ([], "--prompt or with --file"),
    ):
        refused = CliRunner().invoke(main, [*words, *more])
        assert refused.exit_code != 0 and message in refused.output
    refused = CliRunner().invoke(
        main, ["diagnose", str(checkpoint), str(tmp_path / "b"), "--prompt", text, "--head", "4"]
    )
    assert refused.exit_code == 1 and "there is no such head" in refused.output

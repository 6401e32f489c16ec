"""`xmodel export` and `xmodel import` as typed: what comes out answers in transformers, what goes in answers here."""

import re
from pathlib import Path
from typing import Any

import click
import pytest
from transformers import AutoModelForCausalLM, AutoTokenizer

from flows.commands.export_import import export
from flows.recipes import model_presets
from tests.flows.checkpoints import small_model, two_languages, xmodel
from xmodel_core.model.formats.export_formats import FORMATS
from xmodel_core.model.generation.generate import generate_tokens
from xmodel_core.model.weights import load_model, save_model
from xmodel_core.tokenizer.tokenizer import Tokenizer


@pytest.fixture(scope="module")
def tokenizer_model() -> bytes:
    return two_languages()


@pytest.fixture
def checkpoint(request: pytest.FixtureRequest, tokenizer_model: bytes, tmp_path: Path) -> Path:
    model = small_model(Tokenizer(tokenizer_model).vocab_size, **model_presets()[request.param])
    folder = tmp_path / "checkpoint"
    folder.mkdir()
    save_model(model, folder)
    (folder / "tokenizer.model").write_bytes(tokenizer_model)
    return folder


@pytest.mark.parametrize("checkpoint", ["xmodel2-1.2b"], indirect=True)
def test_the_cards_own_lines_give_what_generate_gives(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tokenizer_model: bytes
) -> None:
    tokenizer = Tokenizer(tokenizer_model)
    done = xmodel("export", checkpoint, tmp_path / "out", "--format", "llama")
    assert done.exit_code == 0, done.output
    assert "LlamaForCausalLM, 20 tensors" in done.output
    lines = re.findall(r"```python\n(.*?)```", (tmp_path / "out/README.md").read_text(encoding="utf-8"), re.S)
    monkeypatch.chdir(tmp_path / "out")
    made: dict[str, Any] = {}
    exec(lines[0], made)  # noqa: S102 - our own lines
    # Ids, not text: a model that was only drawn writes broken bytes, which libraries mend in different ways.
    prompt = [tokenizer.eos_id, *tokenizer.encode("从前")]
    ours = list(generate_tokens(load_model(checkpoint), prompt, 64, eos_id=tokenizer.eos_id))
    theirs = made["output"][0].tolist()
    assert theirs[: len(prompt) + len(ours)] == prompt + ours
    assert theirs[len(prompt) + len(ours) :] in ([], [tokenizer.eos_id])
    assert len(ours) > 20


@pytest.mark.parametrize("checkpoint", ["xmodel-lm-1.1b", "xmodel2.5-1.3b"], indirect=True)
def test_out_and_in_again_is_the_same_checkpoint(checkpoint: Path, tmp_path: Path, tokenizer_model: bytes) -> None:
    out, back = tmp_path / "out", tmp_path / "back"
    assert xmodel("export", checkpoint, out, "--format", "xmodel").exit_code == 0
    names = {"README.md", "config.json", "generation_config.json", "model.safetensors", "pytorch_model.bin"}
    assert {path.name for path in out.iterdir()} == names | {
        "tokenizer.model",
        "tokenizer.json",
        "tokenizer_config.json",
    }
    done = xmodel("import", out, back)
    assert done.exit_code == 0, done.output
    for name in ("config.json", "model.safetensors", "tokenizer.model"):
        assert (back / name).read_bytes() == (checkpoint / name).read_bytes()
    texts = [xmodel("generate", folder, "--prompt", "Once").output for folder in (checkpoint, back)]
    assert texts[0] == texts[1]


@pytest.mark.parametrize("checkpoint", ["xmodel2-1.2b"], indirect=True)
def test_the_exported_tokenizer_gives_our_ids(checkpoint: Path, tmp_path: Path, tokenizer_model: bytes) -> None:
    assert xmodel("export", checkpoint, tmp_path / "out", "--format", "granite").exit_code == 0
    theirs, ours = AutoTokenizer.from_pretrained(tmp_path / "out"), Tokenizer(tokenizer_model)
    config = AutoModelForCausalLM.from_pretrained(tmp_path / "out").config
    assert (config.eos_token_id, theirs.eos_token_id) == (ours.eos_id, ours.eos_id)
    for text in ("从前有一个小女孩。", "Once  upon\na time 龘"):
        assert theirs(text, add_special_tokens=False).input_ids == ours.encode(text)


@pytest.mark.parametrize("checkpoint", ["xmodel2-1.2b"], indirect=True)
def test_a_mistake_is_one_message(checkpoint: Path, tmp_path: Path) -> None:
    refused = xmodel("export", checkpoint, tmp_path / "out", "--format", "xmodel")
    assert refused.exit_code == 1
    assert "the format xmodel cannot hold this model" in refused.output
    assert "Traceback" not in refused.output
    assert not (tmp_path / "out").exists()
    assert xmodel("export", checkpoint, tmp_path / "out", "--format", "gguf").exit_code == 2
    for words in (("generate", tmp_path, "--prompt", "x"), ("import", tmp_path, tmp_path / "out")):
        assert "checkpoint\n  expected: a folder with config.json" in xmodel(*words).output
    config = checkpoint / "config.json"
    config.write_text(config.read_text().replace('"num_hidden_layers": 2', '"num_hidden_layers": 3'))
    other = xmodel("generate", checkpoint, "--prompt", "x")
    assert other.exit_code == 1
    assert "these weights belong to another model\n  expected: the 29 tensors of 3 layers" in other.output
    (checkpoint / "tokenizer.model").unlink()
    bare = xmodel("export", checkpoint, tmp_path / "out", "--format", "llama")
    assert bare.exit_code == 1
    assert "a checkpoint without its tokenizer" in bare.output


def test_the_command_offers_every_format() -> None:
    offered = next(option for option in export.params if option.name == "format_name").type
    assert isinstance(offered, click.Choice)
    assert list(offered.choices) == list(FORMATS)

"""A plain call of transformers on an exported folder continues a prompt as `xmodel generate` does."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerFast, pipeline

from tests.conftest import Xmodel as Command
from tests.evaluation.conftest import lines
from tests.model.families import assert_greedy
from xmodel_core.model.config import ModelConfig
from xmodel_core.model.network import Xmodel, initialise
from xmodel_core.model.weights import load_model, save_model
from xmodel_core.tokenizer.config import TokenizerConfig
from xmodel_core.tokenizer.tokenizer import Tokenizer
from xmodel_core.tokenizer.train import train

pytestmark = pytest.mark.xdist_group("small_models")
PROMPTS = ("小安的外套", "The coat of", "Anna 的 coat，今天", " 3 coats\n", "龘")
# Formats that hold the model: MiniCPM's has muP and the usual attention scale, the lab's the other.
MUP: dict[str, Any] = {"scale_emb": 4, "scale_depth": 1.4, "dim_model_base": 16}
SHAPES = {"llama": MUP, "granite": MUP, "minicpm": MUP, "xmodel": {**MUP, "attention_scale": "1/d"}}


@pytest.fixture(scope="module")
def model_bytes() -> bytes:
    return train(lambda: iter(lines()), TokenizerConfig(vocab_size=336))


def checkpoint_in(folder: Path, model_bytes: bytes, settings: dict[str, Any]) -> Path:
    """A checkpoint whose weights are large, so that prompts continue differently."""
    config = ModelConfig(
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=64,
        initializer_range=0.5,
        **settings,
    )
    tokenizer = Tokenizer(model_bytes)
    model = Xmodel(config, tokenizer.vocab_size)
    initialise(model, 3)
    folder.mkdir()
    save_model(model, folder)
    (folder / "tokenizer.model").write_bytes(model_bytes)
    return folder


def exported_tokenizer(folder: Path) -> Any:
    """AutoTokenizer's, which for formats with released code asks for that code first: there the class that it names."""
    released = "auto_map" in json.loads((folder / "config.json").read_text(encoding="utf-8"))
    return (PreTrainedTokenizerFast if released else AutoTokenizer).from_pretrained(folder)


def assert_same_words(folder: Path, checkpoint: Path) -> None:
    """The exported tokenizer's plain call gives what our generation begins with, and its ids agree everywhere."""
    ours = Tokenizer.load(checkpoint / "tokenizer.model")
    theirs = exported_tokenizer(folder)
    for prompt in (*PROMPTS, ""):
        assert theirs(prompt).input_ids == [ours.eos_id, *ours.encode(prompt)]
        assert theirs(prompt, add_special_tokens=False).input_ids == ours.encode(prompt)
    for name in ("config.json", "generation_config.json"):
        ids = json.loads((folder / name).read_text(encoding="utf-8"))
        assert (ids["bos_token_id"], ids["eos_token_id"]) == (ours.eos_id, ours.eos_id)
    assert (theirs.bos_token_id, theirs.eos_token_id) == (ours.eos_id, ours.eos_id)


@pytest.mark.parametrize("name", SHAPES)
def test_the_plain_call_continues_as_we_do(name: str, tmp_path: Path, model_bytes: bytes, xmodel: Command) -> None:
    checkpoint = checkpoint_in(tmp_path / "checkpoint", model_bytes, SHAPES[name])
    done = xmodel("export", checkpoint, tmp_path / "out", "--format", name)
    assert done.returncode == 0, done.stderr
    assert_same_words(tmp_path / "out", checkpoint)

    model = load_model(checkpoint)
    theirs = exported_tokenizer(tmp_path / "out")
    if name in ("llama", "granite"):  # the other two are read by released code that is not ours to ship
        reference: Any = AutoModelForCausalLM.from_pretrained(tmp_path / "out")
        text = pipeline("text-generation", model=reference, tokenizer=theirs)
        for prompt in PROMPTS:
            given = theirs(prompt, return_tensors="pt")
            output = reference.generate(**given, max_new_tokens=20, do_sample=False)[0].tolist()
            start = given.input_ids.shape[1]
            with torch.no_grad():
                assert_greedy(output[start:], model(torch.tensor([output[:-1]]))[0, start - 1 :])
            # Ids, not text: a model that was only drawn writes broken bytes, which libraries mend in different ways.
            piped: Any = text(prompt, max_new_tokens=20, do_sample=False, return_tensors=True)
            assert piped[0]["generated_token_ids"] == output
    else:
        assert xmodel("import", tmp_path / "out", tmp_path / "back").returncode == 0
        again = load_model(tmp_path / "back")
        with torch.no_grad():
            for prompt in PROMPTS:
                [given] = torch.tensor([theirs(prompt).input_ids])
                assert torch.equal(again(given[None]), model(given[None]))
        # No second token before the prompt where an import is exported.
        assert xmodel("export", tmp_path / "back", tmp_path / "twice", "--format", name).returncode == 0
        assert_same_words(tmp_path / "twice", checkpoint)


def test_a_conversation_begins_as_a_document(tmp_path: Path, model_bytes: bytes, xmodel: Command) -> None:
    checkpoint = checkpoint_in(tmp_path / "checkpoint", model_bytes, MUP)
    assert xmodel("export", checkpoint, tmp_path / "out", "--format", "llama").returncode == 0
    tokenizer: Any = AutoTokenizer.from_pretrained(tmp_path / "out")
    ids = tokenizer.apply_chat_template([{"role": "user", "content": "小安"}], return_dict=False)
    assert ids.count(tokenizer.bos_token_id) == 1 and ids[0] == tokenizer.bos_token_id

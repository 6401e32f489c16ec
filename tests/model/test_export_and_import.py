"""Export and import of folders: complete or absent, the same bytes each time, one message for what cannot be read."""

import json
import pickle
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.model.families import FAMILIES, VOCAB
from xmodel_core.errors import XmodelError
from xmodel_core.model.formats.export_checkpoint import SpecialTokens, export_checkpoint, tokens_beside
from xmodel_core.model.formats.import_checkpoint import import_checkpoint
from xmodel_core.model.network import Xmodel
from xmodel_core.model.weights import load_model, save_model

LM, TWO, TWO_AND_A_HALF = FAMILIES
Models = dict[tuple[str, str], Xmodel]
pytestmark = pytest.mark.xdist_group("small_models")  # one process makes the session fixture `models`


@pytest.fixture
def run(models: Models, tmp_path: Path) -> Path:
    """A run's folder with two checkpoints; the second is the trained one."""
    for step, kind in ((100, "random"), (200, "trained")):
        folder = tmp_path / "runs" / "tiny-12345678" / "checkpoints" / f"step-{step:08d}"
        folder.mkdir(parents=True)
        save_model(models[TWO, kind], folder)
        (folder / "state.json").write_text(json.dumps({"step": step, "tokens": 1024 * step}))
    return tmp_path / "runs" / "tiny-12345678"


def export(place: Path, out: Path, name: str = "granite") -> dict[str, bytes]:
    export_checkpoint(place, name, out, SpecialTokens(1, 2), {"tokenizer.json": "{}"})
    return {path.name: path.read_bytes() for path in out.iterdir()}


def test_a_run_stands_for_its_newest_checkpoint_and_bytes_repeat(run: Path, tmp_path: Path) -> None:
    once = export(run, tmp_path / "once")
    assert once == export(run / "checkpoints" / "step-00000200", tmp_path / "twice")
    names = ["README.md", "config.json", "generation_config.json", "model.safetensors", "tokenizer.json"]
    assert sorted(once) == names
    assert json.loads(once["generation_config.json"]) == {"bos_token_id": 1, "eos_token_id": 2}
    assert export(run, tmp_path / "three", "llama") == export(run, tmp_path / "four", "llama")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["four", "once", "runs", "three", "twice"]


def test_pickled_bytes_repeat(models: Models, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    save_model(models[LM, "trained"], tmp_path / "in")
    first, second = (export(tmp_path / "in", tmp_path / name, "xmodel") for name in ("one", "two"))
    assert first == second
    assert "pytorch_model.bin" in first
    assert len({path.stat().st_mode for path in (tmp_path / "one").iterdir()}) == 1, "who reads one reads all"


def test_the_card_says_what_it_is(run: Path, tmp_path: Path) -> None:
    card = export(run, tmp_path / "out")["README.md"].decode()
    parameters = sum(parameter.numel() for parameter in load_model(run / "checkpoints/step-00000200").parameters())
    for words in (
        "# tiny-12345678",
        f"{parameters:,}",
        "GraniteForCausalLM",
        "scale_emb 12",
        "200 steps, 204,800 tokens",
    ):
        assert words in card
    assert str(tmp_path) not in card


def test_nothing_is_overwritten(run: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    export(run, tmp_path / "out")  # an empty folder may be there
    with pytest.raises(XmodelError, match="the output folder is not empty"):
        export(run, tmp_path / "out")
    (tmp_path / "file").write_text("kept")
    with pytest.raises(XmodelError, match="the output folder is a file"):
        export(run, tmp_path / "file")
    assert (tmp_path / "file").read_text() == "kept"


def test_a_disk_without_room_is_refused_before_anything_is_written(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=1000))
    with pytest.raises(
        XmodelError, match=r"(?s)no room for the export.*expected: [\d,]{7} bytes free.*found: 1,000 bytes"
    ):
        export(run, tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["runs"]


def test_a_checkpoint_of_another_shape_is_refused(run: Path, tmp_path: Path) -> None:
    path = run / "checkpoints" / "step-00000200" / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "intermediate_size": 128}))
    with pytest.raises(XmodelError) as error:
        export(run, tmp_path / "out")
    assert "these weights belong to another model" in str(error.value)
    assert "gate_proj.weight is (96, 64), not (128, 64)" in str(error.value)
    assert not (tmp_path / "out").exists()


@pytest.fixture
def released(models: Models, tmp_path: Path) -> Path:
    """A folder as Xmodel-LM was released: config.json, pytorch_model.bin, a SentencePiece model of another name."""
    (tmp_path / "in").mkdir()
    save_model(models[LM, "trained"], tmp_path / "in")
    export(tmp_path / "in", tmp_path / "released", "xmodel")
    (tmp_path / "released" / "model.safetensors").unlink()
    (tmp_path / "released" / "xmodel_32000.model").write_bytes(b"pieces")
    return tmp_path / "released"


def bin_of(folder: Path) -> dict[str, Tensor]:
    return torch.load(folder / "pytorch_model.bin", weights_only=True)


def test_a_release_in_parts_and_in_bf16(models: Models, released: Path, tmp_path: Path) -> None:
    tensors = {name: tensor.bfloat16() for name, tensor in bin_of(released).items()}
    (released / "pytorch_model.bin").unlink()
    files = {name: f"pytorch_model-0000{1 + number % 2}-of-00002.bin" for number, name in enumerate(tensors)}
    for file in set(files.values()):
        torch.save({name: tensors[name] for name in tensors if files[name] == file}, released / file)
    (released / "pytorch_model.bin.index.json").write_text(json.dumps({"metadata": {}, "weight_map": files}))
    config, vocab_size = import_checkpoint(released, tmp_path / "ours")
    assert (config, vocab_size) == (models[LM, "trained"].config, VOCAB)
    assert (tmp_path / "ours" / "tokenizer.model").read_bytes() == b"pieces"
    for ours, theirs in zip(
        load_model(tmp_path / "ours").parameters(), models[LM, "trained"].parameters(), strict=True
    ):
        assert ours.dtype == torch.float32
        assert torch.equal(ours, theirs.bfloat16().float())


def test_a_release_without_sentencepiece_can_be_exported_again(released: Path, tmp_path: Path) -> None:
    (released / "xmodel_32000.model").unlink()
    with pytest.raises(XmodelError, match="a released checkpoint without its tokenizer"):
        import_checkpoint(released, tmp_path / "ours")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (released / name).write_text('{"of": "another kind"}')
    import_checkpoint(released, tmp_path / "ours")
    tokens, files = tokens_beside(tmp_path / "ours")
    assert tokens == SpecialTokens(1, 2)
    export_checkpoint(tmp_path / "ours", "llama", tmp_path / "out", tokens, files)
    assert (tmp_path / "out" / "tokenizer.json").read_text() == '{"of": "another kind"}'
    assert json.loads((tmp_path / "out" / "config.json").read_text())["eos_token_id"] == 2


class Attack:
    """What a pickle may hold: a call."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.target,))


def test_a_pickle_that_runs_code_is_refused(released: Path, tmp_path: Path) -> None:
    (released / "pytorch_model.bin").write_bytes(
        pickle.dumps({"model.norm.weight": Attack(tmp_path / "run")}, protocol=2)
    )
    with pytest.raises(XmodelError, match="released weights cannot be read"):
        import_checkpoint(released, tmp_path / "ours")
    torch.save({"model.norm.weight": Attack(tmp_path / "run")}, released / "pytorch_model.bin")
    with pytest.raises(XmodelError, match="released weights cannot be read"):
        import_checkpoint(released, tmp_path / "ours")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"architectures": ["LlamaForCausalLM"]}, ["unknown class", "XModelForCausalLM", "LlamaForCausalLM"]),
        ({"attention_bias": True}, ["that our network does not support", "attention_bias True"]),
        ({"rope_scaling": {"type": "linear", "factor": 2}}, ["that our network does not support", "rope_scaling"]),
        ({"num_attention_heads": 5}, ["hidden_size 64 must be a multiple of num_attention_heads 5"]),
        ({"hidden_size": 128}, ["frequencies differ from its config's", "head size 32"]),
        ({"intermediate_size": 100}, ["these weights belong to another model", "(96, 64), not (100, 64)"]),
        ({"vocab_size": None}, ["a config without its vocabulary"]),
    ],
)
def test_what_cannot_be_imported_is_named(
    released: Path, tmp_path: Path, change: dict[str, Any], words: list[str]
) -> None:
    config = json.loads((released / "config.json").read_text())
    (released / "config.json").write_text(json.dumps({**config, **change}))
    with pytest.raises(XmodelError) as error:
        import_checkpoint(released, tmp_path / "ours")
    assert all(word in str(error.value) for word in words), str(error.value)
    assert str(released) in str(error.value)
    assert not (tmp_path / "ours").exists()


def test_a_tied_projection_that_differs_is_refused(models: Models, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    save_model(models[TWO_AND_A_HALF, "trained"], tmp_path / "in")
    export(tmp_path / "in", tmp_path / "released", "xmodel")
    (tmp_path / "released" / "model.safetensors").unlink()
    tensors = bin_of(tmp_path / "released")
    torch.save({**tensors, "lm_head.weight": tensors["lm_head.weight"] + 1}, tmp_path / "released/pytorch_model.bin")
    with pytest.raises(XmodelError, match="an output projection that differs from the embedding"):
        import_checkpoint(tmp_path / "released", tmp_path / "ours")
    config = json.loads((tmp_path / "released/config.json").read_text())
    (tmp_path / "released/config.json").write_text(json.dumps({**config, "mup_ffn_residual_scale": 2.0}))
    with pytest.raises(XmodelError, match="more scales than our network"):
        import_checkpoint(tmp_path / "released", tmp_path / "ours")


def test_absence_is_named(released: Path, tmp_path: Path) -> None:
    with pytest.raises(XmodelError, match="this is not a released checkpoint"):
        import_checkpoint(tmp_path / "nowhere", tmp_path / "ours")
    (released / "pytorch_model.bin").unlink()
    with pytest.raises(XmodelError, match="no weights in this folder"):
        import_checkpoint(released, tmp_path / "ours")
    with pytest.raises(XmodelError, match="this is not a checkpoint"):
        export(tmp_path / "nowhere", tmp_path / "out")

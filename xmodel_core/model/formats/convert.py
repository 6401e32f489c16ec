"""Checkpoints out to other code, and released checkpoints in: folders of files, each whole or not there.

Takes a checkpoint of ours and a format; gives a folder that transformers (or the lab's or MiniCPM's code) loads:
weights, configs, tokenizer, model card. Or takes a released folder; gives a checkpoint of ours, to generate or train
from. Tensors are read without running code: safetensors, or torch.load with weights_only.
"""

import json
import pickle
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from xmodel_core.artifacts.disk import naming_a_full_disk
from xmodel_core.errors import XmodelError
from xmodel_core.model.config import ModelConfig
from xmodel_core.model.cost import count_parameters
from xmodel_core.model.formats.export_formats import ExportFormat, laid_out
from xmodel_core.model.formats.released import shape_of_released, weights_of_released
from xmodel_core.model.generate import TOKENIZER
from xmodel_core.model.weights import (
    CONFIG,
    WEIGHTS,
    check_weights,
    newest_checkpoint,
    read_config,
    read_weights,
    save_weights,
)

PICKLED = "pytorch_model.bin"
GENERATION = "generation_config.json"
TOKENIZER_JSON = ("tokenizer.json", "tokenizer_config.json")


@dataclass(frozen=True)
class SpecialTokens:
    """The ids that config.json repeats from the tokenizer; None where there is no such token."""

    bos_token_id: int | None
    eos_token_id: int | None

    def fields(self) -> dict[str, int]:
        """Those that there are, under Hugging Face's names."""
        return {name: value for name, value in vars(self).items() if value is not None}


def _json(record: Mapping[str, Any]) -> str:
    return json.dumps(record, indent=2, sort_keys=True) + "\n"


@contextmanager
def _appearing(folder: Path) -> Iterator[Path]:
    """A folder to write in, that becomes `folder` when the body is done. XmodelError where something lies there."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise XmodelError(
            "something lies there already", expected="a new or empty folder", where=folder, remedy="give another"
        )
    with naming_a_full_disk(folder.parent):
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.") as aside:
            written = Path(aside) / folder.name
            written.mkdir()
            yield written
            written.replace(folder)


def _save(layout: ExportFormat, folder: Path) -> None:
    """Writes a layout's tensors straight to the disk, so that only the model itself must fit in memory."""
    seen: set[int] = set()
    apart = {}
    for name, tensor in layout.weights.items():
        # safetensors holds no two names for one tensor: a tied one is written twice.
        apart[name] = tensor.clone() if tensor.data_ptr() in seen else tensor.contiguous()
        seen.add(tensor.data_ptr())
    # Asked beforehand: these writers do not tell a full disk from other failures.
    needed = sum(tensor.nbytes for tensor in apart.values()) * (2 if layout.pickled else 1)
    if (free := shutil.disk_usage(folder).free) < needed:
        raise XmodelError(
            "the disk has no room for the export",
            expected=f"{needed:,} bytes free",
            found=f"{free:,} bytes",
            where=folder.parents[1],
            remedy="make room, or give a folder on another disk",
        )
    save_file(apart, folder / WEIGHTS, metadata={"format": "pt"})
    if layout.pickled:
        torch.save(layout.weights, folder / PICKLED)


def _card(layout: ExportFormat, config: ModelConfig, vocab_size: int, checkpoint: Path, tokens: SpecialTokens) -> str:
    """The model card: what it is, how to load it, what is not known of it."""
    run = checkpoint.parent.parent.name if checkpoint.parent.name == "checkpoints" else checkpoint.name
    state = checkpoint / "state.json"
    trained = json.loads(state.read_text(encoding="utf-8")) if state.exists() else {}
    counts = count_parameters(config, vocab_size)
    rows = {
        "parameters": f"{counts.total:,}, of them {counts.non_embedding:,} without embeddings",
        "layers, hidden size, feed-forward": f"{config.num_hidden_layers}, {config.hidden_size}, "
        f"{config.intermediate_size}",
        "query heads, key-value heads, head size": f"{config.num_attention_heads}, {config.num_key_value_heads}, "
        f"{config.head_dim}",
        "vocabulary": f"{vocab_size:,}, {'tied' if config.tie_word_embeddings else 'untied'} embeddings",
        "context": f"{config.max_position_embeddings:,} tokens, RoPE with base {config.rope_theta:,.0f}",
        "attention scale": f"{config.attention_scale}, d the head size",
    }
    if config.scale_emb is not None:
        scales = ("scale_emb", "scale_depth", "dim_model_base")
        rows["muP"] = ", ".join(f"{name} {getattr(config, name):g}" for name in scales)
    if trained:
        rows["trained"] = f"{trained['step']:,} steps, {trained['tokens']:,} tokens"
    table = "\n".join(f"| {name} | {value} |" for name, value in rows.items())
    remote = ", trust_remote_code=True" if "auto_map" in layout.config else ""
    eos = "tokenizer.eos_token + " if tokens.eos_token_id is not None else ""
    return f"""---
library_name: transformers
pipeline_tag: text-generation
language: [zh, en]
---

# {run}

A small Chinese-English language model. {layout.note}

| | |
|---|---|
{table}

```python
from transformers import AutoModelForCausalLM, AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained("."{remote})
model = AutoModelForCausalLM.from_pretrained("."{remote})
prompt = tokenizer({eos}"从前", return_tensors="pt", add_special_tokens=False)
output = model.generate(prompt.input_ids, attention_mask=prompt.attention_mask, max_new_tokens=64, do_sample=False)
print(tokenizer.decode(output[0]))
```

In training every document but the first stood behind an end-of-document token: a prompt should, too.

It continues text. It was not made to be safe, and has not been checked for what it says about people. Its licence is
for whoever publishes it to state.
"""


def tokens_beside(checkpoint: Path) -> tuple[SpecialTokens, dict[str, str]]:
    """The special tokens and the tokenizer's files of a checkpoint that came without a SentencePiece model. XmodelError
    where it has no tokenizer at all."""
    files = {name: (checkpoint / name) for name in (*TOKENIZER_JSON, GENERATION)}
    if not all(path.exists() for path in files.values()):
        raise XmodelError(
            "a checkpoint without its tokenizer", expected=f"{TOKENIZER}, or {', '.join(files)}", where=checkpoint
        )
    texts = {name: path.read_text(encoding="utf-8") for name, path in files.items()}
    ids = json.loads(texts.pop(GENERATION))
    return SpecialTokens(ids.get("bos_token_id"), ids.get("eos_token_id")), texts


def export_checkpoint(
    place: Path, format_name: str, out: Path, tokens: SpecialTokens, tokenizer_files: Mapping[str, str | bytes]
) -> ExportFormat:
    """Writes a checkpoint (or a run's newest) as a folder for other code; gives what it wrote.

    `tokenizer_files`: name → content of the files that go with it. XmodelError: no whole checkpoint, weights of another
    shape, a format that cannot hold the model, something at `out`.
    """
    checkpoint = newest_checkpoint(place)
    config, vocab_size = read_config(checkpoint)
    named = read_weights(checkpoint)
    check_weights(named, config, vocab_size, checkpoint / WEIGHTS)
    layout = laid_out(format_name, config, vocab_size, named)
    with _appearing(out) as folder:
        _save(layout, folder)
        generation = {name: layout.config[name] for name in ("pad_token_id",) if name in layout.config}
        (folder / CONFIG).write_text(_json({**layout.config, **tokens.fields()}), encoding="utf-8")
        (folder / GENERATION).write_text(_json({**generation, **tokens.fields()}), encoding="utf-8")
        shutil.copymode(folder / CONFIG, folder / WEIGHTS)  # safetensors keeps its files to their owner
        for name, content in tokenizer_files.items():
            (folder / name).write_bytes(content.encode() if isinstance(content, str) else content)
        card = _card(layout, config, vocab_size, checkpoint.resolve(), tokens)
        (folder / "README.md").write_text(card, encoding="utf-8")
    return layout


def _read_tensors(path: Path) -> dict[str, Tensor]:
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        # Only tensors: a pickle that asks for anything else is refused before it runs.
        found = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, safetensors.SafetensorError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        said = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise XmodelError(
            "released weights cannot be read", expected="a whole file of tensors alone", found=said, where=path
        ) from None
    if not isinstance(found, dict) or not all(isinstance(value, Tensor) for value in found.values()):
        raise XmodelError(
            "released weights of another form", expected="tensors by name", found=type(found).__name__, where=path
        )
    return found


def _released_tensors(folder: Path) -> dict[str, Tensor]:
    """All tensors of a released folder, in one file or in several with an index."""
    for name in (WEIGHTS, PICKLED):
        index = folder / f"{name}.index.json"
        if (folder / name).exists():
            return _read_tensors(folder / name)
        if index.exists():
            try:
                parts = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
            except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
                raise XmodelError(
                    "an index of weights cannot be read", expected="`weight_map`", found=error, where=index
                ) from None
            tensors: dict[str, Tensor] = {}
            for part in parts:
                tensors |= _read_tensors(folder / Path(part).name)  # beside the index, whatever it says
            return tensors
    raise XmodelError("no weights are there", expected=f"{WEIGHTS} or {PICKLED}", where=folder)


def _released_record(folder: Path) -> dict[str, Any]:
    path = folder / CONFIG
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise XmodelError(
            "this is no released checkpoint",
            expected=f"a folder with {CONFIG} and its weights",
            found=error,
            where=path,
        ) from None
    if not isinstance(record, dict):
        raise XmodelError("a config of another form", expected="fields", found=type(record).__name__, where=path)
    return record


def import_checkpoint(released: Path, out: Path) -> tuple[ModelConfig, int]:
    """Writes a released folder as a checkpoint of ours; gives its shape and vocabulary size. The tokenizer is the
    SentencePiece model beside the weights, or else its tokenizer.json, which can be exported again but not generate
    here. XmodelError: a layout that is not known, a part that our network lacks, files that cannot be read."""
    record = _released_record(released)
    config, vocab_size = shape_of_released(record, released / CONFIG)
    named = weights_of_released(_released_tensors(released), config, released)
    check_weights(named, config, vocab_size, released)
    models = sorted(released.glob("*.model"))
    if len(models) > 1:
        raise XmodelError(
            "more than one tokenizer lies beside the weights",
            expected="one .model file",
            found=", ".join(path.name for path in models),
            where=released,
            remedy="leave only the model's own",
        )
    texts = [released / name for name in TOKENIZER_JSON]
    if not models and not all(path.exists() for path in texts):
        raise XmodelError(
            "a released checkpoint without its tokenizer",
            expected=f"a SentencePiece .model file, or {' and '.join(TOKENIZER_JSON)}",
            where=released,
            remedy="put it beside the weights",
        )
    with _appearing(out) as folder:
        save_weights(named, config, vocab_size, folder)
        if models:
            shutil.copyfile(models[0], folder / TOKENIZER)
        else:
            for path in texts:
                shutil.copyfile(path, folder / path.name)
            ids = {name: record[name] for name in ("bos_token_id", "eos_token_id") if name in record}
            (folder / GENERATION).write_text(_json(ids), encoding="utf-8")
    return config, vocab_size

"""`xmodel export`: checkpoints of ours as folders that other code loads.

Takes a checkpoint and a format; gives a folder that transformers (or the lab's or MiniCPM's code) loads, complete or
not at all: weights, configs, tokenizer, model card.
"""

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import save_file

from xmodel_core.artifacts.sealed_folder import verify
from xmodel_core.errors import XmodelError
from xmodel_core.model.config import ModelConfig
from xmodel_core.model.cost import count_parameters
from xmodel_core.model.formats.export_formats import ExportedModel, convert
from xmodel_core.model.formats.files import GENERATION_CONFIG, PICKLED_WEIGHTS, TOKENIZER_JSON, json_text, new_folder
from xmodel_core.model.weights import (
    CONFIG,
    STATE,
    TOKENIZER,
    WEIGHTS,
    check_weights,
    newest_checkpoint,
    read_config,
    read_weights,
)


@dataclass(frozen=True)
class SpecialTokens:
    """The ids that config.json repeats from the tokenizer; None where it has no such token."""

    bos_token_id: int | None
    eos_token_id: int | None

    def fields(self) -> dict[str, int]:
        """The ids that exist, under Hugging Face's names."""
        return {name: value for name, value in vars(self).items() if value is not None}


def _save_tensors(exported: ExportedModel, folder: Path) -> None:
    """Writes the tensors straight to the disk, so that only the model itself must fit in memory. XmodelError where the
    disk has no room for them."""
    seen: set[int] = set()
    separate = {}
    for name, tensor in exported.weights.items():
        # safetensors holds no two names for one tensor: a tied one is written twice.
        separate[name] = tensor.clone() if tensor.data_ptr() in seen else tensor.contiguous()
        seen.add(tensor.data_ptr())
    # Checked beforehand: these writers do not distinguish a full disk from other failures.
    needed = sum(tensor.nbytes for tensor in separate.values()) * (2 if exported.pickled else 1)
    if (free := shutil.disk_usage(folder).free) < needed:
        raise XmodelError(
            "the disk has no room for the export",
            expected=f"{needed:,} bytes free",
            found=f"{free:,} bytes",
            where=folder.parents[1],
            remedy="free some space, or choose a folder on another disk",
        )
    save_file(separate, folder / WEIGHTS, metadata={"format": "pt"})
    if exported.pickled:
        torch.save(exported.weights, folder / PICKLED_WEIGHTS)


def _model_card(
    exported: ExportedModel, config: ModelConfig, vocab_size: int, checkpoint: Path, tokens: SpecialTokens
) -> str:
    """The text of README.md: shape and training of the model, how to load it, its limits."""
    run = checkpoint.parent.parent.name if checkpoint.parent.name == "checkpoints" else checkpoint.name
    state = checkpoint / STATE
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
    remote = ", trust_remote_code=True" if "auto_map" in exported.config else ""
    begins = (
        "In training every document but the first stood behind an end-of-document token: it is `bos_token` here, and "
        "the tokenizer puts it before a prompt.\n\n"
        if tokens.bos_token_id is not None and tokens.bos_token_id == tokens.eos_token_id
        else ""
    )
    return f"""---
library_name: transformers
pipeline_tag: text-generation
language: [zh, en]
---

# {run}

A small Chinese-English language model. {exported.note}

| | |
|---|---|
{table}

```python
from transformers import AutoModelForCausalLM, AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained("."{remote})
model = AutoModelForCausalLM.from_pretrained("."{remote})
prompt = tokenizer("从前", return_tensors="pt")
output = model.generate(**prompt, max_new_tokens=64, do_sample=False)
print(tokenizer.decode(output[0], skip_special_tokens=True))
```

{begins}It continues text. It was not made to be safe, and has not been checked for what it says about people.
Its licence is for whoever publishes it to state.
"""


def tokens_beside(checkpoint: Path) -> tuple[SpecialTokens, dict[str, str]]:
    """The special tokens and the tokenizer's files, name → text, of a checkpoint that was imported without a
    SentencePiece model. XmodelError where it has no tokenizer at all."""
    files = {name: (checkpoint / name) for name in (*TOKENIZER_JSON, GENERATION_CONFIG)}
    if not all(path.exists() for path in files.values()):
        raise XmodelError(
            "a checkpoint without its tokenizer", expected=f"{TOKENIZER}, or {', '.join(files)}", where=checkpoint
        )
    texts = {name: path.read_text(encoding="utf-8") for name, path in files.items()}
    ids = json.loads(texts.pop(GENERATION_CONFIG))
    return SpecialTokens(ids.get("bos_token_id"), ids.get("eos_token_id")), texts


def export_checkpoint(
    place: Path, format_name: str, out: Path, tokens: SpecialTokens, tokenizer_files: Mapping[str, str | bytes]
) -> ExportedModel:
    """Writes a checkpoint (or a run's newest) as a folder for other code; gives what it wrote.

    `tokenizer_files`: name → content of the files to put beside the weights. XmodelError: an incomplete or
    damaged checkpoint, weights of another shape, a format that cannot hold the model, an output folder that is not
    empty, no room on the disk.
    """
    checkpoint = newest_checkpoint(place)
    verify(checkpoint, CONFIG, WEIGHTS, STATE)
    config, vocab_size = read_config(checkpoint)
    named = read_weights(checkpoint)
    check_weights(named, config, vocab_size, checkpoint / WEIGHTS)
    exported = convert(format_name, config, vocab_size, named)
    with new_folder(out) as folder:
        _save_tensors(exported, folder)
        generation = {name: exported.config[name] for name in ("pad_token_id",) if name in exported.config}
        (folder / CONFIG).write_text(json_text({**exported.config, **tokens.fields()}), encoding="utf-8")
        (folder / GENERATION_CONFIG).write_text(json_text({**generation, **tokens.fields()}), encoding="utf-8")
        shutil.copymode(folder / CONFIG, folder / WEIGHTS)  # safetensors makes its files readable to their owner only
        for name, content in tokenizer_files.items():
            (folder / name).write_bytes(content.encode() if isinstance(content, str) else content)
        card = _model_card(exported, config, vocab_size, checkpoint.resolve(), tokens)
        (folder / "README.md").write_text(card, encoding="utf-8")
    return exported

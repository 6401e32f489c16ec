"""`xmodel import`: released checkpoints as checkpoints of ours, to generate or train from.

Takes a released folder; gives one of ours, complete or not at all. Tensors are read without running code: safetensors,
or torch.load with weights_only.
"""

import json
import pickle
import shutil
from pathlib import Path
from typing import Any

import safetensors
import torch
from safetensors.torch import load_file
from torch import Tensor

from xmodel_core.errors import XmodelError
from xmodel_core.model.config import ModelConfig
from xmodel_core.model.formats.files import GENERATION_CONFIG, PICKLED_WEIGHTS, TOKENIZER_JSON, json_text, new_folder
from xmodel_core.model.formats.released import shape_of_released, weights_of_released
from xmodel_core.model.weights import CONFIG, TOKENIZER, WEIGHTS, check_weights, save_weights


def _read_tensors(path: Path) -> dict[str, Tensor]:
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        # Only tensors: a pickle that asks for anything else is refused before it runs.
        tensors = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, safetensors.SafetensorError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        message = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise XmodelError(
            "released weights cannot be read", expected="a complete file of tensors only", found=message, where=path
        ) from None
    if not isinstance(tensors, dict) or not all(isinstance(value, Tensor) for value in tensors.values()):
        raise XmodelError(
            "released weights are not a mapping",
            expected="tensors by name",
            found=type(tensors).__name__,
            where=path,
        )
    return tensors


def _released_tensors(folder: Path) -> dict[str, Tensor]:
    """All tensors of a released folder, in one file or in several with an index."""
    for name in (WEIGHTS, PICKLED_WEIGHTS):
        index = folder / f"{name}.index.json"
        if (folder / name).exists():
            return _read_tensors(folder / name)
        if index.exists():
            try:
                parts = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
            except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
                raise XmodelError(
                    "the index of the weights cannot be read", expected="`weight_map`", found=error, where=index
                ) from None
            tensors: dict[str, Tensor] = {}
            for part in parts:
                tensors |= _read_tensors(folder / Path(part).name)  # beside the index, whatever it says
            return tensors
    raise XmodelError("no weights in this folder", expected=f"{WEIGHTS} or {PICKLED_WEIGHTS}", where=folder)


def _released_record(folder: Path) -> dict[str, Any]:
    path = folder / CONFIG
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise XmodelError(
            "this is not a released checkpoint",
            expected=f"a folder with {CONFIG} and its weights",
            found=error,
            where=path,
        ) from None
    if not isinstance(record, dict):
        raise XmodelError("the config is not a JSON object", found=type(record).__name__, where=path)
    return record


def import_checkpoint(released: Path, out: Path) -> tuple[ModelConfig, int]:
    """Writes a released folder as a checkpoint of ours; gives its shape and vocabulary size.

    The tokenizer is the SentencePiece model beside the weights, or else tokenizer.json: such a checkpoint can be
    exported again but not generate here. XmodelError: an unknown format, a part that our network lacks, files that
    cannot be read, an output folder that is not empty.
    """
    record = _released_record(released)
    config, vocab_size = shape_of_released(record, released / CONFIG)
    named = weights_of_released(_released_tensors(released), config, released)
    check_weights(named, config, vocab_size, released)
    models = sorted(released.glob("*.model"))
    if len(models) > 1:
        raise XmodelError(
            "more than one tokenizer beside the weights",
            expected="one .model file",
            found=", ".join(path.name for path in models),
            where=released,
            remedy="keep only the model's own",
        )
    texts = [released / name for name in TOKENIZER_JSON]
    if not models and not all(path.exists() for path in texts):
        raise XmodelError(
            "a released checkpoint without its tokenizer",
            expected=f"a SentencePiece .model file, or {' and '.join(TOKENIZER_JSON)}",
            where=released,
            remedy="put it beside the weights",
        )
    with new_folder(out) as folder:
        save_weights(named, config, vocab_size, folder)
        if models:
            shutil.copyfile(models[0], folder / TOKENIZER)
        else:
            for path in texts:
                shutil.copyfile(path, folder / path.name)
            ids = {name: record[name] for name in ("bos_token_id", "eos_token_id") if name in record}
            (folder / GENERATION_CONFIG).write_text(json_text(ids), encoding="utf-8")
    return config, vocab_size

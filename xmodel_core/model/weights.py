"""Weights on disk: `model.safetensors` with Llama's and MiniCPM's names, and `config.json` beside it.

Takes a model and a folder, or a folder; gives the files, or the model. The network keeps query, key
and value (gate and up) as one matrix; here they are split and joined, so that the names are the common ones.
"""

import json
from collections.abc import Mapping
from pathlib import Path

import safetensors
import torch
from safetensors.torch import load_file, save
from torch import Tensor

from xmodel_core.artifacts.sealed_folder import verify
from xmodel_core.errors import XmodelError
from xmodel_core.model.config import ModelConfig
from xmodel_core.model.network import Xmodel
from xmodel_core.specs.strict import validate

WEIGHTS = "model.safetensors"
CONFIG = "config.json"
TOKENIZER = "tokenizer.model"
STATE = "state.json"
"""Beside them in a checkpoint of a training: its step and tokens."""
MODEL_TYPE = "xmodel"


def _joined_matrices(config: ModelConfig) -> dict[str, dict[str, int]]:
    """Joined matrix of the network → the names of its parts on disk, in order → their rows."""
    queries = config.num_attention_heads * config.head_dim
    shared = config.num_key_value_heads * config.head_dim
    return {
        "self_attn.qkv_proj": {"self_attn.q_proj": queries, "self_attn.k_proj": shared, "self_attn.v_proj": shared},
        "mlp.gate_up_proj": {"mlp.gate_proj": config.intermediate_size, "mlp.up_proj": config.intermediate_size},
    }


def named_weights(model: Xmodel) -> dict[str, Tensor]:
    """The weights under Hugging Face's names (model.layers.0.self_attn.q_proj.weight …); a tied output
    projection has no entry of its own."""
    joined = _joined_matrices(model.config)
    named: dict[str, Tensor] = {}
    for name, tensor in model.state_dict().items():
        matrix = next((matrix for matrix in joined if matrix in name), None)
        if matrix is None:
            named[name] = tensor
            continue
        parts = tensor.split(list(joined[matrix].values()))
        for part, rows in zip(joined[matrix], parts, strict=True):
            named[name.replace(matrix, part)] = rows
    return named


def _check(named: Mapping[str, Tensor], wanted: Mapping[str, Tensor], described: str, where: object) -> None:
    """XmodelError where names or shapes of the weights are not, tensor for tensor, those of a model."""
    problems = [f"{name} is missing" for name in wanted if name not in named]
    problems += [f"{name} is unknown" for name in named if name not in wanted]
    problems += [
        f"{name} is {tuple(named[name].shape)}, not {tuple(tensor.shape)}"
        for name, tensor in wanted.items()
        if name in named and named[name].shape != tensor.shape
    ]
    if problems:
        more = f" (and {len(problems) - 3} more)" if len(problems) > 3 else ""
        raise XmodelError(
            "these weights belong to another model",
            expected=f"the {len(wanted)} tensors of {described}",
            found="; ".join(problems[:3]) + more,
            where=where,
            remedy="load them with the config.json that they were saved with",
        )


def _described(config: ModelConfig, vocab_size: int) -> str:
    return f"{config.num_hidden_layers} layers, hidden_size {config.hidden_size}, vocabulary {vocab_size}"


def check_weights(named: Mapping[str, Tensor], config: ModelConfig, vocab_size: int, where: object) -> None:
    """XmodelError where named weights do not fit the shape; allocates no model."""
    with torch.device("meta"):
        wanted = named_weights(Xmodel(config, vocab_size))
    _check(named, wanted, _described(config, vocab_size), where)


def set_weights(model: Xmodel, named: Mapping[str, Tensor], where: object) -> None:
    """Copies named weights into a model. XmodelError where they belong to another shape; then nothing is copied."""
    wanted = named_weights(model)
    _check(named, wanted, _described(model.config, model.vocab_size), where)
    with torch.no_grad():
        for name, view in wanted.items():  # views of the model's own tensors: state_dict and split share memory
            view.copy_(named[name])


def save_weights(named: Mapping[str, Tensor], config: ModelConfig, vocab_size: int, folder: Path) -> None:
    """Writes named weights and their shape into a folder that exists. Same weights, same bytes."""
    # Into memory first: a full disk is then Python's OSError, which callers turn into a clear message.
    (folder / WEIGHTS).write_bytes(save(dict(named), metadata={"format": "pt"}))
    record = {"model_type": MODEL_TYPE, "vocab_size": vocab_size, **config.model_dump(mode="json")}
    (folder / CONFIG).write_text(json.dumps(record, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def save_model(model: Xmodel, folder: Path) -> None:
    """Writes a model's checkpoint, model.safetensors and config.json, into a folder that exists."""
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in named_weights(model).items()}
    save_weights(tensors, model.config, model.vocab_size, folder)


def newest_checkpoint(folder: Path) -> Path:
    """The newest checkpoint of a run's folder; any other folder itself."""
    return max((folder / "checkpoints").glob("step-*"), default=folder)


def read_config(folder: Path) -> tuple[ModelConfig, int]:
    """The shape and the vocabulary size in a checkpoint's config.json. XmodelError where there is none, it cannot be
    read, or it is of another format."""
    path = folder / CONFIG
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        model_type, vocab_size = record.pop("model_type", None), int(record.pop("vocab_size"))
    except FileNotFoundError:
        raise XmodelError(
            "this is not a checkpoint",
            expected=f"a folder with {CONFIG} and {WEIGHTS}",
            found="a folder without config.json" if folder.is_dir() else "no such folder",
            where=folder,
            remedy="give a folder such as runs/NAME/checkpoints/step-00000300",
        ) from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise XmodelError(
            "a checkpoint's config cannot be read",
            expected=f"JSON with model_type {MODEL_TYPE!r} and vocab_size",
            found=f"{type(error).__name__}: {error}",
            where=path,
        ) from None
    if model_type != MODEL_TYPE or "architectures" in record:
        raise XmodelError(
            "a checkpoint in another format",
            expected="a checkpoint of ours",
            found=f"one for {', '.join(record.get('architectures') or [str(model_type)])}",
            where=path,
            remedy="convert it with `xmodel import`, if it is in one of the released formats",
        )
    return validate(ModelConfig, record, path), vocab_size


def read_weights(folder: Path, device: torch.device | str = "cpu") -> dict[str, Tensor]:
    """A checkpoint's named weights; XmodelError where they are missing or damaged."""
    path = folder / WEIGHTS
    try:
        return load_file(path, device=str(device))
    except (OSError, safetensors.SafetensorError) as error:
        raise XmodelError(
            "a checkpoint's weights cannot be read", expected="a complete safetensors file", found=error, where=path
        ) from None


def load_weights(model: Xmodel, folder: Path) -> None:
    """Reads a checkpoint's weights into a model; XmodelError where they are missing, damaged or of another shape."""
    named = read_weights(folder, model.model.embed_tokens.weight.device)
    set_weights(model, named, folder / WEIGHTS)


def load_model(folder: Path, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32) -> Xmodel:
    """The model of a checkpoint folder, for inference. XmodelError: what `read_config` and `load_weights` raise, or a
    file that is not the one that was written."""
    verify(folder, CONFIG, WEIGHTS)
    config, vocab_size = read_config(folder)
    model = Xmodel(config, vocab_size).to(device)
    load_weights(model, folder)
    # RoPE's tables stay fp32: bf16 cannot distinguish the angles of distant positions.
    for parameter in model.parameters():
        parameter.data = parameter.data.to(dtype)
    return model.requires_grad_(False).eval()


def load_checkpoint(folder: Path, device: str = "cpu", dtype: str = "float32") -> tuple[Xmodel, Path]:
    """The model of a checkpoint, or of a run's newest, and the path of its tokenizer. `dtype`: its name in torch.
    XmodelError where the checkpoint is not complete, or the device cannot be used."""
    folder = newest_checkpoint(folder)
    tokenizer = folder / TOKENIZER
    try:
        torch.empty(1, device=device).item()
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        # torch may append a page about how CUDA errors are debugged
        raise XmodelError(
            "this device cannot be used",
            expected="cpu, or an accelerator of this machine such as cuda:0",
            found=f"{device}: {str(error).splitlines()[0]}",
        ) from None
    model = load_model(folder, device, getattr(torch, dtype))
    if not tokenizer.exists():
        raise XmodelError("a checkpoint without its tokenizer", expected=TOKENIZER, where=folder)
    verify(folder, TOKENIZER)
    return model, tokenizer

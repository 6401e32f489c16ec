"""Parameter groups by role: which weights learn at lr / m, which decay.

Takes a model; gives AdamW's groups, each with `lr_scale`, which the schedule multiplies its rate by.
Xmodel-2, Table 6: two-dimensional tensors of the blocks learn at lr / m, everything else at lr.
"""

from typing import Any

from torch.nn import Parameter

from xmodel_core.model.network import Xmodel


def parameter_groups(model: Xmodel, weight_decay: float) -> list[dict[str, Any]]:
    """AdamW groups `hidden` (lr / m), `embedding` (lr; an untied output projection too, for its logits are
    divided by m already) and `norm` (lr, or lr / m as `norm_gain_lr` says). Matrices decay, embeddings
    among them, gains do not: Xmodel-LM's code."""
    config = model.config
    hidden_scale = 1 / config.width_multiplier
    scales = {
        "hidden": hidden_scale,
        "embedding": 1.0,
        "norm": 1.0 if config.norm_gain_lr == "base" else hidden_scale,
    }
    members: dict[str, list[Parameter]] = {role: [] for role in scales}
    for name, parameter in model.named_parameters():
        if parameter.dim() < 2:
            members["norm"].append(parameter)
        elif name.startswith("model.layers."):
            members["hidden"].append(parameter)
        else:
            members["embedding"].append(parameter)
    return [
        {
            "name": role,
            "params": members[role],
            "lr_scale": scale,
            "weight_decay": 0.0 if role == "norm" else weight_decay,
        }
        for role, scale in scales.items()
    ]

"""Parameter groups by role: which weights learn at lr / m, which decay.

Takes a model; gives AdamW's groups, each with `lr_scale`, the factor of the scheduled learning rate.
arXiv 2412.19638 (Xmodel-2), Table 6, with m = hidden_size / dim_model_base:

- embedding output × scale_emb, and logits / m: `Xmodel.hidden` in network.py;
- block output × scale_depth / sqrt(layers): `Block` in network.py;
- initial standard deviation of two-dimensional tensors initializer_range / sqrt(m), of the embedding
  initializer_range: `initialise` in network.py;
- learning rate of two-dimensional tensors lr / m, of all others lr: here.

"Two-dimensional tensors" are the matrices of the blocks, without the embedding.
"""

from typing import Any

from torch.nn import Parameter

from xmodel_core.model.network import Xmodel


def parameter_groups(model: Xmodel, weight_decay: float) -> list[dict[str, Any]]:
    """AdamW's groups, one per role:

    - `hidden`: the matrices of the blocks, at lr / m;
    - `embedding`: at lr, and so an untied output projection, since its logits are divided by m already;
    - `norm`: the gains of RMSNorm, at lr or lr / m (`norm_gain_lr`).

    Weight decay as in Xmodel-LM's code: matrices decay, embeddings among them, gains do not.
    """
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

"""The learning rate of each step: a pure function of the settings.

Steps count from 1. WSD as in Xmodel-2 (section 2.2, after MiniCPM): lr · 0.5^((s - start) / half-life) in the
decay. Cosine as in Xmodel-LM: min + ½(1 + cos(π (s - W) / (S - W))) (max - min), W warm-up, S all steps.
"""

import math

from xmodel_core.training.config import TrainingConfig


def learning_rate(config: TrainingConfig, step: int) -> float:
    """The base learning rate of a step, 1 to total_steps; parameter groups scale it by their `lr_scale`."""
    if step <= config.warmup_steps:
        return config.peak_lr * step / config.warmup_steps
    into_decay = step - config.warmup_steps - config.stable_steps
    if into_decay <= 0:
        return config.peak_lr
    if config.schedule == "wsd" and config.decay_shape == "exponential":
        return config.peak_lr * max(config.min_lr_ratio, 0.5 ** (into_decay / config.decay_half_life_steps))
    done = into_decay / config.decay_steps
    left = 1 - done if config.schedule == "wsd" else 0.5 * (1 + math.cos(math.pi * done))
    return config.peak_lr * (config.min_lr_ratio + (1 - config.min_lr_ratio) * left)

"""A training step of ours beside transformers' LlamaForCausalLM: the same weights, tokens, precision and threads.

    python tests/benchmarks/bench_model.py [--write] [--rounds 3] [--precision fp32 bf16]

A step is forward, backward, clipping and fused AdamW. The variants take turns; of the ratios theirs : ours in each
round the median counts. Memory is the highest resident size of a process of its own in three steps, less what it had
with model and optimizer in place. A share of the peak: FLOPs by the full-attention count over what a large matrix
product of this precision reaches on the same threads, measured beside. torch multiplies bf16 on a CPU without
instructions for it in loops that take minutes a step; there bf16 is left out unless asked for.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np
import torch
from results_file import hardware, write_results

from xmodel_core.model.arithmetic import CPU_HAS_BF16
from xmodel_core.model.config import ModelConfig
from xmodel_core.model.cost import count_parameters, flops_per_token
from xmodel_core.model.network import Xmodel, initialise
from xmodel_core.model.weights import named_weights
from xmodel_core.training.config import TrainingConfig
from xmodel_core.training.loader import Batch
from xmodel_core.training.optim.adamw import make_optimizer
from xmodel_core.training.step import exact_arithmetic, training_step

VARIANTS = ("theirs", "theirs compiled", "ours", "ours compiled")
LR = 1e-4
MEMORY_STEPS = 3


class Setting(NamedTuple):
    """One row of the table."""

    vocab_size: int
    sequences: int
    length: int
    precision: str

    @property
    def config(self) -> ModelConfig:
        """About 40 million parameters with either vocabulary."""
        hidden, layers, feed_forward = (512, 8, 1408) if self.vocab_size < 50_000 else (384, 10, 1024)
        return ModelConfig(
            hidden_size=hidden,
            intermediate_size=feed_forward,
            num_hidden_layers=layers,
            num_attention_heads=hidden // 64,
            num_key_value_heads=2,
            max_position_embeddings=2048,
        )

    def batch(self) -> Batch:
        """The same tokens for everybody."""
        rows = np.random.default_rng(0).integers(0, self.vocab_size, (self.sequences, self.length + 1))
        return Batch(rows[:, :-1].copy(), rows[:, 1:].copy(), None, rows[:, 1:].size)


def our_step(setting: Setting, compiled: bool, threads: int) -> Callable[[], float]:
    """A step as a run of ours makes it."""
    training = TrainingConfig(
        warmup_steps=0,
        stable_steps=1,
        decay_steps=0,
        peak_lr=LR,
        global_batch_tokens=setting.sequences * setting.length,
        sequence_length=setting.length,
        micro_batch_sequences=setting.sequences,
        precision=setting.precision,  # type: ignore[arg-type]
        compile=compiled,
        threads_per_worker=threads,
    )
    model = Xmodel(setting.config, setting.vocab_size)
    initialise(model, 0)
    model.configure_training(compiled=compiled, activation_checkpointing=False)
    optimizer, batch = make_optimizer(model, training), setting.batch()

    def step() -> float:
        with exact_arithmetic(training):
            return training_step(model, optimizer, batch, training, torch.device("cpu"), 1, LR)[0]

    return step


def their_step(setting: Setting, compiled: bool) -> Callable[[], float]:
    """The same step with transformers' Llama."""
    from transformers import LlamaConfig, LlamaForCausalLM

    config = setting.config
    shape = config.model_dump(include={"hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads"})
    theirs = LlamaForCausalLM(
        LlamaConfig(
            **shape,
            num_key_value_heads=config.num_key_value_heads,
            vocab_size=setting.vocab_size,
            max_position_embeddings=config.max_position_embeddings,
            rms_norm_eps=config.rms_norm_eps,
            tie_word_embeddings=True,
            use_cache=False,
        )
    )
    theirs.set_attn_implementation("sdpa")
    ours = Xmodel(config, setting.vocab_size)
    initialise(ours, 0)
    weights = named_weights(ours)
    theirs.load_state_dict({**weights, "lm_head.weight": weights["model.embed_tokens.weight"]})
    del ours, weights
    run: Any = torch.compile(theirs) if compiled else theirs
    gains = [parameter for parameter in theirs.parameters() if parameter.dim() < 2]
    matrices = [parameter for parameter in theirs.parameters() if parameter.dim() > 1]
    groups = [{"params": matrices, "weight_decay": 0.1}, {"params": gains, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=LR, betas=(0.9, 0.95), eps=1e-8, fused=True)
    batch = setting.batch()
    tokens, targets = torch.from_numpy(batch.tokens_BT), torch.from_numpy(batch.targets_BT)

    def step() -> float:
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=setting.precision == "bf16"):
            # shift_labels: targets that are shifted already, as ours are
            loss = run(input_ids=tokens, labels=targets, shift_labels=targets).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(theirs.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return float(loss.detach())

    return step


def made(variant: str, setting: Setting, threads: int) -> Callable[[], float]:
    """A variant's step."""
    compiled = variant.endswith("compiled")
    return our_step(setting, compiled, threads) if variant.startswith("ours") else their_step(setting, compiled)


def highest_resident_mb(variant: str, setting: Setting, threads: int) -> float:
    """In a process of its own: the highest resident size in a few steps, above that of model and optimizer."""
    asked = json.dumps([variant, setting, threads])
    done = subprocess.run([sys.executable, __file__, "--memory-of", asked], check=True, capture_output=True, text=True)
    return float(done.stdout.split()[-1])


def _resident_mb(field: str) -> float:
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(field))


def print_memory(variant: str, setting: Setting, threads: int) -> None:
    """What a process of its own does. The optimizer's state, which the first step makes, is not counted."""
    torch.set_num_threads(threads)
    step = made(variant, setting, threads)
    if variant.endswith("compiled"):
        step()  # the compiler's own memory is no part of a step's
    built = _resident_mb("VmRSS")
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # the highest size counts from here
    for _ in range(MEMORY_STEPS):
        step()
    state = 0.0 if variant.endswith("compiled") else 2 * 4 * parameters(setting) / 2**20
    print(_resident_mb("VmHWM") - built - state)


def parameters(setting: Setting) -> int:
    """Weights of a setting's model."""
    return count_parameters(setting.config, setting.vocab_size).total


def matmul_peak(precision: str) -> float:
    """FLOP/s of a large square product on the threads that are set."""
    dtype = torch.bfloat16 if precision == "bf16" and CPU_HAS_BF16 else torch.float32
    one, two = torch.randn(2048, 2048).to(dtype), torch.randn(2048, 2048).to(dtype)
    best = min(timed(lambda: one @ two) for _ in range(5))
    return 2 * 2048**3 / best


def timed(function: Callable[[], object]) -> float:
    """Seconds of one call."""
    started = time.perf_counter()
    function()
    return time.perf_counter() - started


def measure(setting: Setting, rounds: int, threads: int) -> dict[str, Any]:
    """Seconds of each variant in each round, their first losses, their memory."""
    steps = {variant: made(variant, setting, threads) for variant in VARIANTS}
    losses = {variant: [step(), step()] for variant, step in steps.items()}
    seconds: dict[str, list[float]] = {variant: [] for variant in VARIANTS}
    peaks = []
    for _ in range(rounds):
        peaks.append(matmul_peak(setting.precision))
        for variant, step in steps.items():
            seconds[variant].append(timed(step))
    del steps
    memory = {variant: highest_resident_mb(variant, setting, threads) for variant in VARIANTS}
    return {"seconds": seconds, "losses": losses, "memory": memory, "peak": statistics.median(peaks)}


def table_row(setting: Setting, measured: dict[str, Any]) -> str:
    """One line of the table; ratios are medians over the rounds."""
    seconds, memory = measured["seconds"], measured["memory"]

    def ratio(theirs: str, ours: str) -> str:
        return f"{statistics.median(a / b for a, b in zip(seconds[theirs], seconds[ours], strict=True)):.2f}"

    tokens = setting.sequences * setting.length
    rates = [tokens / statistics.median(seconds[variant]) for variant in VARIANTS]
    flops = flops_per_token(setting.config, setting.vocab_size, setting.length) * rates[-1]
    smaller = min(memory["theirs"], memory["theirs compiled"])
    cells = [
        setting.precision,
        f"{setting.vocab_size:,}",
        f"{setting.sequences} × {setting.length}",
        *(f"{rate:,.0f}" for rate in rates),
        ratio("theirs", "ours"),
        ratio("theirs", "ours compiled"),
        ratio("theirs compiled", "ours compiled"),
        f"{flops / measured['peak']:.0%}",
        *(f"{memory[variant]:,.0f}" for variant in VARIANTS),
        f"{memory['ours compiled'] / memory['theirs']:.0%}",
        f"{memory['ours compiled'] / smaller:.0%}",
    ]
    return "| " + " | ".join(cells) + " |"


HEAD = (
    "| precision | vocabulary | batch | theirs, tokens/s | theirs compiled | ours | ours compiled | ours × theirs |"
    " ours compiled × theirs | ours compiled × theirs compiled | of the peak | theirs, MB | theirs compiled, MB |"
    " ours, MB | ours compiled, MB | of theirs | of the smaller of theirs |"
)


def main() -> None:
    """Prints the table row by row; `--write` keeps it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="keep the table in results/")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--precision", nargs="+", default=["bf16", "fp32"] if CPU_HAS_BF16 else ["fp32"])
    parser.add_argument("--vocab", type=int, nargs="+", default=[32_000, 65_280])
    parser.add_argument("--memory-of", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.memory_of:
        variant, setting, threads = json.loads(asked.memory_of)
        print_memory(variant, Setting(*setting), threads)
        return
    torch.set_num_threads(asked.threads)
    settings = [
        Setting(vocab_size, sequences, length, precision)
        for precision in asked.precision
        for vocab_size in asked.vocab
        for sequences, length in ((4, 512), (2, 1024))
    ]
    lines = [HEAD, "|" + "---|" * HEAD.count(" |")]
    print("\n".join(lines), flush=True)
    for setting in settings:
        measured = measure(setting, asked.rounds, asked.threads)
        worst = max(
            abs(measured["losses"][variant][step] - measured["losses"]["theirs"][step])
            for variant in VARIANTS
            for step in range(2)
        )
        assert worst < (0.02 if setting.precision == "bf16" else 1e-4), f"losses differ by {worst}"
        lines.append(table_row(setting, measured))
        print(lines[-1], f"largest difference of losses {worst:.1e}", flush=True)
    if asked.write:
        title = f"A training step beside transformers' Llama, {hardware()}, {asked.threads} threads"
        write_results("model", title, "\n".join(lines), hardware())


if __name__ == "__main__":
    main()

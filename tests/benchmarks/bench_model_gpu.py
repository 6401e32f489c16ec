"""Tokens per second and MFU of the 1.2B preset at sequence 4096 on one GPU: floor 50 % (44k tokens/s on an H200).

    python tests/benchmarks/bench_model_gpu.py [--write] [--micro-batch 4 8] [--steps 8]

Steps are a run's own: bf16, compiled blocks, deterministic kernels, fused AdamW; random tokens, already on the host.
FLOPs by the full-attention count of PaLM over the dense peak of the GPU's data sheet; the causal count is given beside.
"""

import argparse
import statistics
import time

import numpy as np
import torch
from results_file import write_results

from flows.recipes import load_recipe
from xmodel_core.model.cost import dense_bf16_peak, flops_per_token
from xmodel_core.model.network import Xmodel, initialise
from xmodel_core.training.loader import Batch
from xmodel_core.training.optim.adamw import make_optimizer
from xmodel_core.training.step import exact_arithmetic, training_step

VOCABULARY = 65_280
WARM_UP_STEPS = 3
HEAD = "| sequences | tokens/s | MFU | MFU, causal count | step, s | memory, GiB | deterministic kernels |"


def row(sequences: int, steps: int, deterministic: bool) -> str:
    """One line of the table: the median of some steps of `sequences` × 4096 tokens."""
    recipe, _ = load_recipe("xmodel2-1.2b")
    length = recipe.training.sequence_length
    training = recipe.training.model_copy(
        update={"micro_batch_sequences": sequences, "global_batch_tokens": sequences * length, "changes": []}
    )
    device = torch.device("cuda")
    torch.cuda.reset_peak_memory_stats()
    seconds = []
    with exact_arithmetic(training):
        torch.use_deterministic_algorithms(deterministic)
        model = Xmodel(recipe.model, VOCABULARY).to(device)
        initialise(model, 0)
        model.configure_training(compiled=True, activation_checkpointing=False)
        optimizer = make_optimizer(model, training)
        for step in range(1, WARM_UP_STEPS + steps + 1):
            rows = np.random.default_rng(step).integers(0, VOCABULARY, (sequences, length + 1))
            batch = Batch(rows[:, :-1].copy(), rows[:, 1:].copy(), None, sequences * length)
            torch.cuda.synchronize()
            started = time.perf_counter()
            training_step(model, optimizer, batch, training, device, step, 1e-4)
            torch.cuda.synchronize()
            seconds.append(time.perf_counter() - started)
    middle = statistics.median(seconds[WARM_UP_STEPS:])
    rate = sequences * length / middle
    peak = dense_bf16_peak(torch.cuda.get_device_name())
    shares = [
        f"{rate * flops_per_token(recipe.model, VOCABULARY, length, causal=causal) / peak:.1%}" if peak else "unknown"
        for causal in (False, True)
    ]
    memory = torch.cuda.max_memory_allocated() / 2**30
    cells = [sequences, f"{rate:,.0f}", *shares, f"{middle:.3f}", f"{memory:.1f}", "yes" if deterministic else "no"]
    return "| " + " | ".join(map(str, cells)) + " |"


def main() -> None:
    """Prints the table; `--write` keeps it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="keep the table in results/")
    parser.add_argument("--micro-batch", type=int, nargs="+", default=[4, 8])
    parser.add_argument("--steps", type=int, default=8)
    asked = parser.parse_args()
    if not torch.cuda.is_available():
        parser.exit(1, "there is no GPU here: this benchmark needs one\n")
    gpu = torch.cuda.get_device_name()
    lines = [HEAD, "|" + "---|" * 7]
    print(gpu, *lines, sep="\n", flush=True)
    for sequences in asked.micro_batch:
        for deterministic in (True, False):
            lines.append(row(sequences, asked.steps, deterministic))
            print(lines[-1], flush=True)
    if asked.write:
        write_results("model", f"Training the 1.2B preset at sequence 4096, {gpu}", "\n".join(lines), gpu)


if __name__ == "__main__":
    main()

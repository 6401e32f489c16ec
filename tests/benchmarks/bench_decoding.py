"""Decoding with the key-value cache beside transformers' generate: the same weights, prompts and answers.

Draws a model of the xmodel2-micro shape (42 million parameters with Xmodel-2's vocabulary of 65,280), exports it as a
plain Llama, and lets both sides continue the same prompts of 128 tokens greedily by 128 tokens, in turn, round after
round. transformers runs with sdpa and its default cache under inference_mode. A round's ratio is of two neighbours in
time, and the median of these ratios is what counts: a machine that others use is slower for both. Answers must be
equal in float32; in bfloat16 rounding decides between near ties, and the share of equal tokens is printed.

    python tests/benchmarks/bench_decoding.py [--rounds 5] [--preset xmodel2-micro] [--threads 1 2] [--write]
"""

import argparse
import os
import tempfile
import time
import warnings
from itertools import product
from pathlib import Path
from statistics import median
from typing import Any

# Before torch: threads that wait sleep, on both sides; as in the xmodel command.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import torch
from results_file import hardware, write_results
from transformers import AutoModelForCausalLM
from transformers.utils import logging

from flows.recipes import model_presets
from xmodel_core.model.arithmetic import CPU_HAS_BF16
from xmodel_core.model.config import ModelConfig
from xmodel_core.model.formats.export_checkpoint import SpecialTokens, export_checkpoint
from xmodel_core.model.generation.decoding import Decoding
from xmodel_core.model.generation.generate import GREEDY
from xmodel_core.model.network import Xmodel, initialise
from xmodel_core.model.weights import load_model, save_model

PROMPT_TOKENS = NEW_TOKENS = 128


def ours(model: Xmodel, prompts_BT: torch.Tensor) -> torch.Tensor:
    decoding = Decoding(model, prompts_BT.tolist(), NEW_TOKENS, GREEDY)
    return torch.tensor([decoding.step() for _ in range(NEW_TOKENS)]).t()


def theirs(model: Any, prompts_BT: torch.Tensor) -> torch.Tensor:
    with torch.inference_mode():
        tokens_BT = model.generate(
            prompts_BT,
            attention_mask=torch.ones_like(prompts_BT),
            max_new_tokens=NEW_TOKENS,
            do_sample=False,
            use_cache=True,
            pad_token_id=0,
        )
    return tokens_BT[:, PROMPT_TOKENS:]


def compare(checkpoint: Path, llama: Path, dtype: torch.dtype, batch: int, rounds: int) -> str:
    """One row of the table."""
    model = load_model(checkpoint, "cpu", dtype)
    reference: Any = AutoModelForCausalLM.from_pretrained(llama, dtype=dtype, attn_implementation="sdpa")
    reference.generation_config.eos_token_id = None  # a drawn model ends by chance
    prompts_BT = torch.randint(3, model.vocab_size, (batch, PROMPT_TOKENS), generator=torch.Generator().manual_seed(0))
    seconds: dict[str, list[float]] = {"ours": [], "theirs": []}
    equal = 0.0
    for number in range(rounds + 1):  # the first warms up
        began = time.perf_counter()
        answer = ours(model, prompts_BT)
        between = time.perf_counter()
        reference_answer = theirs(reference, prompts_BT)
        ended = time.perf_counter()
        if number:
            seconds["ours"].append(between - began)
            seconds["theirs"].append(ended - between)
        equal = (answer == reference_answer).float().mean().item()
    assert dtype != torch.float32 or equal == 1, f"only {equal:.1%} of greedy tokens are equal"
    ratios = [b / a for a, b in zip(seconds["ours"], seconds["theirs"], strict=True)]
    rates = {side: batch * NEW_TOKENS / median(values) for side, values in seconds.items()}
    row = (
        f"| {str(dtype).removeprefix('torch.')} | {torch.get_num_threads()} | {batch} "
        f"| {rates['ours']:,.1f} | {rates['theirs']:,.1f} "
        f"| {median(ratios):.2f} | {min(ratios):.2f} to {max(ratios):.2f} | {equal:.1%} |"
    )
    print(row, flush=True)
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--preset", default="xmodel2-micro")
    parser.add_argument("--vocab", type=int, default=65_280)
    parser.add_argument("--dtypes", nargs="+", default=["float32", *(["bfloat16"] if CPU_HAS_BF16 else [])])
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--write", action="store_true", help="write results/decoding_<date>.md")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    logging.disable_progress_bar()
    model = Xmodel(ModelConfig(**model_presets()[arguments.preset]), arguments.vocab)
    initialise(model, seed=0)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    title = (
        f"{arguments.preset}, vocabulary {arguments.vocab:,}, {parameters:,} parameters; prompts of {PROMPT_TOKENS} "
        f"and {NEW_TOKENS} new tokens, greedy; {hardware()}; "
        f"median of {arguments.rounds} rounds in turn"
    )
    print(title, "\n")
    rows = [
        "| weights | threads | batch | ours, tokens/s | transformers' | ratio, median | ratios | equal tokens |",
        "|---|---|---|---|---|---|---|---|",
    ]
    print("\n".join(rows), flush=True)
    with tempfile.TemporaryDirectory() as folder:
        checkpoint, llama = Path(folder) / "checkpoint", Path(folder) / "llama"
        checkpoint.mkdir()
        save_model(model, checkpoint)
        export_checkpoint(checkpoint, "llama", llama, SpecialTokens(1, 2), {})
        for name, threads, batch in product(arguments.dtypes, arguments.threads, (1, 16)):
            torch.set_num_threads(threads)
            rows.append(compare(checkpoint, llama, getattr(torch, name), batch, arguments.rounds))
    if arguments.write:
        table = "\n".join(rows)
        write_results("decoding", "Decoding beside transformers' generate", f"{title}.\n\n{table}", hardware())


if __name__ == "__main__":
    main()

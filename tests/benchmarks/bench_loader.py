"""The token stream's rate beside numpy's copy of the same number of tokens, and its share of a training step.

Makes token shards on disk (documents of log-normal lengths, about 1,000 tokens; uint16), reads them once, and then
times in turn, round after round: a plain copy out of a memory map; the same into int64, as a batch is; batches of
Xmodel-2's size (960 sequences of 4,096) in both packings; batches of the quickstart's size, and a training step of the
quickstart's model on one. Prints medians with their spread.

    python tests/benchmarks/bench_loader.py [--tokens 200] [--rounds 9] [--write]
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from statistics import median

import numpy as np
import torch
from results_file import hardware, write_results

from flows.recipes import load_recipe
from xmodel_core.artifacts import Artifact, Identity, Store, write_shard
from xmodel_core.artifacts.token_shards import TokenShards
from xmodel_core.model.network import Xmodel, initialise
from xmodel_core.training.loader import PhaseOrder, TokenStream
from xmodel_core.training.optim.adamw import make_optimizer
from xmodel_core.training.step import exact_arithmetic, training_step

SOURCES = 4
SHARDS = 4
VOCAB = 1200


def make_shards(store: Store, source: str, tokens: int) -> Artifact:
    build = store.build(Identity("shards", source, 1, {}, {}))
    rng = np.random.default_rng(len(source))
    for number in range(SHARDS):
        lengths = rng.lognormal(np.log(600), 1.0, 2 * tokens // SHARDS // 600).astype(np.int64) + 1
        ends = np.cumsum(lengths)
        ends = ends[ends <= tokens // SHARDS]
        with write_shard(build.folder, f"documents-{number:05d}") as shard:
            ids = rng.integers(0, VOCAB, int(ends[-1]), dtype=np.uint16)
            shard.file(f"documents-{number:05d}.tokens").write_bytes(ids.tobytes())
            shard.file(f"documents-{number:05d}.index").write_bytes(ends.astype("<u8").tobytes())
    return build.commit(facts={"dtype": "uint16", "tokenizer": "none"})


def make_stream(tokens: dict[str, TokenShards], length: int, batch: int, packing: str) -> TokenStream:
    share = sum(map(len, tokens.values())) // len(tokens) // length // batch * batch
    phase = PhaseOrder("stable", len(tokens) * share // batch, length, batch, (share,) * len(tokens))
    return TokenStream([phase], tokens, 0, packing)  # type: ignore[arg-type]


def timed(call: Callable[[], object]) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def spread(values: list[float]) -> str:
    return f"{median(values):,.4g} ({min(values):,.4g} to {max(values):,.4g})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=float, default=200.0, help="millions of tokens in all")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--write", action="store_true", help="into tests/benchmarks/results/")
    arguments = parser.parse_args()
    recipe, _ = load_recipe("quickstart")
    training = recipe.training
    with tempfile.TemporaryDirectory(prefix="bench-loader-") as folder, exact_arithmetic(training):
        store = Store(folder)
        names = [f"source{'_' * number}" for number in range(SOURCES)]
        made = [make_shards(store, name, round(arguments.tokens * 1e6) // SOURCES) for name in names]
        tokens = {artifact.name: TokenShards(artifact) for artifact in made}
        for shards in tokens.values():
            shards.verify()  # reads every byte: from here on all of it is in memory
        (path, *_) = sorted(made[0].files("*.tokens").values())
        mapped = np.memmap(path, np.uint16, mode="r")
        large = {packing: make_stream(tokens, 4096, 960, packing) for packing in ("concat", "best-fit")}
        count = 960 * 4096
        assert count <= len(mapped), "a shard must hold a batch: ask for more tokens"
        small = make_stream(tokens, training.sequence_length, 8, "concat")
        model = Xmodel(recipe.model, VOCAB)
        initialise(model, 0)
        optimizer, cpu = make_optimizer(model, training), torch.device("cpu")
        narrow, wide = np.empty(count, np.uint16), np.empty(count, np.int64)

        def step_of_the_model(step: int) -> None:
            training_step(model, optimizer, small.batch(step), training, cpu, 1, 1e-3)

        def measure(number: int) -> dict[str, float]:
            at = number * 104_729 % (len(mapped) - count)
            rates = {
                "copy": timed(lambda: np.copyto(narrow, mapped[at : at + count])),
                "copy as int64": timed(lambda: np.copyto(wide, mapped[at : at + count])),
                **{
                    f"stream, {name}": timed(lambda stream=stream: stream.batch(number % stream.total_steps + 1))
                    for name, stream in large.items()
                },
            }
            ten = range(10 * number + 1, 10 * number + 11)
            return {
                **{name: count / seconds / 1e6 for name, seconds in rates.items()},
                "batch ms": 100 * timed(lambda: [small.batch(step) for step in ten]),
                "step ms": 1000 * timed(lambda: step_of_the_model(number + 1)),
            }

        measure(0)
        rounds = [measure(number) for number in range(1, arguments.rounds + 1)]
    figures = {name: [row[name] for row in rounds] for name in rounds[0]}
    copy, as_batch = median(figures["copy"]), median(figures["copy as int64"])
    lines = ["| | million tokens per second | of the copy | of the copy as int64 |", "|---|---:|---:|---:|"]
    for name in ("copy", "copy as int64", "stream, concat", "stream, best-fit"):
        rate = median(figures[name])
        lines.append(f"| {name} | {spread(figures[name])} | {rate / copy:.2f} | {rate / as_batch:.2f} |")
    share = median(batch / step for batch, step in zip(figures["batch ms"], figures["step ms"], strict=True))
    lines.append(
        f"\nThe quickstart's step of 1,024 tokens on one thread: {spread(figures['step ms'])} ms, of which its batch "
        f"{spread(figures['batch ms'])} ms: {share:.2%} (target: under 1 %), and that in another thread."
    )
    text = "\n".join(lines)
    print(text)
    if arguments.write:
        intro = (
            f"{hardware()}. {arguments.tokens:.0f}M tokens in {SOURCES} sources, all of them in memory; medians of "
            f"{arguments.rounds} rounds in turn (least to most)."
        )
        write_results("loader_cpu", "The token stream's rate", f"{intro}\n\n{text}")


if __name__ == "__main__":
    main()

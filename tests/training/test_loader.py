"""The token stream: a function of plan, seed and step; the same for any workers, prefetch and restarts."""

import hashlib
import random
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from typing import Any

import numpy as np
import pytest

from tests.training.made_shards import Numbered, random_lengths
from xmodel_core.errors import XmodelError
from xmodel_core.training.loader import NO_TARGET, Batch, PhaseOrder, TokenStream

PHASES = [
    PhaseOrder("stable", 30, 16, 8, (150, 78, 12)),
    PhaseOrder("stable_2", 20, 16, 16, (200, 104, 16)),  # the batch doubles
    PhaseOrder("decay", 15, 64, 4, (15, 0, 45)),  # and the context grows
]
PACKINGS = ["concat", "best-fit"]
BASE = {"a": 0, "b": 10_000, "c": 20_000}


def sources() -> dict[str, Numbered]:
    return {
        "a": Numbered(random_lengths(1, [40, 35], 20), BASE["a"]),
        "b": Numbered(random_lengths(2, [90], 20), BASE["b"]),
        "c": Numbered([[7, 0, 11], [], [400]], BASE["c"]),
    }


def stream(packing: Any = "concat", seed: int = 0, phases: list[PhaseOrder] = PHASES) -> TokenStream:
    return TokenStream(phases, sources(), seed, packing, 64 * 20)


def global_batch(tokens: TokenStream, step: int, world: int) -> np.ndarray:
    """A step's global batch, put together from its workers' shares."""
    shares = [tokens.batch(step, rank, world).tokens_BT for rank in range(world)]
    rows = np.empty((sum(len(share) for share in shares), shares[0].shape[1]), np.int64)
    for rank, share in enumerate(shares):
        rows[rank::world] = share
    return rows


def source_of(token: int) -> str:
    return max((name for name in BASE if BASE[name] <= token), key=BASE.__getitem__)


@pytest.mark.parametrize("packing", PACKINGS)
@pytest.mark.parametrize("world", [2, 3, 4, 8])
def test_workers_split_one_batch(packing: str, world: int) -> None:
    tokens = stream(packing)
    for step in range(1, 66):
        assert (global_batch(tokens, step, world) == tokens.batch(step).tokens_BT).all()


def same(one: Batch, two: Batch) -> bool:
    documents = (one.documents_BT is None) == (two.documents_BT is None)
    if one.documents_BT is not None and two.documents_BT is not None:
        documents = (one.documents_BT == two.documents_BT).all()
    equal = (one.tokens_BT == two.tokens_BT).all() and (one.targets_BT == two.targets_BT).all()
    return bool(documents and equal and one.step_targets == two.step_targets)


@pytest.mark.parametrize("packing", PACKINGS)
@pytest.mark.parametrize("ahead", [1, 4, 100])
def test_batches_made_ahead_are_the_batches(packing: str, ahead: int) -> None:
    made, alone = list(stream(packing).batches(1, ahead=ahead)), stream(packing)
    assert len(made) == 65
    assert all(same(batch, alone.batch(step)) for step, batch in enumerate(made, 1))
    later = list(islice(stream(packing).batches(40, 1, 2, ahead), 5))  # left off in the middle
    assert all(same(batch, alone.batch(step, 1, 2)) for step, batch in enumerate(later, 40))


def restarted(tokens: list[TokenStream], stops: int, seed: int) -> Iterator[bytes]:
    """A stream's batches over many stops and resumes, each on another number of workers and with other prefetch."""
    moments = random.Random(seed)
    total = tokens[0].total_steps
    ends = sorted(moments.sample(range(1, total), stops))
    begin = 0
    for end in [*ends, total]:
        world, ahead = moments.choice([1, 2, 3, 4, 8]), moments.choice([0, 4])
        workers = [tokens[rank % len(tokens)].batches(begin + 1, rank, world, ahead) for rank in range(world)]
        for _ in range(begin, end):
            shares = [next(worker).tokens_BT for worker in workers]
            rows = np.empty((sum(len(share) for share in shares), shares[0].shape[1]), np.int64)
            for rank, share in enumerate(shares):
                rows[rank::world] = share
            yield rows.astype("<u4").tobytes()
        begin = end


@pytest.mark.parametrize("packing", PACKINGS)
def test_stops_and_resumes_on_other_numbers_of_workers_change_no_token(packing: str) -> None:
    digest = hashlib.sha256()
    for data in restarted([stream(packing) for _ in range(8)], 40, seed=7):
        digest.update(data)
    assert digest.hexdigest() == stream(packing).digest(65)


def test_concat_predicts_the_next_token_across_documents_and_epochs() -> None:
    tokens = stream()
    for source in BASE:
        inputs, targets = [], []
        for step in range(1, 66):
            batch = tokens.batch(step)
            assert batch.documents_BT is None and batch.step_targets == batch.tokens_BT.size
            for (name, _, k), row, wanted in zip(
                tokens.sequences(step), batch.tokens_BT, batch.targets_BT, strict=True
            ):
                if name == source:
                    inputs.append((step, k, row.tolist()))
                    targets += [wanted.tolist()]
        flat = [token for *_, row in inputs for token in row]
        assert [token for row in targets for token in row][:-1] == flat[1:], "one row of tokens without a seam"


def test_best_fit_keeps_documents_apart() -> None:
    tokens = stream("best-fit")
    ends = {
        base + end
        for name, base in BASE.items()
        for end in np.cumsum(np.concatenate([np.diff([0, *shard]) for shard in sources()[name].ends])).tolist()
    }
    learned = padding = 0
    for step in range(1, 66):
        batch = tokens.batch(step)
        assert batch.documents_BT is not None
        for row, wanted, documents in zip(batch.tokens_BT, batch.targets_BT, batch.documents_BT, strict=True):
            for at, (token, target, document) in enumerate(zip(row, wanted, documents, strict=True)):
                if document < 0:
                    assert target == NO_TARGET and (documents[at:] < 0).all()
                    padding += 1
                elif token + 1 in ends:
                    assert target == NO_TARGET, "what follows a document's end is another document"
                else:
                    assert target == token + 1
                    learned += 1
                inside = at + 1 < len(row) and documents[at + 1] == document >= 0
                assert not inside or row[at + 1] == token + 1
        assert batch.step_targets == (batch.targets_BT >= 0).sum()
        halves = [tokens.batch(step, rank, 2) for rank in (0, 1)]
        assert {half.step_targets for half in halves} == {batch.step_targets}
    read = tokens.read_tokens(65)
    assert sum(tokens.consumed(65).values()) - sum(read.values()) == padding > 0
    assert learned < sum(read.values())


@pytest.mark.parametrize("packing", PACKINGS)
def test_the_accounts_are_exact_through_every_change_of_length(packing: str) -> None:
    tokens = stream(packing)
    seen: Counter[str] = Counter()
    tokens_seen = 0
    assert tokens.consumed(0) == tokens.read_tokens(0) == {"a": 0, "b": 0, "c": 0}
    for step in range(1, 66):
        number, before = tokens.phase_of(step)
        phase = PHASES[number]
        batch = tokens.batch(step)
        assert batch.tokens_BT.shape == (phase.batch_sequences, phase.sequence_length)
        kept = batch.tokens_BT if batch.documents_BT is None else batch.tokens_BT[batch.documents_BT >= 0]
        seen.update(source_of(token) for token in kept.flatten().tolist())
        tokens_seen += batch.tokens_BT.size
        assert tokens.read_tokens(step) == {name: seen[name] for name in BASE}
        assert sum(tokens.consumed(step).values()) == tokens_seen == tokens.tokens_after(step)
        # Within one sequence of its share, in every phase.
        given = Counter(name for at in range(before + 1, step + 1) for name, *_ in tokens.sequences(at))
        for name, planned in zip(tokens.sources, phase.sequences, strict=True):
            assert abs(given[name] - planned * (step - before) / phase.steps) < 1
    consumed = tokens.consumed(65)
    planned = {name: sum(p.sequences[i] * p.sequence_length for p in PHASES) for i, name in enumerate(BASE)}
    assert consumed == planned


@pytest.mark.parametrize("packing", PACKINGS)
def test_no_token_is_repeated_before_all_are_read_nor_left_out(packing: str) -> None:
    tokens = stream(packing)
    order: dict[str, list[int]] = {name: [] for name in BASE}
    for step in range(1, 66):
        batch = tokens.batch(step)
        for (name, *_), row, documents in zip(
            tokens.sequences(step),
            batch.tokens_BT,
            batch.documents_BT if batch.documents_BT is not None else np.zeros_like(batch.tokens_BT),
            strict=True,
        ):
            order[name] += row[documents >= 0].tolist()
    for name, source in sources().items():
        size, base = len(source), BASE[name]
        epochs = [order[name][at : at + size] for at in range(0, len(order[name]), size)]
        assert len(epochs) > 1
        assert all(sorted(epoch) == list(range(base, base + size)) for epoch in epochs[:-1])
        assert len(set(epochs[-1])) == len(epochs[-1])
        assert epochs[0][: len(epochs[1])] != epochs[1], "each epoch has an order of its own"


@pytest.mark.parametrize("packing", PACKINGS)
def test_steps_of_finds_exactly_the_steps_that_saw_the_tokens(packing: str) -> None:
    tokens = stream(packing)
    batches = {step: tokens.batch(step) for step in range(1, 66)}
    for name, start, end in (("a", 0, 1), ("a", 500, 530), ("b", 77, 78), ("c", 10, 12), ("c", 300, 301)):
        low, high = BASE[name] + start, BASE[name] + end
        saw = []
        for step, batch in batches.items():
            held = (batch.tokens_BT >= low) & (batch.tokens_BT < high)
            if batch.documents_BT is not None:
                held &= batch.documents_BT >= 0
            if held.any():
                saw.append(step)
        assert tokens.steps_of(name, start, end) == saw


@pytest.mark.parametrize("packing", PACKINGS)
def test_every_place_is_located_by_source_shard_document_and_offset(packing: str) -> None:
    tokens = stream(packing)
    for step in (1, 31, 65):
        for row, ranges in zip(tokens.batch(step).tokens_BT, tokens.where(step), strict=True):
            at = 0
            for source, shard, document, offset, length in ranges:
                shards, base = sources()[source].ends, sources()[source].base
                before = sum(int(ends[-1]) for ends in shards[:shard] if len(ends))
                start = before + (int(shards[shard][document - 1]) if document else 0) + offset + base
                assert row[at : at + length].tolist() == list(range(start, start + length))
                assert start - base + length <= before + int(shards[shard][document])
                at += length


@pytest.mark.parametrize(("packing", "promised"), [("concat", "d3dbe6e363c7f8e6"), ("best-fit", "ed3b32d7e1ea2aa4")])
def test_the_stream_is_a_function_of_plan_and_seed(packing: str, promised: str) -> None:
    digest = stream(packing).digest(65)
    assert digest == stream(packing).digest(65) != stream(packing, seed=1).digest(65)
    # The order is a promise: another digest here is another token stream for everybody.
    assert digest.startswith(promised)


def test_a_plan_of_another_length_is_refused() -> None:
    with pytest.raises(XmodelError, match="phase stable differs in length from the schedule"):
        TokenStream([PhaseOrder("stable", 3, 4, 2, (4,))], {"a": Numbered([[40]])}, 0)


@pytest.mark.parametrize("part", [50, pytest.param(1, marks=pytest.mark.exhaustive)], ids=["2 %", "all"])
@pytest.mark.parametrize("packing", PACKINGS)
def test_a_hundred_million_tokens_are_one_stream_however_they_are_read(packing: Any, part: int) -> None:
    """100M tokens in 800 steps, the batch doubled and the context quadrupled on the way: for each number of workers,
    with and without prefetch, and over 100 stops. Of that one `part`-th."""
    lengths = [random_lengths(seed, [20_000 // part, 15_000 // part], 500) for seed in (1, 2, 3)]
    phases = [
        PhaseOrder(name, steps // part, length, batch, tuple(count // part for count in sequences))
        for name, steps, length, batch, sequences in (
            ("stable", 400, 4096, 20, (5000, 2600, 400)),
            ("stable_2", 300, 4096, 40, (6000, 5200, 800)),
            ("decay", 100, 16384, 20, (700, 100, 1200)),
        )
    ]

    def made() -> TokenStream:
        held = {name: Numbered(its, 0) for name, its in zip("abc", lengths, strict=True)}
        return TokenStream(phases, held, 11, packing, (1 << 22) // min(part, 16))

    streams = [made() for _ in range(8)]
    total = streams[0].total_steps
    assert streams[0].tokens_after(total) > 100_000_000 // part
    expected = streams[0].digest(total)
    for world in (1, 2, 3, 4, 8):
        for ahead in (0, 4):
            digest = hashlib.sha256()
            workers = [streams[rank].batches(1, rank, world, ahead) for rank in range(world)]
            for shares in zip(*workers, strict=True):
                rows = np.empty((sum(len(s.tokens_BT) for s in shares), shares[0].tokens_BT.shape[1]), np.int64)
                for rank, share in enumerate(shares):
                    rows[rank::world] = share.tokens_BT
                digest.update(rows.astype("<u4").tobytes())
            assert digest.hexdigest() == expected, (world, ahead)
    digest = hashlib.sha256()
    for data in restarted(streams, min(100, total // 2), seed=3):
        digest.update(data)
    assert digest.hexdigest() == expected

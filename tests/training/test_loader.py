"""The token stream: exact shares at every step, each window once an epoch, the same for any worker count."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xmodel_core.errors import XmodelError
from xmodel_core.training.loader import PhaseOrder, TokenStream, permuted, slots


class Numbered:
    """Token i of a source is base + i: a batch shows where each token came from."""

    def __init__(self, tokens: int, base: int = 0) -> None:
        self.size, self.base = tokens, base

    def __len__(self) -> int:
        return self.size

    def slice(self, start: int, length: int) -> np.ndarray:
        assert 0 <= start < self.size
        return self.base + np.arange(start, start + length) % self.size


def stream(seed: int = 0) -> TokenStream:
    phases = [PhaseOrder("stable", 10, (25, 13, 2)), PhaseOrder("decay", 5, (5, 0, 15))]
    tokens = {"a": Numbered(40), "b": Numbered(71, 1000), "c": Numbered(3, 2000)}
    return TokenStream(phases, tokens, sequence_length=4, batch_sequences=4, seed=seed)


COUNTS = st.lists(st.integers(0, 60), min_size=1, max_size=6).filter(any)


@given(COUNTS, st.data())
def test_any_stretch_of_the_order_is_the_whole_order_s(counts: list[int], data: st.DataObject) -> None:
    total = sum(counts)
    every = sorted(((2 * k + 1) / (2 * n), source, k) for source, n in enumerate(counts) for k in range(n))
    first = data.draw(st.integers(0, total))
    last = data.draw(st.integers(first, total))
    sources, ks = slots(tuple(counts), first, last)
    assert list(zip(sources.tolist(), ks.tolist(), strict=True)) == [(s, k) for _, s, k in every[first:last]]


@given(COUNTS, st.data())
def test_shares_hold_at_every_place(counts: list[int], data: st.DataObject) -> None:
    total = sum(counts)
    place = data.draw(st.integers(0, total))
    sources, _ = slots(tuple(counts), 0, place)
    for source, n in enumerate(counts):
        assert abs((sources == source).sum() - n * place / total) <= 0.5 + n / total * len(counts) / 2


def test_a_huge_phase_costs_no_more_than_a_small_one() -> None:
    counts = (300_000_000_007, 200_000_000_003, 11)
    sources, ks = slots(counts, 250_000_000_000, 250_000_000_840)
    assert len(sources) == 840
    assert (sources == 0).sum() == pytest.approx(504, abs=1)
    assert (np.diff(ks[sources == 0]) == 1).all()


@given(st.integers(1, 3000), st.text(max_size=5))
def test_permuted_is_a_permutation(size: int, key: str) -> None:
    assert sorted(permuted(np.arange(size), size, key)) == list(range(size))


def test_permutations_differ_by_key_and_mix() -> None:
    one, two = (permuted(np.arange(1000), 1000, key) for key in ("0/a/0", "0/a/1"))
    assert (one == two).mean() < 0.01
    assert abs(np.corrcoef(one, np.arange(1000))[0, 1]) < 0.1


def test_each_epoch_sees_each_window_once_in_an_order_of_its_own() -> None:
    starts = [start for step in range(1, 16) for source, start in stream().rows(step) if source == "a"]
    epochs = [starts[i : i + 10] for i in range(0, 30, 10)]
    assert [sorted(epoch) for epoch in epochs] == [list(range(0, 40, 4))] * 3
    assert epochs[0] != epochs[1] != epochs[2]


def test_batches_hold_inputs_and_next_tokens_and_wrap_at_the_source_s_end() -> None:
    tokens = stream()
    for step in range(1, 16):
        batch = tokens.batch(step)
        assert batch.shape == (4, 5)
        for row, (source, start) in zip(batch, tokens.rows(step), strict=True):
            size, base = len(tokens.tokens[source]), {"a": 0, "b": 1000, "c": 2000}[source]
            assert row.tolist() == [base + (start + i) % size for i in range(5)]


def test_workers_split_one_batch() -> None:
    tokens = stream()
    for step in (1, 7, 15):
        whole = tokens.batch(step)
        halves = [tokens.batch(step, rank, 2) for rank in (0, 1)]
        assert (whole[0::2] == halves[0]).all()
        assert (whole[1::2] == halves[1]).all()


def test_consumed_counts_what_the_batches_hold() -> None:
    tokens = stream()
    counts = {"a": 0, "b": 0, "c": 0}
    assert tokens.consumed(0) == counts
    for step in range(1, 16):
        for source, _ in tokens.rows(step):
            counts[source] += 4
        assert tokens.consumed(step) == counts
    assert counts == {"a": 30 * 4, "b": 13 * 4, "c": 17 * 4}


def test_steps_of_finds_exactly_the_steps_that_saw_the_tokens() -> None:
    tokens = stream()
    for start, end in ((0, 1), (5, 9), (39, 40)):
        saw = {
            step
            for step in range(1, 16)
            for row in tokens.batch(step)
            if any(start <= token < end for token in row[:-1])
        }
        assert tokens.steps_of("a", start, end) == sorted(saw)


def test_the_stream_is_a_function_of_plan_and_seed() -> None:
    assert stream().digest(15) == stream().digest(15)
    assert stream().digest(15) != stream(seed=1).digest(15)
    # The order is a promise: another digest here is another token stream for everybody.
    assert stream().digest(15).startswith("7396d3978de5b466")


def test_a_plan_of_another_length_is_refused() -> None:
    with pytest.raises(XmodelError, match="phase stable is not of the schedule"):
        TokenStream([PhaseOrder("stable", 3, (4,))], {"a": Numbered(40)}, 4, 2, 0)

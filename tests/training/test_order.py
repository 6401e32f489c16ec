"""The order of tokens: exact shares after every step, every token of an epoch once, lengths changed in mid-stream."""

from collections.abc import Callable, Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.training.made_shards import random_lengths
from xmodel_core.training.order.best_fit import BestFit, best_fit
from xmodel_core.training.order.concat import Concat
from xmodel_core.training.order.documents import Documents, shuffled
from xmodel_core.training.order.packing import Packing
from xmodel_core.training.order.shares import Shares

Phases = Sequence[tuple[int, int]]
PACKINGS: list[Callable[[Documents, Phases], Packing]] = [Concat, BestFit]
PHASES = [(16, 70), (16, 0), (64, 50), (8, 300), (128, 20)]
"""Lengths that grow, shrink and grow; with 60 documents of about 20 tokens some phases are several epochs."""


def documents(seed: int = 0, shuffle_tokens: int = 64 * 10, counts: Sequence[int] = (25, 1, 34)) -> Documents:
    ends = [np.cumsum(shard).astype("<u8") for shard in random_lengths(seed, counts, 20)]
    return Documents("source", ends, seed, shuffle_tokens)


@settings(max_examples=30)
@given(st.lists(st.integers(0, 30), min_size=1, max_size=7).filter(any), st.integers(1, 9), st.data())
def test_no_share_is_ever_a_sequence_off(counts: list[int], batch: int, data: st.DataObject) -> None:
    counts[0] += -sum(counts) % batch
    steps = sum(counts) // batch
    shares = Shares(counts, steps, batch)
    before = np.zeros(len(counts))
    for step in range(1, steps + 1):
        after = shares.after(step)
        assert after.sum() == step * batch
        assert (np.abs(after - np.array(counts) * step / steps) < 1).all()
        sources, ks = shares.of_step(step)
        for source in range(len(counts)):
            assert sorted(ks[sources == source]) == list(range(int(before[source]), int(after[source])))
        before = after
    assert before.tolist() == counts
    # Asked for in any order, from any memory, it is the same.
    step = data.draw(st.integers(0, steps))
    assert (shares.after(step) == Shares(counts, steps, batch).after(step)).all()
    source = data.draw(st.sampled_from([number for number, count in enumerate(counts) if count]))
    k = data.draw(st.integers(0, counts[source] - 1))
    assert shares.after(shares.step_of(source, k))[source] > k >= shares.after(shares.step_of(source, k) - 1)[source]


def test_many_small_sources_do_not_push_a_large_one_off() -> None:
    # Each of the small ones alone would be in the middle of the phase.
    counts = [1] * 20 + [1980]
    shares = Shares(counts, 20, 100)
    assert max(abs(int(shares.after(step)[-1]) - 1980 * step / 20) for step in range(21)) < 1


def test_slow_sources_wait_for_the_urgent() -> None:
    # Were the slow ones taken first because they may be, all five fast ones would be late at once.
    counts = np.array([1] * 5 + [9] * 5)
    shares = Shares(counts.tolist(), 50, 1)
    for step in range(51):
        assert shares.after(step).sum() == step
        assert (np.abs(shares.after(step) - counts * step / 50) < 1).all()


@settings(max_examples=30)
@given(st.integers(0, 3000), st.text("ab/0", max_size=5))
def test_shuffled_is_a_permutation(size: int, key: str) -> None:
    assert np.array_equal(np.sort(shuffled(size, key)), np.arange(size))


def test_permutations_differ_by_key_and_mix() -> None:
    one, two = (shuffled(1000, 0, "a", epoch) for epoch in (0, 1))
    assert (one == two).mean() < 0.01
    assert abs(np.corrcoef(one, np.arange(1000))[0, 1]) < 0.1


def every_range(packing: Packing, phases: Phases) -> tuple[np.ndarray, np.ndarray, list[int]]:
    """Starts and lengths of all token ranges of a run in order, and the tokens of each sequence."""
    sequences = [packing.sequence(phase, k) for phase, (_, count) in enumerate(phases) for k in range(count)]
    starts = np.concatenate([sequence.starts for sequence in sequences])
    lengths = np.concatenate([sequence.lengths for sequence in sequences])
    return starts, lengths, [int(sequence.lengths.sum()) for sequence in sequences]


@pytest.mark.parametrize("packing", PACKINGS)
@pytest.mark.parametrize("shuffle_tokens", [64, 64 * 10, 1 << 20], ids=["small groups", "groups", "one group"])
@settings(max_examples=5)
@given(seed=st.integers(0, 1000))
def test_every_token_of_an_epoch_comes_once_before_any_comes_again(
    packing: Callable[[Documents, Phases], Packing], shuffle_tokens: int, seed: int
) -> None:
    of = documents(seed, shuffle_tokens)
    starts, lengths, _ = every_range(packing(of, PHASES), PHASES)
    assert (lengths > 0).all()
    ends = np.cumsum(lengths)
    epochs = (ends - 1) // of.tokens
    # No range belongs to two epochs: each ends with its last token.
    assert ((ends - lengths) // of.tokens == epochs).all()
    for epoch in range(int(epochs[-1]) + 1):
        order = np.argsort(starts[epochs == epoch])
        first, last = starts[epochs == epoch][order], (starts + lengths)[epochs == epoch][order]
        assert (first[1:] >= last[:-1]).all(), "a token came twice"
        if epoch < epochs[-1]:
            assert first[0] == 0 and last[-1] == of.tokens and (first[1:] == last[:-1]).all(), "a token was left out"
    assert epochs[-1] >= 2


@pytest.mark.parametrize("packing", PACKINGS)
def test_counts_and_lookups_are_those_of_the_sequences(packing: Callable[[Documents, Phases], Packing]) -> None:
    of = documents(3)
    packed = packing(of, PHASES)
    before = 0
    sequences: dict[tuple[int, int], tuple[np.ndarray, np.ndarray]] = {}
    for phase, (length, count) in enumerate(PHASES):
        for k in range(count):
            assert packed.tokens_before(phase, k) == before
            sequence = packed.sequence(phase, k)
            before += int(sequence.lengths.sum())
            assert sequence.lengths.sum() <= length
            sequences[phase, k] = sequence.starts, sequence.starts + sequence.lengths
    for start, end in ((0, 1), (of.tokens - 1, of.tokens), (100, 131), (0, of.tokens)):
        held = sorted(at for at, (first, last) in sequences.items() if ((first < end) & (last > start)).any())
        assert sorted(packed.sequences_with(start, end)) == held


def test_concat_leaves_no_place_empty_and_best_fit_few() -> None:
    of = documents(1, 1 << 20, [4000])
    phases = [(128, 500)]
    assert set(every_range(Concat(of, phases), phases)[2]) == {128}
    used = every_range(BestFit(of, phases), phases)[2]
    assert 0.99 < sum(used) / (128 * 500) <= 1


def test_best_fit_cuts_only_what_is_longer_than_a_sequence() -> None:
    of = documents(5, 1 << 20, [400])
    phases = [(64, 60)]
    starts, lengths, _ = every_range(BestFit(of, phases), phases)
    ends = np.unique([0, *np.cumsum(random_lengths(5, [400], 20)[0])])
    for start, length in zip(starts.tolist(), lengths.tolist(), strict=True):
        document = int(np.searchsorted(ends, start, side="right")) - 1
        assert (start - int(ends[document])) % 64 == 0
        assert length == min(64, int(ends[document + 1]) - start)


@given(st.lists(st.integers(1, 50), max_size=60))
def test_best_fit_decreasing_takes_the_fullest_bin_that_has_room(lengths: list[int]) -> None:
    lengths.sort(reverse=True)
    rooms: list[int] = []
    for length, chosen in zip(lengths, best_fit(lengths, 50), strict=True):
        able = [room for room in rooms if room >= length]
        if able:
            assert rooms[chosen] == min(able)
            rooms[chosen] -= length
        else:
            assert chosen == len(rooms)
            rooms.append(50 - length)


def test_the_order_of_a_huge_source_costs_no_more_than_a_group() -> None:
    lengths = np.full(2_000_000, 1000)
    of = Documents("huge", [np.cumsum(lengths).astype("<u8")], 0, 1 << 22)
    far = of.ranges(7 * of.tokens + 1_234_567_890, 4096)
    assert far.lengths.sum() == 4096
    assert of.locate(1_234_567_890) == (0, 1_234_567, 890)

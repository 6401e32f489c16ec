"""Plans in exact tokens: every phase filled to the last sequence, no limit broken, nothing impossible promised."""

from collections import Counter
from collections.abc import Sequence
from fractions import Fraction
from itertools import combinations
from math import floor
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xmodel_core.errors import XmodelError
from xmodel_core.mixture.plan import PlannedPhase, Supply, make_plan, sequences_per_step, shares
from xmodel_core.specs import Mixture, ScheduledPhase

LENGTH, BATCH = 10, 80
"""Tokens of a sequence and of a batch: eight sequences a step."""
Shares = dict[str, Any]


def mixture(*phases: Shares, names: Sequence[str] = ("stable", "decay", "last")) -> Mixture:
    return Mixture.model_validate({"phases": [{"name": n, "sources": s} for n, s in zip(names, phases, strict=False)]})


def supply(source: str, tokens: int | None, key: str = "en/web") -> Supply:
    lang, category = key.split("/")
    return Supply(source, lang, category, tokens)


def schedule(lengths: Sequence[tuple[str, int]]) -> list[ScheduledPhase]:
    return [ScheduledPhase(name, steps, LENGTH, BATCH) for name, steps in lengths]


def planned(made: Mixture, supplies: Sequence[Supply], *lengths: tuple[str, int]) -> list[PlannedPhase]:
    return make_plan(made, schedule(lengths or [("stable", 10)]), supplies)


def sequences(phase: PlannedPhase) -> dict[str, int]:
    return {source.source: source.sequences for source in phase.sources}


def over_the_run(phases: Sequence[PlannedPhase]) -> Counter[str]:
    return sum((Counter(sequences(phase)) for phase in phases), Counter())


def refused(made: Mixture, supplies: Sequence[Supply], *lengths: tuple[str, int]) -> str:
    with pytest.raises(XmodelError) as error:
        planned(made, supplies, *lengths)
    return str(error.value)


def test_a_phase_is_filled_to_the_last_sequence_by_weight() -> None:
    supplies = [supply("a", 9000), supply("b", 9000), supply("c", 9000)]
    (phase,) = planned(mixture({"a": 1, "b": 1, "c": 1}), supplies)
    assert sequences(phase) == {"a": 27, "b": 27, "c": 26}
    assert [source.planned_tokens for source in phase.sources] == [270, 270, 260]
    assert [source.weight for source in phase.sources] == [pytest.approx(1 / 3)] * 3
    assert [source.epochs for source in phase.sources] == [0.03, 0.03, pytest.approx(0.0289, abs=1e-4)]


def test_what_a_capped_source_cannot_give_the_others_give_by_their_weights() -> None:
    supplies = [supply("small", 105), supply("big", 9000), supply("large", 9000)]
    (phase,) = planned(mixture({"small": {"weight": 7, "max_epochs": 2}, "big": 2, "large": 1}), supplies)
    assert sequences(phase) == {"small": 21, "big": 39, "large": 20}
    assert [source.capped for source in phase.sources] == [True, False, False]
    assert [source.max_epochs for source in phase.sources] == [2, None, None]


def test_shares_are_what_is_asked_for_over_the_schedule() -> None:
    supplies = [supply("a", 300, "zh/web"), supply("b", 100, "zh/web"), supply("c", None), supply("d", 5)]
    asked = mixture({"zh/web": 1, "c": 1}, {"c": {"weight": 1, "max_epochs": 1}})
    by_source = shares(asked, schedule([("stable", 6), ("decay", 2)]), supplies)
    assert by_source == {"a": 0.28125, "b": 0.09375, "c": 0.625, "d": 0.0}


def test_max_epochs_holds_over_the_whole_run() -> None:
    supplies = [supply("small", 100), supply("big", 9000)]
    shares = {"small": {"weight": 1, "max_epochs": 3}, "big": 1}
    lengths = [("stable", 5), ("decay", 5)]
    for made in (mixture(shares), mixture(shares, shares)):
        phases = planned(made, supplies, *lengths)
        assert over_the_run(phases) == {"small": 30, "big": 50}
        assert [sequences(phase)["small"] for phase in phases] == [20, 10]


def test_min_tokens_of_a_later_phase_are_kept_for_it() -> None:
    supplies = [supply("small", 100), supply("big", 9000)]
    made = mixture(
        {"small": {"weight": 9, "max_epochs": 1}, "big": 1}, {"small": {"weight": 0, "min_tokens": 75}, "big": 1}
    )
    first, second = planned(made, supplies, ("stable", 5), ("decay", 5))
    assert (sequences(first), sequences(second)) == ({"small": 2, "big": 38}, {"small": 8, "big": 32})


def test_one_phase_serves_every_phase_of_the_schedule_and_spreads_its_min_tokens() -> None:
    supplies = [supply("a", 90_000), supply("b", 90_000)]
    made = mixture({"a": {"weight": 0, "min_tokens": 300}, "b": 1}, names=["whatever"])
    phases = planned(made, supplies, ("warmup", 1), ("stable", 6), ("decay", 3))
    assert [(phase.name, phase.first_step, phase.steps) for phase in phases] == [
        ("warmup", 0, 1),
        ("stable", 1, 6),
        ("decay", 7, 3),
    ]
    assert [sequences(phase) for phase in phases] == [{"a": 3, "b": 5}, {"a": 18, "b": 30}, {"a": 9, "b": 15}]


def test_a_phase_in_which_only_lengths_change_has_the_shares_of_the_one_before() -> None:
    supplies = [supply("a", 90_000), supply("b", 1015)]
    grown = [
        ScheduledPhase("stable", 4, 10, 80),
        ScheduledPhase("stable_2", 2, 10, 160, continues_previous=True),
        ScheduledPhase("decay", 3, 40, 160),
    ]
    asked = mixture({"a": {"weight": 3, "min_tokens": 64}, "b": {"weight": 1, "max_epochs": 1}}, {"b": 1})
    phases = make_plan(asked, grown, supplies)
    assert [sequences(phase) for phase in phases] == [{"a": 24, "b": 8}, {"a": 24, "b": 8}, {"b": 12}]
    assert [(phase.sequence_length, phase.sequences, phase.first_step) for phase in phases] == [
        (10, 32, 0),
        (10, 32, 4),
        (40, 12, 6),
    ]
    # 160 of its 1,015 tokens are used up, and a sequence is 40 now: 855 // 40 are left.
    longer = [*grown[:2], grown[2]._replace(steps=6)]
    with pytest.raises(XmodelError, match=r"found: 840 tokens: b 840 tokens"):
        make_plan(asked, longer, supplies)
    # Where the mixture names it, it has shares of its own.
    own = mixture({"a": 1}, {"b": 1}, {"a": 1}, names=["stable", "stable_2", "decay"])
    assert [sequences(phase) for phase in make_plan(own, grown, supplies)] == [{"a": 32}, {"b": 32}, {"a": 12}]


@pytest.mark.parametrize("names", [("decay", "stable"), ("stable", "anneal"), ("stable", "decay", "last")])
def test_several_phases_must_be_the_schedule_s(names: tuple[str, ...]) -> None:
    message = refused(mixture(*[{"a": 1}] * len(names), names=names), [supply("a", 9000)], ("stable", 3), ("decay", 2))
    for word in ("phases stable, decay", "a single phase", ", ".join(names), "training.schedule"):
        assert word in message


def test_a_group_is_split_by_supply_among_those_not_named_themselves() -> None:
    supplies = [
        supply("news", 3000, "zh/web"),
        supply("forum", 1000, "zh/web"),
        supply("named", 5000, "zh/web"),
        supply("books", 5000, "zh/book"),
        supply("pages", 5000, "en/web"),
    ]
    (phase,) = planned(mixture({"zh/web": 4, "named": 2, "pages": 4}), supplies)
    assert sequences(phase) == {"news": 24, "forum": 8, "named": 16, "pages": 32}
    (phase,) = planned(mixture({"zh/web": {"weight": 0, "min_tokens": 400}, "pages": 1}), supplies)
    assert sequences(phase) == {"news": 13, "forum": 5, "named": 22, "pages": 40}


def test_a_group_of_unknown_supply_is_split_evenly() -> None:
    supplies = [supply("a", None), supply("b", 100), supply("c", None, "zh/web")]
    (phase,) = planned(mixture({"en/web": 1, "c": 1}), supplies)
    assert sequences(phase) == {"a": 20, "b": 20, "c": 40}
    assert [source.epochs for source in phase.sources] == [None, 2.0, None]


def test_a_source_smaller_than_a_sequence_gives_nothing_and_stops_nobody() -> None:
    supplies = [supply("tiny", 9), supply("empty", 0), supply("big", 9000)]
    (phase,) = planned(mixture({"tiny": 1, "empty": 1, "big": 2}), supplies)
    assert sequences(phase) == {"tiny": 0, "empty": 0, "big": 80}
    assert [source.epochs for source in phase.sources] == [0.0, 0.0, pytest.approx(0.0889, abs=1e-4)]
    # Nor where a group owes min_tokens of which the tiny one's part would be a sequence.
    supplies = [supply("tiny", 9), supply("other", 12), supply("big", 9000, "zh/web")]
    (phase,) = planned(mixture({"en/web": {"weight": 0, "min_tokens": 20}, "big": 1}), supplies)
    assert sequences(phase) == {"tiny": 0, "other": 2, "big": 78}


def test_a_source_that_the_mixture_does_not_name_is_not_planned() -> None:
    (phase,) = planned(mixture({"a": 1}), [supply("a", 900), supply("b", 900)])
    assert sequences(phase) == {"a": 80}


@pytest.mark.parametrize(
    ("made", "words"),
    [
        (mixture({"wkii": 1}), ["names wkii", "small, tiny, wiki", "en/web, zh/web", "did you mean wiki?"]),
        (mixture({"zh/book": 1}), ["zh/book", "en/web", "no such source"]),
        (
            mixture({"small": {"weight": 1, "max_epochs": 2}}),
            ["phase stable asks for more tokens", "800 tokens (80 sequences of 10)", "200 tokens", "max_epochs 2"],
        ),
        (
            mixture({"small": {"weight": 1, "max_epochs": 1.5}, "wiki": {"weight": 1, "max_epochs": 0.5}}),
            ["found: 600 tokens: small 150 tokens (has 100, max_epochs 1.5); wiki 450 tokens", "fewer steps"],
        ),
        (
            mixture({"small": {"weight": 1, "max_epochs": 3, "min_tokens": 301}, "wiki": 1}),
            ["small cannot give its min_tokens in phase stable", "310 tokens", "at most 300 tokens", "max_epochs 3"],
        ),
        (
            mixture({"small": {"weight": 1, "min_tokens": 500}, "wiki": {"weight": 1, "min_tokens": 400}}),
            ["min_tokens of phase stable add up to more", "at most 800 tokens", "900 tokens", "train for more steps"],
        ),
        (mixture({"tiny": 1}), ["tiny 0 tokens (has 9, less than one sequence)"]),
        (mixture({"tiny": {"weight": 1, "min_tokens": 10}, "wiki": 1}), ["tiny", "less than one sequence"]),
    ],
)
def test_the_impossible_is_refused_in_one_clear_message(made: Mixture, words: list[str]) -> None:
    supplies = [supply("small", 100), supply("wiki", 900), supply("tiny", 9, "zh/web")]
    message = refused(made, supplies)
    for word in words:
        assert word in message, message
    assert "what to do:" in message


def test_a_cap_that_another_phase_sets_is_reported_as_such() -> None:
    made = mixture({"small": {"weight": 1, "max_epochs": 4}}, {"small": 1})
    message = refused(made, [supply("small", 100)], ("stable", 4), ("decay", 4))
    assert "phase decay asks for more tokens" in message
    assert "small 80 tokens (has 100, max_epochs of another phase)" in message


@pytest.mark.parametrize(("batch", "near"), [(81, 80), (5, 10), (99, 100)])
def test_a_batch_is_whole_sequences(batch: int, near: int) -> None:
    assert sequences_per_step(10, 80) == 8
    with pytest.raises(XmodelError, match=rf"(?s)global_batch_tokens.*the nearest is {near}$"):
        sequences_per_step(10, batch)


SOURCES = ("a", "b", "c", "d")
KEYS = ("en/web", "zh/web")
any_share = st.builds(
    lambda weight, max_epochs, least: {"weight": weight, "max_epochs": max_epochs, "min_tokens": least},
    st.sampled_from([0, 0.1, 0.5, 1, 3]),
    st.none() | st.sampled_from([0.5, 1, 1.7, 4]),
    st.sampled_from([0, 0, 0, 1, 35, 120]),
)


@st.composite
def demands(draw: st.DrawFn) -> tuple[Mixture, list[tuple[str, int]], list[Supply]]:
    """A mixture, a schedule and supplies, often impossible."""
    supplies = [
        supply(name, draw(st.none() | st.integers(0, 1500)), draw(st.sampled_from(KEYS)))
        for name in SOURCES[: draw(st.integers(1, 4))]
    ]
    there = [*(s.source for s in supplies), *{f"{s.lang}/{s.category}" for s in supplies}]
    lengths = [(name, draw(st.integers(1, 9))) for name in ("stable", "decay")[: draw(st.integers(1, 2))]]
    phases = []
    for _ in range(draw(st.sampled_from([1, len(lengths)]))):
        names = draw(st.lists(st.sampled_from(sorted(there)), min_size=1, max_size=4, unique=True))
        phase = {name: draw(any_share) for name in names}
        # A group whose members are all named themselves has nobody left.
        for key in [key for key in phase if "/" in key]:
            if all(s.source in phase for s in supplies if f"{s.lang}/{s.category}" == key):
                del phase[key]
        if not any(share["weight"] for share in phase.values()):
            phase[next(iter(phase))]["weight"] = 1
        phases.append(phase)
    return mixture(*phases), lengths, supplies


@settings(max_examples=200)
@given(demands())
def test_a_plan_keeps_every_promise_or_is_refused(
    demand: tuple[Mixture, list[tuple[str, int]], list[Supply]],
) -> None:
    made, lengths, supplies = demand
    try:
        phases = planned(made, supplies, *lengths)
    except XmodelError as error:
        assert error.remedy
        return
    assert [(phase.name, phase.steps) for phase in phases] == lengths
    assert [phase.first_step for phase in phases] == [sum(s for _, s in lengths[:n]) for n in range(len(lengths))]
    for phase in phases:
        assert sum(sequences(phase).values()) == phase.sequences == phase.steps * BATCH // LENGTH
        assert len(sequences(phase)) == len(phase.sources)
        assert sum(source.weight for source in phase.sources) == pytest.approx(1)
        for source in phase.sources:
            assert source.planned_tokens == source.sequences * LENGTH
    _check_limits(made, supplies, phases)
    _check_weights(made, supplies, phases)


def _check_limits(made: Mixture, supplies: list[Supply], phases: list[PlannedPhase]) -> None:
    run = over_the_run(phases)
    tokens = {s.source: s.tokens for s in supplies}
    for name, count in run.items():
        assert not ((tokens[name] or LENGTH) < LENGTH and count)
    for number, phase in enumerate(made.phases):
        given_here = run if len(made.phases) == 1 else Counter(sequences(phases[number]))
        for key, share in phase.sources.items():
            members = [s.source for s in supplies if key in (s.source, f"{s.lang}/{s.category}")]
            resolved = [name for name in members if name == key or name not in phase.sources]
            assert sum(given_here[name] for name in resolved) * LENGTH >= share.min_tokens
            for name in resolved:
                if share.max_epochs is not None and tokens[name] is not None:
                    assert run[name] * LENGTH <= Fraction(share.max_epochs) * (tokens[name] or 0)


def _check_weights(made: Mixture, supplies: list[Supply], phases: list[PlannedPhase]) -> None:
    """What has no limits is divided by weight, to within a sequence each; no weight and no minimum gives nothing."""
    supply_of = {s.source: s.tokens for s in supplies}
    asked = [made.phases[number % len(made.phases)] for number in range(len(phases))]
    for phase, mixture_phase in zip(phases, asked, strict=True):
        shares = {
            s.source: mixture_phase.sources.get(s.source) or mixture_phase.sources[f"{s.lang}/{s.category}"]
            for s in phase.sources
        }
        bounded = {s.source for other in phases for s in other.sources if s.max_epochs is not None}
        bounded |= {name for name, tokens in supply_of.items() if tokens is not None and tokens < LENGTH}
        without_minimum = [s for s in phase.sources if not shares[s.source].min_tokens]
        assert not any(s.sequences for s in without_minimum if not s.weight)
        free = [s for s in without_minimum if s.weight and s.source not in bounded]
        for one, other in combinations(free, 2):
            off = one.sequences * other.weight - other.sequences * one.weight
            assert abs(off) < one.weight + other.weight + 1e-9


@given(
    st.lists(st.tuples(st.integers(0, 600), any_share), min_size=1, max_size=4),
    st.integers(1, 20),
)
def test_what_is_possible_in_one_phase_is_planned(sources: list[tuple[int, Shares]], steps: int) -> None:
    if not any(share["weight"] for _, share in sources):
        return
    supplies = [supply(str(number), tokens) for number, (tokens, _) in enumerate(sources)]
    most = []
    for tokens, share in sources:
        bound = 10**9 if share["max_epochs"] is None else floor(Fraction(share["max_epochs"]) * tokens) // LENGTH
        most.append(0 if tokens < LENGTH else bound)
    least = [-(-share["min_tokens"] // LENGTH) for _, share in sources]
    able = sum(m if share["weight"] else n for m, n, (_, share) in zip(most, least, sources, strict=True))
    total = steps * BATCH // LENGTH
    possible = all(n <= m for n, m in zip(least, most, strict=True)) and sum(least) <= total <= able
    made = mixture({str(number): share for number, (_, share) in enumerate(sources)})
    if possible:
        assert sum(over_the_run(planned(made, supplies, ("stable", steps))).values()) == total
    else:
        refused(made, supplies, ("stable", steps))

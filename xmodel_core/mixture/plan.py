"""Shares × supply × schedule → an exact plan: how many sequences of which source, phase by phase.

Takes a mixture, the schedule's phases and each source's tokens; gives whole sequences that add up to
steps × batch exactly, in each phase of its own length. `max_epochs` bounds how often a source's tokens
are seen over the whole run, and what it cannot give, the others give by their weights.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import ceil, floor

from xmodel_core.errors import XmodelError
from xmodel_core.mixture.apportion import Claim, apportion
from xmodel_core.specs import Mixture, Phase, ScheduledPhase, Share
from xmodel_core.specs.strict import nearest


@dataclass(frozen=True)
class Supply:
    """What a source has: train tokens, or None where nobody knows yet (then nothing bounds it)."""

    source: str
    lang: str
    category: str
    tokens: int | None


@dataclass(frozen=True)
class PlannedSource:
    """What one source gives to one phase."""

    source: str
    lang: str
    category: str
    weight: float
    """The share of the phase's tokens that the mixture asks for; the shares add up to 1."""
    sequences: int
    planned_tokens: int
    supply_tokens: int | None
    epochs: float | None
    """Planned tokens over supply, in this phase."""
    max_epochs: float | None
    capped: bool
    """Whether it gives less than its weight asks, because max_epochs or its size allows no more."""


@dataclass(frozen=True)
class PlannedPhase:
    """One phase in exact numbers."""

    name: str
    first_step: int
    steps: int
    sequence_length: int
    global_batch_tokens: int
    sequences: int
    sources: tuple[PlannedSource, ...]


@dataclass(frozen=True)
class _Ask:
    """What one source is asked for in one phase, group keys resolved."""

    supply: Supply
    weight: Fraction
    min_sequences: int
    max_epochs: float | None


def _members(key: str, phase: Phase, supplies: Sequence[Supply]) -> list[Supply]:
    """The sources that a key names: one by its name, or all of a lang/category that are not named themselves."""
    named = [supply for supply in supplies if supply.source == key]
    if named:
        return named
    group = [s for s in supplies if f"{s.lang}/{s.category}" == key and s.source not in phase.sources]
    if group:
        return group
    names = sorted(supply.source for supply in supplies)
    groups = sorted({f"{supply.lang}/{supply.category}" for supply in supplies})
    near = nearest(key, names + groups)
    raise XmodelError(
        f"the mixture names {key}, and there is no such source",
        expected=f"a source ({', '.join(names)}) or a lang/category ({', '.join(groups)})",
        found=key,
        where=f"mixture, phase {phase.name}",
        remedy=f"did you mean {near}?" if near else "mend the mixture, or add the source to the recipe",
    )


def _most(supply: Supply, max_epochs: float | None, sequence_length: int) -> int | None:
    """The sequences that a source may give to a phase, the others aside; None: no bound."""
    if supply.tokens is not None and supply.tokens < sequence_length:
        return 0  # not one sequence: nothing to give, however often
    tokens = _most_tokens(supply, max_epochs)
    return None if tokens is None else tokens // sequence_length


def _most_tokens(supply: Supply, max_epochs: float | None) -> int | None:
    """The tokens that a source may give over the run; None: no bound."""
    if supply.tokens is None or max_epochs is None:
        return None
    return floor(Fraction(max_epochs) * supply.tokens)


def _resolved(key: str, share: Share, members: Sequence[Supply], sequence_length: int) -> list[_Ask]:
    """One key's ask, split over its members by supply (evenly where a supply is unknown)."""
    tokens = [supply.tokens for supply in members]
    known = [count for count in tokens if count is not None]
    by_supply = len(known) == len(members) and sum(known) > 0
    parts = [Fraction(count) for count in known] if by_supply else [Fraction(1)] * len(members)
    least = ceil(share.min_tokens / sequence_length)
    most = [_most(supply, share.max_epochs, sequence_length) for supply in members]
    if sum(least if bound is None else bound for bound in most) < least:
        most = [None] * len(members)  # more than they have: refused below, by the name of one that lacks it
    floors = apportion(least, [Claim(part, 0, bound) for part, bound in zip(parts, most, strict=True)])
    return [
        _Ask(supply, Fraction(share.weight) * part / sum(parts), floor_, share.max_epochs)
        for supply, part, floor_ in zip(members, parts, floors, strict=True)
    ]


def _asks(phase: Phase, supplies: Sequence[Supply], sequence_length: int) -> list[_Ask]:
    found = [
        ask
        for key, share in phase.sources.items()
        for ask in _resolved(key, share, _members(key, phase, supplies), sequence_length)
    ]
    total = sum(ask.weight for ask in found)
    return [_Ask(ask.supply, ask.weight / total, ask.min_sequences, ask.max_epochs) for ask in found]


def match_phases(mixture: Mixture, schedule: Sequence[ScheduledPhase]) -> list[Phase]:
    """The mixture's phase for each phase of the schedule.

    A mixture of one phase gives its shares to them all; the phases of a longer one must be the schedule's by name,
    except that those in which only lengths change may be left out: they have the shares of the phase before. Where a
    mixture's phase serves several, its `min_tokens` are spread over them by their tokens.
    """
    served: list[list[ScheduledPhase]] = []
    if len(mixture.phases) == 1:
        served = [list(schedule)]
    else:
        named = {phase.name for phase in mixture.phases}
        for phase in schedule:
            if phase.continues_previous and phase.name not in named:
                served[-1].append(phase)
            else:
                served.append([phase])
        names = [phase.name for phase in mixture.phases]
        if names != [phases[0].name for phases in served]:
            raise XmodelError(
                "the mixture's phases are not the schedule's",
                expected=f"phases {', '.join(phase.name for phase in schedule)}, in this order, "
                "or a single phase for the whole run",
                found=", ".join(names),
                where="mixture",
                remedy="name the mixture's phases after the schedule's, or choose another training.schedule",
            )
    return [
        _part_of(given, phase, sum(other.tokens for other in phases))
        for given, phases in zip(mixture.phases, served, strict=True)
        for phase in phases
    ]


def _part_of(given: Phase, phase: ScheduledPhase, tokens: int) -> Phase:
    shares = {
        key: share.model_copy(update={"min_tokens": ceil(Fraction(share.min_tokens * phase.tokens, tokens))})
        for key, share in given.sources.items()
    }
    return Phase(name=phase.name, sources=shares)


def shares(mixture: Mixture, schedule: Sequence[ScheduledPhase], supplies: Sequence[Supply]) -> dict[str, float]:
    """Source → share of the run's tokens that the mixture asks for, its limits aside; 0 for one that it leaves out.

    XmodelError: phases that are not the schedule's, a source that is not there.
    """
    total = sum(phase.tokens for phase in schedule)
    found = {supply.source: Fraction(0) for supply in supplies}
    for phase, scheduled in zip(match_phases(mixture, schedule), schedule, strict=True):
        for ask in _asks(phase, supplies, 1):
            found[ask.supply.source] += ask.weight * Fraction(scheduled.tokens, total)
    return {source: float(share) for source, share in found.items()}


def sequences_per_step(sequence_length: int, global_batch_tokens: int) -> int:
    """Sequences in a batch; XmodelError where the batch is not whole sequences."""
    if global_batch_tokens % sequence_length or global_batch_tokens < sequence_length:
        near = max(1, round(global_batch_tokens / sequence_length)) * sequence_length
        raise XmodelError(
            "a batch is not a whole number of sequences",
            expected=f"a multiple of training.sequence_length, {sequence_length}",
            found=global_batch_tokens,
            where="training.global_batch_tokens",
            remedy=f"the nearest is {near}",
        )
    return global_batch_tokens // sequence_length


class _Stock:
    """What each source may still give, in tokens: its own, as often as max_epochs allows over the run."""

    def __init__(self, phases: Sequence[Sequence[_Ask]], lengths: Sequence[int]) -> None:
        """`lengths`: tokens of a sequence in each phase."""
        self._lengths = lengths
        self._left: dict[str, int | None] = {}
        self._supply = {ask.supply.source: ask.supply.tokens for asks in phases for ask in asks}
        for asks in phases:
            for ask in asks:
                name, bound = ask.supply.source, _most_tokens(ask.supply, ask.max_epochs)
                before = self._left.get(name)
                self._left[name] = bound if before is None else before if bound is None else min(before, bound)
        # What later phases must have is theirs: an earlier phase may not use it up.
        self._promised = [
            {ask.supply.source: ask.min_sequences * length for ask in asks}
            for asks, length in zip(phases, lengths, strict=True)
        ]

    def bounds(self, phase: int) -> dict[str, int | None]:
        """The sequences that each source may give to this phase."""
        later: dict[str, int] = {}
        for promised in self._promised[phase + 1 :]:
            for name, tokens in promised.items():
                later[name] = later.get(name, 0) + tokens
        return {name: self._bound(name, left, later.get(name, 0), phase) for name, left in self._left.items()}

    def _bound(self, name: str, left: int | None, later: int, phase: int) -> int | None:
        supply, length = self._supply[name], self._lengths[phase]
        if supply is not None and supply < length:
            return 0  # not one sequence: nothing to give, however often
        return None if left is None else max(0, left - later) // length

    def take(self, name: str, tokens: int) -> None:
        """Some of it is used."""
        left = self._left[name]
        self._left[name] = None if left is None else left - tokens


def _refuse_impossible(
    phase: Phase, sequences: int, asks: Sequence[_Ask], bounds: dict[str, int | None], sequence_length: int
) -> None:
    def tokens(count: int) -> str:
        return f"{count * sequence_length:,} tokens"

    def limit(ask: _Ask) -> str:
        if ask.supply.tokens is not None and ask.supply.tokens < sequence_length:
            return f"has {ask.supply.tokens:,}, less than one sequence"
        epochs = "of another phase" if ask.max_epochs is None else f"{ask.max_epochs:g}"
        return f"has {ask.supply.tokens:,}, max_epochs {epochs}"

    for ask in asks:
        bound = bounds[ask.supply.source]
        if bound is not None and ask.min_sequences > bound:
            raise XmodelError(
                f"{ask.supply.source} cannot give its min_tokens in phase {phase.name}",
                expected=tokens(ask.min_sequences),
                found=f"at most {tokens(bound)} ({limit(ask)})",
                where="mixture",
                remedy="lower min_tokens, raise max_epochs, or give the source more text",
            )
    least = sum(ask.min_sequences for ask in asks)
    if least > sequences:
        raise XmodelError(
            f"the min_tokens of phase {phase.name} are more than the phase has",
            expected=f"at most {tokens(sequences)}",
            found=tokens(least),
            where="mixture",
            remedy="lower min_tokens, or train for more steps",
        )
    able = [(ask, bounds[ask.supply.source]) for ask in asks if ask.weight > 0]
    most = sum(bound for _, bound in able if bound is not None)
    most += sum(ask.min_sequences for ask in asks if ask.weight == 0)
    if all(bound is not None for _, bound in able) and most < sequences:
        there = "; ".join(f"{ask.supply.source} {tokens(bound or 0)} ({limit(ask)})" for ask, bound in able)
        raise XmodelError(
            f"phase {phase.name} asks for more tokens than its sources may give",
            expected=f"{tokens(sequences)} ({sequences:,} sequences of {sequence_length})",
            found=f"{tokens(most)}: {there}",
            where="mixture",
            remedy="train for fewer steps, raise max_epochs, or add sources",
        )


def make_plan(mixture: Mixture, schedule: Sequence[ScheduledPhase], supplies: Sequence[Supply]) -> list[PlannedPhase]:
    """The plan. `supplies`: every source at hand.

    XmodelError: phases that are not the schedule's, a source that is not there, limits that cannot be kept.
    """
    batches = [sequences_per_step(phase.sequence_length, phase.global_batch_tokens) for phase in schedule]
    lengths = [phase.sequence_length for phase in schedule]
    phases = match_phases(mixture, schedule)
    asks = [_asks(phase, supplies, length) for phase, length in zip(phases, lengths, strict=True)]
    stock = _Stock(asks, lengths)
    planned, first_step = [], 0
    for number, scheduled in enumerate(schedule):
        sequences, bounds, length = scheduled.steps * batches[number], stock.bounds(number), lengths[number]
        _refuse_impossible(phases[number], sequences, asks[number], bounds, length)
        claims = [Claim(ask.weight, ask.min_sequences, bounds[ask.supply.source]) for ask in asks[number]]
        counts = apportion(sequences, claims)
        for ask, count in zip(asks[number], counts, strict=True):
            stock.take(ask.supply.source, count * length)
        sources = tuple(
            _planned(ask, count, sequences, bounds[ask.supply.source], length)
            for ask, count in zip(asks[number], counts, strict=True)
        )
        at = scheduled.steps, length, scheduled.global_batch_tokens
        planned.append(PlannedPhase(scheduled.name, first_step, *at, sequences, sources))
        first_step += scheduled.steps
    return planned


def _planned(ask: _Ask, count: int, sequences: int, bound: int | None, sequence_length: int) -> PlannedSource:
    supply = ask.supply
    tokens = count * sequence_length
    return PlannedSource(
        source=supply.source,
        lang=supply.lang,
        category=supply.category,
        weight=float(ask.weight),
        sequences=count,
        planned_tokens=tokens,
        supply_tokens=supply.tokens,
        epochs=None if supply.tokens is None else tokens / supply.tokens if supply.tokens else 0.0,
        max_epochs=ask.max_epochs,
        capped=bound is not None and count == bound and ask.weight * sequences > bound,
    )

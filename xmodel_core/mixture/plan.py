"""Shares × supply × schedule → an exact plan: how many sequences of which source, phase by phase.

Takes a mixture, the schedule's phases and each source's supply of tokens; gives whole sequences that add up to
steps × batch exactly, in each phase of its own sequence length. `max_epochs` bounds how often a source's tokens are
seen over the whole run; what a source at its bound leaves is divided among the others by their weights.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from math import ceil, floor

from xmodel_core.errors import XmodelError
from xmodel_core.mixture.apportion import Claim, apportion
from xmodel_core.specs import Mixture, Phase, ScheduledPhase, Share
from xmodel_core.specs.strict import nearest


@dataclass(frozen=True)
class Supply:
    """Train tokens of a source; None where they are not known yet (then nothing bounds it)."""

    source: str
    lang: str
    category: str
    tokens: int | None


@dataclass(frozen=True)
class PlannedSource:
    """What one source contributes to one phase."""

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
    """Whether it contributes less than its weight asks for, because max_epochs or its size allows no more."""


@dataclass(frozen=True)
class PlannedPhase:
    """One phase of the plan, in whole sequences."""

    name: str
    first_step: int
    steps: int
    sequence_length: int
    global_batch_tokens: int
    sequences: int
    sources: tuple[PlannedSource, ...]


@dataclass(frozen=True)
class _Demand:
    """What the mixture demands of one source in one phase; a group key is already split over its sources."""

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
    beside = sorted(s.source for s in supplies if f"{s.lang}/{s.category}" == key)
    if beside:
        raise XmodelError(
            f"the mixture names {key}, and every source of it by its own name",
            expected=f"a lang/category with a source that the phase does not name itself ({', '.join(beside)})",
            found=key,
            where=f"mixture, phase {phase.name}",
            remedy=f"leave out {key}, or the sources' own names",
        )
    names = sorted(supply.source for supply in supplies)
    groups = sorted({f"{supply.lang}/{supply.category}" for supply in supplies})
    near = nearest(key, names + groups)
    raise XmodelError(
        f"the mixture names {key}, and there is no such source",
        expected=f"a source ({', '.join(names)}) or a lang/category ({', '.join(groups)})",
        found=key,
        where=f"mixture, phase {phase.name}",
        remedy=f"did you mean {near}?" if near else "correct the mixture, or add the source to the recipe",
    )


def _most(supply: Supply, max_epochs: float | None, sequence_length: int) -> int | None:
    """Upper bound on a source's sequences in one phase, other phases ignored; None: no bound."""
    if supply.tokens is not None and supply.tokens < sequence_length:
        return 0  # shorter than one sequence, whatever the epochs
    tokens = _most_tokens(supply, max_epochs)
    return None if tokens is None else tokens // sequence_length


def _most_tokens(supply: Supply, max_epochs: float | None) -> int | None:
    """Upper bound on a source's tokens over the run; None: no bound."""
    if supply.tokens is None or max_epochs is None:
        return None
    return floor(Fraction(max_epochs) * supply.tokens)


def _resolved(key: str, share: Share, members: Sequence[Supply], sequence_length: int) -> list[_Demand]:
    """One key's demand, split over its members by supply (evenly where a supply is unknown)."""
    tokens = [supply.tokens for supply in members]
    known = [count for count in tokens if count is not None]
    by_supply = len(known) == len(members) and sum(known) > 0
    parts = [Fraction(count) for count in known] if by_supply else [Fraction(1)] * len(members)
    least = ceil(share.min_tokens / sequence_length)
    most = [_most(supply, share.max_epochs, sequence_length) for supply in members]
    if sum(least if bound is None else bound for bound in most) < least:
        most = [None] * len(members)  # more than they have: refused later, naming the source that falls short
    floors = apportion(least, [Claim(part, 0, bound) for part, bound in zip(parts, most, strict=True)])
    return [
        _Demand(supply, Fraction(share.weight) * part / sum(parts), floor_, share.max_epochs)
        for supply, part, floor_ in zip(members, parts, floors, strict=True)
    ]


def _demands(phase: Phase, supplies: Sequence[Supply], sequence_length: int) -> list[_Demand]:
    demands = [
        demand
        for key, share in phase.sources.items()
        for demand in _resolved(key, share, _members(key, phase, supplies), sequence_length)
    ]
    total = sum(demand.weight for demand in demands)
    return [replace(demand, weight=demand.weight / total) for demand in demands]


def match_phases(mixture: Mixture, schedule: Sequence[ScheduledPhase]) -> list[Phase]:
    """One mixture phase per phase of the schedule, under the schedule's names.

    The single phase of a mixture applies to all of them. Several must carry the schedule's names in its order; a
    phase that `continues_previous` may be left out and then has the shares of the one before. Where one mixture phase
    applies to several, its `min_tokens` are divided among them in proportion to their tokens.

    XmodelError: several phases whose names are not the schedule's.
    """
    groups: list[list[ScheduledPhase]] = []  # for each phase of the mixture, those of the schedule that it serves
    if len(mixture.phases) == 1:
        groups = [list(schedule)]
    else:
        named = {phase.name for phase in mixture.phases}
        for phase in schedule:
            if phase.continues_previous and phase.name not in named:
                groups[-1].append(phase)
            else:
                groups.append([phase])
        names = [phase.name for phase in mixture.phases]
        if names != [phases[0].name for phases in groups]:
            raise XmodelError(
                "the mixture's phases differ from the schedule's",
                expected=f"phases {', '.join(phase.name for phase in schedule)}, in this order, "
                "or a single phase for the whole run",
                found=", ".join(names),
                where="mixture",
                remedy="name the mixture's phases after the schedule's, or choose another training.schedule",
            )
    return [
        _part_of(mixture_phase, phase, sum(other.tokens for other in phases))
        for mixture_phase, phases in zip(mixture.phases, groups, strict=True)
        for phase in phases
    ]


def _part_of(mixture_phase: Phase, phase: ScheduledPhase, tokens: int) -> Phase:
    """The mixture's phase for one of those that it serves, which have `tokens` in all."""
    shares = {
        key: share.model_copy(update={"min_tokens": ceil(Fraction(share.min_tokens * phase.tokens, tokens))})
        for key, share in mixture_phase.sources.items()
    }
    return Phase(name=phase.name, sources=shares)


def shares(mixture: Mixture, schedule: Sequence[ScheduledPhase], supplies: Sequence[Supply]) -> dict[str, float]:
    """Source → share of the run's tokens by the mixture's weights, limits ignored; 0 for a source that it leaves out.

    XmodelError: phase names that are not the schedule's, a key that names no source.
    """
    total = sum(phase.tokens for phase in schedule)
    totals = {supply.source: Fraction(0) for supply in supplies}
    for phase, scheduled in zip(match_phases(mixture, schedule), schedule, strict=True):
        for demand in _demands(phase, supplies, 1):
            totals[demand.supply.source] += demand.weight * Fraction(scheduled.tokens, total)
    return {source: float(share) for source, share in totals.items()}


def sequences_per_step(sequence_length: int, global_batch_tokens: int) -> int:
    """Sequences in a batch. XmodelError: the batch is not a whole number of sequences."""
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


class _Budget:
    """Tokens that each source may still contribute: its supply times max_epochs over the run, less what is taken."""

    def __init__(self, phases: Sequence[Sequence[_Demand]], lengths: Sequence[int]) -> None:
        """`lengths`: tokens of a sequence in each phase."""
        self._lengths = lengths
        self._left: dict[str, int | None] = {}
        self._supply = {demand.supply.source: demand.supply.tokens for demands in phases for demand in demands}
        for demands in phases:
            for demand in demands:
                name, bound = demand.supply.source, _most_tokens(demand.supply, demand.max_epochs)
                before = self._left.get(name)
                self._left[name] = bound if before is None else before if bound is None else min(before, bound)
        # min_tokens of later phases are reserved: an earlier phase may not use them up.
        self._reserved = [
            {demand.supply.source: demand.min_sequences * length for demand in demands}
            for demands, length in zip(phases, lengths, strict=True)
        ]

    def bounds(self, phase: int) -> dict[str, int | None]:
        """Source → the most sequences that it may contribute to this phase; None: no bound."""
        later: dict[str, int] = {}
        for reserved in self._reserved[phase + 1 :]:
            for name, tokens in reserved.items():
                later[name] = later.get(name, 0) + tokens
        return {name: self._bound(name, left, later.get(name, 0), phase) for name, left in self._left.items()}

    def _bound(self, name: str, left: int | None, later: int, phase: int) -> int | None:
        supply, length = self._supply[name], self._lengths[phase]
        if supply is not None and supply < length:
            return 0  # shorter than one sequence, whatever the epochs
        return None if left is None else max(0, left - later) // length

    def take(self, name: str, tokens: int) -> None:
        """Takes tokens of a source out of its budget."""
        left = self._left[name]
        self._left[name] = None if left is None else left - tokens


def _refuse_impossible(
    phase: Phase, sequences: int, demands: Sequence[_Demand], bounds: dict[str, int | None], sequence_length: int
) -> None:
    def tokens(count: int) -> str:
        return f"{count * sequence_length:,} tokens"

    def limit(demand: _Demand) -> str:
        if demand.supply.tokens is not None and demand.supply.tokens < sequence_length:
            return f"has {demand.supply.tokens:,}, less than one sequence"
        epochs = "of another phase" if demand.max_epochs is None else f"{demand.max_epochs:g}"
        return f"has {demand.supply.tokens:,}, max_epochs {epochs}"

    for demand in demands:
        bound = bounds[demand.supply.source]
        if bound is not None and demand.min_sequences > bound:
            raise XmodelError(
                f"{demand.supply.source} cannot give its min_tokens in phase {phase.name}",
                expected=tokens(demand.min_sequences),
                found=f"at most {tokens(bound)} ({limit(demand)})",
                where="mixture",
                remedy="lower min_tokens, raise max_epochs, or give the source more text",
            )
    least = sum(demand.min_sequences for demand in demands)
    if least > sequences:
        raise XmodelError(
            f"the min_tokens of phase {phase.name} add up to more than the phase holds",
            expected=f"at most {tokens(sequences)}",
            found=tokens(least),
            where="mixture",
            remedy="lower min_tokens, or train for more steps",
        )
    able = [(demand, bounds[demand.supply.source]) for demand in demands if demand.weight > 0]
    most = sum(bound for _, bound in able if bound is not None)
    most += sum(demand.min_sequences for demand in demands if demand.weight == 0)
    if all(bound is not None for _, bound in able) and most < sequences:
        per_source = "; ".join(
            f"{demand.supply.source} {tokens(bound or 0)} ({limit(demand)})" for demand, bound in able
        )
        raise XmodelError(
            f"phase {phase.name} asks for more tokens than its sources may give",
            expected=f"{tokens(sequences)} ({sequences:,} sequences of {sequence_length})",
            found=f"{tokens(most)}: {per_source}",
            where="mixture",
            remedy="train for fewer steps, raise max_epochs, or add sources",
        )


def make_plan(mixture: Mixture, schedule: Sequence[ScheduledPhase], supplies: Sequence[Supply]) -> list[PlannedPhase]:
    """The plan, one entry per phase of the schedule. `supplies`: all sources of the recipe.

    XmodelError: phase names that are not the schedule's, a key that names no source, a batch that is not a whole number
    of sequences, or `min_tokens` and `max_epochs` that cannot be kept.
    """
    batches = [sequences_per_step(phase.sequence_length, phase.global_batch_tokens) for phase in schedule]
    lengths = [phase.sequence_length for phase in schedule]
    phases = match_phases(mixture, schedule)
    demands = [_demands(phase, supplies, length) for phase, length in zip(phases, lengths, strict=True)]
    budget = _Budget(demands, lengths)
    planned, first_step = [], 0
    for number, scheduled in enumerate(schedule):
        sequences, bounds, length = scheduled.steps * batches[number], budget.bounds(number), lengths[number]
        _refuse_impossible(phases[number], sequences, demands[number], bounds, length)
        claims = [
            Claim(demand.weight, demand.min_sequences, bounds[demand.supply.source]) for demand in demands[number]
        ]
        counts = apportion(sequences, claims)
        for demand, count in zip(demands[number], counts, strict=True):
            budget.take(demand.supply.source, count * length)
        sources = tuple(
            _planned(demand, count, sequences, bounds[demand.supply.source], length)
            for demand, count in zip(demands[number], counts, strict=True)
        )
        at = scheduled.steps, length, scheduled.global_batch_tokens
        planned.append(PlannedPhase(scheduled.name, first_step, *at, sequences, sources))
        first_step += scheduled.steps
    return planned


def _planned(demand: _Demand, count: int, sequences: int, bound: int | None, sequence_length: int) -> PlannedSource:
    supply = demand.supply
    tokens = count * sequence_length
    return PlannedSource(
        source=supply.source,
        lang=supply.lang,
        category=supply.category,
        weight=float(demand.weight),
        sequences=count,
        planned_tokens=tokens,
        supply_tokens=supply.tokens,
        epochs=None if supply.tokens is None else tokens / supply.tokens if supply.tokens else 0.0,
        max_epochs=demand.max_epochs,
        capped=bound is not None and count == bound and demand.weight * sequences > bound,
    )

"""Divides whole sequences among sources by weight, within bounds: exact arithmetic, no rounding drift.

Takes a total and claims (weight, lower and upper bound); gives whole numbers that add up to the total.
Each is within one of its ideal share. What a claim at its upper bound leaves, or one at its lower bound takes beyond
its weight, is divided among the others by their weights.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction


@dataclass(frozen=True)
class Claim:
    """One source's claim on a phase, in sequences; `at_most` None: no bound."""

    weight: Fraction
    at_least: int = 0
    at_most: int | None = None


def _clipped(claim: Claim, ideal: Fraction) -> Fraction:
    lifted = max(ideal, Fraction(claim.at_least))
    return lifted if claim.at_most is None else min(lifted, Fraction(claim.at_most))


def ideal_shares(total: int, claims: Sequence[Claim]) -> list[Fraction]:
    """The shares that are proportional to the weights wherever no bound binds; they add up to `total`.

    The bounds must allow it: the sum of `at_least` ≤ total ≤ the sum of `at_most` over claims with weight
    (and of `at_least` over those without).
    """
    shares: dict[int, Fraction] = {
        number: Fraction(claim.at_least) for number, claim in enumerate(claims) if claim.weight == 0
    }
    # As CSS lays out flexible boxes: share out freely, then fix the side, lower or upper, that is violated more in
    # total, and share out the rest again. At each turn at least one claim is fixed for good.
    while free := [number for number in range(len(claims)) if number not in shares]:
        left = total - sum(shares.values())
        weight = sum(claims[number].weight for number in free)
        proposed = {number: left * claims[number].weight / weight for number in free}
        moved = {number: _clipped(claims[number], share) - share for number, share in proposed.items()}
        balance = sum(moved.values())
        binding = [n for n in free if moved[n] != 0 and (balance == 0 or (moved[n] > 0) == (balance > 0))]
        for number in binding or free:
            shares[number] = proposed[number] + moved[number]
    return [shares[number] for number in range(len(claims))]


def apportion(total: int, claims: Sequence[Claim]) -> list[int]:
    """The ideal shares in whole numbers, by the largest remainder; ties go to the earlier claim."""
    ideal = ideal_shares(total, claims)
    counts = [int(share) for share in ideal]
    # A share with a fraction is strictly between its bounds, which are whole: one more still fits.
    by_remainder = sorted(range(len(claims)), key=lambda number: (counts[number] - ideal[number], number))
    for number in by_remainder[: total - sum(counts)]:
        counts[number] += 1
    return counts

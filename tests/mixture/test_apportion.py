"""Whole sequences divided by weight within bounds: exact sums, kept bounds, and nobody far from a fair share."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xmodel_core.mixture.apportion import Claim, apportion, ideal_shares


@st.composite
def divisions(draw: st.DrawFn) -> tuple[int, list[Claim]]:
    """A total, and claims whose bounds allow it."""
    claims = []
    for _ in range(draw(st.integers(1, 7))):
        at_least = draw(st.integers(0, 30))
        at_most = draw(st.none() | st.integers(at_least, 80))
        weight = Fraction(draw(st.integers(0, 40)), draw(st.integers(1, 7)))
        claims.append(Claim(weight, at_least, at_most))
    if not any(claim.weight for claim in claims):
        claims[0] = Claim(Fraction(1), claims[0].at_least, claims[0].at_most)
    least = sum(claim.at_least for claim in claims)
    most = sum(
        (claim.at_most if claim.at_most is not None else 200) if claim.weight else claim.at_least for claim in claims
    )
    return draw(st.integers(least, most)), claims


@given(divisions())
def test_shares_add_up_exactly_and_keep_every_bound(division: tuple[int, list[Claim]]) -> None:
    total, claims = division
    for shares in (ideal_shares(total, claims), apportion(total, claims)):
        assert sum(shares) == total
        for share, claim in zip(shares, claims, strict=True):
            assert claim.at_least <= share
            assert claim.at_most is None or share <= claim.at_most
            assert claim.weight or share == claim.at_least


@given(divisions())
def test_whole_shares_lie_within_one_of_the_ideal(division: tuple[int, list[Claim]]) -> None:
    total, claims = division
    counts, ideal = apportion(total, claims), ideal_shares(total, claims)
    assert all(isinstance(count, int) for count in counts)
    assert all(abs(count - share) < 1 for count, share in zip(counts, ideal, strict=True))


@given(divisions())
def test_shares_follow_the_weights_wherever_no_bound_binds(division: tuple[int, list[Claim]]) -> None:
    total, claims = division
    weighted = [(s, c) for s, c in zip(ideal_shares(total, claims), claims, strict=True) if c.weight]
    free = [share / claim.weight for share, claim in weighted if claim.at_least < share and share != claim.at_most]
    assert len(set(free)) <= 1
    for level in free:
        for share, claim in weighted:
            # Who has less per weight than the free ones is held by its upper bound, who has more by its lower.
            assert share / claim.weight >= level or share == claim.at_most
            assert share / claim.weight <= level or share == claim.at_least


@given(st.integers(0, 10_000), st.lists(st.integers(1, 1000), min_size=1, max_size=8))
def test_the_scale_of_the_weights_does_not_matter(total: int, weights: list[int]) -> None:
    claims = [Claim(Fraction(weight)) for weight in weights]
    scaled = [Claim(Fraction(weight, sum(weights))) for weight in weights]
    assert apportion(total, claims) == apportion(total, scaled)


@pytest.mark.parametrize(
    ("total", "claims", "shares"),
    [
        (10, [(1, 0, None), (1, 0, None), (1, 0, None)], [4, 3, 3]),
        (100, [(2, 0, None), (1, 0, None), (1, 0, None)], [50, 25, 25]),
        # What a full source cannot take, the others share by their weights: 70 as 2 to 1.
        (100, [(2, 0, None), (1, 0, None), (7, 0, 30)], [47, 23, 30]),
        # What one must have beyond its weight, the others give by theirs.
        (100, [(3, 0, None), (1, 0, None), (1, 40, None)], [45, 15, 40]),
        # Both at once: the cap frees 40, the floor takes 30.
        (100, [(1, 0, None), (6, 0, 20), (1, 0, None), (2, 50, None)], [15, 20, 15, 50]),
        (7, [(0, 3, None), (5, 0, None)], [3, 4]),
        (0, [(1, 0, None), (1, 0, 5)], [0, 0]),
    ],
)
def test_examples(total: int, claims: list[tuple[int, int, int | None]], shares: list[int]) -> None:
    assert apportion(total, [Claim(Fraction(weight), least, most) for weight, least, most in claims]) == shares

"""Sign flips against all permutations written out; what is detectable against repetition."""

from __future__ import annotations

import itertools
from statistics import fmean

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anomalyr1.metrics.significance import mcnemar, sign_flips, smallest_detectable


def brute_force(differences: list[float]) -> float:
    """The share of all 2^n permutations whose mean is at least as far from 0."""
    far = 0
    for signs in itertools.product((1, -1), repeat=len(differences)):
        mean = fmean(sign * difference for sign, difference in zip(signs, differences, strict=True))
        far += abs(mean) >= abs(fmean(differences)) - 1e-12
    return far / 2 ** len(differences)


@pytest.mark.parametrize(
    ("differences", "p", "smallest"),
    [
        ([3.0], 1.0, 1.0),  # one seed tells nothing
        ([3.0, 1.0], 0.5, 0.5),
        ([1.0, 2.0, 3.0], 0.25, 0.25),
        ([-1.0, -2.0, -3.0], 0.25, 0.25),  # either way
        ([1.0, 2.0, -3.0], 1.0, 0.25),  # mean 0
        ([4.0, 1.0, -1.0], 0.75, 0.25),  # sums of 6, 4, 4 and 2, either way: three of four reach 4
        ([2.0, 2.0, 2.0, 2.0, 2.0], 0.0625, 0.0625),
        ([1.0, 0.0, 0.0], 1.0, 0.25),
        ([0.0, 0.0], 1.0, 0.5),
        ([1e-3, 2e-3, 3e-3, 4e-3, 5e-3, 6e-3], 0.03125, 0.03125),
    ],
)
def test_by_hand(differences: list[float], p: float, smallest: float) -> None:
    found = sign_flips(differences)
    assert found is not None and (found.p, found.smallest) == (p, smallest)


@given(st.lists(st.integers(-20, 20).map(lambda tenths: tenths / 10), min_size=1, max_size=7))
def test_equals_every_permutation_written_out(differences: list[float]) -> None:
    found = sign_flips(differences)
    assert found is not None and found.p == pytest.approx(brute_force(differences))
    assert found.p >= found.smallest


def test_no_pair_has_no_p() -> None:
    assert sign_flips([]) is None


def test_where_nothing_differs_p_is_as_small_as_it_should_be_by_chance() -> None:
    """Over all signs of the same magnitudes: p is at most alpha in at most alpha of them."""
    magnitudes = np.array([0.3, 1.1, 2.0, 2.2, 3.7, 4.0])
    found = []
    for signs in itertools.product((1, -1), repeat=6):
        flips = sign_flips(list(magnitudes * signs))
        assert flips is not None
        found.append(flips.p)
    for alpha in {*found, 0.05, 0.1}:
        assert np.mean(np.array(found) <= alpha) <= alpha + 1e-12


def test_many_pairs_are_drawn_and_near_the_exact_share(monkeypatch: pytest.MonkeyPatch) -> None:
    differences = list(np.random.default_rng(0).normal(0.4, 1, 14))
    exact = sign_flips(differences)
    monkeypatch.setattr("anomalyr1.metrics.significance.EXACT_PAIRS", 13)
    drawn = sign_flips(differences)
    assert exact is not None and drawn is not None and exact.p != drawn.p
    assert drawn.p == pytest.approx(exact.p, abs=0.01) and drawn.smallest == 1 / 20_000
    certain = sign_flips([1.0] * 40)
    assert certain is not None and certain.p == 1 / 20_000  # never 0: the observed one counts


def test_the_detectable_difference_is_found_in_four_of_five_repetitions() -> None:
    error = 1.5
    difference = smallest_detectable(error)
    assert difference == pytest.approx((1.959964 + 0.841621) * error, rel=1e-6)
    measured = np.random.default_rng(0).normal(difference, error, 20_000)
    assert np.mean(np.abs(measured) > 1.959964 * error) == pytest.approx(0.8, abs=0.01)


@pytest.mark.parametrize("error", [0.0, float("nan")])
def test_without_an_error_nothing_is_claimed(error: float) -> None:
    assert smallest_detectable(error) is None


@pytest.mark.parametrize(
    ("better", "worse", "p"),
    [
        (0, 0, 1.0),  # no image tells the runs apart
        (1, 0, 1.0),
        (2, 0, 2 / 4),
        (0, 3, 2 / 8),
        (5, 1, 2 * (1 + 6) / 64),
        (4, 4, 1.0),
        (10, 2, 2 * (1 + 12 + 66) / 4096),
    ],
)
def test_mcnemar_by_hand(better: int, worse: int, p: float) -> None:
    first = np.array([0.0] * better + [1.0] * worse + [1.0, 0.0] * 7)
    second = np.array([1.0] * better + [0.0] * worse + [1.0, 0.0] * 7)
    found = mcnemar(first, second)
    assert (found.better, found.worse, found.p) == (better, worse, pytest.approx(p))


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), max_size=9))
def test_mcnemar_is_every_fall_of_the_coins(pairs: list[tuple[int, int]]) -> None:
    """The share of all 2^n ways the images that differ could fall, at least as far from even."""
    found = mcnemar(*np.array(pairs, dtype=float).reshape(-1, 2).T)
    signs = [1 if after > before else -1 for before, after in pairs if before != after]
    ways = itertools.product((1, -1), repeat=len(signs))
    far = [abs(sum(way)) >= abs(sum(signs)) for way in ways]
    assert found.p == pytest.approx(fmean(far))
    assert (found.better, found.worse) == (signs.count(1), signs.count(-1))

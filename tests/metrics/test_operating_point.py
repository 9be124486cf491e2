"""Thresholds by hand, and against a search over every cut there is."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anomalyr1.errors import InputError
from anomalyr1.metrics.operating_point import operating_point

NORMAL, BAD = [0.1, 0.2, 0.3, 0.8], [0.25, 0.7, 0.9, 0.95]


def point(normal, bad, **wanted):
    labels = [False] * len(normal) + [True] * len(bad)
    return operating_point([*normal, *bad], labels, resamples=20, **wanted)


@pytest.mark.parametrize(
    ("wanted", "threshold", "overkill", "miss"),
    [
        ({"overkill": 0.0}, 0.85, 0.0, 0.5),  # above 0.8, the next score is 0.9
        ({"overkill": 0.25}, 0.5, 0.25, 0.25),  # above 0.3, up to 0.7
        ({"overkill": 0.24}, 0.85, 0.0, 0.5),  # a quarter of four is one image, less is none
        ({"overkill": 0.75}, 0.15, 0.75, 0.0),
        ({"miss": 0.0}, 0.225, 0.5, 0.0),  # at most 0.25, above 0.2
        ({"miss": 0.25}, 0.5, 0.25, 0.25),
        ({"miss": 0.5}, 0.85, 0.0, 0.5),
    ],
)
def test_by_hand(wanted, threshold, overkill, miss):
    found = point(NORMAL, BAD, **wanted)
    assert found.threshold == pytest.approx(threshold)
    assert (found.overkill, found.miss) == (overkill, miss)
    assert (found.normal, found.anomalous) == (4, 4)
    low, high = found.threshold_interval
    assert 0 <= low <= found.threshold <= high <= 1


scores = st.lists(st.sampled_from([0.0, 1e-9, 0.2, 0.5, 0.7, 1 - 1e-16, 0.999]), min_size=1)


@given(scores, scores, st.sampled_from([0.0, 0.05, 0.3, 0.5, 0.9]))
def test_no_other_cut_is_better(normal, bad, share):
    """Brute force: of all cuts that keep what was wanted none has less of the other fault."""
    cuts = sorted({*normal, *bad, 1.1})
    good, faulty = np.array(normal), np.array(bad)
    overkills = [(good >= cut).mean() for cut in cuts]
    misses = [(faulty < cut).mean() for cut in cuts]
    found = point(normal, bad, overkill=share)
    assert found.overkill <= share + 1e-9
    assert found.miss == min(m for o, m in zip(overkills, misses, strict=True) if o <= share + 1e-9)
    found = point(normal, bad, miss=share)
    assert found.miss <= share + 1e-9
    assert found.overkill == min(
        o for o, m in zip(overkills, misses, strict=True) if m <= share + 1e-9
    )


def test_the_interval_covers_the_threshold_of_the_many():
    """Scores of normal images are uniform: the threshold for 10 % overkill is 0.9."""
    rng, covered = np.random.default_rng(0), 0
    for seed in range(60):
        normal, bad = rng.random(120), 0.5 + rng.random(120) / 2
        labels = [False] * 120 + [True] * 120
        found = operating_point([*normal, *bad], labels, overkill=0.1, resamples=200, seed=seed)
        low, high = found.threshold_interval
        covered += low <= 0.9 <= high
    assert covered >= 52  # of 60, aimed at 57


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        ({}, "give one of them"),
        ({"overkill": 0.1, "miss": 0.1}, "give one of them"),
        ({"overkill": 1.0}, "below 1"),
        ({"miss": -0.1}, "from 0"),
    ],
)
def test_what_is_wanted_has_to_be_clear(wanted, said):
    with pytest.raises(InputError, match=said):
        point(NORMAL, BAD, **wanted)


def test_both_classes_are_needed():
    with pytest.raises(InputError, match="found 0 and 4"):
        point([], BAD, miss=0.1)


def test_a_score_of_one_cannot_be_cut_off():
    with pytest.raises(InputError, match="allow more overkill"):
        point([0.2, 1.0], BAD, overkill=0.4)
    assert point([0.2, 1.0], BAD, overkill=0.5).overkill == 0.5

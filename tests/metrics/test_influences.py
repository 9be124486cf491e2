"""Influences against what a little more weight on one image does to a measure."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anomalyr1.metrics.influences import MOVED, influences, variance_of
from anomalyr1.metrics.score_curves import MEASURES, weighted_measures

LITTLE = 1e-3

cases = st.lists(
    st.tuples(st.sampled_from([0.0, 0.1, 0.3, 0.5, 0.9, 1.0]), st.booleans()),
    min_size=2,
    max_size=15,
)


def has_one_best(scores, anomalous):
    """Whether no other threshold can have the largest F1 once a weight has moved a little."""
    alarms = [scores >= cut for cut in set(scores)]
    f1 = sorted(200 * (a & anomalous).sum() / (a.sum() + anomalous.sum()) for a in alarms)
    return len(f1) == 1 or f1[-1] - f1[-2] > 0.5


@settings(max_examples=60)
@given(cases)
def test_an_influence_is_a_derivative(case):
    scores, anomalous = (np.array(column) for column in zip(*case, strict=True))
    count = len(scores)
    found = influences(scores, anomalous)
    columns = [MEASURES.index(name) for name in MOVED]
    sides = [  # every image twice, which changes no measure: a weight below 1 is none
        weighted_measures(scores, anomalous, 2 + 2 * moved * np.eye(count))[:, columns]
        for moved in (LITTLE, -LITTLE)
    ]
    slopes = (sides[0] - sides[1]) / (2 * LITTLE)
    once = weighted_measures(scores, anomalous, np.ones((1, count)))[0, columns]
    for number, name in enumerate(MOVED):
        if np.isnan(once[number]):
            assert np.isnan(found[:, number]).all(), name
            continue
        assert found[:, number].sum() == pytest.approx(0, abs=1e-9)
        if name != "f1_max" or has_one_best(scores, anomalous):
            assert found[:, number] == pytest.approx(slopes[:, number], abs=1e-3), name


def test_the_variance_of_a_mean_is_that_of_a_mean():
    rng = np.random.default_rng(0)
    values = rng.normal(size=60)
    moved = ((values - values.mean()) / 60)[:, None]
    variance, freedom = variance_of(moved, range(60), [0] * 60)
    assert variance == pytest.approx([values.var(ddof=1) / 60])
    assert 20 < freedom[0] <= 59  # a normal sample has some 59
    # Five equal scores an image say what one says.
    image, dataset = np.repeat(np.arange(60), 5), np.zeros(300, dtype=int)
    again = variance_of(np.repeat(moved / 5, 5, axis=0), image, dataset)
    assert again[0] == pytest.approx(variance) and again[1] == pytest.approx(freedom)
    # Where one image of many makes all of it, nothing is known of it.
    outlier = np.r_[np.zeros(59), 1.0][:, None]
    assert variance_of(outlier - outlier.mean(), range(60), [0] * 60)[1] == pytest.approx(
        2, abs=0.2
    )


def test_datasets_are_strata():
    """What differs between datasets, whose images are drawn apart, is no variance."""
    moved = np.r_[np.full(30, -1.0), np.full(30, 1.0)][:, None]
    assert variance_of(moved, range(60), [0] * 30 + [1] * 30)[0] == pytest.approx([0])
    assert variance_of(moved, range(60), [0] * 60)[0] == pytest.approx([60 * 60 / 59])

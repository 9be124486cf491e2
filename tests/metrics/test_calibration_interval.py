"""The interval of the calibration error: what has to be in it, and the test it turns around."""

from __future__ import annotations

import numpy as np
import pytest

from anomalyr1.metrics.calibration_interval import calibration_interval
from anomalyr1.metrics.rare_shares import wilson


def test_what_chance_explains_reaches_down_to_a_calibrated_score():
    images = np.full(10, 20.0)
    said = images * (np.arange(10) + 0.5) / 10
    anomalous = said + np.tile([1, -1], 5)  # one image of twenty too many or too few
    low, high = calibration_interval(images, said, anomalous)
    assert low == 0 and high >= 10 / 200


def test_many_images_of_one_gap_have_the_interval_of_their_share():
    """One bin: 600 of 1,000 where 500 were said, 10 +- 1.96 sqrt(0.24 / 1000) percent."""
    images, said, anomalous = (np.array([value]) for value in (1000.0, 500.0, 600.0))
    found = calibration_interval(images, said, anomalous, resamples=4000)
    assert found == pytest.approx((0.1 - 0.0304, 0.1 + 0.0304), abs=0.004)
    # Four scores an image, all alike: a quarter of the images, twice the width.
    found = calibration_interval(images, said, anomalous, 4.0, resamples=4000)
    assert found == pytest.approx((0.1 - 0.0607, 0.1 + 0.0607), abs=0.008)


def test_no_fault_among_certain_scores_is_not_certain():
    """100 images with scores of 0 or 1, all right: three in a hundred may still be wrong."""
    sides = np.array([50.0, 0, 50])
    low, high = calibration_interval(sides, np.array([0.0, 0, 50]), np.array([0.0, 0, 50]))
    assert low == 0
    assert high == pytest.approx(wilson(np.array(0.0), np.array(100))[1] / 100)


def test_the_end_is_where_chance_makes_as_much_in_one_case_of_forty():
    """Errors drawn anew at both ends of an interval, on one side of the one that was found."""
    images = np.array([60.0, 40, 100])
    said, anomalous = np.array([6.0, 20, 90]), np.array([12.0, 28, 78])
    value = np.abs(anomalous - said).sum() / 200
    low, high = calibration_interval(images, said, anomalous, resamples=4000)
    assert 0 < low < value < high
    share = (anomalous + 0.5) / (images + 1)
    rng = np.random.default_rng(5)
    for end, as_far in ((low, np.greater_equal), (high, np.less_equal)):
        chance = rng.normal(size=(20_000, 3)) * np.sqrt(images * share * (1 - share))
        errors = np.abs(end / value * (anomalous - said) + chance).sum(axis=1) / 200
        assert as_far(errors, value).mean() == pytest.approx(0.025, abs=0.012)

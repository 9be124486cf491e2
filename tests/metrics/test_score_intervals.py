"""Intervals of a score's measures where resamples say nothing, and where theory says it."""

from __future__ import annotations

import numpy as np
import pytest

from anomalyr1.metrics.rare_shares import wilson
from anomalyr1.metrics.score_curves import Scored, score_measures


def measures(scores, anomalous, image=None, resamples=300):
    image = range(len(scores)) if image is None else image
    made = [
        Scored(f"d/{of}", "d", not bad, float(score))
        for of, bad, score in zip(image, anomalous, scores, strict=True)
    ]
    return score_measures(made, resamples)["pooled"]


def intervals(*given):
    return measures(*given)["intervals"]


def test_a_perfect_score_is_not_certain():
    """60 anomalous images at 1 and 40 normal ones at 0."""
    anomalous = np.arange(100) < 60
    found = intervals(anomalous * 1.0, anomalous)

    def end(trials, percent=100.0, side=0):
        return float(wilson(np.array(percent), np.array(trials))[side])

    # Hanley and McNeil's variance close to 1 is (1 - AUROC) (1 + (60 + 40 - 2) / 4) / (60 * 40).
    assert found["auroc"] == pytest.approx([end(2400 / 25.5), 100])
    assert found["average_precision"] == found["f1_max"] == pytest.approx([end(60), 100])
    assert found["fpr_at_95_tpr"] == pytest.approx([0, end(40, 0.0, 1)])
    assert found["brier"] == pytest.approx([0, end(100, 0.0, 1) / 100])
    assert found["ece"] == pytest.approx([0, end(100, 0.0, 1)])


def test_five_scores_an_image_that_are_alike_say_what_one_says():
    rng = np.random.default_rng(0)
    anomalous = rng.random(150) < 0.5
    scores = 1 / (1 + np.exp(-rng.normal(anomalous * 1.5, 1)))
    once = intervals(scores, anomalous)
    again = intervals(*(np.repeat(part, 5) for part in (scores, anomalous, np.arange(150))))
    for name in ("auroc", "average_precision", "f1_max", "brier"):
        assert again[name] == pytest.approx(once[name], rel=0.02), name
    assert again["ece"] == pytest.approx(once["ece"], rel=0.15)


def test_five_alike_are_no_five_trials_of_a_threshold_or_a_bin():
    """20 normal images at 0.1 and 20 anomalous ones at 0.9, five times each."""
    anomalous = np.arange(40) < 20
    once = (np.where(anomalous, 0.9, 0.1), anomalous, np.arange(40))
    again = measures(*(np.repeat(part, 5) for part in once))
    of_twenty = [float(end) for end in wilson(np.array(0.0), np.array(20))]
    even = again["operating_points"]["even"]["intervals"]
    assert even["overkill"] == even["miss"] == pytest.approx(of_twenty)
    low, high = again["reliability"][1], again["reliability"][13]
    assert low["images"] == high["images"] == 100
    assert low["interval"] == pytest.approx(of_twenty)
    assert high["interval"] == pytest.approx([100 - end for end in reversed(of_twenty)])


def test_one_image_of_a_class_has_no_interval():
    found = measures(np.array([0.1, 0.2, 0.9]), np.array([False, False, True]))
    assert found["operating_points"]["even"]["intervals"]["miss"] is None
    assert found["operating_points"]["even"]["intervals"]["overkill"] is not None


def test_auroc_has_the_width_of_its_variance():
    """Of equal normal and anomalous scores it is (m + n + 1) / 12 m n."""
    rng = np.random.default_rng(1)
    low, high = intervals(rng.random(1000), np.arange(1000) < 300)["auroc"]
    assert high - low == pytest.approx(2 * 196 * (1001 / (12 * 300 * 700)) ** 0.5, rel=0.05)

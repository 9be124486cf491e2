"""Measures of a score, against scikit-learn's."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.calibration import calibration_curve
from sklearn.metrics import (
    average_precision_score,
    brier_score_loss,
    precision_recall_curve,
    roc_auc_score,
    roc_curve,
)

from anomalyr1.metrics.detection import auroc, average_precision
from anomalyr1.metrics.reliability import BINS
from anomalyr1.metrics.score_curves import (
    MEASURES,
    Scored,
    score_measures,
    weighted_measures,
)


def library(scores, anomalous, weights):
    """The same by scikit-learn, each image with its weight; those without one are left out.

    `calibration_curve` knows no weights, and its bins hold their upper end: images are repeated,
    and no score but 0 and 1 lies on an end.
    """
    scores, anomalous, weights = (part[weights > 0] for part in (scores, anomalous, weights))
    found = dict.fromkeys(MEASURES)
    if anomalous.any() and not anomalous.all():
        found["auroc"] = 100 * roc_auc_score(anomalous, scores, sample_weight=weights)
        alarms, caught, _ = roc_curve(
            anomalous, scores, sample_weight=weights, drop_intermediate=False
        )
        found["fpr_at_95_tpr"] = 100 * alarms[caught >= 0.95 - 1e-9].min()
        area = average_precision_score(anomalous, scores, sample_weight=weights)
        found["average_precision"] = 100 * area
        both = precision_recall_curve(anomalous, scores, sample_weight=weights)[:2]
        precision, recall = (part[both[1] > 0] for part in both)
        found["f1_max"] = 100 * max(2 * precision * recall / (precision + recall))
    found["brier"] = brier_score_loss(anomalous, scores, sample_weight=weights, pos_label=True)
    every, labels = np.repeat(scores, weights), np.repeat(anomalous, weights)
    share, said = calibration_curve(labels, every, n_bins=BINS)
    images = np.histogram(every, np.linspace(0, 1, BINS + 1))[0]
    found["ece"] = 100 * np.average(np.abs(share - said), weights=images[images > 0])
    return found


cases = st.lists(
    st.tuples(
        st.sampled_from([0.0, 0.1, 0.3, 0.5, 0.51, 0.9, 1.0]), st.booleans(), st.integers(0, 3)
    ),
    min_size=1,
    max_size=30,
)


@settings(max_examples=60)
@given(cases)
def test_they_are_those_of_scikit_learn(case):
    scores, anomalous, weights = (np.array(column) for column in zip(*case, strict=True))
    if not weights.sum():
        weights[0] = 1
    both = np.stack([weights, np.ones_like(weights)])
    found = weighted_measures(scores, anomalous, both.astype(np.float32))
    for row, counts in zip(found, both, strict=True):
        expected = library(scores, anomalous, counts)
        for name, value in zip(MEASURES, row, strict=True):
            if expected[name] is None:
                assert np.isnan(value), name
            else:
                assert value == pytest.approx(expected[name], abs=1e-3), name


def test_they_are_those_of_the_detection_table():
    rng = np.random.default_rng(0)
    scores, anomalous = rng.random(200).round(2), rng.random(200) < 0.4
    row = weighted_measures(scores, anomalous, np.ones((1, 200), np.float32))[0]
    assert row[0] == pytest.approx(100 * auroc(scores, anomalous), abs=1e-3)
    assert row[1] == pytest.approx(100 * average_precision(scores, anomalous), abs=1e-3)


def scored(dataset, count, seed):
    rng = np.random.default_rng(seed)
    normal = rng.random(count) < 0.5
    scores = np.where(normal, rng.random(count) * 0.8, 0.2 + rng.random(count) * 0.8)
    return [
        Scored(f"{dataset}/{i}", dataset, bool(n), float(s))
        for i, (n, s) in enumerate(zip(normal, scores, strict=True))
    ]


def test_every_dataset_has_its_intervals_and_so_has_the_whole():
    found = score_measures([*scored("a", 60, 1), *scored("b", 90, 2)], resamples=200)
    assert list(found["datasets"]) == ["a", "b"]
    for part in (found["pooled"], *found["datasets"].values()):
        assert part["normal"] + part["anomalous"] in (60, 90, 150)
        for name in MEASURES:
            low, high = part["intervals"][name]
            assert low <= part[name] <= high and low < high
    again = score_measures([*scored("a", 60, 1), *scored("b", 90, 2)], resamples=200)
    assert again == found


def test_what_needs_a_class_that_is_not_there_is_none():
    for normal in (False, True):
        one_class = [Scored(f"d/{i}", "d", normal, 0.1) for i in range(3)]
        found = score_measures(one_class, resamples=10)["pooled"]
        assert [found[name] for name in MEASURES[:4]] == [None] * 4
        assert [found["intervals"][name] for name in MEASURES[:4]] == [None] * 4
    assert found["brier"] == pytest.approx(0.01) and found["ece"] == pytest.approx(10, abs=1e-4)
    assert found["intervals"]["auroc"] is None and found["intervals"]["brier"] is not None
    alone = score_measures(one_class[:1])["pooled"]
    assert alone["brier"] == pytest.approx(0.01) and alone["intervals"]["brier"] is None
    empty = score_measures([])
    assert empty["pooled"]["auroc"] is None and empty["datasets"] == {}


def test_questions_of_one_image_are_drawn_together():
    """Ten questions of two images: the score is right on one image and wrong on the other."""
    asked = [Scored(f"d/{i}", "d", False, float(i)) for i in (0, 1) for _ in range(5)]
    low, high = score_measures(asked, resamples=200)["pooled"]["intervals"]["brier"]
    assert low < 0.01 and high > 0.99  # ten trials would give 0.24 to 0.76


def test_the_interval_covers_what_it_aims_at():
    """AUROC of two normal distributions a deviation apart is 76.0 %."""
    covered = 0
    for seed in range(100):
        rng = np.random.default_rng(seed)
        values = np.concatenate([rng.normal(0, 1, 80), rng.normal(1, 1, 80)])
        sample = [
            Scored(str(i), "d", i < 80, float(1 / (1 + np.exp(-v)))) for i, v in enumerate(values)
        ]
        low, high = score_measures(sample, 200, seed)["pooled"]["intervals"]["auroc"]
        covered += low <= 76.02 <= high
    assert 88 <= covered <= 100

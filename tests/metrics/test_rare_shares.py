"""Intervals of shares near 0 and 100 %: by table, by formula, and held against a known truth."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from commands import REPOSITORY

sys.path.append(str(REPOSITORY / "scripts"))

from drawn_benchmarks import AnswerLaw, MaskLaw, PairLaw, ScoreLaw
from interval_coverage import coverage
from scipy.stats import binomtest

from anomalyr1.metrics.bootstrap import ratio_interval
from anomalyr1.metrics.mcq import AVERAGE, ChoiceRecord, accuracy
from anomalyr1.metrics.rare_shares import FEW, is_rare, mean_of_independent, wilson
from anomalyr1.schema import ANOMALY_DETECTION


@pytest.mark.parametrize(("right", "images"), [(40, 40), (0, 40), (38, 40), (1, 200)])
def test_wilson_is_that_of_scipy(right, images):
    won = (np.arange(images) < right).astype(float)
    expected = binomtest(right, images).proportion_ci(method="wilson")
    found = wilson(won, np.ones(images))
    assert found == pytest.approx([100 * expected.low, 100 * expected.high])
    assert ratio_interval(np.stack([won, np.ones(images)], -1)) == pytest.approx(tuple(found))


def test_rare_is_by_images_that_lost_or_won_something():
    asked = np.full(60, 2.0)
    lost = np.arange(60) < FEW
    assert not is_rare(asked - lost, asked) and not is_rare(lost * 1.0, asked)
    lost[0] = False
    assert is_rare(asked - lost, asked) and is_rare(lost * 1.0, asked)
    assert not is_rare(np.zeros(60), np.zeros(60))  # nothing was asked
    assert np.isnan(wilson(np.zeros(60), np.zeros(60))).all()


def test_the_mean_of_one_is_its_own_interval_and_what_is_missing_is_left_out():
    ends = np.array([[90.0, np.nan], [99.0, np.nan]])
    assert mean_of_independent(np.array([98.0, np.nan]), ends).tolist() == [90.0, 99.0]


def test_a_perfect_cell_is_not_certain_and_neither_is_what_is_made_of_it():
    records = [
        ChoiceRecord(
            f"d/c/{'good' if i % 2 else 'bad'}/{i}.png", "d", subtask, i % 2 == 1, "A", "A"
        )
        for i in range(80)
        for subtask in (ANOMALY_DETECTION, "Object Analysis")
    ]
    for accounting in ("strict", "compat"):
        found = accuracy(records, accounting).intervals
        assert found["d"]["Object Analysis"] == pytest.approx((95.42, 100), abs=0.01)  # 80 images
        assert found["d"]["Overkill"] == pytest.approx((0, 8.76), abs=0.01)  # 40 of 40
        assert found["d"]["Miss"] == found["d"]["Overkill"]
        # Both halves: 8.76 / sqrt 2 below.
        assert found["d"][ANOMALY_DETECTION] == pytest.approx((93.80, 100), abs=0.01)
        for name in (ANOMALY_DETECTION, "Object Analysis", "Overkill"):
            assert found[AVERAGE][name] == pytest.approx(found["d"][name])


def test_cells_with_enough_of_both_keep_the_interval_of_the_bootstrap():
    parts = np.stack([np.arange(100) % 4 > 0, np.ones(100)], -1).astype(float)
    low, high = ratio_interval(parts)
    assert (low, high) != pytest.approx(tuple(wilson(parts[:, 0], parts[:, 1])), abs=1e-6)
    assert high - low == pytest.approx(2 * 1.96 * 100 * (0.25 * 0.75 / 100) ** 0.5, rel=0.1)


@pytest.mark.parametrize(
    ("law", "figures"),
    [
        (AnswerLaw(rare=True), {"Defect Analysis", "Overkill", ANOMALY_DETECTION}),
        (AnswerLaw(), {"Average", "micro", "compat"}),
        (ScoreLaw(1.5), {"auroc", "brier"}),
        (PairLaw(400), {"strict accuracy", "box F1@0.5"}),
        (MaskLaw(), {"mean IoU"}),
    ],
    ids=["rare", "answers", "scores", "compare", "masks"],
)
def test_intervals_hold_the_truth(law, figures):
    """Sixty benchmarks of a known truth; at 95 % fewer than 51 would come once in a thousand."""
    found = coverage(law, 120, repeats=60, resamples=200, seed=3)
    for figure in figures:
        assert found[figure]["coverage"] >= 85, figure

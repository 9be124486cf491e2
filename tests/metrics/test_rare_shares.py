"""Intervals of shares near 0 and 100 %: by table, by formula, and held against a known truth."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from commands import REPOSITORY

sys.path.append(str(REPOSITORY / "scripts"))

from drawn_benchmarks import AnswerLaw, BoxLaw, MaskLaw, PairLaw, ScoreLaw
from interval_coverage import coverage
from scipy.stats import binomtest

from anomalyr1.metrics.bootstrap import ratio_interval
from anomalyr1.metrics.mcq import AVERAGE, ChoiceRecord, accuracy
from anomalyr1.metrics.rare_shares import FEW, drawn_trials, is_rare, wilson
from anomalyr1.schema import ANOMALY_DETECTION


@pytest.mark.parametrize(("right", "images"), [(40, 40), (0, 40), (38, 40), (1, 200)])
def test_wilson_is_that_of_scipy(right, images):
    won = (np.arange(images) < right).astype(float)
    expected = binomtest(right, images).proportion_ci(method="wilson")
    found = wilson(np.array(100 * right / images), np.array(images))
    assert found == pytest.approx([100 * expected.low, 100 * expected.high])
    assert ratio_interval(np.stack([won, np.ones(images)], -1)) == pytest.approx(tuple(found))


def test_rare_is_by_images_that_lost_or_won_something():
    asked = np.full(60, 2.0)
    lost = np.arange(60) < FEW
    assert not is_rare(asked - lost, asked) and not is_rare(lost * 1.0, asked)
    lost[0] = False
    assert is_rare(asked - lost, asked) and is_rare(lost * 1.0, asked)
    assert not is_rare(np.zeros(60), np.zeros(60))  # nothing was asked
    assert ratio_interval(np.zeros((60, 2))) is None


def test_trials_are_what_varies_by_itself():
    """Of n shares of a half that vary by themselves the mean has the variance 2500 / n."""
    half, images = np.array([50.0]), np.array([1000])
    assert drawn_trials(half, 2500 / images, images) == pytest.approx(1000, rel=0.004)
    assert drawn_trials(half, 5 * 2500 / images, images) == pytest.approx(200, rel=0.004)
    assert np.isinf(drawn_trials(half, np.array([0.0]), images)).all()
    assert np.isnan(drawn_trials(half, np.array([np.nan]), images)).all()
    # Ten images: their variance is a tenth too small, and Student's 2.262 stands for 1.96.
    few = drawn_trials(half, np.array([250.0]), np.array([10]))
    assert few == pytest.approx(9 * (1.96 / 2.262) ** 2, rel=1e-3)


def test_questions_of_an_image_that_are_answered_alike_are_one_trial():
    right = (np.arange(300) % 3 > 0)[:, None]
    for questions in (1, 7):
        parts = questions * np.hstack([right, np.ones((300, 1))])
        expected = wilson(np.array(200 / 3), np.array(300))
        assert ratio_interval(parts, 4000) == pytest.approx(tuple(expected), abs=0.3)


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
        assert found["d"][ANOMALY_DETECTION] == pytest.approx((95.42, 100), abs=0.01)  # both halves
        for name in (ANOMALY_DETECTION, "Object Analysis", "Overkill"):
            assert found[AVERAGE][name] == pytest.approx(found["d"][name])


@pytest.mark.parametrize(
    ("law", "figures"),
    [
        (AnswerLaw(rare=True), {"Overkill", ANOMALY_DETECTION, "Average", "micro", "compat"}),
        (AnswerLaw(), {"Average", "micro", "compat"}),
        (ScoreLaw(1.5), {"auroc", "brier"}),
        (PairLaw(400), {"strict accuracy", "box F1@0.5"}),
        (BoxLaw(400), {"f1@0.5", "unreadable"}),
        (MaskLaw(), {"mean IoU"}),
    ],
    ids=["rare", "answers", "scores", "compare", "boxes", "masks"],
)
def test_intervals_hold_the_truth(law, figures):
    """Sixty benchmarks of a known truth; at 95 % fewer than 51 would come once in a thousand."""
    found = coverage(law, 120, repeats=60, resamples=200, seed=3)
    for figure in figures:
        assert found[figure]["coverage"] >= 85, figure

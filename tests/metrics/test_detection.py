"""Image-level detection against hand counts; AUROC and AP against definitions written out."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from anomalyr1.metrics.detection import Verdict, auroc, average_precision, detection


def verdicts(tp: int, fn: int, tn: int, fp: int) -> list[Verdict]:
    return [
        *[Verdict(normal=False, correct=True)] * tp,
        *[Verdict(normal=False, correct=False)] * fn,
        *[Verdict(normal=True, correct=True)] * tn,
        *[Verdict(normal=True, correct=False)] * fp,
    ]


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        # tp, fn, tn, fp -> accuracy, balanced, precision, recall, f1, overkill, miss
        ((3, 1, 4, 2), (70, (75 + 200 / 3) / 2, 60, 75, 200 / 3, 100 / 3, 25)),
        # always "defect"
        ((4, 0, 0, 1), (80, 50, 80, 100, 800 / 9, 100, 0)),
        # always "normal": no positive call, so no precision, but F1 is 0
        ((0, 4, 1, 0), (20, 50, None, 0, 0, 0, 100)),
        # no normal image: nothing to overkill
        ((1, 1, 0, 0), (50, 50, 100, 50, 200 / 3, None, 50)),
        # no anomalous image, no alarm
        ((0, 0, 3, 0), (100, 100, None, None, None, 0, None)),
        ((0, 0, 0, 0), (None, None, None, None, None, None, None)),
    ],
)
def test_counts(counts: tuple[int, int, int, int], expected: tuple[float | None, ...]) -> None:
    result = detection(verdicts(*counts))
    names = "accuracy", "balanced_accuracy", "precision", "recall", "f1", "overkill", "miss"
    for name, value in zip(names, expected, strict=True):
        assert result[name] == (None if value is None else pytest.approx(value)), name
    assert result["auroc"] is None and result["average_precision"] is None


def test_auroc_needs_a_score_on_every_verdict_and_both_classes() -> None:
    good, bad = Verdict(True, True, 0.1), Verdict(False, True, 0.9)
    assert detection([good, bad])["auroc"] == 100.0
    assert detection([good, bad, Verdict(False, True)])["auroc"] is None
    assert detection([bad, bad])["auroc"] is None


@pytest.mark.parametrize("seed", range(10))
def test_ranked_metrics_equal_their_definitions(seed: int) -> None:
    generator = np.random.default_rng(seed)
    scores = generator.integers(0, 6, size=30) / 5  # many ties
    positive = generator.random(30) < 0.4
    pairs = itertools.product(scores[positive], scores[~positive])
    wins = [1.0 if p > n else 0.5 if p == n else 0.0 for p, n in pairs]
    assert auroc(scores, positive) == pytest.approx(np.mean(wins))
    area, before = 0.0, 0.0
    for threshold in sorted(set(scores), reverse=True):
        called = scores >= threshold
        recall = (called & positive).sum() / positive.sum()
        area += (recall - before) * (called & positive).sum() / called.sum()
        before = recall
    assert average_precision(scores, positive) == pytest.approx(area)


def test_order_of_tied_images_does_not_matter() -> None:
    scores, positive = np.array([0.5, 0.5, 0.5, 0.1]), np.array([True, False, False, True])
    order = np.array([2, 1, 3, 0])
    assert average_precision(scores, positive) == average_precision(scores[order], positive[order])

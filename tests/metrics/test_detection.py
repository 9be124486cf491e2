"""Image-level detection against hand counts; AUROC and AP against scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, roc_auc_score

from anomalyr1.metrics.detection import Verdict, average_precision, detection


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


ranked = st.lists(
    st.tuples(st.sampled_from([0.0, 0.2, 0.4, 0.6, 1.0]), st.booleans()), min_size=2, max_size=30
)  # many ties


@settings(max_examples=50)
@given(ranked)
def test_ranked_metrics_are_those_of_scikit_learn(case: list[tuple[float, bool]]) -> None:
    scores, positive = (np.array(column) for column in zip(*case, strict=True))
    result = detection([Verdict(not bad, True, score) for score, bad in case])
    if positive.all() or not positive.any():
        assert result["auroc"] is None and result["average_precision"] is None
    else:
        assert result["auroc"] == pytest.approx(100 * roc_auc_score(positive, scores))
        area = average_precision_score(positive, scores)
        assert result["average_precision"] == pytest.approx(100 * area)


def test_order_of_tied_images_does_not_matter() -> None:
    scores, positive = np.array([0.5, 0.5, 0.5, 0.1]), np.array([True, False, False, True])
    order = np.array([2, 1, 3, 0])
    assert average_precision(scores, positive) == average_precision(scores[order], positive[order])

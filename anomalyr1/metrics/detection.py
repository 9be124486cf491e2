"""Image-level anomaly detection: normal or anomalous, one verdict an image.

Anomalous is the positive class. All values are percent. A value that needs something the data does
not have (no normal image, no score) is None, never 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata


@dataclass(frozen=True, slots=True)
class Verdict:
    """`normal` is the gold label, `correct` whether the verdict agrees with it.

    An unreadable verdict is wrong: on a normal image it counts as a false alarm, on an anomalous
    image as a miss. `score` is a real anomaly score, higher is more anomalous, or None.
    """

    normal: bool
    correct: bool
    score: float | None = None


def detection(verdicts: Sequence[Verdict]) -> dict[str, float | int | None]:
    """Accuracy, balanced accuracy, precision, recall, F1, overkill, miss, and AUROC and AP.

    AUROC and average precision need a score on every verdict and both classes, else they are None:
    a verdict without a score has one operating point, not a curve.

    >>> result = detection([Verdict(True, True), Verdict(True, False), Verdict(False, True)])
    >>> result["overkill"], result["miss"], result["precision"], result["auroc"]
    (50.0, 0.0, 50.0, None)
    """
    normal = np.array([verdict.normal for verdict in verdicts], dtype=bool)
    correct = np.array([verdict.correct for verdict in verdicts], dtype=bool)
    tp, fn = int((~normal & correct).sum()), int((~normal & ~correct).sum())
    tn, fp = int((normal & correct).sum()), int((normal & ~correct).sum())
    recall, specificity = percent(tp, tp + fn), percent(tn, tn + fp)
    halves = [value for value in (recall, specificity) if value is not None]
    scores = [verdict.score for verdict in verdicts]
    ranked = bool(tp + fn and tn + fp) and all(score is not None for score in scores)
    values = np.array(scores, dtype=np.float64) if ranked else None
    return {
        "normal": tn + fp,
        "anomalous": tp + fn,
        "accuracy": percent(tp + tn, len(verdicts)),
        "balanced_accuracy": sum(halves) / len(halves) if halves else None,
        "precision": percent(tp, tp + fp),
        "recall": recall,
        "f1": percent(2 * tp, 2 * tp + fp + fn),
        "overkill": percent(fp, tn + fp),
        "miss": percent(fn, tp + fn),
        "auroc": None if values is None else 100 * auroc(values, ~normal),
        "average_precision": None if values is None else 100 * average_precision(values, ~normal),
    }


def auroc(scores: NDArray[np.float64], positive: NDArray[np.bool_]) -> float:
    """Area under the ROC curve by the rank-sum statistic; a tie counts one half.

    >>> auroc(np.array([0.1, 0.4, 0.4, 0.9]), np.array([False, False, True, True]))
    0.875
    """
    ranks = rankdata(scores)
    positives = int(positive.sum())
    negatives = len(scores) - positives
    area = ranks[positive].sum() - positives * (positives + 1) / 2
    return float(area / (positives * negatives))


def average_precision(scores: NDArray[np.float64], positive: NDArray[np.bool_]) -> float:
    """Sum of precision times the step in recall over the distinct thresholds.

    Equal scores enter together, so the order of the images does not matter.

    >>> average_precision(np.array([0.9, 0.5, 0.5]), np.array([True, True, False]))
    0.8333333333333333
    """
    order = np.argsort(-scores, kind="stable")
    last_of_tie = np.append(np.diff(scores[order]) != 0, True)
    hits = np.cumsum(positive[order])[last_of_tie]
    seen = np.flatnonzero(last_of_tie) + 1
    steps = np.diff(np.concatenate([[0], hits]))
    return float((hits / seen * steps).sum() / positive.sum())


def percent(part: float, whole: float) -> float | None:
    """100 * part / whole, None where the whole is empty.

    >>> percent(1, 4), percent(0, 0)
    (25.0, None)
    """
    return 100 * part / whole if whole else None

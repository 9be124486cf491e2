"""How far each image moves a measure of a score, which gives the measure's variance.

An influence is the derivative of the measure by the weight of one image (the infinitesimal
jackknife: Jaeckel, Bell Laboratories 1972; Efron, "The Jackknife, the Bootstrap and Other
Resampling Plans", 1982, chapter 6). Of AUROC it gives the variance of DeLong, DeLong and
Clarke-Pearson (Biometrics 44, 1988).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

# Of these; of the largest F1 its threshold held.
MOVED = ("auroc", "average_precision", "f1_max", "brier")

Floats = NDArray[np.float64]


def influences(scores: Floats, anomalous: NDArray[np.bool_]) -> Floats:
    """The derivative of each measure by the weight of each score, all weights being 1.

    Args:
        scores: (n,).
        anomalous: (n,) gold labels.

    Returns:
        (n, 4) in the order of `MOVED`, in percent but for the Brier score; NaN where a measure
        needs a class that is not there.
    """
    found = np.full((len(scores), len(MOVED)), np.nan)
    squares = (scores - anomalous) ** 2
    found[:, 3] = (squares - squares.mean()) / len(scores)
    if not anomalous.any() or anomalous.all():
        return found
    found[:, 0] = 100 * _of_auroc(scores, anomalous)
    found[:, 1] = 100 * _of_average_precision(scores, anomalous)
    found[:, 2] = 100 * _of_largest_f1(scores, anomalous)
    return found


def variance_of(
    moved: Floats, image: Sequence[int], dataset: Sequence[int]
) -> tuple[Floats, Floats]:
    """Variance of measures, and the degrees of freedom of it.

    Influences of one image are added, and are taken apart by dataset. If a few images have most of
    the influence, the variance rests on these few: its degrees of freedom are Satterthwaite's
    (Biometrics Bulletin 2, 1946), 2 v^2 / var(v), with the variance of a sum of squares for
    var(v).

    Args:
        moved: (n, measures) influences.
        image: (n,) number of the image of each score, from 0.
        dataset: (n,) number of its dataset, from 0.

    Returns:
        Both (measures,).
    """
    first = np.unique(image, return_index=True)[1]
    by_image = np.zeros((len(first), moved.shape[1]))
    np.add.at(by_image, np.asarray(image), moved)
    of_image = np.asarray(dataset)[first]
    for number in range(of_image.max() + 1):
        inside = of_image == number
        images = max(2, int(inside.sum()))
        by_image[inside] -= by_image[inside].mean(axis=0)
        by_image[inside] *= (images / (images - 1)) ** 0.5
    squares = (by_image**2).sum(axis=0)
    spread = (by_image**4).sum(axis=0) - squares**2 / len(first)
    most = max(1, len(first) - len(np.unique(of_image)))
    freedom = np.full(squares.shape, float(most))
    np.divide(2 * squares**2, spread, out=freedom, where=spread > 0)
    return squares, np.clip(freedom, 1, most)


def _of_auroc(scores: Floats, anomalous: NDArray[np.bool_]) -> Floats:
    """By how much the share of the other class that is ranked rightly departs from the mean."""
    positives, negatives = anomalous.sum(), (~anomalous).sum()
    within = np.empty(len(scores))
    within[anomalous], within[~anomalous] = (
        rankdata(scores[anomalous]),
        rankdata(scores[~anomalous]),
    )
    below = rankdata(scores) - within  # of the other class, ties half
    placed = np.where(anomalous, below / negatives, 1 - below / positives)
    area = placed[anomalous].mean()
    return np.asarray((placed - area) / np.where(anomalous, positives, negatives))


def _of_average_precision(scores: Floats, anomalous: NDArray[np.bool_]) -> Floats:
    """An image moves its own precision and that of every threshold below it."""
    _, cut = np.unique(-scores, return_inverse=True)
    hits = np.bincount(cut, anomalous)
    flagged = np.cumsum(np.bincount(cut))
    precision = np.cumsum(hits) / flagged
    area = (hits * precision).sum() / hits.sum()
    risen = np.cumsum((hits / flagged)[::-1])[::-1][cut]
    lost = np.cumsum((hits / flagged * precision)[::-1])[::-1][cut]
    return np.asarray((anomalous * (precision[cut] - area + risen) - lost) / hits.sum())


def _of_largest_f1(scores: Floats, anomalous: NDArray[np.bool_]) -> Floats:
    cuts, cut = np.unique(-scores, return_inverse=True)
    found, flagged = np.cumsum(np.bincount(cut, anomalous)), np.cumsum(np.bincount(cut))
    every = 2 * found / (flagged + anomalous.sum())
    best = int(every.argmax())
    alarm = -scores <= cuts[best]
    whole = flagged[best] + anomalous.sum()
    return np.asarray((2 * (alarm & anomalous) - every[best] * (1.0 * alarm + anomalous)) / whole)

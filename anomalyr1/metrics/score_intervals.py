"""Intervals of the measures of a score.

AUROC, average precision, the largest F1 and the Brier score lie between 0 and 1, and the closer to
an end the less they vary, as shares do: they have Wilson's interval of as many trials as have the
variance of their influences (`rare_shares.effective_trials`, `metrics.influences`); the same idea
for AUROC alone is in Kottas, Kuss and Zapf, BMC Medical Research Methodology 14 (2014). Where
nothing varies, because all images are ranked rightly, the trials of AUROC are those of Hanley and
McNeil's variance (Radiology 143, 1982) close to 1, averaged over the two classes (Newcombe,
Statistics in Medicine 25, 2006), and those of average precision and F1 the anomalous images (Boyd,
Eng and Page, ECML PKDD 2013).

The largest F1 is raised by noise, and a resample has it twice: what resamples have more than the
images is taken from its middle (Efron and Tibshirani, "An Introduction to the Bootstrap", 1993,
section 10.6). FPR at 95 % TPR has percentiles of the resamples, and Wilson's upper end where none
of them has a false alarm; the calibration error has an interval of its own
(`metrics.calibration_interval`).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from anomalyr1.metrics.bootstrap import interval
from anomalyr1.metrics.calibration_interval import calibration_interval
from anomalyr1.metrics.influences import MOVED, influences, variance_of
from anomalyr1.metrics.rare_shares import effective_trials, wilson
from anomalyr1.metrics.reliability import bin_sums

MEASURES = ("auroc", "average_precision", "f1_max", "fpr_at_95_tpr", "ece", "brier")
_BRIER = MOVED.index("brier")
# Degrees of freedom; with fewer the trials of a Brier score are its images at most, as if every
# square were 0 or 1, which nothing from 0 to 1 of the same mean varies more than.
_LITTLE = 5

Floats = NDArray[np.float64]


def score_ends(
    scores: Floats,
    anomalous: NDArray[np.bool_],
    image: Sequence[int],
    dataset: Sequence[int],
    values: Floats,
    drawn: Floats,
) -> Floats:
    """95 % intervals of the measures.

    Args:
        scores: (n,).
        anomalous: (n,) gold labels.
        image: (n,) number of the image of each, from 0; two images at least.
        dataset: (n,) number of its dataset, from 0.
        values: (measures,) in the order of `MEASURES`.
        drawn: (R, measures), of images drawn with replacement.

    Returns:
        (2, measures), lower and upper ends; NaN where there is no value.
    """
    ends = interval(drawn)
    columns = [MEASURES.index(name) for name in MOVED]
    middle = values.copy()
    f1 = MEASURES.index("f1_max")
    if not np.isnan(values[f1]):
        middle[f1] = max(2 * values[f1] - np.nanmean(drawn[:, f1]), 0.0)
    percent, moved = middle[columns], influences(scores, anomalous)
    percent[_BRIER] *= 100
    moved[:, _BRIER] *= 100
    variance, freedom = variance_of(moved, image, dataset)
    images = len(set(image))
    # The largest F1 is a share of images: as of other shares, its variance follows from its value.
    freedom[MOVED.index("f1_max")] = max(1, images - len(set(dataset)))
    faulty, good = (len(set(np.asarray(image)[part])) for part in (anomalous, ~anomalous))
    ranked = 4 * faulty * good / (faulty + good + 2)
    certain = np.array([ranked, faulty, faulty, images])
    varies = variance > 1e-12  # rounding
    known = np.where(varies, variance, np.nan)
    trials = np.where(varies, effective_trials(percent, known, freedom), certain)
    if freedom[_BRIER] < _LITTLE:
        trials[_BRIER] = min(trials[_BRIER], images)
    ends[:, columns] = wilson(percent, trials)
    ends[:, MEASURES.index("brier")] /= 100
    fpr = MEASURES.index("fpr_at_95_tpr")
    if ends[1, fpr] == 0:
        ends[1, fpr] = wilson(np.array(0.0), np.array(good))[1]
    sums = bin_sums(scores, anomalous, np.ones((1, len(scores)), np.float32))[0]
    count, said, hits = sums.T
    found = calibration_interval(count, said, hits, len(scores) / images, len(drawn))
    ends[:, MEASURES.index("ece")] = 100 * np.array(found)
    return ends

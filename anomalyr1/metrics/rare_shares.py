"""Intervals of shares: Wilson's, of as many trials as drawing images again shows there are.

Percentiles of resamples are too narrow close to 0 or 100 %: a resample holds what was seen, so that
where no answer was wrong every draw has 100 %. Wilson's interval (JASA 22, 1927) knows what could
have been. Questions of one image are no trials of their own, and an average of cells is no share of
one kind of trial; the number of trials is therefore the one that has the variance which the
bootstrap found, the effective sample size of surveys (Kott and Carr, Journal of Official Statistics
13, 1997; Franco, Little, Louis and Slud, Journal of Survey Statistics and Methodology 7, 2019).
Where a handful of images decides, the variance is not known either, and images are the trials.
`scripts/interval_coverage.py` shows how often such intervals hold the truth.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

LEVEL = 0.95
FEW = 10  # images; with fewer that lost something, or that won something, a variance says little

_DEVIATE = NormalDist().inv_cdf(0.5 + LEVEL / 2)


def by_image(parts: NDArray[Any], image: Sequence[int] | None) -> NDArray[np.float64]:
    """Numerators and denominators of questions, added up by image: (images, ...) of (n, ...).

    Args:
        parts: (n, ...) of each question.
        image: (n,) the number of its image, from 0; None where every question has its own.

    >>> by_image(np.array([[1, 1], [0, 1], [1, 1]]), [0, 0, 1]).tolist()
    [[1.0, 2.0], [1.0, 1.0]]
    """
    if image is None:
        return np.asarray(parts, dtype=np.float64)
    summed = np.zeros((max(image) + 1, *parts.shape[1:]))
    np.add.at(summed, np.asarray(image), parts)
    return summed


def is_rare(won: NDArray[np.float64], asked: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Whether fewer than `FEW` images lost, or won, anything; False where none was asked.

    Args:
        won: (images, ...) numerators, each at most what was asked.
        asked: (images, ...) denominators.

    >>> is_rare(np.ones((50, 1)), np.ones((50, 1))).tolist()
    [True]
    """
    lost_some, won_some = (won < asked).sum(axis=0), (won > 0).sum(axis=0)
    return np.asarray((np.minimum(lost_some, won_some) < FEW) & (asked > 0).any(axis=0))


def wilson(percent: NDArray[np.float64], trials: NDArray[np.float64]) -> NDArray[np.float64]:
    """Wilson's interval of a share.

    Args:
        percent: (...) shares.
        trials: (...) of each, not always whole; infinitely many make the share certain.

    Returns:
        (2, ...): lower and upper end in percent; NaN where the share is or there is no trial.

    >>> wilson(np.array([100.0]), np.array([40])).round(1)[:, 0].tolist()
    [91.2, 100.0]
    """
    share, number = percent / 100, np.asarray(trials, dtype=np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        spread = _DEVIATE**2 / number
        reach = np.sqrt(spread * share * (1 - share) + spread**2 / 4)
        ends = (share + spread / 2 + np.stack([-reach, reach])) / (1 + spread)
    return np.asarray(100 * np.clip(ends, 0, 1))


def share_ends(
    percent: NDArray[np.float64],
    variance: NDArray[np.float64],
    images: NDArray[np.float64],
    rare: NDArray[np.bool_],
    strata: NDArray[np.float64] | int = 1,
) -> NDArray[np.float64]:
    """Wilson's interval, of `drawn_trials`; of the images where the share is rare.

    Several questions of an image can only say more than one, so that images are trials enough
    however alike they are answered.

    Args:
        percent: (...) shares.
        variance: (...) of their resamples, in square percents.
        images: (...) that count in each.
        rare: (...) as `is_rare`.
        strata: the datasets within which images were drawn.

    Returns:
        (2, ...) in percent.
    """
    trials = drawn_trials(percent, variance, images, strata)
    return wilson(percent, np.where(rare, images, trials))


def drawn_trials(
    percent: NDArray[np.float64],
    variance: NDArray[np.float64],
    images: NDArray[np.float64],
    strata: NDArray[np.float64] | int = 1,
) -> NDArray[np.float64]:
    """`effective_trials` by resamples of n images, which vary by (n - 1) / n too little.

    Args:
        percent: (...) shares.
        variance: (...) of their resamples, in square percents.
        images: (...) that count in each.
        strata: the datasets within which images were drawn.

    >>> drawn_trials(np.array([50.0]), np.array([25.0]), np.array([100])).round().tolist()
    [97.0]
    """
    freedom = np.maximum(np.asarray(images, dtype=np.float64) - strata, 1)
    return effective_trials(percent, variance * images / freedom, freedom)


def effective_trials(
    percent: NDArray[np.float64], variance: NDArray[np.float64], freedom: NDArray[np.float64]
) -> NDArray[np.float64]:
    """How many trials would vary as much as a share does.

    A variance from few images is itself unsure: a t quantile stands in the place of the normal one
    (Korn and Graubard, Survey Methodology 24, 1998; Hesterberg, The American Statistician 69,
    2015).

    Args:
        percent: (...) shares.
        variance: (...) of each, in square percents.
        freedom: (...) degrees of freedom of the variance.

    Returns:
        (...), infinite where nothing varies; NaN where the variance is.
    """
    wider = variance * (stdtrit(freedom, 0.5 + LEVEL / 2) / _DEVIATE) ** 2
    trials = np.full(np.broadcast(percent, wider).shape, np.inf)
    np.divide(percent * (100 - percent), wider, out=trials, where=~(variance <= 0))
    return trials

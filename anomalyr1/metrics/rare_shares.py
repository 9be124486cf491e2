"""Intervals of shares close to 0 or 100 %, where drawing images again tells too little.

A resample holds what was seen: where no answer was wrong every draw has 100 %, and where three
images were, one draw in twenty has none of them. Wilson's interval (JASA 22, 1927) of the images
knows what could have been. `scripts/interval_coverage.py` shows both.
"""

from __future__ import annotations

from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

LEVEL = 0.95
FEW = 10  # images; with fewer that lost something, or that won something, the bootstrap is left


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


def wilson(won: NDArray[np.float64], asked: NDArray[np.float64]) -> NDArray[np.float64]:
    """Wilson's interval of sum(won) / sum(asked) in percent, an image counting as one trial.

    Several questions of an image can only say more than one, so that this is wide enough however
    alike they are answered.

    Returns:
        (2, ...): lower and upper end; NaN where nothing was asked.

    >>> wilson(np.ones((40, 1)), np.ones((40, 1))).round(1)[:, 0].tolist()
    [91.2, 100.0]
    """
    images, total = (asked > 0).sum(axis=0), asked.sum(axis=0)
    share = np.divide(won.sum(axis=0), total, out=np.full(total.shape, np.nan), where=total > 0)
    z2 = NormalDist().inv_cdf(0.5 + LEVEL / 2) ** 2
    with np.errstate(invalid="ignore"):
        middle = share + z2 / (2 * np.maximum(images, 1))
        reach = np.sqrt(z2 * (share * (1 - share) + z2 / (4 * np.maximum(images, 1))))
        reach = reach / np.sqrt(np.maximum(images, 1))
        ends = np.stack([middle - reach, middle + reach]) / (1 + z2 / np.maximum(images, 1))
    return np.asarray(100 * np.clip(ends, 0, 1))


def mean_of_independent(
    values: NDArray[np.float64], ends: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Interval of the mean of independent figures from an interval of each, which may be lopsided.

    Zou and Donner, "Construction of confidence limits about effect measures", Statistics in
    Medicine 27 (2008): distances to the ends are added as variances would be.

    Args:
        values: (..., k); NaN is left out.
        ends: (2, ..., k).

    Returns:
        (2, ...).

    >>> mean_of_independent(np.array([50.0, 70.0]), np.array([[47, 66], [53, 74]])).tolist()
    [57.5, 62.5]
    """
    known = ~np.isnan(values)
    number = np.maximum(known.sum(axis=-1), 1)
    mean = np.where(known, values, 0.0).sum(axis=-1) / number
    apart = np.where(known, ends - values, 0.0)
    reach = np.sqrt((apart**2).sum(axis=-1)) / number
    return np.stack([mean - reach[0], mean + reach[1]])

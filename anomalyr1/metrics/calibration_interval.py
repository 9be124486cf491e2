"""An interval of the expected calibration error, which noise alone raises.

What is estimated is the error of the same bins (`metrics.reliability`) on endlessly many images:
the sum over the bins of how far the share of anomalous images lies from the mean score, |gap|. Of
few images every gap is moved by chance, and absolute values do not cancel: a perfectly calibrated
score has an error too. Neither resamples, which are moved twice, nor resamples less a mean excess
undo it where the true gaps are as small as chance.

Therefore the true gaps are taken to be l times those found, l from 0, and it is asked for which l
chance would give an error as large as the one found, and as small, more often than in 2.5 % of
times (test inversion: Carpenter, Journal of the Royal Statistical Society B 61, 1999). The end of
l = 0 is a calibrated score. Chance has the variance of shares with half an image more of each kind
in a bin (Jeffreys), so that a bin without a fault is not certain.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from anomalyr1.metrics.bootstrap import RESAMPLES, SEED
from anomalyr1.metrics.rare_shares import LEVEL, wilson


def calibration_interval(
    images: NDArray[np.float64],
    said: NDArray[np.float64],
    anomalous: NDArray[np.float64],
    scores_per_image: float = 1.0,
    resamples: int = RESAMPLES,
    seed: int = SEED,
) -> tuple[float, float]:
    """95 % interval of the expected calibration error, from 0 to 1; it holds the value.

    Where the error is smaller than chance makes it even of a calibrated score, the upper end is
    Wilson's of a share as large, the images being its trials.

    Args:
        images: (bins,) how many scores lie in each.
        said: (bins,) the sum of them.
        anomalous: (bins,) how many are of anomalous images.
        scores_per_image: their mean number, all of which may be alike.
        resamples: draws of chance.
        seed: of the draws.

    >>> low, high = calibration_interval(np.array([50, 50]), np.array([5, 45]), np.array([5, 45]))
    >>> low, round(high, 3)
    (0.0, 0.037)
    """
    some = images > 0
    images, said, anomalous = (part[some] / scores_per_image for part in (images, said, anomalous))
    total = images.sum()
    gaps = (anomalous - said) / total
    share = (anomalous + 0.5) / (images + 1)
    spread = np.sqrt(images * share * (1 - share)) / total
    chance = np.random.default_rng(seed).normal(size=(resamples, len(gaps))) * spread
    value, tail = float(np.abs(gaps).sum()), (1 - LEVEL) / 2

    def errors(times: float) -> NDArray[np.float64]:
        return np.asarray(np.abs(times * gaps + chance).sum(axis=-1))

    def as_large(times: float) -> bool:
        return bool((errors(times) >= value).mean() >= tail)

    def too_large(times: float) -> bool:
        return bool((errors(times) <= value).mean() < tail)

    low = 0.0 if as_large(0) else value * _first(as_large, 0, 1)
    if too_large(0):
        high = float(wilson(np.array(100 * value), np.array(total))[1]) / 100
    else:
        most = 1.0
        while not too_large(most):
            most *= 2
        high = value * max(1.0, _first(too_large, 0, most))
    return low, min(high, 1.0)


def _first(is_so: Callable[[float], bool], low: float, high: float) -> float:
    """Where between two numbers something begins to be so, to a thousandth."""
    while high - low > 1e-3:
        middle = (low + high) / 2
        low, high = (low, middle) if is_so(middle) else (middle, high)
    return high

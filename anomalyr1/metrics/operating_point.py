"""Where to cut a score: the threshold that keeps overkill or miss at what was wanted.

A score at the threshold or above is an alarm. Overkill is the share of normal images with an alarm,
miss the share of anomalous ones without. All shares here are from 0 to 1.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from anomalyr1.errors import InputError
from anomalyr1.metrics.bootstrap import RESAMPLES, SEED, interval, ratio_interval

Floats = NDArray[np.float64]
Interval = tuple[float, float]


@dataclass(frozen=True)
class OperatingPoint:
    """A threshold and what comes of it on the images it was chosen on.

    The 95 % intervals: of the threshold over resamples of normal and of anomalous images, each
    class by itself; of the shares at the threshold that was chosen, `bootstrap.ratio_interval`.
    """

    threshold: float
    threshold_interval: Interval
    overkill: float
    overkill_interval: Interval | None
    miss: float
    miss_interval: Interval | None
    normal: int
    anomalous: int


def operating_point(
    scores: Sequence[float],
    anomalous: Sequence[bool],
    *,
    overkill: float | None = None,
    miss: float | None = None,
    resamples: int = RESAMPLES,
    seed: int = SEED,
) -> OperatingPoint:
    """The threshold for a wanted share of overkill, else of miss.

    It is the lowest threshold that keeps overkill at `overkill` or below, which catches the most
    defects, or the highest that keeps miss at `miss` or below; halfway between neighbouring scores.

    Args:
        scores: one an image, from 0 to 1.
        anomalous: the gold label of each.
        overkill: wanted at most; give this or `miss`.
        miss: wanted at most.
        resamples: of the bootstrap.
        seed: of the bootstrap.

    Raises:
        InputError: as `require_choosable`, or no threshold up to 1 keeps overkill so low.

    >>> found = operating_point([0.1, 0.2, 0.6, 0.4, 0.9], [False] * 3 + [True] * 2, overkill=0.34)
    >>> found.threshold, found.overkill, found.miss
    (0.30000000000000004, 0.3333333333333333, 0.0)
    """
    require_choosable(anomalous, overkill, miss)
    labels = np.asarray(anomalous, dtype=bool)
    values = np.asarray(scores, dtype=np.float64)
    normal, bad = values[~labels], values[labels]
    threshold = threshold_for(normal, bad, overkill=overkill, miss=miss)
    if threshold > 1:
        raise InputError(
            f"expected a threshold for an overkill of {overkill}, found more normal images than "
            "that with the highest score there is, 1; allow more overkill"
        )
    generator = np.random.default_rng(seed)
    drawn = [
        threshold_for(
            generator.choice(normal, normal.size),
            generator.choice(bad, bad.size),
            overkill=overkill,
            miss=miss,
        )
        for _ in range(resamples)
    ]
    low, high = interval(np.array(drawn))
    alarms, misses = (normal >= threshold).astype(float), (bad < threshold).astype(float)
    return OperatingPoint(
        threshold=threshold,
        threshold_interval=(float(low), float(high)),
        overkill=float(alarms.mean()),
        overkill_interval=_ends(alarms, resamples, seed),
        miss=float(misses.mean()),
        miss_interval=_ends(misses, resamples, seed),
        normal=int(normal.size),
        anomalous=int(bad.size),
    )


def require_choosable(
    anomalous: Sequence[bool], overkill: float | None, miss: float | None
) -> None:
    """Refuse what no threshold can be chosen by, which needs no score to be told.

    Raises:
        InputError: not exactly one share from 0 to below 1 is wanted, or a class has no image.
    """
    require_one_share(overkill, miss)
    faulty = sum(anomalous)
    if not 0 < faulty < len(anomalous):
        raise InputError(
            "expected normal and anomalous images to choose a threshold on, found "
            f"{len(anomalous) - faulty} and {faulty}; give a benchmark with both"
        )


def require_one_share(overkill: float | None, miss: float | None) -> None:
    """Refuse what says nothing of the wanted share, or two things; needs no image to be told.

    Raises:
        InputError: not exactly one share from 0 to below 1 is wanted.
    """
    wanted = [share for share in (overkill, miss) if share is not None]
    if len(wanted) != 1 or not 0 <= wanted[0] < 1:
        raise InputError(
            "expected a wanted overkill or a wanted miss, from 0 to below 1, found "
            f"overkill={overkill}, miss={miss}; give one of them"
        )


def threshold_for(
    normal: Floats, bad: Floats, *, overkill: float | None = None, miss: float | None = None
) -> float:
    """The threshold of `operating_point` alone; above 1 where none keeps overkill so low.

    Args:
        normal: scores of the normal images, one at least.
        bad: scores of the anomalous ones, one at least.
        overkill: wanted at most; give this or `miss`.
        miss: wanted at most.
    """
    every = np.concatenate([normal, bad])
    if overkill is not None:
        # One more alarm than may be is the normal score that the threshold has to stay above.
        barred = np.sort(normal)[::-1][_at_most(overkill, normal.size)]
        above = every[every > barred]
        middle = (float(barred) + (float(above.min()) if above.size else 1.0)) / 2
        return middle if middle > barred else math.nextafter(float(barred), math.inf)
    kept = np.sort(bad)[_at_most(miss or 0.0, bad.size)]
    below = every[every < kept]
    low = float(below.max()) if below.size else 0.0
    middle = (low + float(kept)) / 2
    return middle if middle > low else float(kept)


def _ends(wrong: Floats, resamples: int, seed: int) -> Interval | None:
    """Interval of the share of images, 0 or 1 each."""
    ends = ratio_interval(np.stack([wrong, np.ones_like(wrong)], axis=1), resamples, seed)
    return None if ends is None else (ends[0] / 100, ends[1] / 100)


def _at_most(share: float, count: int) -> int:
    """How many of so many are at most this share, rounding of its digits forgiven."""
    return min(count - 1, math.floor(share * count + 1e-9))

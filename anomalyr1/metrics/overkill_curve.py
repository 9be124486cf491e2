"""Overkill against miss as the threshold on a score moves, and two points on the way.

A score at the threshold or above is an alarm. Overkill is the share of normal images with an alarm,
miss the share of anomalous ones without: the curve is that of detection error trade-off (Martin et
al., Eurospeech 1997), on plain axes in percent. The closer to the lower left corner, the better.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anomalyr1.metrics.bootstrap import ratios, variances
from anomalyr1.metrics.operating_point import threshold_for
from anomalyr1.metrics.rare_shares import by_image, is_rare, share_ends

# What an inspection that stops a line may at most cost; a threshold of one's own is chosen by
# `anomalyr1 calibrate`, on other images than those it is judged by.
WANTED_OVERKILL = 0.05
EVEN = 0.5  # where the likelier of the two verdicts wins
_APART = 0.5  # points of the curve closer than this, in percent, are left out

Floats = NDArray[np.float32]


def overkill_curve(
    scores: NDArray[np.float64], anomalous: NDArray[np.bool_]
) -> dict[str, list[float | None]] | None:
    """The curve from no alarm at all to an alarm everywhere.

    Args:
        scores: (n,).
        anomalous: (n,) gold labels.

    Returns:
        `threshold` (falling; None where it lies above every score), `overkill` (rising) and `miss`
        (falling), in percent. Of points whose overkill and miss are together less than half a point
        from the last one's, all but the last of all are left out, so that a curve of any number of
        images has some 400 at most. None without images of both classes.

    >>> curve = overkill_curve(np.array([0.1, 0.6, 0.4, 0.9]), np.array([False, False, True, True]))
    >>> curve["overkill"], curve["miss"]
    ([0.0, 0.0, 50.0, 50.0, 100.0], [100.0, 50.0, 50.0, 0.0, 0.0])
    """
    if anomalous.all() or not anomalous.any():
        return None
    order = np.argsort(-scores, kind="stable")
    values, labels = scores[order], anomalous[order]
    last_of_tie = np.append(np.diff(values) != 0, True)
    alarms, found = np.cumsum(~labels)[last_of_tie], np.cumsum(labels)[last_of_tie]
    overkill = 100 * np.append(0, alarms) / alarms[-1]
    miss = 100 - 100 * np.append(0, found) / found[-1]
    kept = [0]
    for number in range(1, len(overkill)):
        last = kept[-1]
        moved = overkill[number] - overkill[last] + miss[last] - miss[number]
        if moved >= _APART or number == len(overkill) - 1:
            kept.append(number)
    thresholds = values[last_of_tie]
    return {
        "threshold": [None if number == 0 else float(thresholds[number - 1]) for number in kept],
        "overkill": [float(overkill[number]) for number in kept],
        "miss": [float(miss[number]) for number in kept],
    }


def operating_points(
    scores: NDArray[np.float64],
    anomalous: NDArray[np.bool_],
    weights: Floats | None,
    image: Sequence[int] | None = None,
) -> dict[str, dict[str, Any] | None]:
    """What comes of two thresholds: `even`, 0.5, and `chosen`, for 5 % of overkill at most.

    Args:
        scores: (n,) from 0 to 1.
        anomalous: (n,) gold labels.
        weights: (R, n), how often each image is drawn; None for no intervals.
        image: (n,) the number of the image of each; None where every score has its own.

    Returns:
        Of each `threshold`, `overkill` and `miss` in percent, and their 95 % `intervals`
        (`rare_shares.share_ends`; None from fewer than two images of the class): the threshold is
        held, the images are drawn. The chosen one is
        the lowest that keeps overkill on these same images at `WANTED_OVERKILL`
        (`metrics.operating_point`), so that on others it will be somewhat higher. None without
        images of both classes, or where no threshold up to 1 keeps it.
    """
    found: dict[str, dict[str, Any] | None] = {"even": None, "chosen": None}
    if anomalous.all() or not anomalous.any():
        return found
    chosen = threshold_for(scores[~anomalous], scores[anomalous], overkill=WANTED_OVERKILL)
    for name, threshold in (("even", EVEN), ("chosen", chosen)):
        if threshold <= 1:
            found[name] = _at(threshold, scores, anomalous, weights, image)
    return found


def _at(
    threshold: float,
    scores: NDArray[np.float64],
    anomalous: NDArray[np.bool_],
    weights: Floats | None,
    image: Sequence[int] | None,
) -> dict[str, Any]:
    wrong = (scores >= threshold) != anomalous
    sides = {"overkill": ~anomalous, "miss": anomalous}
    intervals: dict[str, list[float] | None] = dict.fromkeys(sides)
    if weights is not None:
        columns = np.stack([part for of in sides.values() for part in (wrong & of, of)], axis=1)
        sums = (weights @ columns.astype(np.float32)).astype(np.float64)
        parts = by_image(columns.reshape(-1, 2, 2), image)
        images = (parts[..., 1] > 0).sum(axis=0).astype(np.float64)
        rare = is_rare(parts[..., 0], parts[..., 1])
        varied = variances(ratios(sums.reshape(-1, 2, 2)))
        ends = share_ends(ratios(parts.sum(axis=0)), varied, images, rare)
        for number, name in enumerate(sides):
            if images[number] > 1:
                intervals[name] = [float(end) for end in ends[:, number]]
    values = {name: float(100 * wrong[of].mean()) for name, of in sides.items()}
    return {"threshold": threshold, **values, "intervals": intervals}

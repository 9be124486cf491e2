"""Measures of a score that is the probability of a defect: how it ranks, how it is calibrated.

AUROC, average precision, the largest F1, the false positive rate where 95 % of the anomalous are
found, the expected calibration error (`metrics.reliability`) and the Brier score, with intervals by
image. All are percent but the Brier score, which is a mean square from 0 to 1. Beside them the bins
of the calibration error, and overkill against miss (`metrics.overkill_curve`).

How each interval is made stands in `metrics.score_intervals`; `scripts/interval_coverage.py` shows
how well they hold.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anomalyr1.metrics.bootstrap import RESAMPLES, SEED, drawn_counts
from anomalyr1.metrics.overkill_curve import operating_points, overkill_curve
from anomalyr1.metrics.reliability import bin_sums, calibration_error, reliability
from anomalyr1.metrics.score_intervals import MEASURES, score_ends

# Each draw walks the whole curve; more than these move an end by some tenths of a percent.
MOST_RESAMPLES = 1000

_CHUNK = 500_000  # weights at once: what a cache holds
_FOUND = 0.95 - 1e-9

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Scored:
    """A score from 0 to 1 of an image of a dataset, higher is more anomalous."""

    image: str
    dataset: str
    normal: bool
    score: float


def score_measures(
    scored: Sequence[Scored], resamples: int = RESAMPLES, seed: int = SEED
) -> dict[str, Any]:
    """`pooled` and, under `datasets`, of each: the measures with their 95 % intervals.

    Also its `reliability`, `curve` and `operating_points` (`metrics.reliability.reliability`,
    `metrics.overkill_curve`).

    Images are drawn within their dataset, `MOST_RESAMPLES` times at most. A measure that needs
    something the data does not have (a class without an image) is None, and so is an interval from
    fewer than two images.

    >>> found = score_measures([Scored("d/1", "d", True, 0.2), Scored("d/2", "d", False, 0.9)])
    >>> found["pooled"]["auroc"], found["pooled"]["brier"]
    (100.0, 0.025)
    """
    resamples = min(resamples, MOST_RESAMPLES)
    by_dataset: dict[str, list[Scored]] = {}
    for one in scored:
        by_dataset.setdefault(one.dataset, []).append(one)
    weights = {
        name: _drawn_weights(group, resamples, seed + stratum)
        for stratum, (name, group) in enumerate(by_dataset.items())
    }
    every = [one for group in by_dataset.values() for one in group]
    return {
        "resamples": resamples,
        "pooled": _with_intervals(every, np.hstack([*weights.values()]) if every else None),
        "datasets": {
            name: _with_intervals(group, weights[name]) for name, group in by_dataset.items()
        },
    }


def weighted_measures(
    scores: NDArray[np.float64], anomalous: NDArray[np.bool_], weights: Floats
) -> NDArray[np.float64]:
    """The measures of images that count several times, or not at all.

    Args:
        scores: (n,).
        anomalous: (n,) gold labels.
        weights: (R, n), how often each counts.

    Returns:
        (R, measures) in the order of `MEASURES`; NaN where one needs what is not there.
    """
    order = np.argsort(-scores, kind="stable")
    values, labels, counts = scores[order], anomalous[order], weights[:, order]
    last_of_tie = np.append(np.diff(values) != 0, True)
    found, flagged = np.cumsum(counts * labels, axis=1), np.cumsum(counts, axis=1)
    if not last_of_tie.all():
        found, flagged = found[:, last_of_tie], flagged[:, last_of_tie]
    alarms = flagged - found
    positives, negatives = found[:, -1:], alarms[:, -1:]
    steps = np.diff(found, axis=1, prepend=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        reached_at = (found / positives >= _FOUND).argmax(1)[:, None]
        reached = (np.take_along_axis(alarms, reached_at, 1) / negatives)[:, 0]
        f1 = (2 * found / (flagged + positives)).max(1)
        under = np.diff(alarms, axis=1, prepend=0)
        under *= found - steps / 2
        auroc = under.sum(1) / (positives * negatives)[:, 0]
        steps *= found
        steps /= np.maximum(flagged, 1)  # steps times precision; nothing found where none counts
        average_precision = steps.sum(1) / positives[:, 0]
        brier = counts @ (values - labels) ** 2 / counts.sum(1)
        ece = calibration_error(bin_sums(values, labels, counts))
    both = np.where((positives > 0) & (negatives > 0), 1.0, np.nan)[:, 0]
    ranked = 100 * np.stack([auroc * both, average_precision * both, f1 * both], 1)
    rest = np.stack([100 * reached * both, 100 * ece, brier], 1)
    return np.hstack([ranked, rest]).astype(np.float64)


def _drawn_weights(scored: Sequence[Scored], resamples: int, seed: int) -> Floats:
    """(resamples, n): how often the image of each is drawn."""
    image = _numbers([one.image for one in scored])
    return drawn_counts(max(image) + 1, resamples, seed)[:, image].astype(np.float32)


def _numbers(names: Sequence[str]) -> list[int]:
    """Each name's number in the order of first appearance."""
    number_of: dict[str, int] = {}
    return [number_of.setdefault(name, len(number_of)) for name in names]


def _with_intervals(scored: Sequence[Scored], weights: Floats | None) -> Mapping[str, Any]:
    scores = np.array([one.score for one in scored], dtype=np.float64)
    anomalous = np.array([not one.normal for one in scored], dtype=bool)
    result: dict[str, Any] = {"normal": int((~anomalous).sum()), "anomalous": int(anomalous.sum())}
    if weights is None:
        nothing: dict[str, Any] = dict.fromkeys(MEASURES)
        return {**result, **nothing, "intervals": dict(nothing), **_drawings(scores, anomalous)}
    image = _numbers([one.image for one in scored])
    once = np.ones((1, len(scored)), dtype=np.float32)
    values = weighted_measures(scores, anomalous, once)[0]
    ends = None
    if len(set(image)) > 1:
        chunk = max(1, _CHUNK // len(scored))
        drawn = [
            weighted_measures(scores, anomalous, weights[start : start + chunk])
            for start in range(0, len(weights), chunk)
        ]
        dataset = _numbers([one.dataset for one in scored])
        ends = score_ends(scores, anomalous, image, dataset, values, np.concatenate(drawn))
    intervals: dict[str, Any] = {}
    for number, name in enumerate(MEASURES):
        known = not np.isnan(values[number])
        result[name] = float(values[number]) if known else None
        intervals[name] = (
            [float(end) for end in ends[:, number]] if known and ends is not None else None
        )
    drawings = _drawings(scores, anomalous, None if ends is None else weights, image)
    return {**result, "intervals": intervals, **drawings}


def _drawings(
    scores: NDArray[np.float64],
    anomalous: NDArray[np.bool_],
    weights: Floats | None = None,
    image: Sequence[int] | None = None,
) -> dict[str, Any]:
    """What is drawn of a score, in numbers."""
    return {
        "reliability": reliability(scores, anomalous, weights, image),
        "curve": overkill_curve(scores, anomalous),
        "operating_points": operating_points(scores, anomalous, weights, image),
    }

"""Measures of a score that is the probability of a defect: how it ranks, how it is calibrated.

AUROC, average precision, the largest F1, the false positive rate where 95 % of the anomalous are
found, the expected calibration error (Naeini et al., AAAI 2015, of P(anomalous) in 15 bins of equal
width) and the Brier score, with intervals by image. All are percent but the Brier score, which is a
mean square from 0 to 1.

Noise alone raises the largest F1, a maximum, and the calibration error, a sum of absolute values; a
resample has it twice. Their intervals are moved down by twice what resamples have more than the
images themselves, and can lie below the value; `scripts/interval_coverage.py` shows how well they
hold.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anomalyr1.metrics.bootstrap import RESAMPLES, SEED, interval

MEASURES = ("auroc", "average_precision", "f1_max", "fpr_at_95_tpr", "ece", "brier")
RAISED_BY_NOISE = ("f1_max", "ece")
BINS = 15
# Each draw walks the whole curve; more than these move an end by some tenths of a percent.
MOST_RESAMPLES = 2000

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
    found = np.cumsum(counts * labels, axis=1)[:, last_of_tie]
    alarms = np.cumsum(counts * ~labels, axis=1)[:, last_of_tie]
    positives, negatives = found[:, -1:], alarms[:, -1:]
    with np.errstate(invalid="ignore", divide="ignore"):
        tpr, fpr = found / positives, alarms / negatives
        precision = np.nan_to_num(found / (found + alarms))
        f1 = 2 * found / (found + alarms + positives)
        steps = np.diff(tpr, axis=1, prepend=0)
        middle = tpr - steps / 2
        auroc = (np.diff(fpr, axis=1, prepend=0) * middle).sum(1)
        reached = np.take_along_axis(fpr, (tpr >= _FOUND).argmax(1)[:, None], 1)[:, 0]
        total = counts.sum(1)
        brier = (counts * ((values - labels) ** 2)).sum(1) / total
        ece = _bin_gaps(values, labels, counts) / total
    both = np.where((positives > 0) & (negatives > 0), 1.0, np.nan)[:, 0]
    some = np.where(positives > 0, 1.0, np.nan)[:, 0]
    ranked = 100 * np.stack([auroc * both, (steps * precision).sum(1) * some, f1.max(1) * some], 1)
    rest = np.stack([100 * reached * both, 100 * ece, brier], 1)
    return np.hstack([ranked, rest]).astype(np.float64)


def _bin_gaps(
    values: NDArray[np.float64], labels: NDArray[np.bool_], counts: Floats
) -> NDArray[np.float64]:
    """(R,): over the bins, the summed size of the gap between what was said and what was so."""
    bins = np.minimum((values * BINS).astype(int), BINS - 1)
    gaps = counts * (labels - values).astype(np.float32)
    summed = [np.abs(gaps[:, bins == number].sum(1)) for number in np.unique(bins)]
    return np.asarray(np.sum(summed, axis=0), dtype=np.float64)


def _drawn_weights(scored: Sequence[Scored], resamples: int, seed: int) -> Floats:
    """(resamples, n): how often the image of each is drawn."""
    number_of: dict[str, int] = {}
    image = np.array([number_of.setdefault(one.image, len(number_of)) for one in scored])
    count = len(number_of)
    generator = np.random.default_rng(seed)
    weights = np.empty((resamples, len(scored)), dtype=np.float32)
    for row in range(resamples):
        weights[row] = np.bincount(generator.integers(count, size=count), minlength=count)[image]
    return weights


def _with_intervals(scored: Sequence[Scored], weights: Floats | None) -> Mapping[str, Any]:
    scores = np.array([one.score for one in scored], dtype=np.float64)
    anomalous = np.array([not one.normal for one in scored], dtype=bool)
    result: dict[str, Any] = {"normal": int((~anomalous).sum()), "anomalous": int(anomalous.sum())}
    if weights is None:
        nothing: dict[str, Any] = dict.fromkeys(MEASURES)
        return {**result, **nothing, "intervals": dict(nothing)}
    once = np.ones((1, len(scored)), dtype=np.float32)
    values = weighted_measures(scores, anomalous, once)[0]
    chunk = max(1, _CHUNK // len(scored))
    drawn = [
        weighted_measures(scores, anomalous, weights[start : start + chunk])
        for start in range(0, len(weights), chunk)
    ]
    several = len({one.image for one in scored}) > 1
    ends = _without_bias(np.concatenate(drawn), values) if several else None
    intervals: dict[str, Any] = {}
    for number, name in enumerate(MEASURES):
        known = not np.isnan(values[number])
        result[name] = float(values[number]) if known else None
        intervals[name] = (
            [float(end) for end in ends[:, number]] if known and ends is not None else None
        )
    return {**result, "intervals": intervals}


def _without_bias(drawn: NDArray[np.float64], values: NDArray[np.float64]) -> NDArray[np.float64]:
    """(2, measures): ends of intervals, without what noise adds (Efron 1993, section 10.6)."""
    ends = interval(drawn)
    for number in map(MEASURES.index, RAISED_BY_NOISE):
        known = drawn[~np.isnan(drawn[:, number]), number]
        if known.size:
            ends[:, number] -= 2 * (known.mean() - values[number])
    return np.asarray(np.clip(ends, 0, 100))

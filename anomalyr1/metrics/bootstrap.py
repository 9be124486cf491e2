"""Cluster bootstrap: intervals for numbers whose questions share images.

The questions of one image are not independent, so whole images are drawn, not questions (Davison
and Hinkley, "Bootstrap Methods and their Application", section 3.8). Every metric here is a
function of sums over images, which makes a resample one row of a matrix product. Shares have the
intervals of `rare_shares`, which need the variance of the resamples alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anomalyr1.metrics.rare_shares import LEVEL, is_rare, share_ends

RESAMPLES = 1000
SEED = 0

_CHUNK_DRAWS = 2_000_000


def resample_sums(
    values: NDArray[np.float64], resamples: int = RESAMPLES, seed: int = SEED
) -> NDArray[np.float64]:
    """Column sums of `values` over images drawn with replacement.

    Args:
        values: (images, columns), one row an image.
        resamples: number of bootstrap resamples.
        seed: the same seed and number of images draw the same images, which pairs two runs.

    Returns:
        (resamples, columns).

    >>> resample_sums(np.ones((5, 1)), resamples=2).tolist()
    [[5.0], [5.0]]
    """
    images, columns = values.shape
    sums = np.zeros((resamples, columns))
    if images == 0:
        return sums
    weights = drawn_counts(images, resamples, seed)
    chunk = max(1, _CHUNK_DRAWS // images)
    for start in range(0, resamples, chunk):
        part = slice(start, start + chunk)
        sums[part] = weights[part].astype(np.float64) @ values
    return sums


@lru_cache(maxsize=6)  # the data sets of one benchmark: all its tables are of the same draws
def drawn_counts(images: int, resamples: int, seed: int) -> NDArray[np.uint8]:
    """How often each image is drawn; read-only.

    Args:
        images: how many there are, one at least.
        resamples: of as many draws.
        seed: of the draws.

    Returns:
        (resamples, images), each row with the sum of `images`. More than 255 times would be once
        in 10^500.

    >>> drawn_counts(4, 3, 0).sum(axis=1, dtype=int).tolist()
    [4, 4, 4]
    """
    weights = np.empty((resamples, images), dtype=np.uint8)
    generator = np.random.default_rng(seed)
    chunk = max(1, _CHUNK_DRAWS // images)
    for start in range(0, resamples, chunk):
        size = min(chunk, resamples - start)
        drawn = generator.integers(images, size=(size, images))
        drawn += np.arange(size)[:, None] * images
        counts = np.bincount(drawn.ravel(), minlength=size * images)
        weights[start : start + size] = counts.reshape(size, images)
    weights.flags.writeable = False
    return weights


def ratios(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    """100 * numerator / denominator of (..., 2), of shape (...); NaN where the denominator is 0.

    >>> ratios(np.array([[1.0, 4.0], [0.0, 0.0]])).tolist()
    [25.0, nan]
    """
    shares = np.full(sums.shape[:-1], np.nan)
    np.divide(100 * sums[..., 0], sums[..., 1], out=shares, where=sums[..., 1] > 0)
    return shares


def resample_ratios(
    parts: NDArray[np.float64], resamples: int = RESAMPLES, seed: int = SEED
) -> NDArray[np.float64]:
    """Ratios of sums over images drawn with replacement, in percent.

    Args:
        parts: (images, ratios, 2), numerator and denominator of each image.
        resamples: number of bootstrap resamples.
        seed: as for `resample_sums`.

    Returns:
        (resamples, ratios); NaN where no drawn image counts.
    """
    images, columns, _ = parts.shape
    sums = resample_sums(parts.reshape(images, 2 * columns), resamples, seed)
    return ratios(sums.reshape(resamples, columns, 2))


def interval(estimates: NDArray[np.float64], level: float = LEVEL) -> NDArray[np.float64]:
    """Percentile interval over the first axis, resamples without a value (NaN) left out.

    Args:
        estimates: (resamples, ...).
        level: the coverage aimed at.

    Returns:
        (2, ...): lower and upper end; NaN where no resample has a value.
    """
    tails = [50 * (1 - level), 50 * (1 + level)]
    if not np.isnan(estimates).any():
        return np.asarray(np.percentile(estimates, tails, axis=0))
    flat = estimates.reshape(len(estimates), -1)
    ends = np.full((2, flat.shape[1]), np.nan)
    for column in range(flat.shape[1]):
        known = flat[~np.isnan(flat[:, column]), column]
        if known.size:
            ends[:, column] = np.percentile(known, tails)
    return ends.reshape(2, *estimates.shape[1:])


def variances(estimates: NDArray[np.float64]) -> NDArray[np.float64]:
    """Variance over the first axis, resamples without a value (NaN) left out.

    Args:
        estimates: (resamples, ...).

    Returns:
        (...); NaN where fewer than two resamples have a value.

    >>> variances(np.array([[1.0, np.nan], [3.0, 2.0]])).tolist()
    [2.0, nan]
    """
    known = ~np.isnan(estimates)
    number = known.sum(axis=0)
    mean = np.where(known, estimates, 0.0).sum(axis=0) / np.maximum(number, 1)
    squares = (np.where(known, estimates - mean, 0.0) ** 2).sum(axis=0)
    found = np.full(squares.shape, np.nan)
    np.divide(squares, number - 1, out=found, where=number > 1)
    return found


def ratio_intervals(
    parts: NDArray[np.float64], resamples: int = RESAMPLES, seed: int = SEED
) -> list[tuple[float, float] | None]:
    """The interval of each of several ratios of sums, all on the same draws of images.

    It is `rare_shares.share_ends`.

    Args:
        parts: (images, ratios, 2), numerator and denominator of each image, the first at most the
            second.
        resamples: number of bootstrap resamples.
        seed: as for `resample_sums`.

    Returns:
        In percent; None where fewer than two images count.
    """
    images = np.count_nonzero(parts[..., 1], axis=0)
    if not (images > 1).any():
        return [None] * parts.shape[1]
    values = ratios(parts.sum(axis=0))
    varied = variances(resample_ratios(parts, resamples, seed))
    ends = share_ends(values, varied, images, is_rare(parts[..., 0], parts[..., 1]))
    return [
        (float(low), float(high)) if counts > 1 else None
        for counts, (low, high) in zip(images, ends.T, strict=True)
    ]


def named_ratios(
    names: Sequence[str],
    parts: NDArray[np.float64],
    ends: Sequence[tuple[float, float] | None],
) -> dict[str, Any]:
    """Ratios of sums under their names, in percent, None without a value; and their `intervals`.

    Args:
        names: of the ratios.
        parts: (images, ratios, 2), numerator and denominator of each image.
        ends: of `ratio_intervals`.

    >>> named_ratios(["a", "b"], np.array([[[1.0, 2.0], [0.0, 0.0]]]), [None, None])
    {'a': 50.0, 'b': None, 'intervals': {'a': None, 'b': None}}
    """
    values = ratios(parts.sum(axis=0))
    return {
        **{
            name: None if np.isnan(value) else float(value)
            for name, value in zip(names, values, strict=True)
        },
        "intervals": dict(zip(names, ends, strict=True)),
    }


def ratio_interval(
    parts: NDArray[np.float64], resamples: int = RESAMPLES, seed: int = SEED
) -> tuple[float, float] | None:
    """The interval of one ratio of sums; see `ratio_intervals`.

    Args:
        parts: (images, 2), numerator and denominator of each image, the first at most the second.
        resamples: number of bootstrap resamples.
        seed: as for `resample_sums`.

    >>> ratio_interval(np.array([[1.0, 2.0]] * 20))
    (50.0, 50.0)
    """
    return ratio_intervals(parts[:, None], resamples, seed)[0]


def mean_interval(
    values: NDArray[np.float64], resamples: int = RESAMPLES, seed: int = SEED
) -> tuple[float, float] | None:
    """Interval of the mean of one value an image; None with fewer than two images.

    >>> mean_interval(np.array([1.0, 1.0, 1.0]))
    (1.0, 1.0)
    """
    if values.size < 2:
        return None
    means = resample_sums(values.reshape(-1, 1), resamples, seed)[:, 0] / values.size
    low, high = interval(means)
    return float(low), float(high)

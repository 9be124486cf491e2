"""How far a score means what it says: P(anomalous) in bins, against the share that is anomalous.

The bins are of equal width, `BINS` from 0 to 1; a bin holds its lower end, the last one both. A
reliability diagram (DeGroot and Fienberg, The Statistician 32, 1983; Niculescu-Mizil and Caruana,
ICML 2005) draws the share of anomalous images of each bin over the mean score in it: on the
diagonal the score is a probability. The expected calibration error is the mean distance from it,
each bin weighted by its images (Naeini et al., AAAI 2015, equation 3, with P(anomalous) for the
confidence).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anomalyr1.metrics.bootstrap import variances
from anomalyr1.metrics.rare_shares import by_image, is_rare, share_ends

BINS = 15
_COUNT, _SAID, _ANOMALOUS = range(3)

Floats = NDArray[np.float32]


def bin_sums(
    scores: NDArray[np.float64], anomalous: NDArray[np.bool_], weights: Floats
) -> NDArray[np.float64]:
    """What lies in each bin, of images that count several times or not at all.

    Args:
        scores: (n,) from 0 to 1.
        anomalous: (n,) gold labels.
        weights: (R, n), how often each counts.

    Returns:
        (R, `BINS`, 3): images, the sum of their scores, how many of them are anomalous.
    """
    columns = _columns(scores, anomalous)
    summed = weights @ columns.reshape(len(scores), BINS * 3)
    return np.asarray(summed, dtype=np.float64).reshape(len(weights), BINS, 3)


def _columns(scores: NDArray[np.float64], anomalous: NDArray[np.bool_]) -> Floats:
    """(n, `BINS`, 3): each score in its bin."""
    columns = np.zeros((len(scores), BINS, 3), dtype=np.float32)
    row, bins = np.arange(len(scores)), np.minimum((scores * BINS).astype(int), BINS - 1)
    for column, values in ((_COUNT, 1.0), (_SAID, scores), (_ANOMALOUS, anomalous)):
        columns[row, bins, column] = values
    return columns


def calibration_error(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    """(R,): the expected calibration error of `bin_sums`, from 0 to 1."""
    gaps = np.abs(sums[..., _ANOMALOUS] - sums[..., _SAID]).sum(axis=-1)
    return np.asarray(gaps / sums[..., _COUNT].sum(axis=-1))


def reliability(
    scores: NDArray[np.float64],
    anomalous: NDArray[np.bool_],
    weights: Floats | None = None,
    image: Sequence[int] | None = None,
) -> list[dict[str, Any]]:
    """The bins, lowest first.

    Args:
        scores: (n,) from 0 to 1.
        anomalous: (n,) gold labels.
        weights: (R, n), how often each image is drawn; None for no intervals.
        image: (n,) the number of the image of each; None where every score has its own.

    Returns:
        Of each bin `from` and `to` (0 to 1), `images` (scores in it), and in percent `said` (their
        mean), `anomalous` (their share) and its 95 % `interval` (`rare_shares.share_ends`).
        None where there is none, and no interval from fewer than two images.

    >>> found = reliability(np.array([0.5, 0.5]), np.array([True, False]))
    >>> found[7]["said"], found[7]["anomalous"]
    (50.0, 50.0)
    """
    columns = _columns(scores, anomalous)
    sums = columns.sum(axis=0, dtype=np.float64)
    parts = by_image(columns[..., [_ANOMALOUS, _COUNT]], image)
    trials = (parts[..., 1] > 0).sum(axis=0).astype(np.float64)
    ends = None
    if weights is not None:
        varied = variances(_shares(bin_sums(scores, anomalous, weights)))
        ends = share_ends(_shares(sums), varied, trials, is_rare(parts[..., 0], parts[..., 1]))
    found = []
    for number, (images, said, _) in enumerate(sums):
        found.append(
            {
                "from": number / BINS,
                "to": (number + 1) / BINS,
                "images": int(images),
                "said": float(100 * said / images) if images else None,
                "anomalous": float(_shares(sums[number])) if images else None,
                "interval": None
                if ends is None or trials[number] < 2
                else [float(end) for end in ends[:, number]],
            }
        )
    return found


def _shares(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    with np.errstate(invalid="ignore"):
        return np.asarray(100 * sums[..., _ANOMALOUS] / sums[..., _COUNT])

"""Intervals of an accuracy table: of its cells, their averages, and the averages over datasets.

A tally has eight cells a dataset (Anomaly Detection on normal and on anomalous images, then the
other subtasks), the table ten columns made of them, in the order of `metrics.mcq.COLUMNS`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from anomalyr1.metrics.rare_shares import FEW, drawn_trials, share_ends, wilson

# The cells that each column is made of: detection, six subtasks, all, overkill, miss.
_CELLS = ([0, 1], *([cell] for cell in range(2, 8)), [*range(8)], [0], [1])
_AVERAGE = 7
# In an average over subtasks, and in all questions together, one trial an image is far too few; the
# variance is taken where this many images lost, and won, something in any subtask.
FEW_OVER_SUBTASKS = 3

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class TableTrials:
    """What each figure of a table rests on; all are (datasets + 1, columns).

    Attributes:
        images: that were asked something which counts in it.
        least: trials it is worth at least, an image being one of each cell; the cells of one image
            may all be alike, datasets and the halves of Anomaly Detection have other images.
        rare: whether fewer than `FEW` images lost, or won, anything; `FEW_OVER_SUBTASKS` in an
            average.
        datasets: of the table.
    """

    images: Floats
    least: Floats
    rare: NDArray[np.bool_]
    datasets: int

    def ends(self, percent: Floats, variance: Floats) -> Floats:
        """(2, datasets + 1, columns): ends of the intervals of a table.

        Args:
            percent: the table.
            variance: of its resamples.
        """
        strata = np.ones((self.datasets + 1, 1))
        strata[-1] = self.datasets
        trials = drawn_trials(percent, variance, self.images, strata)
        return wilson(percent, np.where(self.rare, self.least, trials))

    def pooled_ends(self, percent: float, variance: float) -> tuple[float, float]:
        """Ends of the interval of all questions taken together."""
        images, rare = self.images[-1, _AVERAGE], self.rare[-1, _AVERAGE]
        low, high = share_ends(np.array(percent), np.array(variance), images, rare, self.datasets)
        return float(low), float(high)


def table_trials(correct: Sequence[Floats], counted: Sequence[Floats]) -> TableTrials:
    """What the figures of a table rest on.

    Args:
        correct: (images, 8) of each dataset: questions answered rightly.
        counted: the same of those that count.
    """
    lost, won, asked = (
        np.array([_images(part) for part in parts])
        for parts in (
            [right < of for right, of in zip(correct, counted, strict=True)],
            [right > 0 for right in correct],
            [of > 0 for of in counted],
        )
    )
    cells = np.array([(of > 0).sum(axis=0) for of in counted], dtype=np.float64)
    halves, others = _apart(cells[:, :2])[:, None], cells[:, 2:]
    average = _alike(np.hstack([halves, others]))[:, None]
    least = np.hstack([halves, others, average, cells[:, :2]])
    lost, won, asked = (np.vstack([part, part.sum(axis=0)]) for part in (lost, won, asked))
    few = np.full(lost.shape[1], FEW)
    few[_AVERAGE] = FEW_OVER_SUBTASKS
    return TableTrials(
        images=asked,
        least=np.vstack([least, _apart(least.T)]),
        rare=(np.minimum(lost, won) < few) & (asked > 0),
        datasets=len(cells),
    )


def _images(part: NDArray[np.bool_]) -> list[float]:
    """Of (images, 8), how many images have any in the cells of each column."""
    return [float(part[:, cells].any(axis=1).sum()) for cells in _CELLS]


def _apart(trials: Floats) -> Floats:
    """Trials that a mean over the last axis is worth, if its parts are independent: variances add.

    0 where no part has any.
    """
    number = (trials > 0).sum(axis=-1)
    inverse = _quotient(np.ones_like(trials), trials).sum(axis=-1)
    return _quotient(number**2, inverse)


def _alike(trials: Floats) -> Floats:
    """The same if its parts go together wholly: deviations add."""
    number = (trials > 0).sum(axis=-1)
    inverse = _quotient(np.ones_like(trials), np.sqrt(trials)).sum(axis=-1)
    return _quotient(number**2, inverse**2)


def _quotient(upper: Floats, lower: Floats) -> Floats:
    """The quotient, 0 where nothing would divide."""
    found = np.zeros(lower.shape)
    np.divide(upper, lower, out=found, where=lower > 0)
    return found

"""MMAD accuracy: datasets x seven subtasks, under two ways of accounting.

`strict` counts every question that has a gold letter; an unreadable answer is wrong. `compat` is
the accounting of the benchmark's own scorer (MMAD, ICLR 2025): it deletes an unreadable record from
the list it is walking, so that record leaves the denominator and the record after it is never
looked at. Refusing hard questions therefore raises a compat score and lowers a strict one.

In both, Anomaly Detection is balanced: the mean of the accuracy on normal and on anomalous images.
The column "Average" is the mean of a dataset's subtasks, the row "Average" the unweighted mean of
the datasets (`macro` is its corner); `micro` is correct over counted questions, unbalanced and
pooled.

A cell without any question is None in both tables. Strict averages leave it out; compat averages
count it as 0 where another dataset has that subtask, as MMAD's scorer does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from anomalyr1.metrics.bootstrap import RESAMPLES, SEED, resample_sums, variances
from anomalyr1.metrics.table_intervals import table_trials
from anomalyr1.schema import ANOMALY_DETECTION, SUBTASKS

Accounting = Literal["strict", "compat"]
ACCOUNTINGS: tuple[Accounting, ...] = ("strict", "compat")
AVERAGE = "Average"
OVERKILL = "Overkill"
MISS = "Miss"

# Columns of a value table: the subtasks, then what is derived from them.
COLUMNS = (*SUBTASKS, AVERAGE, OVERKILL, MISS)

_LETTERS = frozenset("ABCDE")
# Columns of a tally: Anomaly Detection on normal and on anomalous images, then the other subtasks.
_NORMAL, _ANOMALOUS = 0, 1
DETECTION = slice(0, 2)
_TALLY = 1 + len(SUBTASKS)


@dataclass(frozen=True, slots=True)
class ChoiceRecord:
    """One scored choice question: `answer` is None where no letter could be read."""

    image: str
    dataset: str
    subtask: str
    normal: bool
    gold: str | None
    answer: str | None

    @property
    def correct(self) -> bool:
        """Read and equal to the gold letter."""
        return self.gold is not None and self.answer == self.gold


@dataclass(frozen=True, slots=True)
class Tally:
    """Counted and correct questions, per image.

    `counted` and `correct` hold one (images, 8) array a dataset: Anomaly Detection on normal
    images, on anomalous ones, then the other six subtasks. `present` (datasets, 8) counts the
    questions before any is dropped.
    """

    datasets: tuple[str, ...]
    images: tuple[tuple[str, ...], ...]
    counted: tuple[NDArray[np.float64], ...]
    correct: tuple[NDArray[np.float64], ...]
    present: NDArray[np.float64]
    accounting: Accounting


@dataclass(frozen=True, slots=True)
class Accuracy:
    """Percent values: `table[dataset][column]` with a row "Average", and their intervals.

    `columns` are the seven subtasks, "Average", "Overkill" (100 - accuracy on normals) and "Miss"
    (100 - accuracy on anomalous images). `errors` are the standard errors of the row "Average".
    """

    table: dict[str, dict[str, float | None]]
    intervals: dict[str, dict[str, tuple[float, float] | None]]
    macro: float | None
    micro: float | None
    macro_interval: tuple[float, float] | None
    micro_interval: tuple[float, float] | None
    errors: dict[str, float | None]


def counted_by_mmad(records: Sequence[ChoiceRecord]) -> list[bool]:
    """Which records MMAD's scorer counts, in file order.

    A record with a letter outside A-E is deleted while the list is walked; the walk then steps over
    the record that moved into its place, readable or not.

    >>> def record(answer):
    ...     return ChoiceRecord("d/c/good/1.png", "d", "Object Analysis", True, "A", answer)
    >>> counted_by_mmad([record("A"), record(None), record("A"), record("A")])
    [True, False, False, True]
    """
    counted = [False] * len(records)
    position = 0
    while position < len(records):
        record = records[position]
        if record.gold in _LETTERS and record.answer in _LETTERS:
            counted[position] = True
            position += 1
        else:
            position += 2
    return counted


def tally(
    records: Sequence[ChoiceRecord],
    accounting: Accounting,
    chances: Sequence[float] | None = None,
) -> Tally:
    """Count questions and correct answers per dataset, image and subtask.

    Strict leaves out questions without a gold letter: there is nothing to compare with. With
    `chances`, one a record, a question is right to that share instead of by its answer.
    """
    if accounting == "compat":
        use = counted_by_mmad(records)
        normal = ["good" in record.image for record in records]  # MMAD's own test, a substring
    else:
        use = [record.gold is not None for record in records]
        normal = [record.normal for record in records]
    rows: dict[str, dict[str, int]] = {}
    for record in records:
        images = rows.setdefault(record.dataset, {})
        images.setdefault(record.image, len(images))
    datasets = tuple(rows)
    counted = {name: np.zeros((len(images), _TALLY)) for name, images in rows.items()}
    correct = {name: np.zeros((len(images), _TALLY)) for name, images in rows.items()}
    present = {name: np.zeros(_TALLY) for name in rows}
    right = [record.correct for record in records] if chances is None else chances
    for record, is_counted, is_normal, share in zip(records, use, normal, right, strict=True):
        column = _tally_column(record.subtask, is_normal)
        present[record.dataset][column] += record.gold is not None or accounting == "compat"
        if is_counted:
            row = rows[record.dataset][record.image]
            counted[record.dataset][row, column] += 1
            correct[record.dataset][row, column] += share
    return Tally(
        datasets,
        tuple(tuple(images) for images in rows.values()),
        tuple(counted.values()),
        tuple(correct.values()),
        np.array([present[name] for name in datasets]).reshape(len(datasets), _TALLY),
        accounting,
    )


def accuracy(
    records: Sequence[ChoiceRecord],
    accounting: Accounting,
    resamples: int = RESAMPLES,
    seed: int = SEED,
) -> Accuracy:
    """The accuracy table with 95 % intervals: Wilson's (`rare_shares`), of as many trials as fit.

    Their number is told by resamples of whole images, drawn within their dataset, or by the images
    themselves where few of them got something wrong, or right.
    """
    counts = tally(records, accounting)
    if not counts.datasets:
        return Accuracy({}, {}, None, None, None, None, {})
    values, micro = point_values(counts)
    varied, micro_varied = map(variances, bootstrap_values(counts, resamples, seed))
    trials = table_trials(counts.correct, counts.counted)
    ends = trials.ends(values, varied)
    enough = [len(images) > 1 for images in counts.images]
    shown = _shown(counts)
    table: dict[str, dict[str, float | None]] = {}
    intervals: dict[str, dict[str, tuple[float, float] | None]] = {}
    for row, name in enumerate((*counts.datasets, AVERAGE)):
        table[name] = {}
        intervals[name] = {}
        for column, title in enumerate(COLUMNS):
            value = values[row, column]
            known = shown[row, column] and not np.isnan(value)
            table[name][title] = float(value) if known else None
            wide = all(enough) if name == AVERAGE else enough[row]
            low, high = ends[:, row, column]
            certain = known and wide and not np.isnan(low)
            intervals[name][title] = (float(low), float(high)) if certain else None
    return Accuracy(
        table,
        intervals,
        table[AVERAGE][AVERAGE],
        None if np.isnan(micro) else micro,
        intervals[AVERAGE][AVERAGE],
        None if np.isnan(micro) else trials.pooled_ends(micro, float(micro_varied)),
        {
            title: None if ends is None or np.isnan(variance) else float(variance**0.5)
            for variance, (title, ends) in zip(varied[-1], intervals[AVERAGE].items(), strict=True)
        },
    )


def point_values(counts: Tally) -> tuple[NDArray[np.float64], float]:
    """Value table (datasets + 1, columns) and micro of the images themselves, each drawn once."""
    values, micro = _evaluate(counts, _sums(counts.counted), _sums(counts.correct))
    return values, float(micro)


def bootstrap_values(
    counts: Tally, resamples: int = RESAMPLES, seed: int = SEED
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Value tables (resamples, datasets + 1, columns) and micro (resamples,) of the resamples."""
    counted, correct = [], []
    for stratum, (total, right) in enumerate(zip(counts.counted, counts.correct, strict=True)):
        both = resample_sums(np.hstack([total, right]), resamples, seed + stratum)
        counted.append(both[:, :_TALLY])
        correct.append(both[:, _TALLY:])
    return _evaluate(counts, np.stack(counted, axis=1), np.stack(correct, axis=1))


def _evaluate(
    counts: Tally, counted: NDArray[np.float64], correct: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Value table (..., datasets + 1, columns) and micro (...) from sums (..., datasets, 8)."""
    strict = counts.accounting == "strict"
    share = np.divide(
        100 * correct,
        counted,
        out=np.full(counted.shape, np.nan if strict else 0.0),
        where=counted > 0,
    )
    detection = _mean(share[..., :2])
    subtasks = np.concatenate([detection[..., None], share[..., 2:]], axis=-1)
    if not strict:
        subtasks = np.where(_asked_anywhere(counts), subtasks, np.nan)
    table = np.concatenate([subtasks, _mean(subtasks)[..., None], 100 - share[..., :2]], axis=-1)
    table = np.concatenate([table, _mean(np.swapaxes(table, -1, -2))[..., None, :]], axis=-2)
    total = counted.sum(axis=(-2, -1))
    micro = np.divide(
        100 * correct.sum(axis=(-2, -1)), total, out=np.full(total.shape, np.nan), where=total > 0
    )
    return table, micro


def _shown(counts: Tally) -> NDArray[np.bool_]:
    """(datasets + 1, columns): where there was a question at all."""
    asked = counts.present > 0
    detection = asked[:, [_NORMAL, _ANOMALOUS]]
    columns = [detection.any(axis=1, keepdims=True), asked[:, 2:], asked.any(axis=1, keepdims=True)]
    table = np.hstack([*columns, detection])
    return np.vstack([table, table.any(axis=0)])


def _asked_anywhere(counts: Tally) -> NDArray[np.bool_]:
    asked = np.asarray((counts.present > 0).any(axis=0))
    return np.concatenate([[asked[:2].any()], asked[2:]])


def _mean(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean over the last axis without the NaN values; NaN where all are."""
    known = ~np.isnan(values)
    number = known.sum(axis=-1)
    total = np.where(known, values, 0.0).sum(axis=-1)
    mean = np.full(total.shape, np.nan)
    np.divide(total, number, out=mean, where=number > 0)
    return mean


def _sums(parts: tuple[NDArray[np.float64], ...]) -> NDArray[np.float64]:
    return np.stack([part.sum(axis=0) for part in parts])


def _tally_column(subtask: str, normal: bool) -> int:
    if subtask == ANOMALY_DETECTION:
        return _NORMAL if normal else _ANOMALOUS
    return 1 + SUBTASKS.index(subtask)

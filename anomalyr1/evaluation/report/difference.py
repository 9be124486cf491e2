"""The difference between two runs on the questions both answered, with a paired interval."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from anomalyr1.evaluation.image_readings import PredictionReading, choice_records
from anomalyr1.metrics.bootstrap import RESAMPLES, SEED, interval
from anomalyr1.metrics.mcq import AVERAGE, COLUMNS, accuracy, bootstrap_values, tally


@dataclass(frozen=True, slots=True)
class Difference:
    """`value` is the second run's macro strict accuracy minus the first's, in points.

    `ends` is its 95 % interval, images drawn in pairs; None with fewer than two shared images.
    `questions` counts the shared ones.
    """

    value: float
    ends: tuple[float, float] | None
    questions: int


def macro_difference(
    first: Sequence[PredictionReading],
    second: Sequence[PredictionReading],
    resamples: int = RESAMPLES,
) -> Difference | None:
    """Compare strict macro accuracy; None where the runs share no choice question."""
    keys = _keys(first) & _keys(second)
    if not keys:
        return None
    records = [
        choice_records(sorted((r for r in readings if _key(r) in keys), key=_key))
        for readings in (first, second)
    ]
    # One seed and one order of images draw the same images for both runs.
    before, after = (
        bootstrap_values(tally(of_run, "strict"), resamples, SEED)[0][:, -1, COLUMNS.index(AVERAGE)]
        for of_run in records
    )
    low, high = interval(after - before)
    macros = [accuracy(of_run, "strict", resamples=1).macro for of_run in records]
    assert (
        macros[0] is not None and macros[1] is not None
    )  # every shared question has a gold letter
    several = len({image for image, _ in keys}) > 1
    return Difference(
        macros[1] - macros[0], (float(low), float(high)) if several else None, len(keys)
    )


def _keys(readings: Sequence[PredictionReading]) -> set[tuple[str, int]]:
    return {
        _key(reading)
        for reading in readings
        if not reading.is_grounding and reading.prediction.answer is not None
    }


def _key(reading: PredictionReading) -> tuple[str, int]:
    return reading.prediction.image, reading.prediction.question_index

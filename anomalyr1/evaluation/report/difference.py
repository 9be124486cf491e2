"""Two runs on the questions both answered: the difference, and the images that make it."""

from __future__ import annotations

from collections.abc import Sequence

from anomalyr1.evaluation.figures import (
    Difference,
    Key,
    count,
    differences,
    discordances,
    question_key,
)
from anomalyr1.evaluation.image_readings import PredictionReading
from anomalyr1.metrics.significance import Discordance


def macro_difference(
    first: Sequence[PredictionReading], second: Sequence[PredictionReading]
) -> tuple[Difference, Discordance] | None:
    """Compare strict macro accuracy; None where the runs share no question of MMAD's table."""
    keys = _keys(first) & _keys(second)
    if not keys:
        return None
    shared = [[r for r in run if question_key(r) in keys] for run in (first, second)]
    counts = [count(shared[0]), count(shared[1])]
    name = "strict accuracy"
    found = differences(counts[:1], counts[1:]).get(name)
    return None if found is None else (found, discordances(*counts)[name])


def _keys(readings: Sequence[PredictionReading]) -> set[Key]:
    return {
        question_key(reading)
        for reading in readings
        if reading.is_of_mmad and reading.prediction.answer is not None
    }

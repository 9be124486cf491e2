"""Accuracy by RobustMAD's four categories, which are no columns of MMAD's table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from anomalyr1.evaluation.image_readings import PredictionReading
from anomalyr1.metrics.bootstrap import RESAMPLES, ratio_intervals, ratios
from anomalyr1.schema import ROBUSTMAD_TYPES

ALL = "all"


def robustmad_scores(
    readings: Sequence[PredictionReading], resamples: int = RESAMPLES
) -> dict[str, Any] | None:
    """Of each category that was asked, and of `all`: `questions`, `percent` right, `interval`.

    RobustMAD's measure: right answers by all questions of a category; one that cannot be read is
    wrong. The interval is a 95 % bootstrap by image.

    Returns:
        None where none of its questions was asked.
    """
    asked = [r for r in readings if r.prediction.question_type in ROBUSTMAD_TYPES]
    if not asked:
        return None
    rows: dict[str, int] = {}
    columns = (ALL, *ROBUSTMAD_TYPES)
    images = {reading.prediction.image for reading in asked}
    parts = np.zeros((len(images), len(columns), 2))
    for reading in asked:
        row = rows.setdefault(reading.prediction.image, len(rows))
        kind = columns.index(reading.prediction.question_type)
        parts[row, [0, kind]] += is_right(reading), 1
    sums = parts.sum(axis=0)
    ends = ratio_intervals(parts, resamples)
    return {
        name: {"questions": int(asked_of), "percent": float(value), "interval": interval}
        for name, (_, asked_of), value, interval in zip(
            columns, sums, ratios(sums), ends, strict=True
        )
        if asked_of
    }


def is_right(reading: PredictionReading) -> bool:
    """The letter that was read is the gold one."""
    return reading.response.answer is not None and (
        reading.response.answer == reading.prediction.answer
    )

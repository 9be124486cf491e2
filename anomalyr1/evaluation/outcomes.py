"""Shares of ROAM's outcomes: do the reasoning and the answer agree, and with the gold answer?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from anomalyr1.evaluation.image_readings import PredictionReading
from anomalyr1.metrics.detection import percent
from anomalyr1.prompts import asks_for_reasoning
from anomalyr1.rewards.roam import outcome_of
from anomalyr1.schema import OUTCOMES, Outcome


def evaluated_outcome(reading: PredictionReading) -> Outcome | None:
    """The outcome of a prediction; None without gold, or where no reasoning was asked for."""
    asked = asks_for_reasoning(reading.prediction.template)
    return outcome_of(reading) if asked else None


def outcome_shares(readings: Sequence[PredictionReading]) -> dict[str, Any]:
    """Percent of each outcome among the `questions` that have one."""
    found = [name for reading in readings if (name := evaluated_outcome(reading)) is not None]
    shares: dict[str, Any] = {name: percent(found.count(name), len(found)) for name in OUTCOMES}
    return {"questions": len(found), **shares}

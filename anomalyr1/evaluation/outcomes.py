"""Shares of ROAM's outcomes: do the reasoning and the answer agree, and with the gold answer?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from anomalyr1.evaluation.image_readings import Reading
from anomalyr1.metrics.detection import percent
from anomalyr1.rewards.roam import outcome, verdict
from anomalyr1.schema import OUTCOMES, Outcome


def reading_outcome(reading: Reading) -> Outcome | None:
    """The outcome of one completion; None where no gold answer is on record.

    The gold answer of a grounding question is whether there is anything to find.
    """
    prediction = reading.prediction
    if not reading.is_grounding:
        gold = prediction.answer
    else:
        gold = None if prediction.gold_boxes is None else verdict(prediction.gold_boxes)
    return None if gold is None else outcome(reading.response, gold)


def outcome_shares(readings: Sequence[Reading]) -> dict[str, Any]:
    """Percent of each outcome among the `questions` that have a gold answer."""
    found = [name for reading in readings if (name := reading_outcome(reading)) is not None]
    shares: dict[str, Any] = {name: percent(found.count(name), len(found)) for name in OUTCOMES}
    return {"questions": len(found), **shares}

"""Shares of ROAM's outcomes: do the reasoning and the answer agree, and with the gold answer?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from anomalyr1.metrics.detection import percent
from anomalyr1.rewards.reading import Reading
from anomalyr1.rewards.roam import outcome_of
from anomalyr1.schema import OUTCOMES


def outcome_shares(readings: Sequence[Reading]) -> dict[str, Any]:
    """Percent of each outcome among the `questions` that have a gold answer."""
    found = [name for reading in readings if (name := outcome_of(reading)) is not None]
    shares: dict[str, Any] = {name: percent(found.count(name), len(found)) for name in OUTCOMES}
    return {"questions": len(found), **shares}

"""Durations in the log by a clock that nobody sets.

transformers takes them from the clock on the wall: put back by an hour, a run takes less than no
time.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any


class SteadyClock:
    """Says how long parts of a run took, in the words of transformers' log."""

    def __init__(self) -> None:
        self._begun: dict[str, float] = {}

    def begins(self, part: str) -> None:
        """A part begins: `train` or `eval`."""
        self._begun[part] = time.monotonic()

    def corrected(self, logs: Mapping[str, Any]) -> dict[str, Any]:
        """A log whose `<part>_runtime` and rates are by this clock; others stay as they are."""
        made = dict(logs)
        for part, begun in self._begun.items():
            if f"{part}_runtime" not in logs:
                continue
            seconds = time.monotonic() - begun
            for rate in (f"{part}_samples_per_second", f"{part}_steps_per_second"):
                if rate in logs:
                    count = logs[rate] * logs[f"{part}_runtime"]
                    made[rate] = round(count / seconds, 3) if seconds else 0.0
            made[f"{part}_runtime"] = round(seconds, 4)
        return made

"""A run's logged rows held against the limits of `guard`, one row after the other."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping
from dataclasses import replace
from itertools import takewhile
from typing import Any

import numpy as np

from anomalyr1.config import GuardConfig
from anomalyr1.rewards.telemetry import BOX_IOU, LETTER, NO_LETTER, OUTCOME
from anomalyr1.training.collapse import (
    FALL_ROWS,
    SLACK,
    Fault,
    Level,
    Values,
    first_beyond,
    lasting_fall,
    levels,
)
from anomalyr1.values import is_number

# The share of right answers, worked out from the outcomes.
RIGHT = "right"
_RIGHT_OUTCOMES = (f"{OUTCOME}aligned_correct", f"{OUTCOME}silent_correct")
# A letter that is right nearly as often as it is given is what the questions ask for.
_RIGHT_MARGIN = 0.1
# What begins within so many windows of a fault that still stands is taken to follow from it; but
# groups are flat for other reasons than most, and cause nothing.
COMPANY = 5
_NO_CAUSE = "flat"
# Windows that are looked back on for the first step of a fault, and kept for a fall.
_BACK, _KEPT = 4, 20


class Watch:
    """Sees a run's rows and names each fault once, when it begins.

    What it knows follows from the rows alone: shown those of a checkpoint, it goes on as the run
    did. A fault that has ended may begin again.

    Args:
        guard: limits and windows.
        groups: groups of completions that are sampled for an optimiser step.
    """

    def __init__(self, guard: GuardConfig, groups: float) -> None:
        self.guard = guard
        self.window = max(guard.window, math.ceil(guard.groups / groups))
        self._levels = levels(guard)
        self._standing: dict[str, Fault] = {}
        self._rows: deque[dict[str, float]] = deque(maxlen=_KEPT * self.window)
        self._first: dict[str, float] = {}  # the first row
        self._start: dict[str, float] = {}  # means over the first window
        self._mended = -math.inf  # the step at which boxes had found their place again

    def see(self, row: Mapping[str, Any]) -> list[Fault]:
        """Take in the next row.

        Args:
            row: what was logged, with its `step`. Rows without a reward (of an evaluation, of a
                step without a rollout) are passed over, and so is what is no number.

        Returns:
            The faults noticed now, the likeliest cause first.
        """
        figures = {key: float(value) for key, value in row.items() if is_number(value)}
        if not self.guard.enabled or not {"step", "reward"} <= figures.keys():
            return []
        if any(key in figures for key in _RIGHT_OUTCOMES):
            figures[RIGHT] = sum(figures.get(key, 0.0) for key in _RIGHT_OUTCOMES)
        interval = figures["step"] - (self._rows[-1]["step"] if self._rows else 0)
        self._first = self._first or figures
        self._rows.append(figures)
        if figures["step"] - self._first["step"] + interval < self.window:
            return []
        self._start = self._start or self._means()
        begun = [self._left(level) for level in self._levels] + [self._fallen()]
        found = []
        for fault in begun:
            if fault is not None:
                found.append(replace(fault, follows=self._cause()))
                self._standing[fault.kind] = found[-1]
        return found

    def _left(self, level: Level) -> Fault | None:
        """The fault of a level that has just been left; one that stands is held or ended."""
        standing = self._standing.get(level.kind)
        if standing is not None:
            _, values = self._figures(level, standing.key)
            if len(values) and not level.is_beyond(values, SLACK):
                del self._standing[level.kind]
            return None
        for key in level.keys or self._letters():
            _, values = self._figures(level, key)
            if not len(values) or not level.is_beyond(values) or self._is_asked_for(key):
                continue
            steps, back = self._figures(level, key, _BACK)
            since = int(steps[first_beyond(level, back)])
            start = self._start.get(key, 0.0) if level.of_start else 1.0
            return Fault(
                kind=level.kind,
                key=key,
                since=since,
                step=int(self._rows[-1]["step"]),
                value=float(level.typical(values)) * start,
                before=start if level.of_start else None,
                from_start=self._is_from_start(level, key, since),
                beside=self._means(),
            )
        return None

    def _is_from_start(self, level: Level, key: str, since: int) -> bool:
        """Whether the policy that training began with is at fault."""
        first = math.nan if level.of_start else self._first.get(key, math.nan)
        return since - self._first["step"] < self.window and level.is_beyond(first)

    def _fallen(self) -> Fault | None:
        """The same of boxes, whose figure has no level of its own."""
        share = self.guard.box_share
        _, recent = self._values(BOX_IOU)
        standing = self._standing.get("boxes")
        if share is None or not len(recent):
            return None
        if standing is not None:
            assert standing.before is not None
            if recent.mean() > standing.before * share / SLACK:
                del self._standing["boxes"]
                self._mended = self._rows[-1]["step"]
            return None
        steps, values = self._values(BOX_IOU, _KEPT)
        steps, values = steps[steps > self._mended], values[steps > self._mended]
        at = lasting_fall(values, share, max(FALL_ROWS, len(recent)))
        if at is None:
            return None
        before, after = float(values[:at].mean()), float(values[at:].mean())
        return Fault(
            kind="boxes",
            key=BOX_IOU,
            since=int(steps[at:][values[at:] < (before + after) / 2][0]),
            step=int(self._rows[-1]["step"]),
            value=after,
            before=before,
            beside=self._means(),
        )

    def _cause(self) -> str | None:
        """A fault that stands and began not long ago."""
        now = self._rows[-1]["step"]
        for fault in self._standing.values():
            if fault.kind != _NO_CAUSE and now - fault.step <= COMPANY * self.window:
                return fault.follows or fault.kind
        return None

    def _is_asked_for(self, key: str) -> bool:
        """Whether a letter is given because it is right."""
        means = self._means()
        is_letter = key.startswith(LETTER) and key != NO_LETTER
        return is_letter and means.get(RIGHT, 0.0) > means[key] - _RIGHT_MARGIN

    def _figures(self, level: Level, key: str, windows: int = 1) -> tuple[Values, Values]:
        """Steps and values of a figure; none where too few rows of the last window have it."""
        steps, values = self._values(key, windows)
        start = self._start.get(key, 0.0) if level.of_start else 1.0
        recent = steps > self._rows[-1]["step"] - self.window
        if start <= 0 or 2 * recent.sum() < len(self._recent(1)):
            return np.empty(0), np.empty(0)
        return steps, values / start

    def _values(self, key: str, windows: int = 1) -> tuple[Values, Values]:
        """Steps and values of the last windows, of the rows that have the figure."""
        # A letter that no question of a step offers is not logged, and nobody answered it.
        absent = 0.0 if key.startswith(LETTER) else None
        pairs = [
            (row["step"], value)
            for row in self._recent(windows)
            if (value := row.get(key, absent if NO_LETTER in row else None)) is not None
        ]
        steps, values = zip(*pairs, strict=True) if pairs else ((), ())
        return np.array(steps), np.array(values)

    def _recent(self, windows: int) -> list[dict[str, float]]:
        """The rows of the last windows."""
        after = self._rows[-1]["step"] - windows * self.window
        return [*takewhile(lambda row: row["step"] > after, reversed(self._rows))][::-1]

    def _letters(self) -> list[str]:
        found = {key for row in self._recent(1) for key in row if key.startswith(LETTER)}
        return sorted(found - {NO_LETTER})

    def _means(self) -> dict[str, float]:
        """Every figure over the last window."""
        keys = {key for row in self._recent(1) for key in row}
        every = {key: self._values(key)[1] for key in sorted(keys)}
        return {key: float(values.mean()) for key, values in every.items() if len(values)}

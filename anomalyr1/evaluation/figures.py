"""The figures that runs are compared by, and what two sets of runs differ by on the same images.

Each figure is a function of sums over images, so that one draw of images serves both sides: the
interval of a difference is paired, and the questions of an image stay together.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anomalyr1.evaluation.image_readings import PredictionReading, choice_records, image_readings
from anomalyr1.evaluation.localization import located
from anomalyr1.evaluation.outcomes import evaluated_outcome
from anomalyr1.evaluation.robustmad_scores import is_right
from anomalyr1.metrics.bootstrap import interval, ratios, resample_ratios
from anomalyr1.metrics.boxes import BOX_RATIOS, box_parts
from anomalyr1.metrics.mcq import (
    AVERAGE,
    COLUMNS,
    DETECTION,
    Tally,
    bootstrap_values,
    point_values,
    tally,
)
from anomalyr1.metrics.significance import Discordance, mcnemar, smallest_detectable
from anomalyr1.schema import ANOMALY_DETECTION, ROBUSTMAD_TYPES

# Name -> whether more of it is better; all in percent.
FIGURES: Mapping[str, bool] = {
    "strict accuracy": True,
    "AD accuracy": True,
    "RobustMAD accuracy": True,
    "box F1@0.5": True,
    "box F1@0.33": True,
    "set IoU": True,
    "set IoU anomalous": True,
    "unreadable": False,
    "contradictory": False,
}
_COLUMNS = {"strict accuracy": AVERAGE, "AD accuracy": ANOMALY_DETECTION}  # of the MMAD table
_BOXES = {
    "box F1@0.5": "f1@0.5",
    "box F1@0.33": "f1@0.33",
    "set IoU": "set_iou",
    "set IoU anomalous": "set_iou_anomalous",
}
_ANSWERS = ("unreadable", "contradictory", "RobustMAD accuracy")

Key = tuple[str, int]


@dataclass(frozen=True)
class Counts:
    """What the figures of a run are made of, image by image, images in the order of their keys.

    Attributes:
        questions: (image, index) of all of them.
        choices: the choice questions, under the strict accounting.
        answers: (images, 3, 2): unreadable of all questions, contradictory of those with gold,
            right of RobustMAD's.
        boxes: (images with known gold boxes, `BOX_RATIOS`, 2).
    """

    questions: frozenset[Key]
    choices: Tally
    answers: NDArray[np.float64]
    boxes: NDArray[np.float64]

    @cached_property
    def values(self) -> dict[str, float]:
        """The figures; what was not asked is left out."""
        table, _ = point_values(self.choices) if self.choices.datasets else (None, None)
        found = self._named(table, ratios(self.boxes.sum(axis=0)), ratios(self.answers.sum(axis=0)))
        return {name: float(value) for name, value in found.items() if not np.isnan(value)}

    @cached_property
    def draws(self) -> dict[str, NDArray[np.float64]]:
        """The figures on images drawn with replacement, (resamples,) each.

        Runs that were asked the same questions have the same images in each draw.
        """
        table = bootstrap_values(self.choices)[0] if self.choices.datasets else None
        found = self._named(table, resample_ratios(self.boxes).T, resample_ratios(self.answers).T)
        return {name: found[name] for name in self.values}

    def _named(self, table: Any, boxes: Any, answers: Any) -> dict[str, Any]:
        """Figures out of a value table of MMAD (..., rows, columns) and two rows of ratios."""
        of_boxes = dict(zip(BOX_RATIOS, boxes, strict=True))
        found = {name: of_boxes[ratio] for name, ratio in _BOXES.items()}
        found |= zip(_ANSWERS, answers, strict=True)
        if table is not None:
            found |= {n: table[..., -1, COLUMNS.index(column)] for n, column in _COLUMNS.items()}
        return {name: found[name] for name in FIGURES if name in found}


@dataclass(frozen=True, slots=True)
class Difference:
    """`value` is the second side minus the first, in points, on so many `questions` of both.

    `ends` is its 95 % interval, images drawn in pairs, and `detectable` the smallest true
    difference that so many images would show in 80 % of repetitions; both None with fewer than two
    images, `detectable` also where no image makes a difference.
    """

    value: float
    ends: tuple[float, float] | None
    detectable: float | None
    questions: int


def count(readings: Sequence[PredictionReading]) -> Counts:
    """Take the completions of a run apart."""
    ordered = sorted(readings, key=question_key)
    keys = [question_key(reading) for reading in ordered]
    rows = {image: row for row, image in enumerate(dict.fromkeys(image for image, _ in keys))}
    answers = np.zeros((len(rows), len(_ANSWERS), 2))
    for reading in ordered:
        outcome = evaluated_outcome(reading)
        robust = reading.prediction.question_type in ROBUSTMAD_TYPES
        answers[rows[reading.prediction.image]] += [
            (not reading.is_readable, 1),
            (outcome == "contradictory", outcome is not None),
            (robust and is_right(reading), robust),
        ]
    return Counts(
        frozenset(keys),
        tally(choice_records(ordered), "strict"),
        answers,
        box_parts([image.boxes for image in located(image_readings(ordered))]),
    )


def ends_of(runs: Sequence[Counts]) -> dict[str, tuple[float, float]]:
    """95 % interval of each figure's mean over the runs; nothing with fewer than two images."""
    if len(runs[0].answers) < 2:
        return {}
    return {name: _ends(drawn) for name, drawn in _means([run.draws for run in runs]).items()}


def differences(first: Sequence[Counts], second: Sequence[Counts]) -> dict[str, Difference]:
    """What the second runs have more than the first: a figure's mean over them, seeds pooled.

    Args:
        first: runs of one variant, a seed each.
        second: runs of another, asked the same questions.
    """
    assert len({run.questions for run in (*first, *second)}) == 1
    before, after = (_means([run.values for run in runs]) for runs in (first, second))
    drawn_before, drawn_after = (_means([run.draws for run in runs]) for runs in (first, second))
    several = len(first[0].answers) > 1
    found = {}
    for name in (name for name in FIGURES if name in before and name in after):
        drawn = drawn_after[name] - drawn_before[name]
        found[name] = Difference(
            float(after[name] - before[name]),
            _ends(drawn) if several else None,
            smallest_detectable(float(np.nanstd(drawn, ddof=1))) if several else None,
            len(first[0].questions),
        )
    return found


def discordances(first: Counts, second: Counts) -> dict[str, Discordance]:
    """By image, which of two runs gave more right answers: to Anomaly Detection, and to all.

    Args:
        first: a run.
        second: another, asked the same questions.
    """
    assert first.questions == second.questions
    found = {}
    for name, columns in (("strict accuracy", slice(None)), ("AD accuracy", DETECTION)):
        sides = [
            np.concatenate([right[:, columns].sum(axis=1) for right in run.choices.correct])
            for run in (first, second)
            if run.choices.datasets
        ]
        if sides and name in first.values:
            found[name] = mcnemar(*sides)
    return found


def signed(value: float, ends: Sequence[float] | None) -> str:
    """A difference as it is told, with its interval where it has one.

    >>> signed(2.04, (-1.0, 5.25)), signed(-0.5, None)
    ('+2.0 (-1.0 to +5.2)', '-0.5')
    """
    return f"{value:+.1f}" + ("" if ends is None else f" ({ends[0]:+.1f} to {ends[1]:+.1f})")


def question_key(reading: PredictionReading) -> Key:
    """Names the question of a reading."""
    return reading.prediction.image, reading.prediction.question_index


def _means(runs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The mean over the runs of what all of them have."""
    return {
        name: np.mean([run[name] for run in runs], axis=0)
        for name in FIGURES
        if all(name in run for run in runs)
    }


def _ends(drawn: NDArray[np.float64]) -> tuple[float, float]:
    low, high = interval(drawn)
    return float(low), float(high)

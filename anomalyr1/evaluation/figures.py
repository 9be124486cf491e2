"""The figures that runs are compared by, and what two sets of runs differ by on the same images.

Each figure is a function of sums over images, so that one draw of images serves both sides: the
interval of a difference is paired, and the questions of an image stay together.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anomalyr1.evaluation.cells import Cell, without_average
from anomalyr1.evaluation.image_readings import PredictionReading, choice_records, image_readings
from anomalyr1.evaluation.localization import located
from anomalyr1.evaluation.outcomes import evaluated_outcome
from anomalyr1.evaluation.robustmad_scores import is_right
from anomalyr1.metrics.bootstrap import interval, ratios, resample_ratios, variances
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
from anomalyr1.metrics.rare_shares import is_rare, share_ends
from anomalyr1.metrics.significance import Discordance, mcnemar, smallest_detectable
from anomalyr1.metrics.table_intervals import table_trials
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
        withheld: figures that would go over a cell which a part of a benchmark leaves empty.
    """

    questions: frozenset[Key]
    choices: Tally
    answers: NDArray[np.float64]
    boxes: NDArray[np.float64]
    withheld: frozenset[str] = frozenset()

    @cached_property
    def values(self) -> dict[str, float]:
        """The figures; what was not asked, or is withheld, is left out."""
        table, _ = point_values(self.choices) if self.choices.datasets else (None, None)
        found = self._named(table, ratios(self.boxes.sum(axis=0)), ratios(self.answers.sum(axis=0)))
        return {
            name: float(value)
            for name, value in found.items()
            if name not in self.withheld and not np.isnan(value)
        }

    @cached_property
    def draws(self) -> dict[str, NDArray[np.float64]]:
        """The figures on images drawn with replacement, (resamples,) each.

        Runs that were asked the same questions have the same images in each draw.
        """
        found = self._named(
            self.drawn_tables, resample_ratios(self.boxes).T, resample_ratios(self.answers).T
        )
        return {name: found[name] for name in self.values}

    @cached_property
    def drawn_tables(self) -> NDArray[np.float64] | None:
        """MMAD's table on the same draws; None where nothing of it was asked."""
        return bootstrap_values(self.choices)[0] if self.choices.datasets else None

    def parts(self, name: str) -> NDArray[np.float64]:
        """(images, 2): numerator and denominator of a figure that is one ratio of sums."""
        if name in _BOXES:
            return self.boxes[:, BOX_RATIOS.index(_BOXES[name])]
        return self.answers[:, _ANSWERS.index(name)]

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


def count(readings: Sequence[PredictionReading], empty: Sequence[Cell] = ()) -> Counts:
    """Take the completions of a run apart.

    Args:
        readings: of the run.
        empty: cells of the whole benchmark that it leaves empty (`cells.empty_cells`).
    """
    columns = without_average(empty)
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
        frozenset(name for name, column in _COLUMNS.items() if column in columns),
    )


def ends_of(runs: Sequence[Counts]) -> dict[str, tuple[float, float]]:
    """95 % interval of each figure's mean over the runs; nothing with fewer than two images.

    Wilson's, as `score` has them (`rare_shares`, `table_intervals`): all right is not certain.
    """
    if len(runs[0].answers) < 2:
        return {}
    return {name: (float(low), float(high)) for name, (low, high) in _wilson_ends(runs)}


def differences(first: Sequence[Counts], second: Sequence[Counts]) -> dict[str, Difference]:
    """What the second runs have more than the first: a figure's mean over them, seeds pooled.

    Args:
        first: runs of one variant, a seed each.
        second: runs of another, asked the same questions.
    """
    assert len({run.questions for run in (*first, *second)}) == 1
    before, after = (_means([run.values for run in runs]) for runs in (first, second))
    drawn_before, drawn_after = (_means([run.draws for run in runs]) for runs in (first, second))
    found = {}
    for name in (name for name in FIGURES if name in before and name in after):
        drawn = drawn_after[name] - drawn_before[name]
        several = _images([*first, *second], name) > 1
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


def _images(runs: Sequence[Counts], name: str) -> int:
    """How many count in a figure."""
    if name in _COLUMNS:
        return len(runs[0].answers)
    return int(np.count_nonzero(np.sum([run.parts(name) for run in runs], axis=0)[:, 1]))


def _means(runs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The mean over the runs of what all of them have."""
    return {
        name: np.mean([run[name] for run in runs], axis=0)
        for name in FIGURES
        if all(name in run for run in runs)
    }


def _wilson_ends(runs: Sequence[Counts]) -> Iterator[tuple[str, NDArray[np.float64]]]:
    means, drawn = _means([run.values for run in runs]), _means([run.draws for run in runs])
    for name in means:
        if name in _COLUMNS:
            continue
        parts = np.sum([run.parts(name) for run in runs], axis=0)[:, None]
        images = np.count_nonzero(parts[..., 1], axis=0)
        if images[0] > 1:
            varied, rare = variances(drawn[name])[None], is_rare(parts[..., 0], parts[..., 1])
            yield name, share_ends(np.array([means[name]]), varied, images, rare)[:, 0]
    columns = [name for name in means if name in _COLUMNS]
    if columns:
        choices = [run.choices for run in runs]
        right = [np.mean(of, axis=0) for of in zip(*(of.correct for of in choices), strict=True)]
        table = np.mean([point_values(of)[0] for of in choices], axis=0)
        tables = [run.drawn_tables for run in runs if run.drawn_tables is not None]
        varied = variances(np.mean(tables, axis=0))
        ends = table_trials(right, choices[0].counted).ends(table, varied)
        for name in columns:
            yield name, ends[:, -1, COLUMNS.index(_COLUMNS[name])]


def _ends(drawn: NDArray[np.float64]) -> tuple[float, float]:
    low, high = interval(drawn)
    return float(low), float(high)

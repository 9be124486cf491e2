"""Which answers are right, and which became so or ceased to be between two runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from anomalyr1.evaluation.figures import Key, question_key
from anomalyr1.evaluation.image_readings import PredictionReading
from anomalyr1.geometry import set_iou
from anomalyr1.metrics.boxes import THRESHOLDS


@dataclass(frozen=True)
class Changes:
    """Two runs, answer by answer.

    Attributes:
        fixed: the questions that the first answered wrongly and the second rightly, in the order of
            the second.
        broken: the other way round.
        shared: questions with gold that both answered.
    """

    fixed: tuple[Key, ...]
    broken: tuple[Key, ...]
    shared: int

    @property
    def told(self) -> str:
        """In one line.

        >>> Changes((("d/1", 0),), (), 1200).told
        '1 fixed, 0 broken, of 1,200'
        """
        return f"{len(self.fixed):,} fixed, {len(self.broken):,} broken, of {self.shared:,}"


def changes(first: Sequence[PredictionReading], second: Sequence[PredictionReading]) -> Changes:
    """What the second run answered otherwise than the first, right or wrong, where both did."""
    before = {question_key(reading): is_right(reading) for reading in first}
    fixed, broken, shared = [], [], 0
    for reading in second:
        key = question_key(reading)
        was, right = before.get(key), is_right(reading)
        if was is None or right is None:
            continue
        shared += 1
        if right and not was:
            fixed.append(key)
        elif was and not right:
            broken.append(key)
    return Changes(tuple(fixed), tuple(broken), shared)


def is_right(reading: PredictionReading) -> bool | None:
    """Whether the answer is right; None where there is no gold answer.

    Boxes are right where none is rightly given, or where their soft set IoU with the gold boxes
    reaches 0.5.
    """
    prediction = reading.prediction
    if not reading.is_grounding:
        return None if prediction.answer is None else reading.response.answer == prediction.answer
    overlap = grounding_iou(reading)
    if reading.gold_in_image is None:
        return None
    return overlap is not None and overlap >= THRESHOLDS[-1]


def grounding_iou(reading: PredictionReading) -> float | None:
    """Soft set IoU of the stated boxes; None where they are unreadable or gold is unknown."""
    boxes, gold = reading.boxes_in_image, reading.gold_in_image
    return None if boxes is None or gold is None else set_iou(boxes, gold)

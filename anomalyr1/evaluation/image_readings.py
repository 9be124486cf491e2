"""What the completions of a file say: answers for the tables, one set of boxes an image."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from anomalyr1.metrics.boxes import ImageBoxes
from anomalyr1.metrics.mcq import ChoiceRecord
from anomalyr1.parsing import parse_response
from anomalyr1.prompts import gold_in_model
from anomalyr1.rewards.luggage import frame_of
from anomalyr1.rewards.reading import Reading
from anomalyr1.schema import (
    ANOMALY_DETECTION,
    SUBTASKS,
    Box,
    Prediction,
    Question,
    dataset_of,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictionReading(Reading):
    """The reading of a prediction, which rewards can judge as they do any, and the prediction.

    `record` is the answer as the tables of choices count it; None where the question counts in no
    column of MMAD's table.
    """

    prediction: Prediction
    record: ChoiceRecord | None

    @property
    def is_readable(self) -> bool:
        """An answer of the kind that was asked for could be read."""
        if self.is_grounding:
            return self.boxes_in_model is not None
        return self.response.answer is not None

    @property
    def is_of_mmad(self) -> bool:
        """The question counts in a column of MMAD's table."""
        return self.record is not None

    @property
    def boxes_in_image(self) -> tuple[Box, ...] | None:
        """The stated boxes in original-image pixels, cut to the image; None where unreadable.

        A file that records no model frame speaks in original pixels already.
        """
        frame = frame_of(self.prediction.size, self.prediction.frame)
        if self.boxes_in_model is None or frame is None:
            return self.boxes_in_model
        return tuple(frame.to_original(box) for box in self.boxes_in_model)

    @property
    def gold_in_image(self) -> tuple[Box, ...] | None:
        """The gold boxes in original-image pixels; None where the benchmark has none on record."""
        return self.prediction.gold_boxes


@dataclass(frozen=True, slots=True)
class ImageReading:
    """The boxes that stand for an image, in original-image pixels.

    `boxes_in_image` is None where the answer holds no readable list. `gold_in_image` is None where
    the benchmark has no boxes on record. `size` is (width, height), None where the file does not
    tell it.
    """

    image: str
    normal: bool
    size: tuple[int, int] | None
    boxes_in_image: tuple[Box, ...] | None
    gold_in_image: tuple[Box, ...] | None
    mask: str | None

    @property
    def dataset(self) -> str:
        """First part of the key."""
        return dataset_of(self.image)

    @property
    def boxes(self) -> ImageBoxes:
        """Both sides as they are scored: an unreadable answer predicts no box."""
        return ImageBoxes(self.boxes_in_image or (), self.gold_in_image or ())


def readings_of(predictions: Iterable[Prediction]) -> list[PredictionReading]:
    """Parse every completion; none raises."""
    return [_reading(prediction) for prediction in predictions]


def choice_records(readings: Iterable[PredictionReading]) -> list[ChoiceRecord]:
    """The choice questions of MMAD's subtasks, in file order."""
    return [reading.record for reading in readings if reading.record is not None]


def anomaly_scores(predictions: Iterable[Prediction]) -> dict[str, float]:
    """Image -> P(anomalous) in [0, 1], where the file has it."""
    scores: dict[str, float] = {}
    for prediction in predictions:
        if prediction.score is not None and prediction.question_type == ANOMALY_DETECTION:
            scores.setdefault(prediction.image, prediction.score)
    return scores


def image_readings(readings: Iterable[PredictionReading]) -> list[ImageReading]:
    """One set of boxes for every image that was asked for boxes, in file order.

    An image's boxes come from its grounding question, else from an `inspect` answer: that of its
    Anomaly Detection question, else of its first.
    """
    sources: dict[str, PredictionReading] = {}
    for reading in readings:
        if not (reading.is_grounding or reading.prediction.template == "inspect"):
            continue
        image = reading.prediction.image
        if image not in sources or _priority(reading) < _priority(sources[image]):
            sources[image] = reading
    return [_image_reading(reading) for reading in sources.values()]


def _reading(prediction: Prediction) -> PredictionReading:
    question = Question(
        prediction.question, prediction.question_type, prediction.options, prediction.answer
    )
    frame = frame_of(prediction.size, prediction.frame)
    response = parse_response(prediction.completion, question)
    counts = not question.is_grounding and question.subtask in SUBTASKS
    return PredictionReading(
        question=question,
        response=response,
        gold_in_model=gold_in_model(prediction.gold_boxes, question, prediction.template, frame),
        frame=prediction.frame,
        tokens=prediction.completion_ids,
        prediction=prediction,
        record=_record(prediction, question.subtask, response.answer) if counts else None,
    )


def _record(prediction: Prediction, subtask: str, answer: str | None) -> ChoiceRecord:
    return ChoiceRecord(
        image=prediction.image,
        dataset=prediction.dataset,
        subtask=subtask,
        normal=prediction.is_normal,
        gold=prediction.answer,
        answer=answer,
    )


def _priority(reading: PredictionReading) -> tuple[bool, bool, int]:
    prediction = reading.prediction
    return (
        not reading.is_grounding,
        prediction.question_type != ANOMALY_DETECTION,
        prediction.question_index,
    )


def _image_reading(reading: PredictionReading) -> ImageReading:
    prediction = reading.prediction
    return ImageReading(
        image=prediction.image,
        normal=prediction.is_normal,
        size=prediction.size,
        boxes_in_image=reading.boxes_in_image,
        gold_in_image=reading.gold_in_image,
        mask=prediction.mask,
    )

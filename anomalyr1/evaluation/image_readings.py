"""What the completions of a file say: answers for the tables, one set of boxes an image."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from anomalyr1.evaluation.prediction_lines import is_normal
from anomalyr1.geometry import Frame
from anomalyr1.metrics.mcq import ChoiceRecord
from anomalyr1.parsing import parse_response
from anomalyr1.schema import ANOMALY_DETECTION, Box, Prediction, Question, Response, subtask_of


@dataclass(frozen=True, slots=True)
class Reading:
    """A prediction and what its completion says."""

    prediction: Prediction
    response: Response

    @property
    def is_grounding(self) -> bool:
        """The question asks for boxes, not for a letter."""
        return not self.prediction.options

    @property
    def is_readable(self) -> bool:
        """An answer of the kind that was asked for could be read."""
        if self.is_grounding:
            return self.response.boxes is not None
        return self.response.answer is not None


@dataclass(frozen=True, slots=True)
class ImageReading:
    """The boxes that stand for an image, in original-image pixels.

    `predicted` is None where the answer holds no readable list. `gold` is None where the benchmark
    has no boxes on record. `size` is (width, height), None where the file does not tell it.
    """

    image: str
    normal: bool
    size: tuple[int, int] | None
    predicted: tuple[Box, ...] | None
    gold: tuple[Box, ...] | None
    mask: str | None

    @property
    def dataset(self) -> str:
        """First part of the key."""
        return self.image.split("/", 1)[0]


def question_of(prediction: Prediction) -> Question:
    """The question as far as the prediction records it: enough to parse and reward a completion."""
    return Question(
        text=prediction.question,
        type=prediction.question_type,
        options=prediction.options,
        answer=prediction.answer,
        boxes=prediction.gold_boxes,
    )


def read_completions(predictions: Iterable[Prediction]) -> list[Reading]:
    """Parse every completion; none raises."""
    return [Reading(p, parse_response(p.completion, question_of(p))) for p in predictions]


def choice_records(readings: Iterable[Reading]) -> list[ChoiceRecord]:
    """The choice questions, in file order."""
    return [
        ChoiceRecord(
            image=reading.prediction.image,
            dataset=reading.prediction.image.split("/", 1)[0],
            subtask=subtask_of(reading.prediction.question_type),
            normal=is_normal(reading.prediction),
            gold=reading.prediction.answer,
            answer=reading.response.answer,
        )
        for reading in readings
        if not reading.is_grounding
    ]


def image_readings(readings: Iterable[Reading]) -> list[ImageReading]:
    """One set of boxes for every image that was asked for boxes, in file order.

    An image's boxes come from its grounding question, else from an `inspect` answer: that of its
    Anomaly Detection question, else of its first.
    """
    sources: dict[str, Reading] = {}
    for reading in readings:
        if not (reading.is_grounding or reading.prediction.template == "inspect"):
            continue
        image = reading.prediction.image
        if image not in sources or _priority(reading) < _priority(sources[image]):
            sources[image] = reading
    return [_image_reading(reading) for reading in sources.values()]


def boxes_in_image(reading: Reading) -> tuple[Box, ...] | None:
    """The stated boxes in original-image pixels, cut to the image; None where none can be read.

    A file that records no model frame speaks in original pixels already.
    """
    boxes = reading.response.boxes
    prediction = reading.prediction
    if boxes is None or prediction.frame is None or prediction.size is None:
        return boxes
    frame = Frame(*prediction.size, *prediction.frame)
    return tuple(frame.to_original(box) for box in boxes)


def by_dataset(images: Sequence[ImageReading]) -> dict[str, list[ImageReading]]:
    """Images grouped by dataset, in order of first appearance."""
    groups: dict[str, list[ImageReading]] = {}
    for image in images:
        groups.setdefault(image.dataset, []).append(image)
    return groups


def _priority(reading: Reading) -> tuple[bool, bool, int]:
    prediction = reading.prediction
    return (
        not reading.is_grounding,
        prediction.question_type != ANOMALY_DETECTION,
        prediction.question_index,
    )


def _image_reading(reading: Reading) -> ImageReading:
    prediction = reading.prediction
    return ImageReading(
        image=prediction.image,
        normal=is_normal(prediction),
        size=prediction.size,
        predicted=boxes_in_image(reading),
        gold=prediction.gold_boxes,
        mask=prediction.mask,
    )

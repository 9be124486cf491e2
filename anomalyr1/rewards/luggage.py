"""What a completion brings along to be scored, named once: `Luggage`.

The training columns (training/dataset.py), the completions a run keeps
(training/kept_completions.py), the input of `reward replay` (completion_lines.py) and
predictions.jsonl all carry it whole, so that a completion earns the same wherever it is scored. A
field added here goes into the columns and into `Prediction` as well (tests compare them); the
others follow by themselves.

A line of predictions.jsonl keeps gold boxes in original-image pixels, as `gold_boxes`,
`gold_labels` and `size`; `of_lines` takes them to the model frame.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    InstanceOf,
    StrictFloat,
    ValidationInfo,
    field_validator,
)

from anomalyr1.geometry import Frame
from anomalyr1.prompts import gold_in_model
from anomalyr1.schema import Box, Question

# JSON can hold half a character in a text, which a completion may be cut off in.
Text = InstanceOf[str]
_Number = Annotated[StrictFloat, Field(allow_inf_nan=False)]
Corners = Annotated[list[_Number], Field(min_length=4, max_length=4)]
Size = Annotated[list[Annotated[_Number, Field(gt=0)]], Field(min_length=2, max_length=2)]


class Luggage(BaseModel):
    """The fields, their types and, in words, what is expected of each; None means "not known"."""

    model_config = ConfigDict(strict=True, extra="ignore", frozen=True)

    sample_id: Text | None = Field(None, description="a text or null")
    question_type: Text | None = Field(None, description="a text or null")
    question: Text | None = Field(None, description="a text or null")
    options: dict[Text, Text | None] | None = Field(
        None, description="an object {letter: text} or null"
    )
    answer: Text | None = Field(None, description="one of the option letters or null")
    boxes: list[Corners] | None = Field(None, description="a list of [x1, y1, x2, y2] or null")
    box_labels: list[Text | None] | None = Field(
        None, description="as many labels as there are boxes, or null"
    )
    frame: Size | None = Field(None, description="[width, height] or null")
    template: Text | None = Field(None, description="a text or null")
    completion_ids: list[int] | None = Field(None, description="a list of whole numbers or null")

    @field_validator("answer")
    @classmethod
    def _offered(cls, answer: str | None, info: ValidationInfo) -> str | None:
        if "options" in info.data and answer not in (None, *shown_options(info.data["options"])):
            raise ValueError("not an option")
        return answer

    @field_validator("box_labels")
    @classmethod
    def _parallel(cls, labels: list[Any] | None, info: ValidationInfo) -> list[Any] | None:
        return as_many(labels, info.data.get("boxes"))


COLUMNS: tuple[str, ...] = tuple(Luggage.model_fields)


def as_many(labels: list[Any] | None, boxes: list[Any] | None) -> list[Any] | None:
    """The labels, where there is one for each box."""
    if labels is not None and boxes is not None and len(labels) != len(boxes):
        raise ValueError("not as many")
    return labels


def shown_options(options: Mapping[str, str | None] | None) -> dict[str, str]:
    """The options of one question: Arrow gives it the letters of all others too, without a text.

    >>> shown_options({"A": "No.", "B": "Yes.", "C": None}), shown_options(None)
    ({'A': 'No.', 'B': 'Yes.'}, {})
    """
    return {letter: text for letter, text in (options or {}).items() if text is not None}


def boxes_of(
    corners: Sequence[Sequence[float]] | None, labels: Sequence[str | None] | None = None
) -> tuple[Box, ...] | None:
    """Lists `[[x1, y1, x2, y2], ...]`, and the labels that run parallel to them, as boxes.

    >>> boxes_of([[0, 0, 2, 2]], ["dent"])
    (Box(x1=0.0, y1=0.0, x2=2.0, y2=2.0, label='dent'),)
    """
    if corners is None:
        return None
    names: Sequence[str | None] = labels if labels else [None] * len(corners)
    return tuple(
        Box(float(x1), float(y1), float(x2), float(y2), name)
        for (x1, y1, x2, y2), name in zip(corners, names, strict=True)
    )


def of_batch(
    rows: Sequence[Mapping[str, Any]], completion_ids: Sequence[Sequence[int]]
) -> dict[str, list[Any]]:
    """The luggage of a batch as training has it, a list over completions each.

    Args:
        rows: the dataset's rows, one a completion.
        completion_ids: the tokens of each completion.
    """
    columns: dict[str, list[Any]] = {name: [row.get(name) for row in rows] for name in COLUMNS}
    columns["options"] = [shown_options(options) or None for options in columns["options"]]
    columns["completion_ids"] = [[int(token) for token in ids] for ids in completion_ids]
    return columns


def of_lines(lines: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """The luggage of lines of a file: kept completions, predictions, or ones written by hand."""
    packed = [_of_line(line) for line in lines]
    return {name: [luggage[name] for luggage in packed] for name in COLUMNS}


def _of_line(line: Mapping[str, Any]) -> dict[str, Any]:
    luggage = {name: line.get(name) for name in COLUMNS}
    luggage["options"] = shown_options(luggage["options"]) or None
    if "question_index" in line:
        luggage["sample_id"] = f"{line.get('image')}#{line['question_index']}"
    if "boxes" not in line:
        boxes = gold_in_model(
            boxes_of(line.get("gold_boxes"), line.get("gold_labels")),
            Question("", "", luggage["options"] or {}),
            luggage["template"] or "choice",
            frame_of(line.get("size"), luggage["frame"]),
        )
        luggage["boxes"] = None if boxes is None else [list(box.xyxy) for box in boxes]
        luggage["box_labels"] = None if boxes is None else [box.label for box in boxes]
    return luggage


def frame_of(size: Sequence[int] | None, frame: Sequence[int] | None) -> Frame | None:
    """Both sizes of an image; None where the completion speaks in original pixels already."""
    return None if size is None or frame is None else Frame(*size, *frame)

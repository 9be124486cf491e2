"""`Prediction` to and from one line of predictions.jsonl."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

from anomalyr1.errors import InputError
from anomalyr1.schema import QUESTION_TYPES, Box, Prediction
from anomalyr1.storage import read_jsonl

_EXPECTED = "predictions (one JSON object a line, as `anomalyr1 eval` writes them)"


def prediction_to_row(prediction: Prediction) -> dict[str, Any]:
    """The JSON object of one line.

    Gold boxes become lists of four numbers in original-image pixels, `gold_labels` runs parallel to
    them. A field that holds nothing is null, never left out.

    >>> prediction = Prediction("d/c/good/1.png", 0, "Anomaly Detection", {"A": "No"}, "A", "x")
    >>> row = prediction_to_row(prediction)
    >>> row["answer"], row["gold_boxes"]
    ('A', None)
    """
    boxes = prediction.gold_boxes
    return {
        "image": prediction.image,
        "question_index": prediction.question_index,
        "question_type": prediction.question_type,
        "question": prediction.question,
        "options": dict(prediction.options),
        "answer": prediction.answer,
        "completion": prediction.completion,
        "template": prediction.template,
        "frame": None if prediction.frame is None else list(prediction.frame),
        "size": None if prediction.size is None else list(prediction.size),
        "gold_boxes": None if boxes is None else [list(box.xyxy) for box in boxes],
        "gold_labels": None if boxes is None else [box.label for box in boxes],
        "mask": prediction.mask,
        "normal": prediction.normal,
        "references": list(prediction.references),
        "score": prediction.score,
        "seen": prediction.seen,
        "completion_ids": None
        if prediction.completion_ids is None
        else list(prediction.completion_ids),
    }


def row_to_prediction(row: Mapping[str, Any], where: str = "a prediction") -> Prediction:
    """Read one line. Keys of later versions or of other tools are passed over.

    Args:
        row: the JSON object.
        where: how an error names the line, for instance `predictions.jsonl:12`.

    Raises:
        InputError: a required key is missing or a value has the wrong form; the field is named.
    """
    read = _Row(row, where)
    size, frame = read.pair("size"), read.pair("frame")
    if frame is not None and size is None:
        read.fail("size", "the original image's [width, height], because `frame` is given", None)
    question_type = read.text("question_type")
    if question_type not in QUESTION_TYPES:
        read.fail("question_type", f"one of {', '.join(QUESTION_TYPES)}", question_type)
    return Prediction(
        image=read.path("image", read.text("image")),
        question_index=read.index("question_index"),
        question_type=question_type,
        options=read.options(),
        answer=read.letter(),
        completion=read.text("completion", empty=True),
        template=read.text("template", default="choice"),
        frame=frame,
        size=size,
        gold_boxes=read.boxes(),
        mask=read.mask(),
        normal=read.optional("normal", bool, "true, false or null"),
        question=read.text("question", default="", empty=True),
        references=read.references(),
        score=read.score(),
        seen=read.optional("seen", bool, "true, false or null"),
        completion_ids=read.tokens(),
    )


def read_predictions(path: Path) -> list[Prediction]:
    """Every prediction of a file, in its order.

    Raises:
        InputError: a line is not a prediction (line and field are named), two lines answer the same
            question of the same image, or there is no line.
    """
    predictions: list[Prediction] = []
    seen: dict[tuple[str, int], int] = {}
    for index, row in enumerate(read_jsonl(path, _EXPECTED)):
        try:
            prediction = row_to_prediction(row)
        except InputError:
            prediction = row_to_prediction(row, f"{path}:{_line_number(path, index)}")
        key = (prediction.image, prediction.question_index)
        if key in seen:
            first, second = _line_number(path, seen[key]), _line_number(path, index)
            raise InputError(
                f"expected one prediction a question, found question {key[1]} of {key[0]} on lines "
                f"{first} and {second} of {path}; remove one of them"
            )
        seen[key] = index
        predictions.append(prediction)
    if not predictions:
        raise InputError(f"expected {_EXPECTED} in {path}, found none; run the evaluation again")
    return predictions


class _Row:
    """Reads the fields of one line and names the line and the field of a fault."""

    def __init__(self, row: Mapping[str, Any], where: str) -> None:
        self._row = row
        self._where = where

    def fail(self, field: str, expected: str, found: object) -> NoReturn:
        shown = "nothing" if found is None else repr(found)[:80]
        raise InputError(
            f"{self._where}: expected `{field}` to be {expected}, found {shown}; mend the line"
        )

    def text(self, field: str, default: str | None = None, empty: bool = False) -> str:
        value = self._row.get(field)
        if value is None and default is not None:
            return default
        if not isinstance(value, str):
            self.fail(field, "a text", value)
        if not value and not empty:
            self.fail(field, "a text that is not empty", value)
        return value

    def path(self, field: str, value: str) -> str:
        parts = value.split("/")
        if not value or parts[0] == "" or ".." in parts or "\\" in value:
            self.fail(field, "a path below the data root, with forward slashes", value)
        return value

    def mask(self) -> str | None:
        value = self.optional("mask", str, "a path below the data root or null")
        return self.path("mask", value) if value else None

    def index(self, field: str) -> int:
        value = self._row.get(field)
        if not isinstance(value, int) or isinstance(value, bool) or value < 0:
            self.fail(field, "a whole number, counted from 0", value)
        return value

    def optional(self, field: str, kind: type, expected: str) -> Any:
        value = self._row.get(field)
        if value is not None and not isinstance(value, kind):
            self.fail(field, expected, value)
        return value

    def options(self) -> dict[str, str]:
        value = self.optional("options", dict, "an object {letter: text} or null")
        if value is None:
            if "options" not in self._row:
                self.fail("options", "an object {letter: text} or null", None)
            return {}
        if not all(isinstance(text, str) for text in value.values()):
            self.fail("options", "an object {letter: text} or null", value)
        return dict(value)

    def letter(self) -> str | None:
        if "answer" not in self._row:
            self.fail("answer", "the gold letter or null", None)
        value: str | None = self.optional("answer", str, "the gold letter or null")
        options = self._row.get("options")
        if value is not None and options and value not in options:
            self.fail("answer", f"one of the options {', '.join(options)}", value)
        return value

    def pair(self, field: str) -> tuple[int, int] | None:
        value = self._row.get(field)
        if value is None:
            return None
        if not _is_numbers(value, 2) or min(value) <= 0:
            self.fail(field, "[width, height] in pixels", value)
        return int(value[0]), int(value[1])

    def tokens(self) -> tuple[int, ...] | None:
        value = self._row.get("completion_ids")
        if value is None:
            return None
        if not isinstance(value, list) or not all(type(token) is int for token in value):
            self.fail("completion_ids", "a list of whole numbers or null", value)
        return tuple(value)

    def boxes(self) -> tuple[Box, ...] | None:
        value = self._row.get("gold_boxes")
        if value is None:
            return None
        if not isinstance(value, list) or not all(_is_numbers(box, 4) for box in value):
            self.fail("gold_boxes", "a list of [x1, y1, x2, y2] or null", value)
        labels = self._row.get("gold_labels")
        if labels is None:
            labels = [None] * len(value)
        if not isinstance(labels, list) or len(labels) != len(value):
            self.fail("gold_labels", "as many labels as there are gold boxes", labels)
        if not all(label is None or isinstance(label, str) for label in labels):
            self.fail("gold_labels", "a list of texts or nulls", labels)
        return tuple(
            Box(float(x1), float(y1), float(x2), float(y2), label)
            for (x1, y1, x2, y2), label in zip(value, labels, strict=True)
        )

    def references(self) -> tuple[str, ...]:
        value = self._row.get("references") or []
        if not isinstance(value, list) or not all(isinstance(path, str) for path in value):
            self.fail("references", "a list of paths", value)
        return tuple(self.path("references", path) for path in value)

    def score(self) -> float | None:
        value = self._row.get("score")
        if value is None:
            return None
        if not _is_numbers([value], 1) or not 0 <= value <= 1:
            self.fail("score", "a number from 0 to 1 or null", value)
        return float(value)


def _is_numbers(value: object, length: int) -> bool:
    return (
        isinstance(value, list)
        and len(value) == length
        and all(isinstance(x, (int, float)) and not isinstance(x, bool) for x in value)
        and all(math.isfinite(x) for x in value)
    )


def _line_number(path: Path, index: int) -> int:
    """The number in the file of the `index`-th line that is not blank."""
    lines = path.read_bytes().split(b"\n")
    return [number for number, line in enumerate(lines, start=1) if line.strip()][index]

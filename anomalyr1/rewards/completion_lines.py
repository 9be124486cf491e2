"""Lines of completions as `reward replay` reads them, every fault of a file reported at once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError, ValidationInfo, field_validator

from anomalyr1.errors import InputError, listed
from anomalyr1.rewards.luggage import Corners, Luggage, Size, Text, as_many
from anomalyr1.storage import read_jsonl

_EXPECTED = "completions (one JSON object a line: completion, options, answer, boxes)"


class CompletionLine(Luggage):
    """A completion with its luggage; a prediction's gold boxes are in original-image pixels."""

    completion: Text = Field(description="a text")
    gold_boxes: list[Corners] | None = Field(None, description="a list of [x1, y1, x2, y2] or null")
    gold_labels: list[Text | None] | None = Field(
        None, description="as many labels as there are gold_boxes, or null"
    )
    size: Size | None = Field(
        None,
        validate_default=True,
        description="[width, height], given with frame where there are gold_boxes, or null",
    )

    @field_validator("gold_labels")
    @classmethod
    def _parallel_gold(cls, labels: list[Any] | None, info: ValidationInfo) -> list[Any] | None:
        return as_many(labels, info.data.get("gold_boxes"))

    @field_validator("size")
    @classmethod
    def _beside_frame(cls, size: Any, info: ValidationInfo) -> Any:
        given = info.data
        if size is None and given.get("frame") and given.get("gold_boxes") is not None:
            raise ValueError("the frame is not enough to place original-image boxes in it")
        return size


def read_completions(path: Path) -> list[dict[str, Any]]:
    """Read what `reward replay` scores.

    Each line has `completion`, and as much of the luggage (luggage.py) as is known: `options`
    (letter -> text), `answer` (gold letter), `boxes` (gold, in the frame the completion speaks in)
    and so on, each of which may be null or absent. A line of predictions.jsonl is good as well.

    Raises:
        InputError: fields have the wrong form; all are counted, the first ten named with their row.
    """
    rows = read_jsonl(path, _EXPECTED)
    if not rows:
        raise InputError(f"expected {_EXPECTED} in {path}, found none; check the file")
    faults = [
        f"row {number}: {fault}"
        for number, row in enumerate(rows, start=1)
        for fault in _faults(row)
    ]
    if len(faults) == 1:
        raise InputError(f"{path}, {faults[0]}; mend it")
    if faults:
        shown = listed(faults, separator="; ")
        raise InputError(f"{path}: {len(faults)} faults: {shown}; mend them")
    return rows


def _faults(row: dict[str, Any]) -> list[str]:
    """What is wrong with a line, a sentence a field."""
    try:
        CompletionLine.model_validate(row)
    except ValidationError as error:
        fields = dict.fromkeys(str(found["loc"][0]) for found in error.errors())
        return [_sentence(field, row.get(field)) for field in fields]
    return []


def _sentence(field: str, found: object) -> str:
    expected = CompletionLine.model_fields[field].description
    return f"expected `{field}` to be {expected}, found {repr(found)[:80]}"

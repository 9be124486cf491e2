"""`Prediction` to and from one line of predictions.jsonl."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StrictBool,
    StrictFloat,
    StrictInt,
    StrictStr,
    ValidationError,
    ValidationInfo,
    field_validator,
)

from anomalyr1.errors import InputError
from anomalyr1.evaluation.asking_lines import EXPECTED, AskingLine, asking_to_row
from anomalyr1.rewards.luggage import Corners, Size, Text
from anomalyr1.schema import QUESTION_TYPES, WEIGHS, Box, Prediction, Weigh
from anomalyr1.storage import read_jsonl_as, resume_jsonl
from anomalyr1.values import is_plain_path, whole_characters

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
        "letter_logps": None
        if prediction.letter_logps is None
        else {weigh: dict(logps) for weigh, logps in prediction.letter_logps.items()},
        "drawn": None if prediction.drawn is None else list(prediction.drawn),
        "vote_share": prediction.vote_share,
        "askings": None
        if prediction.askings is None
        else [*map(asking_to_row, prediction.askings)],
    }


def row_to_prediction(row: Mapping[str, Any], where: str = "a prediction") -> Prediction:
    """Read one line. Keys of later versions or of other tools are passed over.

    Args:
        row: the JSON object.
        where: how an error names the line, for instance `predictions.jsonl:12`.

    Raises:
        InputError: required keys are missing or values have the wrong form; the fields are named.
    """
    try:
        line = _Line.model_validate(row)
    except ValidationError as error:
        raise InputError(f"{where}: {_faults(row, error)}; mend the line") from None
    boxes, labels = line.gold_boxes, line.gold_labels
    return Prediction(
        image=line.image,
        question_index=line.question_index,
        question_type=line.question_type,
        options=line.options or {},
        answer=line.answer,
        completion=line.completion,
        template=line.template or "choice",
        frame=_pair(line.frame),
        size=_pair(line.size),
        gold_boxes=None
        if boxes is None
        else tuple(map(_box, boxes, labels or [None] * len(boxes))),
        mask=line.mask,
        normal=line.normal,
        question=line.question or "",
        references=tuple(line.references or ()),
        score=line.score,
        seen=line.seen,
        completion_ids=None if line.completion_ids is None else tuple(line.completion_ids),
        letter_logps=line.letter_logps,
        drawn=None if line.drawn is None else tuple(line.drawn),
        vote_share=line.vote_share,
        askings=None if line.askings is None else tuple(one.asking for one in line.askings),
    )


def read_predictions(path: Path) -> list[Prediction]:
    """Every prediction of a file, in its order.

    Raises:
        InputError: lines are not predictions (lines and fields are named), two lines answer the
            same question of the same image, or there is no line.
    """
    lines: dict[tuple[str, int], int] = {}

    def read(row: dict[str, Any], number: int) -> Prediction:
        prediction = row_to_prediction(row, f"{path}:{number}")
        key = (prediction.image, prediction.question_index)
        first = lines.setdefault(key, number)
        if first != number:
            raise InputError(
                f"expected one prediction a question, found question {key[1]} of {key[0]} on lines "
                f"{first} and {number} of {path}; remove one of them"
            )
        return prediction

    predictions = read_jsonl_as(read, path, _EXPECTED)
    if not predictions:
        raise InputError(f"expected {_EXPECTED} in {path}, found none; run the evaluation again")
    return predictions


def resume_predictions(
    path: Path,
    expected: str = "earlier predictions",
    told: Callable[[str], object] = lambda _: None,
) -> list[dict[str, Any]]:
    """The lines that an interrupted evaluation left, a torn last one cut off the file and told.

    Raises:
        InputError: a line does not tell which question of which image it answers.
    """

    def check(row: dict[str, Any], number: int) -> dict[str, Any]:
        if not isinstance(row.get("image"), str) or type(row.get("question_index")) is not int:
            raise InputError(
                f"expected `image` and `question_index` of a prediction at {path}:{number}, found "
                f"{row.get('image')!r} and {row.get('question_index')!r}; mend or remove the line"
            )
        return row

    return resume_jsonl(path, expected, check, told)


def _below_root(path: str) -> str:
    parts = path.split("/")
    if parts[0] == "" or ".." in parts or "\\" in path or not is_plain_path(path):
        raise ValueError("a path below the data root, with forward slashes")
    return path


_Path = Annotated[StrictStr, AfterValidator(_below_root)]
_Number = Annotated[StrictFloat, Field(allow_inf_nan=False)]
_Flag = Annotated[StrictBool | None, Field(description="true, false or null")]
_PATH = "a path below the data root, with forward slashes"
_SIZE = "[width, height] in pixels"
_OPTIONS = "an object {letter: text} or null"


class _Line(BaseModel):
    """The form of a line; a `description` says what was expected, where an error does not."""

    model_config = ConfigDict(frozen=True)

    image: _Path = Field(description=_PATH)
    question_index: StrictInt = Field(ge=0, description="a whole number, counted from 0")
    question_type: StrictStr = Field(description="a text that is not empty")
    options: dict[Text, Text] | None = Field(description=_OPTIONS)
    answer: Text | None = Field(description="the gold letter or null")
    completion: Text = Field(description="a text")
    template: StrictStr | None = Field(None, min_length=1, description="a text that is not empty")
    frame: Size | None = Field(None, description=_SIZE)
    size: Size | None = Field(None, description=_SIZE, validate_default=True)
    gold_boxes: list[Corners] | None = Field(None, description="a list of [x1, y1, x2, y2] or null")
    gold_labels: list[Text | None] | None = Field(None, description="a list of texts or nulls")
    mask: StrictStr | None = Field(None, description="a path below the data root or null")
    normal: _Flag = None
    question: Text | None = Field(None, description="a text")
    references: list[_Path] | None = Field(None, description="a list of paths")
    score: _Number | None = Field(None, ge=0, le=1, description="a number from 0 to 1 or null")
    seen: _Flag = None
    completion_ids: list[StrictInt] | None = Field(
        None, description="a list of whole numbers or null"
    )
    letter_logps: dict[Weigh, dict[Text, _Number]] | None = Field(
        None, description=f"an object {{{' or '.join(WEIGHS)}: {{letter: logarithm}}}} or null"
    )
    drawn: list[Text] | None = Field(None, min_length=1, description="a list of texts or null")
    vote_share: _Number | None = Field(None, ge=0, le=1, description="a number from 0 to 1 or null")
    askings: list[AskingLine] | None = Field(None, description=EXPECTED)

    @field_validator("question_type")
    @classmethod
    def _is_known(cls, kind: str) -> str:
        if kind not in QUESTION_TYPES:
            raise ValueError(f"one of {', '.join(QUESTION_TYPES)}")
        return kind

    @field_validator("answer")
    @classmethod
    def _is_an_option(cls, letter: str | None, above: ValidationInfo) -> str | None:
        options = above.data.get("options")
        if letter is not None and options and letter not in options:
            raise ValueError(f"one of the options {whole_characters(', '.join(options))}")
        return letter

    @field_validator("size")
    @classmethod
    def _goes_with_a_frame(
        cls, size: list[float] | None, above: ValidationInfo
    ) -> list[float] | None:
        if size is None and above.data.get("frame") is not None:
            raise ValueError("the original image's [width, height], because `frame` is given")
        return size

    @field_validator("gold_labels")
    @classmethod
    def _one_a_box(
        cls, labels: list[str | None] | None, above: ValidationInfo
    ) -> list[str | None] | None:
        boxes = above.data.get("gold_boxes")
        if labels is not None and boxes is not None and len(labels) != len(boxes):
            raise ValueError("as many labels as there are gold boxes")
        return labels

    @field_validator("letter_logps")
    @classmethod
    def _of_the_options(
        cls, logps: dict[Weigh, dict[str, float]] | None, above: ValidationInfo
    ) -> dict[Weigh, dict[str, float]] | None:
        letters = set(above.data.get("options") or ())
        if any(set(weighed) != letters for weighed in (logps or {}).values()):
            raise ValueError("a logarithm for each of the options")
        return logps

    @field_validator("mask")
    @classmethod
    def _is_a_path_or_nothing(cls, mask: str | None) -> str | None:
        return _below_root(mask) if mask else None


def _faults(row: Mapping[str, Any], error: ValidationError) -> str:
    """What is wrong with each field, the first fault of it."""
    faults: dict[str, str] = {}
    for found in error.errors(include_url=False):
        field = str(found["loc"][0])
        value = row.get(field)
        expected = _Line.model_fields[field].description
        if found["type"] == "value_error":
            expected = str(found["ctx"]["error"])
        shown = "nothing" if value is None else repr(value)[:80]
        faults.setdefault(field, f"expected `{field}` to be {expected}, found {shown}")
    return "; ".join(faults.values())


def _pair(size: list[float] | None) -> tuple[int, int] | None:
    return None if size is None else (int(size[0]), int(size[1]))


def _box(corners: list[float], label: str | None) -> Box:
    x1, y1, x2, y2 = corners
    return Box(x1, y1, x2, y2, label)

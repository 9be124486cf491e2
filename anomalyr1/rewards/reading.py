"""A batch as TRL hands it to a reward, read once: each completion with its question and gold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from anomalyr1.parsing import Gate, parse_response
from anomalyr1.schema import GROUNDING, Box, Question, Response


@dataclass(frozen=True, slots=True)
class Reading:
    """One completion, what it says and what it should say.

    `response` and `gold_boxes` speak in the model frame, whose size in pixels (width, height) is
    `frame`. `answer` is the gold letter; `gold_boxes` is None where the row asks for no boxes or
    their gold is unknown, `()` for a normal image. `tokens` are the completion's ids, None where
    the caller gives none.
    """

    response: Response
    options: Mapping[str, str]
    answer: str | None
    gold_boxes: tuple[Box, ...] | None
    question_type: str
    frame: tuple[float, float] | None = None
    tokens: Sequence[int] | None = None

    @property
    def is_grounding(self) -> bool:
        """True when the answer is a list of boxes instead of a letter."""
        return not self.options


def read_batch(
    completions: Sequence[Any], columns: Mapping[str, Any], gate: Gate = "strict"
) -> list[Reading]:
    """The completions of a batch beside their rows; the terms of one batch share the parsing.

    A column that is absent, or None in a row, means "unknown". Arrow gives every row the option
    letters of all rows, those of other rows with text None: they are dropped.

    >>> columns = {"options": [{"A": "No.", "B": "Yes.", "C": None}], "answer": ["B"]}
    >>> text = "<think>So the answer is B.</think><answer>B</answer>"
    >>> [reading] = read_batch([text], columns)
    >>> reading.response.answer, dict(reading.options)
    ('B', {'A': 'No.', 'B': 'Yes.'})
    """
    count = len(completions)

    def column(name: str) -> Sequence[Any]:
        values = columns.get(name)
        return [None] * count if values is None else values

    rows = zip(
        completions,
        *(column(name) for name in ("options", "answer", "boxes", "box_labels", "question_type")),
        *(column(name) for name in ("frame", "completion_ids")),
        strict=True,
    )
    return [_reading(completion_text(completion), gate, *row) for completion, *row in rows]


def completion_text(completion: Any) -> str:
    """The text of a completion, plain or conversational.

    >>> completion_text([{"role": "assistant", "content": [{"type": "text", "text": "B"}]}])
    'B'
    """
    if isinstance(completion, str):
        return completion
    contents = (message.get("content") or "" for message in completion)
    return "".join(
        content if isinstance(content, str) else "".join(part.get("text") or "" for part in content)
        for content in contents
    )


def gold_boxes(boxes: Any, labels: Sequence[str | None] | None = None) -> tuple[Box, ...] | None:
    """A gold column's `[[x1, y1, x2, y2], ...]` as boxes.

    >>> gold_boxes([[0, 0, 2, 2]], ["dent"])
    (Box(x1=0.0, y1=0.0, x2=2.0, y2=2.0, label='dent'),)
    """
    if boxes is None:
        return None
    names: Sequence[str | None] = labels if labels else [None] * len(boxes)
    return tuple(
        Box(float(x1), float(y1), float(x2), float(y2), name)
        for (x1, y1, x2, y2), name in zip(boxes, names, strict=True)
    )


def _reading(
    text: str,
    gate: Gate,
    options: Mapping[str, str | None] | None,
    answer: str | None,
    boxes: Any,
    labels: Sequence[str | None] | None,
    question_type: str | None,
    frame: Sequence[float] | None,
    tokens: Sequence[int] | None,
) -> Reading:
    shown = tuple((letter, text) for letter, text in (options or {}).items() if text is not None)
    return Reading(
        response=_parse(text, shown, gate),
        options=dict(shown),
        answer=answer,
        gold_boxes=gold_boxes(boxes, labels),
        question_type=question_type or ("" if shown else GROUNDING),
        frame=(float(frame[0]), float(frame[1])) if frame else None,
        tokens=tokens,
    )


@lru_cache(maxsize=4096)
def _parse(text: str, options: tuple[tuple[str, str], ...], gate: Gate) -> Response:
    """Parsing is a pure function of these three, so the terms of a batch can share it."""
    return parse_response(text, Question("", "", dict(options)), gate=gate)

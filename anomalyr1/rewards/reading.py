"""Completions, read once: each with its question and its gold, for rewards and for evaluation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from anomalyr1.parsing import Gate, parse_response
from anomalyr1.rewards.luggage import COLUMNS, boxes_of, shown_options
from anomalyr1.schema import GROUNDING, Box, Question, Response

_LONG = 16_384  # characters of a completion of which few are kept: thousands would fill a memory


@dataclass(frozen=True, slots=True)
class Reading:
    """One completion, what it says and what it should say.

    Boxes of both sides speak in the model frame, whose (width, height) is `frame`:
    `boxes_in_model` are the completion's, `gold_in_model` the gold ones, None where the prompt asks
    for no boxes or their gold is unknown, `()` for a normal image. `question` holds the gold letter
    and no boxes. `tokens` are the completion's ids, None where the caller gives none.
    """

    question: Question
    response: Response
    gold_in_model: tuple[Box, ...] | None = None
    frame: tuple[float, float] | None = None
    tokens: Sequence[int] | None = None

    @property
    def is_grounding(self) -> bool:
        """The question asks for boxes, not for a letter."""
        return self.question.is_grounding

    @property
    def wants_boxes(self) -> bool:
        """The prompt asks for boxes, as far as the gold tells: alone, or beside a letter."""
        return self.is_grounding or self.gold_in_model is not None

    @property
    def boxes_in_model(self) -> tuple[Box, ...] | None:
        """The boxes the completion states; None where it has no readable list."""
        return self.response.boxes


def read_batch(
    completions: Sequence[Any], columns: Mapping[str, Any], gate: Gate = "strict"
) -> list[Reading]:
    """The completions of a batch beside their luggage; the terms of one batch share the parsing.

    A column that is absent, or None in a row, means "unknown".

    >>> columns = {"options": [{"A": "No.", "B": "Yes.", "C": None}], "answer": ["B"]}
    >>> text = "<think>So the answer is B.</think><answer>B</answer>"
    >>> [reading] = read_batch([text], columns)
    >>> reading.response.answer, dict(reading.question.options)
    ('B', {'A': 'No.', 'B': 'Yes.'})
    """
    given = [name for name in COLUMNS if columns.get(name) is not None]
    rows = zip(completions, *(columns[name] for name in given), strict=True)
    return [
        _reading(completion_text(completion), dict(zip(given, row, strict=True)), gate)
        for completion, *row in rows
    ]


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


def _reading(text: str, luggage: Mapping[str, Any], gate: Gate) -> Reading:
    options = shown_options(luggage.get("options"))
    frame = luggage.get("frame")
    return Reading(
        question=Question(
            text=luggage.get("question") or "",
            type=luggage.get("question_type") or ("" if options else GROUNDING),
            options=options,
            answer=luggage.get("answer"),
        ),
        response=(_parsed if len(text) <= _LONG else _parsed_long)(
            text, tuple(options.items()), gate
        ),
        gold_in_model=boxes_of(luggage.get("boxes"), luggage.get("box_labels")),
        frame=(float(frame[0]), float(frame[1])) if frame else None,
        tokens=luggage.get("completion_ids"),
    )


def _parse(text: str, options: tuple[tuple[str, str], ...], gate: Gate) -> Response:
    """Parsing is a pure function of these three, so the terms of a batch can share it."""
    return parse_response(text, Question("", "", dict(options)), gate=gate)


_parsed, _parsed_long = lru_cache(maxsize=4096)(_parse), lru_cache(maxsize=8)(_parse)

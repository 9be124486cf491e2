"""The turns of a training row of VLM-R1 or ms-swift: who says what, over which images."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from anomalyr1.errors import InputError, unknown

IMAGE = "<image>"
BoxFrame = Literal["pixels", "unit", "thousand"]
FRAMES: tuple[BoxFrame, ...] = get_args(BoxFrame)

_BBOX_TYPES: Mapping[str, BoxFrame] = {"real": "pixels", "norm1": "unit", "norm1000": "thousand"}
_PLACE = re.compile(r"<bbox>|<ref-object>")
_ASKS = frozenset({"human", "user"})
_ANSWERS = frozenset({"gpt", "assistant"})
_OTHERS = frozenset({"system", "tool", "function"})


@dataclass(frozen=True, slots=True)
class Turn:
    """A question and its answer; `images` are those shown so far, the query last."""

    text: str
    answer: str
    images: tuple[str, ...]


def read_turns(row: dict[str, Any], where: str) -> tuple[list[Turn], BoxFrame | None]:
    """The pairs of turns of a row of either form, and the frame that its `objects` state.

    Raises:
        InputError: the row is of neither form, or its images and marks do not agree.
    """
    name = "conversations" if "conversations" in row else "messages"
    role, text = ("from", "value") if name == "conversations" else ("role", "content")
    messages = row.get(name)
    images = row.get("image", row.get("images"))
    images = [images] if isinstance(images, str) else images
    if not isinstance(messages, list) or not all(
        isinstance(m, dict) and isinstance(m.get(role), str) and isinstance(m.get(text), str)
        for m in messages
    ):
        raise other_form(where, f"no list of turns with {role} and {text}")
    if not isinstance(images, list) or not images or not all(isinstance(i, str) for i in images):
        raise other_form(where, "no image")
    said = [(m[role], m[text]) for m in messages if m[role] not in _OTHERS]
    if said and said[-1][0] in _ASKS and isinstance(row.get("solution"), str):
        said.append(("assistant", row["solution"]))
    elif len(said) == 2 and said[1][0] in _ANSWERS and isinstance(row.get("solution"), str):
        said[1] = ("assistant", row["solution"])
    asked, answered = said[::2], said[1::2]
    if (
        not said
        or len(asked) != len(answered)
        or not all(who in _ASKS for who, _ in asked)
        or not all(who in _ANSWERS for who, _ in answered)
    ):
        raise other_form(where, "turns that are no pairs of question and answer")
    texts, frame = _fill_in(row.get("objects"), [text for _, text in said], where)
    marks = [text.count(IMAGE) for text in texts[::2]]
    if sum(marks) and sum(marks) != len(images):
        raise InputError(
            f"expected {sum(marks)} images for the marks {IMAGE} at {where}, found {len(images)}; "
            "mend the row"
        )
    if not marks[0]:
        marks[0] = len(images) - sum(marks)
    turns, shown = [], 0
    for number, mark in enumerate(marks):
        shown += mark
        turns.append(Turn(texts[2 * number], texts[2 * number + 1], tuple(images[:shown])))
    if not turns[0].images:
        raise InputError(
            f"expected an image with the first question at {where}, found none; mend the row"
        )
    return turns, frame


def _fill_in(objects: Any, texts: list[str], where: str) -> tuple[list[str], BoxFrame | None]:
    """ms-swift's places for boxes and names, filled in; and the frame the boxes are in."""
    if not isinstance(objects, dict) or not any(_PLACE.search(text) for text in texts):
        return texts, None
    kind = objects.get("bbox_type") or "real"
    if kind not in _BBOX_TYPES:
        raise unknown(f"a bbox_type at {where}", kind, _BBOX_TYPES)
    waiting = {
        "<bbox>": iter(objects.get("bbox") or []),
        "<ref-object>": iter(objects.get("ref") or []),
    }

    def fill(match: re.Match[str]) -> str:
        value = next(waiting[match[0]], None)
        if value is None:
            raise InputError(
                f"expected an object for every {match[0]} at {where}, found fewer; mend the row"
            )
        return str(value) if match[0] == "<ref-object>" else json.dumps(value)

    return [_PLACE.sub(fill, text) for text in texts], _BBOX_TYPES[kind]


def other_form(where: str, found: str) -> InputError:
    """The refusal of a row that is of neither form."""
    return InputError(
        f"expected a row of VLM-R1 or ms-swift at {where}, found another form: {found}; mend it"
    )

"""Lists of boxes as policies write them: JSON, Python-like, one or many, with or without labels."""

from __future__ import annotations

import json
import math
import re
from typing import Any

from anomalyr1.parsing import faults
from anomalyr1.schema import Box

# An opening bracket that a value follows: "[B]" and "{rim}" open no list of boxes.
_OPENING = re.compile(r"""[\[{](?=\s*(?:[\[{(\]"']|[-+.]?\d))""")
_TOKEN = re.compile(
    r"""\s*(?:(?P<string>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')"""
    r"|(?P<number>[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)"
    r"|(?P<word>null|None|true|True|false|False)\b|(?P<mark>[\[\](){},:]))",
    re.DOTALL,
)
_OPEN, _CLOSE = ("[", "{"), ("]", "}")
_DEEPEST = 4  # a list of records that hold lists, wrapped once
_LONGEST = 65_536  # characters of a list that is not plain JSON
_MARKS = {"(": "[", ")": "]"}
_WORDS = {"None": "null", "True": "true", "False": "false"}
_FENCE = re.compile(r"```[A-Za-z]*")
_BOX_KEYS = ("bbox_2d", "bbox", "box")
_LABEL_KEYS = ("label", "name", "category")


def split_list(text: str) -> tuple[str, str | None]:
    r"""The text around a list of boxes, and the list; None where no list opens.

    >>> split_list("B\n[[1, 2, 3, 4]]")
    ('B', '[[1, 2, 3, 4]]')
    >>> split_list("[B]")
    ('[B]', None)
    """
    opening = _OPENING.search(text)
    if opening is None:
        return text, None
    start = opening.start()
    end = max(text.rfind("]"), text.rfind("}")) + 1
    end = end if end > start else len(text)
    around = f"{text[:start]}\n{text[end:]}"
    return _FENCE.sub("", around).strip(), text[start:end]


def only_word(text: str) -> str | None:
    """The one string that a list or a record holds; None where it holds anything else.

    >>> only_word('{"answer": "B"}'), only_word('["B"]'), only_word('[[1, 2, 3, 4]]')
    ('B', 'B', None)
    """
    value = _load(text)
    held = list(value.values()) if isinstance(value, dict) else value
    alone = isinstance(held, list) and len(held) == 1 and isinstance(held[0], str)
    return held[0] if alone else None


def read_boxes(text: str) -> tuple[tuple[Box, ...] | None, set[str]]:
    """The boxes of a list and what is wrong with them; None where the list cannot be read.

    Accepted: `[{"bbox_2d": [x1, y1, x2, y2], "label": "..."}]` (keys `bbox` and `box` too), lists
    of four numbers, one bare box, `[]`, single quotes, round brackets, trailing or missing commas
    between boxes. One unreadable entry makes the whole list unreadable: nothing is guessed.
    Swapped corners are put in order and reported. A box without area is kept and reported: it still
    says "there is a defect", and overlaps nothing.

    >>> read_boxes("[(1, 2, 3.5, 4)]")
    ((Box(x1=1.0, y1=2.0, x2=3.5, y2=4.0, label=None),), set())
    >>> read_boxes("[1, 2, 3]")
    (None, {'unreadable_boxes'})
    """
    value = _load(text)
    entries = _entries(value) if value is not None else None
    if entries is None:
        return None, {faults.UNREADABLE_BOXES}
    found: set[str] = set()
    boxes = []
    for entry in entries:
        box = _box(entry, found)
        if box is None:
            return None, {faults.UNREADABLE_BOXES}
        boxes.append(box)
    return tuple(boxes), found


def _load(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        pass
    relaxed = _to_json(text)
    if relaxed is None:
        return None
    try:
        return json.loads(relaxed)
    except (ValueError, RecursionError):
        return None


def _to_json(text: str) -> str | None:
    """Python-like or comma-less lists as JSON; None at the first token that belongs to neither."""
    pieces: list[str] = []
    position, end, depth = 0, len(text.rstrip()), 0
    if end > _LONGEST:
        return None
    while position < end:
        token = _TOKEN.match(text, position)
        if token is None:
            return None
        position = token.end()
        piece = _piece(token)
        depth += (piece in _OPEN) - (piece in _CLOSE)
        if not 0 <= depth <= _DEEPEST:
            return None
        if pieces and piece in _CLOSE and pieces[-1] == ",":
            pieces.pop()
        if pieces and piece in _OPEN and pieces[-1] in _CLOSE:
            pieces.append(",")
        pieces.append(piece)
    if pieces and pieces[-1] == ",":
        pieces.pop()
    joined = " ".join(pieces)
    return joined if _is_one_value(pieces) else f"[{joined}]"


def _piece(token: re.Match[str]) -> str:
    if token["string"] is not None:
        return json.dumps(re.sub(r"\\(.)", r"\1", token["string"][1:-1], flags=re.DOTALL))
    if token["number"] is not None:
        return repr(float(token["number"]))
    if token["word"] is not None:
        return _WORDS.get(token["word"], token["word"])
    return _MARKS.get(token["mark"], token["mark"])


def _is_one_value(pieces: list[str]) -> bool:
    """True when the first bracket closes at the very end."""
    depth = 0
    for index, piece in enumerate(pieces):
        depth += (piece in _OPEN) - (piece in _CLOSE)
        if depth == 0:
            return index == len(pieces) - 1
    return False


def _entries(value: Any) -> list[Any] | None:
    if isinstance(value, dict):
        return [value]
    if not isinstance(value, list):
        return None
    return [value] if _corners(value) is not None else value


def _corners(value: Any) -> tuple[float, float, float, float] | None:
    if not isinstance(value, list) or len(value) != 4:
        return None
    corners = []
    for number in value:
        if isinstance(number, bool) or not isinstance(number, (int, float)):
            return None
        try:
            corner = float(number)
        except OverflowError:
            return None
        if not math.isfinite(corner):
            return None
        corners.append(corner)
    return corners[0], corners[1], corners[2], corners[3]


def _box(entry: Any, found: set[str]) -> Box | None:
    label: str | None = None
    if isinstance(entry, dict):
        names = (entry.get(key) for key in _LABEL_KEYS)
        label = next((name for name in names if isinstance(name, str)), None)
        entry = next((entry[key] for key in _BOX_KEYS if key in entry), None)
    corners = _corners(entry)
    if corners is None:
        return None
    x1, y1, x2, y2 = corners
    if x1 > x2 or y1 > y2:
        found.add(faults.SWAPPED_BOX)
    if x1 == x2 or y1 == y2:
        found.add(faults.DEGENERATE_BOX)
    return Box(min(x1, x2), min(y1, y2), max(x1, x2), max(y1, y2), label)

"""Score recorded completions offline: what would a reward have given?"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from anomalyr1.config.reward import RewardConfig
from anomalyr1.errors import InputError
from anomalyr1.geometry import Frame
from anomalyr1.rewards.build import RewardTerm, build_rewards
from anomalyr1.rewards.reading import read_batch
from anomalyr1.rewards.roam import outcome_of
from anomalyr1.schema import Box, Outcome
from anomalyr1.storage import read_jsonl

_EXPECTED = "completions (one JSON object a line: completion, options, answer, boxes)"
_BATCH = 1024  # completions read at a time
_COLUMNS = ("options", "answer", "boxes", "box_labels", "frame", "question_type", "completion_ids")


@dataclass(frozen=True, slots=True)
class Scored:
    """What a reward gives one completion.

    `rewards` holds every term of the preset, None where a term does not apply. `total` is the
    weighted sum of the others, 0 where none applies, as TRL sums them. `outcome` is None without
    gold.
    """

    outcome: Outcome | None
    rewards: Mapping[str, float | None]
    total: float


@dataclass(frozen=True, slots=True)
class Change:
    """A completion that two rewards judge differently; `row` counts from 1."""

    row: int
    first: Scored
    second: Scored

    @property
    def difference(self) -> float:
        """By how much the second total exceeds the first."""
        return self.second.total - self.first.total


def read_completions(path: Path) -> list[dict[str, Any]]:
    """Read what `reward replay` scores.

    Each line has `completion`, and `options` (letter -> text), `answer` (gold letter) and `boxes`
    (gold, in the frame the completion speaks in), each of which may be null or absent. A line of
    predictions.jsonl is good as well: its gold boxes are taken to the model frame where its prompt
    asked for boxes.

    Raises:
        InputError: a field has the wrong form; the row and the field are named.
    """
    rows = read_jsonl(path, _EXPECTED)
    if not rows:
        raise InputError(f"expected {_EXPECTED} in {path}, found none; check the file")
    for number, row in enumerate(rows, start=1):
        _check(row, f"{path}, row {number}")
    return rows


def score_completions(rows: Sequence[Mapping[str, Any]], config: RewardConfig) -> list[Scored]:
    """Score rows as `read_completions` gives them.

    >>> text = "<think>So the answer is B.</think><answer>B</answer>"
    >>> row = {"completion": text, "options": {"A": "No.", "B": "Yes."}, "answer": "B"}
    >>> score_completions([row], RewardConfig(preset="paper"))[0].total
    2.0
    """
    terms, weights = build_rewards(config)
    scored: list[Scored] = []
    for start in range(0, len(rows), _BATCH):
        scored += _score(rows[start : start + _BATCH], terms, weights)
    return scored


def changes(first: Sequence[Scored], second: Sequence[Scored]) -> list[Change]:
    """The completions whose total or outcome differs, the largest difference first."""
    found = [
        Change(row, one, other)
        for row, (one, other) in enumerate(zip(first, second, strict=True), start=1)
        if one.outcome != other.outcome or not math.isclose(one.total, other.total, abs_tol=1e-9)
    ]
    return sorted(found, key=lambda change: (-abs(change.difference), change.row))


def scored_row(row: Mapping[str, Any], scored: Scored) -> dict[str, Any]:
    """The line of the output: the input with `outcome`, `rewards` and `total`."""
    return {
        **row,
        "outcome": scored.outcome,
        "rewards": dict(scored.rewards),
        "total": scored.total,
    }


def _score(
    rows: Sequence[Mapping[str, Any]], terms: Sequence[RewardTerm], weights: Sequence[float]
) -> Iterator[Scored]:
    columns = {name: [row.get(name) for row in rows] for name in _COLUMNS}
    for index, row in enumerate(rows):
        if "boxes" not in row and row.get("gold_boxes") is not None:
            columns["boxes"][index] = _model_frame_boxes(row)
            columns["box_labels"][index] = row.get("gold_labels")
    for reading in read_batch([row["completion"] for row in rows], columns, terms[0].gate):
        rewards = {term.name: term.score(reading) for term in terms}
        weighted = (
            weight * value
            for weight, value in zip(weights, rewards.values(), strict=True)
            if value is not None
        )
        yield Scored(outcome_of(reading), rewards, math.fsum(weighted))


def _model_frame_boxes(row: Mapping[str, Any]) -> list[list[float]] | None:
    """A prediction's gold boxes in the model frame; None where its prompt asked for no boxes."""
    if row.get("template", "choice") == "choice" or not row.get("frame") or not row.get("size"):
        return None
    frame = Frame(*row["size"], *row["frame"])
    return [list(frame.to_model(Box(*box)).xyxy) for box in row["gold_boxes"]]


def _check(row: Mapping[str, Any], where: str) -> None:
    def refuse(field: str, expected: str) -> NoReturn:
        shown = repr(row.get(field))[:80]
        raise InputError(f"{where}: expected `{field}` to be {expected}, found {shown}; mend it")

    if not isinstance(row.get("completion"), str):
        refuse("completion", "a text")
    options, answer = row.get("options"), row.get("answer")
    if options is not None and not _is_options(options):
        refuse("options", "an object {letter: text} or null")
    if answer is not None and (not isinstance(answer, str) or answer not in (options or {})):
        refuse("answer", "one of the option letters or null")
    for field in ("boxes", "gold_boxes"):
        boxes = row.get(field)
        if boxes is not None and not _is_lists(boxes, 4):
            refuse(field, "a list of [x1, y1, x2, y2] or null")
    for field, boxes in (("box_labels", "boxes"), ("gold_labels", "gold_boxes")):
        labels = row.get(field)
        if labels is not None and not _is_labels(labels, row.get(boxes)):
            refuse(field, f"as many labels as there are {boxes}, or null")
    for field in ("frame", "size"):
        if row.get(field) is not None and not _is_lists([row[field]], 2):
            refuse(field, "[width, height] or null")
    if not isinstance(row.get("question_type") or "", str):
        refuse("question_type", "a text or null")


def _is_options(value: object) -> bool:
    """Letter -> text; a text may be null, as Arrow writes it."""
    return isinstance(value, dict) and all(
        text is None or isinstance(text, str) for text in value.values()
    )


def _is_lists(value: object, length: int) -> bool:
    return isinstance(value, list) and all(
        isinstance(numbers, list)
        and len(numbers) == length
        and all(type(number) in (int, float) and math.isfinite(number) for number in numbers)
        for numbers in value
    )


def _is_labels(value: object, boxes: object) -> bool:
    return (
        isinstance(value, list)
        and all(label is None or isinstance(label, str) for label in value)
        and (boxes is None or (isinstance(boxes, list) and len(boxes) == len(value)))
    )

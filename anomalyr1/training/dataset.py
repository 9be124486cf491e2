"""Rows -> the datasets TRL trains on: image paths, decoded on access."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from datasets import Dataset, Features, List, Value

from anomalyr1.gold_completions import gold_completion
from anomalyr1.rows import Row
from anomalyr1.schema import OPTION_LETTERS
from anomalyr1.training.row_pictures import RowPicture

_MESSAGES = List(
    {"role": Value("string"), "content": List({"type": Value("string"), "text": Value("string")})}
)
# Beside the prompt, what its completions bring along to be scored (rewards/luggage.py). Arrow gives
# every row all option letters, null where its question has none.
_FEATURES = Features(
    {
        "sample_id": Value("string"),
        "question_type": Value("string"),
        "question": Value("string"),
        "template": Value("string"),
        "prompt": _MESSAGES,
        "completion": _MESSAGES,
        "images": List(RowPicture()),
        "answer": Value("string"),
        "options": {letter: Value("string") for letter in OPTION_LETTERS},
        "boxes": List(List(Value("float64"))),
        "box_labels": List(Value("string")),
        "frame": List(Value("int32")),
    }
)


def to_dataset(rows: Sequence[Row], *, with_completion: bool = False) -> Dataset:
    """Rows as an in-memory dataset that holds image paths and decodes them on access.

    Args:
        rows: what `build_rows` gave.
        with_completion: add the gold completion, the target of supervised fine-tuning.
    """
    columns = [name for name in _FEATURES if with_completion or name != "completion"]
    features = Features({name: _FEATURES[name] for name in columns})
    return Dataset.from_list([record_of(row, with_completion) for row in rows], features=features)


def record_of(row: Row, with_completion: bool) -> dict[str, Any]:
    """A row by columns."""
    gold = row.gold_in_model
    record: dict[str, Any] = {
        "sample_id": row.sample_id,
        "question_type": row.question.type,
        "question": row.question.text,
        "template": row.template,
        "prompt": row.messages,
        "images": list(row.images),
        "answer": row.question.answer,
        "options": dict(row.question.options),
        "boxes": None if gold is None else [list(box.xyxy) for box in gold],
        "box_labels": None if gold is None else [box.label for box in gold],
        "frame": None if row.frame is None else list(row.frame.model_size),
    }
    if with_completion:
        shown = row.sample, row.question, row.template, row.frame
        text = gold_completion(*shown, conclusion=row.conclusion)
        record["completion"] = [{"role": "assistant", "content": [{"type": "text", "text": text}]}]
    return record

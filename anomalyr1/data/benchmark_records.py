"""One record of mmad.json <-> one `Sample`, every structural fault named."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from anomalyr1.data.answers_of_an_image import are_parts
from anomalyr1.schema import (
    GROUNDING,
    OPTION_LETTERS,
    QUESTION_TYPES,
    Box,
    Question,
    Sample,
)
from anomalyr1.values import has_half_character, is_number, is_plain_path, places

Record = dict[str, Any]


def read_record(key: str, record: Any, root: Path, faults: list[str]) -> Sample | None:
    """Turn one record into a sample.

    Args:
        key: the image's path relative to `root`, as it stands in the file.
        record: the JSON value under that key.
        root: folder that every path is relative to.
        faults: grows by one line a fault; each names the record.

    Returns:
        The sample, or None when the record has a fault.
    """
    if not isinstance(record, dict):
        faults.append(f"{key}: expected a record (an object), found {type(record).__name__}")
        return None
    before = len(faults)
    boxes = _record_boxes(key, record, faults)
    questions = _questions(key, record, boxes, faults)
    if boxes is None:
        for stated in (q.boxes for q in questions if q.boxes is not None):
            boxes = (*(boxes or ()), *(box for box in stated if box not in (boxes or ())))
    split = record.get("split")
    if split is not None and not isinstance(split, str):
        faults.append(f"{key}: expected split to be a word, found {split!r}")
    sample = Sample(
        image=safe_path(key, key, faults),
        root=root,
        questions=questions,
        mask=_mask(key, record, faults),
        similar_templates=_templates(key, record, "similar_templates", faults),
        random_templates=_templates(key, record, "random_templates", faults),
        boxes=boxes,
        split=split,
    )
    return sample if len(faults) == before else None


def note_unwritable(key: str, record: Any, faults: list[str]) -> None:
    """Note what Python reads in a record and no other file can hold: half a character, NaN."""
    for place, value in places(record, _is_unwritable):
        where = place or "the record"
        faults.append(f"{key}: expected texts and finite numbers, found {value!r} in {where}")


def write_record(sample: Sample, original: Mapping[str, Any] | None = None) -> Record:
    """The record of a sample; keys of `original` that the sample does not carry are kept.

    A question keeps the additional keys of the original question with the same text and type.
    """
    record: Record = dict(original or {})
    prefix = category_prefix(sample.image)
    record.setdefault("image_path", sample.image.removeprefix(prefix))
    mask_key = prefix + str(record.get("mask_path") or "")
    if sample.mask is None and not record.get("mask_path"):
        record.setdefault("mask_path", None)
    elif sample.mask is None or sample.mask not in (mask_key, record.get("mask_path")):
        record["mask_path"] = None if sample.mask is None else sample.mask.removeprefix(prefix)
    record["similar_templates"] = list(sample.similar_templates)
    record["random_templates"] = list(sample.random_templates)
    if sample.boxes is not None:
        record["boxes"] = [_numbers(box) for box in sample.boxes]
        if any(box.label is not None for box in sample.boxes):
            record["box_labels"] = [box.label for box in sample.boxes]
    if sample.split is not None:
        record["split"] = sample.split
    name = next((n for n in record if n.startswith("conversation")), "conversation")
    known = {
        (old["Question"], old["type"]): old
        for old in record.pop(name, [])
        if isinstance(old, dict) and "Question" in old and "type" in old
    }
    record[name] = [write_question(q, known.get((q.text, q.type))) for q in sample.questions]
    return record


def write_question(question: Question, original: Mapping[str, Any] | None = None) -> Record:
    """The JSON form of a question; additional keys of `original` are kept."""
    answer: Any = question.answer
    if question.is_grounding:
        answer = None if question.boxes is None else [_numbers(box) for box in question.boxes]
    entry: Record = {
        **(original or {}),
        "Question": question.text,
        "Answer": answer,
        "Options": dict(question.options),
        "type": question.type,
    }
    if question.annotation is not None:
        entry["annotation"] = question.annotation
    if question.references is not None:
        entry["references"] = question.references
    return entry


def category_prefix(key: str) -> str:
    """The part of a key that `image_path` and `mask_path` leave out.

    >>> category_prefix("VisA/candle/test/good/901.JPG")
    'VisA/candle/'
    """
    parts = key.split("/")
    folders = parts[:2] if len(parts) > 2 else parts[:-1]
    return "".join(f"{part}/" for part in folders)


def safe_path(key: str, path: str, faults: list[str]) -> str:
    """Return `path`; note a fault when it is not a plain path below the root."""
    parts = path.split("/")
    bad = not path or path.startswith("/") or "\\" in path or not is_plain_path(path)
    if bad or ":" in parts[0] or ".." in parts or "." in parts or "" in parts:
        faults.append(
            f"{key}: expected a path below the root, found {path!r} (no '..', no absolute path)"
        )
    return path


def _mask(key: str, record: Record, faults: list[str]) -> str | None:
    mask = record.get("mask_path")
    if mask is None or mask == "":
        return None
    if not isinstance(mask, str):
        faults.append(f"{key}: expected mask_path to be a path or null, found {mask!r}")
        return None
    prefix = category_prefix(key)
    full = mask if mask.startswith(prefix) else prefix + mask
    if mask.startswith("/"):
        full = mask
    return safe_path(key, full, faults)


def _templates(key: str, record: Record, name: str, faults: list[str]) -> tuple[str, ...]:
    value = record.get(name)
    if value is None:
        return ()
    if not isinstance(value, list) or not all(isinstance(path, str) for path in value):
        faults.append(f"{key}: expected {name} to be a list of paths, found {value!r}")
        return ()
    return tuple(safe_path(key, path, faults) for path in value)


def _record_boxes(key: str, record: Record, faults: list[str]) -> tuple[Box, ...] | None:
    value = record.get("boxes")
    labels = record.get("box_labels")
    if value is None:
        if labels:
            faults.append(f"{key}: found box_labels without boxes")
        return None
    boxes = _boxes(f"{key}: boxes", value, faults)
    if labels is None or boxes is None:
        return boxes
    if not isinstance(labels, list) or len(labels) != len(boxes):
        faults.append(f"{key}: expected one box label for each of {len(boxes)} boxes")
        return boxes
    if not all(label is None or isinstance(label, str) for label in labels):
        faults.append(f"{key}: expected every box label to be a word, found {labels!r}")
        return boxes
    return tuple(Box(*box.xyxy, label) for box, label in zip(boxes, labels, strict=True))


def _boxes(where: str, value: Any, faults: list[str]) -> tuple[Box, ...] | None:
    if not isinstance(value, list):
        faults.append(f"{where}: expected a list of [x1, y1, x2, y2], found {value!r}")
        return None
    boxes = []
    for corners in value:
        if not _is_box(corners):
            faults.append(f"{where}: expected [x1, y1, x2, y2] in pixels, found {corners!r}")
            return None
        boxes.append(Box(*corners))
    return tuple(boxes)


def _is_box(corners: Any) -> bool:
    return isinstance(corners, list) and len(corners) == 4 and all(map(is_number, corners))


def _questions(
    key: str, record: Record, boxes: tuple[Box, ...] | None, faults: list[str]
) -> tuple[Question, ...]:
    names = [name for name in record if name.startswith("conversation")]
    if len(names) != 1:
        found = ", ".join(names) or "none"
        faults.append(f"{key}: expected one key that starts with 'conversation', found {found}")
        return ()
    entries = record[names[0]]
    if not isinstance(entries, list) or not entries:
        faults.append(f"{key}: expected {names[0]} to be a list of questions, found {entries!r}")
        return ()
    questions = []
    for number, entry in enumerate(entries):
        question = _question(f"{key}: question {number}", entry, faults)
        if question is not None:
            questions.append(question)
    return tuple(questions) if boxes is None else _settled(questions, boxes)


def _settled(questions: Sequence[Question], boxes: tuple[Box, ...]) -> tuple[Question, ...]:
    """Grounding questions with the record's boxes, or those of them that are theirs."""
    labelled = {box.xyxy: box for box in boxes}
    answers = [[box.xyxy for box in q.boxes] for q in questions if q.boxes is not None]
    parts = are_parts(answers, [box.xyxy for box in boxes])
    settled = []
    for question in questions:
        if question.is_grounding:
            own = question.boxes if parts else None
            whole = own is None or sorted(b.xyxy for b in own) == sorted(b.xyxy for b in boxes)
            gold = boxes if whole else tuple(labelled[box.xyxy] for box in own or ())
            question = replace(question, boxes=gold)
        settled.append(question)
    return tuple(settled)


def _question(where: str, entry: Any, faults: list[str]) -> Question | None:
    if not isinstance(entry, dict):
        faults.append(f"{where}: expected an object, found {type(entry).__name__}")
        return None
    text, kind = entry.get("Question"), entry.get("type")
    if not isinstance(text, str) or not text.strip():
        faults.append(f"{where}: expected Question to be a text, found {text!r}")
        return None
    if kind not in QUESTION_TYPES:
        faults.append(
            f"{where}: expected type to be one of {', '.join(QUESTION_TYPES)}; found {kind!r}"
        )
        return None
    annotation = entry.get("annotation")
    if annotation is not None and not isinstance(annotation, bool):
        faults.append(f"{where}: expected annotation to be true or false, found {annotation!r}")
        return None
    references = entry.get("references")
    if references is not None and (type(references) is not int or references < 0):
        faults.append(f"{where}: expected references to be a whole number, found {references!r}")
        return None
    options, answer = entry.get("Options"), entry.get("Answer")
    if kind == GROUNDING:
        if options:
            faults.append(f"{where}: a {GROUNDING} question takes no Options, found {options!r}")
            return None
        stated = None if answer is None else _boxes(f"{where}: Answer", answer, faults)
        return Question(text, kind, boxes=stated, annotation=annotation, references=references)
    fault = _choice_fault(options, answer)
    if options is None or fault:
        faults.append(f"{where}: {fault}")
        return None
    return Question(text, kind, options, answer, annotation=annotation, references=references)


def _choice_fault(options: Any, answer: Any) -> str | None:
    if not isinstance(options, dict) or not options:
        return f"expected Options to be letter -> text, found {options!r}"
    for letter, text in options.items():
        if len(letter) != 1 or letter not in OPTION_LETTERS:
            return f"expected option letters A, B, C, ..., found {letter!r}"
        if not isinstance(text, str):
            return f"expected the text of option {letter}, found {text!r}"
    if not isinstance(answer, str) or answer not in options:
        return f"expected Answer to be one of {', '.join(options)}, found {answer!r}"
    return None


def _is_unwritable(value: Any) -> bool:
    if isinstance(value, str):
        return has_half_character(value)
    return isinstance(value, float) and not math.isfinite(value)


def _numbers(box: Box) -> Sequence[float]:
    return [int(value) if float(value).is_integer() else float(value) for value in box.xyxy]

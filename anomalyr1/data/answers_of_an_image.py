"""What several answers about one image make together: its boxes, and which of them are whose."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from anomalyr1.schema import Box, Sample

Corners = tuple[float, float, float, float]

_SAME = 1.0  # pixels by which the corners of one box may differ where it is written twice


def are_parts(answers: Collection[Collection[Corners]], boxes: Collection[Corners]) -> bool:
    """Whether several answers together name the boxes of an image, each its own part of them.

    So they do where each question is about one thing ("Locate the dent."). Then each answer is its
    question's; otherwise the boxes of the record stand for all.

    >>> dent, scratch = (1, 1, 5, 5), (7, 7, 9, 9)
    >>> are_parts([[dent], [scratch]], [dent, scratch]), are_parts([[dent]], [dent, scratch])
    (True, False)
    """
    return len(answers) > 1 and {box for answer in answers for box in answer} == set(boxes)


def joined(known: Sample, more: Sample) -> Sample:
    """Two samples of one image as one: questions, references and boxes of both.

    A box that both have, up to rounding, is had once.
    """
    had = known.boxes or ()
    same = {
        box: old for box in more.boxes or () if box not in had for old in had if _is_like(box, old)
    }
    boxes = (*had, *(box for box in more.boxes or () if box not in had and box not in same))
    questions = [
        replace(q, boxes=tuple(same.get(box, box) for box in q.boxes)) if q.boxes else q
        for q in more.questions
    ]
    return replace(
        known,
        questions=(*known.questions, *questions),
        random_templates=tuple(dict.fromkeys((*known.random_templates, *more.random_templates))),
        boxes=None if known.boxes is None and more.boxes is None else boxes,
    )


def _is_like(box: Box, other: Box) -> bool:
    return all(abs(a - b) <= _SAME for a, b in zip(box.xyxy, other.xyxy, strict=True))

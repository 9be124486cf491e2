"""Gold completions with faults put in: a start from which one can see what a reward mends.

A policy that copies the letter its reasoning named hardly contradicts itself, and one that was
taught exact boxes draws them so: a reward for agreement or for overlap has nothing to act on.
Fine-tuned on such rows they have.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from anomalyr1.data.seeding import digest
from anomalyr1.geometry import clamp
from anomalyr1.rows import Row
from anomalyr1.schema import Box, Sample


def contradicted(rows: Sequence[Row], share: float | None, seed: int) -> list[Row]:
    """The rows, some of which conclude on another option, the next one.

    With more than half of the rows the likeliest conclusion contradicts, too.

    Args:
        rows: what `build_rows` gave.
        share: of the questions with options, 0 to 1; None leaves all as they are.
        seed: decides which ones.
    """
    if share is None:
        return list(rows)
    return [_contradicted(row, share, seed) for row in rows]


def loosened(rows: Sequence[Row], share: float | None) -> list[Row]:
    """The rows, their boxes drawn loosely around what they hold.

    Args:
        rows: what `build_rows` gave.
        share: of its width and height by which a box grows on each side, as far as the image goes;
            0.25 leaves an IoU of 0.44 with the box as it was. None leaves all as they are.
    """
    if share is None:
        return list(rows)
    # Of one image, by which rows are known to be about it.
    samples: dict[int, Sample] = {}
    return [_loosened(row, share, samples) for row in rows]


def _contradicted(row: Row, share: float, seed: int) -> Row:
    letters = list(row.question.options)
    drawn = digest(seed, "contradictory", row.sample_id) % 10**6 / 10**6
    if row.question.answer not in letters or drawn >= share:
        return row
    after = letters.index(row.question.answer) + 1
    return replace(row, conclusion=letters[after % len(letters)])


def _loosened(row: Row, share: float, samples: dict[int, Sample]) -> Row:
    def wider(boxes: tuple[Box, ...] | None) -> tuple[Box, ...] | None:
        return boxes and tuple(_wider(box, share, *row.size) for box in boxes)

    shown = id(row.sample)
    if shown not in samples:
        samples[shown] = replace(row.sample, boxes=wider(row.sample.boxes))
    question = replace(row.question, boxes=wider(row.question.boxes))
    return replace(row, sample=samples[shown], question=question)


def _wider(box: Box, share: float, width: int, height: int) -> Box:
    beside, above = share * (box.x2 - box.x1), share * (box.y2 - box.y1)
    wider = Box(box.x1 - beside, box.y1 - above, box.x2 + beside, box.y2 + above, box.label)
    return clamp(wider, width, height)

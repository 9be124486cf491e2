"""What the completions of a batch look like, in numbers that show a reward going wrong early."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from anomalyr1.geometry import set_iou
from anomalyr1.parsing import FAULTS
from anomalyr1.rewards.accuracy import accuracy
from anomalyr1.rewards.reading import Reading
from anomalyr1.rewards.roam import outcome_of
from anomalyr1.schema import OUTCOMES, Box

WHOLE_IMAGE_SHARE = 0.9

# Log keys: the groups of shares, and what the guard of a run looks at.
OUTCOME, FAULT, LETTER = "outcome/", "fault/", "letter/"
NO_LETTER = f"{LETTER}none"
BOX_IOU = "boxes/iou"


def batch_metrics(readings: Sequence[Reading]) -> dict[str, float]:
    """The numbers of one batch, each a mean over the completions it is about.

    - `outcome/<outcome>`: share among completions with gold.
    - `fault/<fault>`: share of completions with the parse error (parsing/faults.py).
    - `letter/<A-Z>`, `letter/none`: the letters answered, among choice questions; a letter that no
      question of the batch offers is left out.
    - `reasoning/characters`: mean length of the reasoning; `reasoning/concludes`: share that names
      a conclusion.
    - `boxes/count`: boxes per completion that was asked for boxes; `boxes/whole_image`: share of
      the predicted boxes that cover at least 90 % of the frame; `boxes/empty`: share of grounding
      questions answered `[]`; `boxes/iou`: set IoU over images with a defect, which the many
      points of the `iou` term for normal images do not hide.
    - `by_type/<question type>/accuracy`, `.../malformed`, `.../contradictory`.

    A number about nothing (no box predicted, say) is left out.
    """
    metrics: dict[str, float] = {}
    outcomes = [outcome_of(reading) for reading in readings]
    known = [found for found in outcomes if found is not None]
    metrics |= _shares(OUTCOME, known, OUTCOMES, len(known))
    faults = [fault for reading in readings for fault in reading.response.errors]
    metrics |= _shares(FAULT, faults, FAULTS, len(readings))
    letters = [r.response.answer or "none" for r in readings if not r.is_grounding]
    offered = {letter for reading in readings for letter in reading.question.options}
    metrics |= _shares(LETTER, letters, [*sorted(offered), "none"], len(letters))
    with_defect = [(r, r.gold_in_model) for r in readings if r.gold_in_model]
    metrics |= _means(
        {
            "reasoning/characters": [len(r.response.reasoning or "") for r in readings],
            "reasoning/concludes": [r.response.conclusion is not None for r in readings],
            "boxes/empty": [r.boxes_in_model == () for r in readings if r.is_grounding],
            "boxes/count": [len(r.boxes_in_model or ()) for r in readings if r.wants_boxes],
            BOX_IOU: [set_iou(r.boxes_in_model or (), gold) for r, gold in with_defect],
            "boxes/whole_image": [whole for r in readings for whole in _whole_image(r)],
        }
    )
    for question_type in sorted({reading.question.type for reading in readings} - {""}):
        of_type = [
            (reading, found)
            for reading, found in zip(readings, outcomes, strict=True)
            if reading.question.type == question_type and found is not None
        ]
        metrics |= _means(
            {
                f"by_type/{question_type}/accuracy": [accuracy(r) or 0.0 for r, _ in of_type],
                f"by_type/{question_type}/malformed": [o == "malformed" for _, o in of_type],
                f"by_type/{question_type}/contradictory": [
                    o == "contradictory" for _, o in of_type
                ],
            }
        )
    return metrics


def log_batch(readings: Sequence[Reading], columns: Mapping[str, Any]) -> None:
    """Log a batch's numbers through TRL's `log_metric`, and each completion's through `log_extra`.

    Without these two callables among the columns (outside a trainer) nothing is logged.
    """
    log_metric: Callable[[str, float], None] | None = columns.get("log_metric")
    log_extra: Callable[[str, list[Any]], None] | None = columns.get("log_extra")
    if log_metric is not None:
        for name, value in batch_metrics(readings).items():
            log_metric(name, value)
    if log_extra is not None:
        log_extra("outcome", [outcome_of(reading) for reading in readings])
        log_extra("conclusion", [reading.response.conclusion for reading in readings])
        log_extra("errors", [", ".join(reading.response.errors) for reading in readings])
        if columns.get("sample_id") is not None:
            log_extra("sample_id", list(columns["sample_id"]))


def _shares(group: str, found: Iterable[str], names: Iterable[str], count: int) -> dict[str, float]:
    counts = Counter(found)
    return {f"{group}{name}": counts[name] / count for name in names} if count else {}


def _means(values: Mapping[str, Sequence[float]]) -> dict[str, float]:
    return {name: sum(group) / len(group) for name, group in values.items() if group}


def _whole_image(reading: Reading) -> list[bool]:
    if reading.frame is None or not reading.boxes_in_model:
        return []
    width, height = reading.frame
    return [_covers(box, width, height) for box in reading.boxes_in_model]


def _covers(box: Box, width: float, height: float) -> bool:
    seen = Box(max(0.0, box.x1), max(0.0, box.y1), min(width, box.x2), min(height, box.y2))
    return seen.area >= WHOLE_IMAGE_SHARE * width * height

"""Boxes without scores: what the policy names is a set, not a ranking.

All boxes of one image are in one frame (the original image). Values are percent, except
`count_error`. What COCO makes of them, and of a score of their image, is in `metrics.coco_boxes`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from anomalyr1.geometry import iou_matrix, set_iou
from anomalyr1.metrics.bootstrap import RESAMPLES, SEED, named_ratios, ratio_intervals
from anomalyr1.metrics.detection import percent
from anomalyr1.schema import Box

THRESHOLDS = (0.33, 0.5)
# What is a ratio of sums over images, and so has an interval.
BOX_RATIOS = (*(f"f1@{threshold}" for threshold in THRESHOLDS), "set_iou", "set_iou_anomalous")


@dataclass(frozen=True, slots=True)
class ImageBoxes:
    """Predicted and gold boxes of one image; `()` gold is a normal image."""

    predicted: tuple[Box, ...]
    gold: tuple[Box, ...]


def matched(
    predicted: Sequence[Box], gold: Sequence[Box], threshold: float
) -> list[tuple[int, int]]:
    """The most one-to-one pairs whose IoU reaches the threshold; of several such sets, the closest.

    Returns:
        (index in `predicted`, index in `gold`) of each.

    >>> matched([Box(0, 0, 4, 4), Box(0, 0, 4, 3)], [Box(0, 0, 4, 3)], 0.5)
    [(1, 0)]
    """
    if not predicted or not gold:
        return []
    overlaps = iou_matrix(predicted, gold)
    reached = overlaps >= threshold
    # One pair more weighs more than any overlap of the others.
    weights = np.where(reached, 1 + overlaps / (1 + min(overlaps.shape)), 0)
    rows, columns = linear_sum_assignment(weights, maximize=True)
    return [
        (int(row), int(column))
        for row, column in zip(rows, columns, strict=True)
        if reached[row, column]
    ]


def matches(predicted: Sequence[Box], gold: Sequence[Box], threshold: float) -> int:
    """The largest number of one-to-one pairs whose IoU reaches the threshold.

    >>> matches([Box(0, 0, 4, 4), Box(0, 0, 4, 4)], [Box(0, 0, 4, 4)], 0.5)
    1
    """
    return len(matched(predicted, gold, threshold))


def box_scores(
    images: Sequence[ImageBoxes], resamples: int = RESAMPLES, seed: int = SEED
) -> dict[str, Any]:
    """The box metrics of a set of images.

    Returns:
        `images`, `predicted`, `gold`: how many of each.
        `f1@t`, `precision@t`, `recall@t` for t in 0.33 and 0.5: pairs matched over the whole set;
        None with nothing predicted and nothing to find.
        `pointing`: share of images with a defect where the centre of the first predicted box lies
        in a gold box; no box is a miss.
        `set_iou`: mean soft set IoU (one-to-one matching) over all images, `set_iou_anomalous` over
        those with a gold box.
        `count_error`: mean |number of predicted - number of gold boxes|; not a percentage.
        `intervals`: 95 % cluster bootstrap by image for F1 and set IoU.
    """
    predicted = sum(len(image.predicted) for image in images)
    gold = sum(len(image.gold) for image in images)
    anomalous = [image for image in images if image.gold]
    parts = box_parts(images)
    sums = parts.sum(axis=0)
    result: dict[str, Any] = {"images": len(images), "predicted": predicted, "gold": gold}
    for column, threshold in enumerate(THRESHOLDS):
        total = int(sums[column, 0]) // 2
        result[f"precision@{threshold}"] = percent(total, predicted)
        result[f"recall@{threshold}"] = percent(total, gold)
    result["pointing"] = percent(sum(_points_at_gold(i) for i in anomalous), len(anomalous))
    errors = [abs(len(image.predicted) - len(image.gold)) for image in images]
    result["count_error"] = sum(errors) / len(errors) if errors else None
    return result | named_ratios(BOX_RATIOS, parts, ratio_intervals(parts, resamples, seed))


def box_parts(images: Sequence[ImageBoxes]) -> NDArray[np.float64]:
    """Numerator and denominator of each of `BOX_RATIOS` on each image: (images, ratios, 2).

    F1 counts each matched pair for its two boxes, over all boxes of both sides; set IoU is a mean
    over images.
    """
    parts = np.zeros((len(images), len(BOX_RATIOS), 2))
    for row, image in enumerate(images):
        both = len(image.predicted) + len(image.gold)
        for column, threshold in enumerate(THRESHOLDS):
            parts[row, column] = 2 * matches(image.predicted, image.gold, threshold), both
        found, anomalous = set_iou(image.predicted, image.gold), bool(image.gold)
        parts[row, -2:] = (found, 1), (found * anomalous, anomalous)
    return parts


def _points_at_gold(image: ImageBoxes) -> bool:
    if not image.predicted:
        return False
    first = image.predicted[0]
    x, y = (first.x1 + first.x2) / 2, (first.y1 + first.y2) / 2
    return any(box.x1 <= x < box.x2 and box.y1 <= y < box.y2 for box in image.gold)

"""Boxes by the area they cover together, as MMAD-BBox counts them (AD-Copilot, arXiv 2603.13779).

All boxes of a side are one region: how many boxes a defect is split into makes no difference. The
paper draws both regions as masks and compares these; here the areas are exact, which for boxes on
whole pixels is the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anomalyr1.metrics.bootstrap import RESAMPLES, SEED, named_ratios, ratio_intervals
from anomalyr1.metrics.boxes import ImageBoxes
from anomalyr1.schema import Box

AREA_THRESHOLDS = (0.1, 0.3, 0.5)
AREA_RATIOS = ("bbox_miou", *(f"bbox_acc@{threshold}" for threshold in AREA_THRESHOLDS))


def area_iou(predicted: Sequence[Box], gold: Sequence[Box]) -> float:
    """Intersection over union of what the boxes of each side cover; 0 where neither covers any.

    >>> area_iou([Box(0, 0, 4, 4)], [Box(0, 0, 2, 4), Box(2, 0, 4, 4)])
    1.0
    >>> area_iou([Box(0, 0, 4, 4), Box(0, 0, 4, 4)], [Box(0, 0, 4, 2)])
    0.5
    """
    both = [*predicted, *gold]
    xs = np.unique([x for box in both for x in (box.x1, box.x2)])
    ys = np.unique([y for box in both for y in (box.y1, box.y2)])
    if len(xs) < 2 or len(ys) < 2:
        return 0.0
    areas = np.outer(np.diff(ys), np.diff(xs))
    first, second = _covered(predicted, xs, ys), _covered(gold, xs, ys)
    union = float(areas[first | second].sum())
    return float(areas[first & second].sum()) / union if union else 0.0


def area_scores(
    images: Sequence[ImageBoxes], resamples: int = RESAMPLES, seed: int = SEED
) -> dict[str, Any]:
    """The four figures of MMAD-BBox over the images that have a gold box.

    Returns:
        `bbox_miou`: the mean of `area_iou`; no box is 0. `bbox_acc@t` for t in 0.1, 0.3 and 0.5:
        the share of images where it reaches t. Percent, None without such an image.
        `intervals`: of each, 95 % bootstrap by image.
    """
    parts = area_parts(images)
    return named_ratios(AREA_RATIOS, parts, ratio_intervals(parts, resamples, seed))


def area_parts(images: Sequence[ImageBoxes]) -> NDArray[np.float64]:
    """Numerator and denominator of each of `AREA_RATIOS` on each image: (images, ratios, 2)."""
    parts = np.zeros((len(images), len(AREA_RATIOS), 2))
    for row, image in enumerate(images):
        if image.gold:
            overlap = area_iou(image.predicted, image.gold)
            reached = (overlap >= threshold for threshold in AREA_THRESHOLDS)
            parts[row] = [(value, 1) for value in (overlap, *reached)]
    return parts


def _covered(
    boxes: Sequence[Box], xs: NDArray[np.float64], ys: NDArray[np.float64]
) -> NDArray[np.bool_]:
    """Which fields between neighbouring edges a box covers: (len(ys) - 1, len(xs) - 1)."""
    covered = np.zeros((len(ys) - 1, len(xs) - 1), dtype=np.bool_)
    for box in boxes:
        left, right = np.searchsorted(xs, (box.x1, box.x2))
        top, bottom = np.searchsorted(ys, (box.y1, box.y2))
        covered[top:bottom, left:right] = True
    return covered

"""What moving the boxes a little does to masks and overlaps: means over images, with intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anomalyr1.metrics.bootstrap import RESAMPLES, SEED, mean_interval

_OVERLAPS = ("mask_iou", "mask_dice", "box_iou")
_KEPT = ("kept_mask", "kept_boxes")
_NAMES = (*(name + end for name in _OVERLAPS for end in ("", "_change")), *_KEPT)

Change = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Moved:
    """One image, its boxes moved; every value is 0-1, and a mean over the draws where moved.

    Attributes:
        mask_iou: overlap of mask and gold mask before and after; None without a gold mask.
        mask_dice: the same as Dice.
        box_iou: set IoU of boxes and gold boxes before and after; None without gold boxes.
        kept_mask: IoU of the mask after with the mask before.
        kept_boxes: set IoU of the boxes after with those before.
    """

    mask_iou: Change | None
    mask_dice: Change | None
    box_iou: Change | None
    kept_mask: float
    kept_boxes: float


def stability(
    images: Sequence[Moved], resamples: int = RESAMPLES, seed: int = SEED
) -> dict[str, Any]:
    """Means over the images that have the value, in percent; None where none has.

    Returns:
        `images`: how many have boxes. `mask_iou`, `mask_dice`, `box_iou`: after the move, and with
        `_change` behind the name, after less before. `kept_mask`, `kept_boxes`. `intervals` of all:
        95 % bootstrap by image, those of a change paired.

    >>> once = Moved((0.8, 0.7), None, (1.0, 0.5), 0.9, 0.5)
    >>> found = stability([once, once])
    >>> round(found["mask_iou_change"], 9), found["box_iou"], found["mask_dice"]
    (-10.0, 50.0, None)
    """
    values = moved_values(images)
    ends = [mean_interval(column[~np.isnan(column)], resamples, seed) for column in values.T]
    return {**stability_in_part(values), "intervals": dict(zip(_NAMES, ends, strict=True))}


def stability_in_part(values: NDArray[np.float64]) -> dict[str, Any]:
    """`stability` without intervals, of some rows of `moved_values`."""
    known = ~np.isnan(values)
    sums, numbers = np.where(known, values, 0.0).sum(axis=0), known.sum(axis=0)
    return {
        "images": len(values),
        **{
            name: float(total / number) if number else None
            for name, total, number in zip(_NAMES, sums, numbers, strict=True)
        },
    }


def moved_values(images: Sequence[Moved]) -> NDArray[np.float64]:
    """Every value of `stability` on every image, in percent: (images, values); NaN without one."""
    rows = []
    for image in images:
        pairs = [getattr(image, name) or (np.nan, np.nan) for name in _OVERLAPS]
        changes = [value for before, after in pairs for value in (after, after - before)]
        rows.append([*changes, *(getattr(image, name) for name in _KEPT)])
    return 100 * np.array(rows, dtype=np.float64).reshape(len(rows), len(_NAMES))

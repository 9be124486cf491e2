"""What moving the boxes a little does to masks and overlaps: means over images, with intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from anomalyr1.metrics.bootstrap import RESAMPLES, SEED, mean_interval

_OVERLAPS = ("mask_iou", "mask_dice", "box_iou")
_KEPT = ("kept_mask", "kept_boxes")

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
    values: dict[str, list[float]] = {}
    for name in _OVERLAPS:
        pairs = [pair for image in images if (pair := getattr(image, name)) is not None]
        values[name] = [100 * after for _, after in pairs]
        values[f"{name}_change"] = [100 * (after - before) for before, after in pairs]
    values |= {name: [100 * getattr(image, name) for image in images] for name in _KEPT}
    return {
        "images": len(images),
        **{name: float(np.mean(of)) if of else None for name, of in values.items()},
        "intervals": {
            name: mean_interval(np.array(of), resamples, seed) for name, of in values.items()
        },
    }

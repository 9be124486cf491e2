"""Predicted boxes moved a little before the segmenter: how far masks and overlaps hang on them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anomalyr1.data.rle import encode_mask, rle_iou
from anomalyr1.data.seeding import digest
from anomalyr1.evaluation.image_readings import ImageReading
from anomalyr1.evaluation.location_strata import image_strata, in_strata
from anomalyr1.geometry import clamp, set_iou
from anomalyr1.metrics.bootstrap import RESAMPLES
from anomalyr1.metrics.stability import Moved, moved_values, stability, stability_in_part
from anomalyr1.schema import Box
from anomalyr1.segmentation.segmenter import Mask, Segmenter, united


@dataclass(frozen=True, slots=True)
class Jitter:
    """How far boxes are moved (`shares` of their sides, at most), and how often (`draws`)."""

    shares: tuple[float, ...]
    draws: int

    @property
    def key(self) -> dict[str, Any]:
        """What a line of masks says of it."""
        return {"shares": list(self.shares), "draws": self.draws}

    def moved(
        self, image: str, boxes: Sequence[Box], size: tuple[int, int]
    ) -> list[list[tuple[Box, ...]]]:
        """The boxes of an image as they are moved, for each share each of the draws.

        A draw is of the image's name, and goes the same way for every share, only farther.
        """
        drawn = [
            np.random.default_rng(digest("jitter", image, draw)).uniform(-1, 1, (len(boxes), 4))
            for draw in range(self.draws)
        ]
        return [[_each(boxes, share * of_draw, size) for of_draw in drawn] for share in self.shares]


def jittered(box: Box, shares: Sequence[float], size: tuple[int, int]) -> Box:
    """A box moved and resized about its centre, cut to the image.

    Args:
        box: in pixels of the image.
        shares: of its own sides: right, down, wider, higher.
        size: (width, height) of the image.

    >>> jittered(Box(10, 10, 20, 30), (0.1, 0, -0.2, 0), (100, 100)).xyxy
    (12.0, 10.0, 20.0, 30.0)
    """
    right, down, wider, higher = (float(share) for share in shares)
    w, h = box.x2 - box.x1, box.y2 - box.y1
    x, y = (box.x1 + box.x2) / 2 + right * w, (box.y1 + box.y2) / 2 + down * h
    w, h = w * (1 + wider) / 2, h * (1 + higher) / 2
    return clamp(Box(x - w, y - h, x + w, y + h, box.label), *size)


def jittered_masks(
    jitter: Jitter, segmenter: Segmenter, pixels: NDArray[np.uint8], image: ImageReading
) -> list[list[dict[str, Any]]]:
    """Run lengths of the masks from the moved boxes, a list of draws a share.

    All boxes are asked about in one call, so that the image is encoded once.
    """
    height, width = pixels.shape[:2]
    moved = jitter.moved(image.image, image.boxes_in_image or (), (width, height))
    every = [box for draws in moved for boxes in draws for box in boxes]
    masks: Iterator[Mask] = segmenter.masks(pixels, every)
    return [
        [encode_mask(united((next(masks) for _ in boxes), width, height)) for boxes in draws]
        for draws in moved
    ]


def jitter_scores(
    images: Mapping[str, ImageReading],
    rows: Mapping[str, Mapping[str, Any]],
    resamples: int = RESAMPLES,
) -> dict[str, Any] | None:
    """`draws`, and under `shares` the figures of `metrics.stability` for each, in strata too.

    Args:
        images: by their keys.
        rows: lines of masks by the same keys.
        resamples: bootstrap resamples.

    Returns:
        None where the lines were made without moving boxes, or no image has a predicted box.
    """
    keys = [row["key"]["jitter"] for row in rows.values() if "jitter" in row["key"]]
    if not keys:
        return None
    jitter = Jitter(tuple(keys[0]["shares"]), keys[0]["draws"])
    boxed = [
        key
        for key, row in rows.items()
        if row["key"].get("jitter") == jitter.key and images[key].boxes_in_image
    ]
    if not boxed:
        return None
    moved = [_moved(images[key], rows[key], jitter) for key in boxed]
    strata = image_strata([images[key] for key in boxed])

    def at(number: int) -> dict[str, Any]:
        of_share = [of_image[number] for of_image in moved]
        values = moved_values(of_share)
        by_stratum = in_strata(strata, lambda rows: stability_in_part(values[rows]))
        return stability(of_share, resamples) | by_stratum

    return {
        "draws": jitter.draws,
        "shares": {f"{share:g}": at(number) for number, share in enumerate(jitter.shares)},
    }


def _each(
    boxes: Sequence[Box], amounts: NDArray[np.float64], size: tuple[int, int]
) -> tuple[Box, ...]:
    return tuple(jittered(box, amount, size) for box, amount in zip(boxes, amounts, strict=True))


def _moved(image: ImageReading, row: Mapping[str, Any], jitter: Jitter) -> list[Moved]:
    """What moving the boxes of an image does, at each share; means over the draws."""
    width, height = row["size"]
    stated = image.boxes_in_image or ()
    mask, target, gold = row["masks"]["predicted"], row["target"], image.gold_in_image
    found = []
    for boxes, masks in zip(
        jitter.moved(image.image, stated, (width, height)), row["jittered"], strict=True
    ):
        overlap = None
        if target is not None and not image.normal:
            overlap = rle_iou([mask, *masks], target)
        found.append(
            Moved(
                mask_iou=None if overlap is None else _change(overlap),
                mask_dice=None if overlap is None else _change([2 * i / (1 + i) for i in overlap]),
                box_iou=_change([set_iou(one, gold) for one in (stated, *boxes)]) if gold else None,
                kept_mask=float(np.mean(rle_iou(masks, mask))),
                kept_boxes=float(np.mean([set_iou(one, stated) for one in boxes])),
            )
        )
    return found


def _change(values: Sequence[float]) -> tuple[float, float]:
    """The first value, and the mean of the others."""
    return values[0], float(np.mean(values[1:]))

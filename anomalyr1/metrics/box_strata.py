"""Box figures by the size of the gold box, by what it shows, and by product.

COCO calls an object small below 32 x 32 pixels and large from 96 x 96 on (Lin et al., ECCV 2014),
of photos that mostly have 640 x 480. Images of products have any size, and a policy sees them
smaller: here the same limits are shares of the image's area, 1/300 and 3/100. As in COCO's
evaluation, what is matched counts for the gold box's size, and a false alarm for its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anomalyr1.geometry import match_boxes
from anomalyr1.metrics.bootstrap import RESAMPLES, SEED, named_ratios, ratio_intervals
from anomalyr1.metrics.box_areas import AREA_RATIOS, area_parts
from anomalyr1.metrics.boxes import BOX_RATIOS, THRESHOLDS, ImageBoxes, box_parts, matched

SIZES = ("small", "medium", "large")
_LIMITS = (32**2 / (640 * 480), 96**2 / (640 * 480))
_FOUND = (*(f"recall@{threshold}" for threshold in THRESHOLDS), "iou")
_F1 = tuple(f"f1@{threshold}" for threshold in THRESHOLDS)
_BY_CATEGORY = (*BOX_RATIOS, *AREA_RATIOS)


def size_class(share: float) -> str:
    """The class of a region by its share of the image's area.

    >>> size_class(0.003), size_class(1 / 300), size_class(0.03)
    ('small', 'medium', 'large')
    """
    return SIZES[sum(share >= limit for limit in _LIMITS)]


def by_size(
    images: Sequence[tuple[ImageBoxes, tuple[int, int]]],
    resamples: int = RESAMPLES,
    seed: int = SEED,
) -> dict[str, Any]:
    """Figures of each of `SIZES` that has a gold box.

    Args:
        images: boxes, and (width, height) of their image.
        resamples: bootstrap resamples.
        seed: of the draws.

    Returns:
        `gold`: how many boxes. `recall@t` and `f1@t` for t in 0.33 and 0.5; `iou`: mean IoU of the
        gold boxes in the best one-to-one matching, 0 where nothing is matched. `intervals` of each.
    """
    names = (*_FOUND, *_F1)
    parts = np.zeros((len(SIZES), len(images), len(names), 2))
    for row, (image, (width, height)) in enumerate(images):
        of_gold, of_predicted = (
            [SIZES.index(size_class(box.area / (width * height))) for box in boxes]
            for boxes in (image.gold, image.predicted)
        )
        found = _found(image)
        for size, cells in zip(of_gold, found, strict=True):
            parts[size, row, : len(_FOUND)] += np.stack([cells, np.ones(len(_FOUND))], -1)
        for column, threshold in enumerate(THRESHOLDS, start=len(_FOUND)):
            pairs = matched(image.predicted, image.gold, threshold)
            for _, gold in pairs:
                parts[of_gold[gold], row, column] += (2, 1)  # a right box is one of its size
            for size in of_gold:
                parts[size, row, column, 1] += 1
            for index in set(range(len(of_predicted))) - {predicted for predicted, _ in pairs}:
                parts[of_predicted[index], row, column, 1] += 1
    ends = ratio_intervals(np.concatenate(parts, axis=1), resamples, seed)
    width = len(names)
    return {
        name: _figures(parts[number], names, ends[number * width : (number + 1) * width])
        for number, name in enumerate(SIZES)
        if parts[number, :, 0, 1].any()
    }


def by_defect(
    images: Sequence[ImageBoxes], resamples: int = RESAMPLES, seed: int = SEED
) -> dict[str, Any]:
    """Recall and IoU, as `by_size` has them, of the gold boxes of each label.

    The images that have one of that label are drawn.
    """
    rows: dict[str, list[NDArray[np.float64]]] = {}
    for image in images:
        found, labels = _found(image), [str(box.label) for box in image.gold]
        for name in dict.fromkeys(labels):
            own = found[[label == name for label in labels]]
            rows.setdefault(name, []).append(
                np.stack([own.sum(axis=0), np.full(len(_FOUND), len(own))], -1)
            )
    figures = {}
    for name in sorted(rows):
        parts = np.array(rows[name])
        figures[name] = _figures(parts, _FOUND, ratio_intervals(parts, resamples, seed))
    return figures


def by_category(
    images: Sequence[ImageBoxes],
    categories: Sequence[str],
    resamples: int = RESAMPLES,
    seed: int = SEED,
) -> dict[str, Any]:
    """`images`, `gold`, the figures of `BOX_RATIOS` and `AREA_RATIOS`, and their `intervals`.

    Args:
        images: boxes.
        categories: of each image.
        resamples: bootstrap resamples.
        seed: of the draws.
    """
    parts = np.concatenate([box_parts(images), area_parts(images)], axis=1)
    rows: dict[str, list[int]] = {}
    for row, category in enumerate(categories):
        rows.setdefault(category, []).append(row)
    return {
        category: {
            "images": len(of_category),
            "gold": sum(len(images[row].gold) for row in of_category),
            **named_ratios(
                _BY_CATEGORY,
                parts[of_category],
                ratio_intervals(parts[of_category], resamples, seed),
            ),
        }
        for category, of_category in sorted(rows.items())
    }


def _found(image: ImageBoxes) -> NDArray[np.float64]:
    """Of each gold box: whether it is matched at each of `THRESHOLDS`, and its IoU: (gold, 3)."""
    found = np.zeros((len(image.gold), len(_FOUND)))
    for column, threshold in enumerate(THRESHOLDS):
        found[[gold for _, gold in matched(image.predicted, image.gold, threshold)], column] = 1
    for _, gold, overlap in match_boxes(image.predicted, image.gold):
        found[gold, -1] = overlap
    return found


def _figures(
    parts: NDArray[np.float64],
    names: Sequence[str],
    ends: Sequence[tuple[float, float] | None],
) -> dict[str, Any]:
    return {"gold": int(parts[:, 0, 1].sum()), **named_ratios(names, parts, ends)}

"""Where boxes and masks are good: by size of the defect, by its name, by product."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from anomalyr1.evaluation.image_readings import ImageReading
from anomalyr1.metrics.box_strata import SIZES, by_category, by_defect, by_size, size_class
from anomalyr1.metrics.boxes import ImageBoxes
from anomalyr1.metrics.pixel import PixelCounts, overlap_scores
from anomalyr1.schema import category_of, dataset_of, defect_of
from anomalyr1.values import in_words

Counted = tuple[str, PixelCounts]  # an image's key, and its mask against gold


def box_strata(images: Sequence[ImageReading], resamples: int) -> dict[str, Any]:
    """`sizes` (of the images whose size is known), `defects` and `categories`.

    What stands in them, `metrics.box_strata` says. A gold box without a label is of the defect that
    its image's folder names; both are spelled in words.
    """
    named = [
        ImageBoxes(
            image.boxes.predicted,
            tuple(
                replace(box, label=in_words(box.label or defect_of(image.image)))
                for box in image.boxes.gold
            ),
        )
        for image in images
    ]
    sized = [(image.boxes, image.size) for image in images if image.size is not None]
    products = [_product(image.image) for image in images]
    return {
        "sizes": by_size(sized, resamples),
        "defects": by_defect(named, resamples),
        "categories": by_category(named, products, resamples),
    }


def mask_strata(counts: Sequence[Counted], resamples: int) -> dict[str, Any]:
    """`sizes` (by the gold mask), `defects` (by folder) and `categories` of anomalous images.

    Each with `images`, mean `iou` and `dice`, and their `intervals`.
    """
    anomalous = [(image, counted) for image, counted in counts if not counted.is_normal]

    def grouped(name: Callable[[Counted], str]) -> dict[str, Any]:
        groups: dict[str, list[PixelCounts]] = {}
        for one in anomalous:
            groups.setdefault(name(one), []).append(one[1])
        return {
            group: {"images": len(groups[group]), **overlap_scores(groups[group], resamples)}
            for group in sorted(groups)
        }

    sizes = grouped(lambda one: size_class(one[1].gold_share))
    return {
        "sizes": {name: sizes[name] for name in SIZES if name in sizes},
        "defects": grouped(lambda one: in_words(defect_of(one[0]))),
        "categories": grouped(lambda one: _product(one[0])),
    }


def _product(image: str) -> str:
    return f"{dataset_of(image)}/{category_of(image)}"

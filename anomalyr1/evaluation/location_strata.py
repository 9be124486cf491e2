"""Where boxes and masks are good: by size of the defect, by its name, by product."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from anomalyr1.evaluation.image_readings import ImageReading
from anomalyr1.metrics.box_groups import BoxGroups, box_groups, image_groups
from anomalyr1.metrics.box_strata import SIZES, by_category, by_defect, by_size, size_class
from anomalyr1.metrics.boxes import ImageBoxes
from anomalyr1.metrics.class_boxes import ClassedBoxes, class_strata
from anomalyr1.metrics.coco_boxes import CocoMatches
from anomalyr1.metrics.pixel import PixelCounts, overlap_scores
from anomalyr1.schema import Box, category_of, dataset_of, defect_of
from anomalyr1.values import in_words

Counted = tuple[str, PixelCounts]  # an image's key, and its mask against gold
Strata = Mapping[str, Mapping[str, Sequence[int]]]  # kind of stratum -> its name -> images


def box_strata(
    images: Sequence[ImageReading],
    matches: CocoMatches,
    classed: Sequence[ClassedBoxes],
    resamples: int,
) -> dict[str, Any]:
    """`sizes` (of the images whose size is known), `defects` and `categories`.

    What stands in them, `metrics.box_strata` says; `ar` and `ap` are COCO's and `deeppcb` is
    DeepPCB's, without intervals. A gold box without a label is of the defect that its image's
    folder names; both are spelled in words. A false alarm is of no defect, unless it names one.

    Args:
        images: with known gold boxes.
        matches: of their boxes.
        classed: their boxes with their classes.
        resamples: bootstrap resamples.
    """
    named = [
        ImageBoxes(
            image.boxes.predicted,
            tuple(
                replace(box, label=name)
                for box, name in zip(image.boxes.gold, _defects(image), strict=True)
            ),
        )
        for image in images
    ]
    sized = [(image.boxes, image.size) for image in images if image.size is not None]
    products = [_product(image.image) for image in images]
    found = {
        "sizes": by_size(sized, resamples),
        "defects": by_defect(named, resamples),
        "categories": by_category(named, products, resamples),
    }
    defects, alarms = _defect_groups(list(found["defects"]), named, classed)
    groups = {
        "sizes": box_groups(
            list(found["sizes"]),
            [size for image in images for size in _sizes(image, image.boxes.gold)],
            [size for image in images for size in _sizes(image, image.boxes.predicted)],
        ),
        "defects": defects,
        "categories": image_groups(named, products),
    }
    for kind, strata in found.items():
        by_coco = matches.scores(groups[kind])
        by_class = class_strata(classed, alarms if kind == "defects" else groups[kind])
        for name, cells in strata.items():
            cells |= {**by_coco[name], "deeppcb": by_class[name]}
    return found


def _defect_groups(
    names: Sequence[str], named: Sequence[ImageBoxes], classed: Sequence[ClassedBoxes]
) -> tuple[BoxGroups, BoxGroups]:
    """Gold boxes by their defects; then with the false alarms that name a defect, if any does."""
    gold = [box.label for image in named for box in image.gold]
    classes = [box.label for image in classed for box in image.gold]
    alone = box_groups(names, gold, None)
    if not any(classes):
        return alone, alone
    spelt = dict(zip(classes, gold, strict=True))
    said = [spelt.get(box.label) for image in classed for box in image.predicted]
    return alone, box_groups(names, gold, said)


def image_strata(images: Sequence[ImageReading]) -> Strata:
    """The images of every one of `sizes`, `defects` and `categories`, as places in `images`.

    An image is of each size and each defect that one of its gold boxes has; without boxes on record
    an anomalous one is of its folder's defect, and of no size.
    """
    strata: dict[str, dict[str, list[int]]] = {"sizes": {}, "defects": {}, "categories": {}}
    for row, image in enumerate(images):
        unknown = image.gold_in_image is None and not image.normal
        shown = {
            "sizes": _sizes(image, image.boxes.gold),
            "defects": [in_words(defect_of(image.image))] if unknown else _defects(image),
            "categories": [_product(image.image)],
        }
        for kind, names in shown.items():
            for name in dict.fromkeys(names):
                if name is not None:
                    strata[kind].setdefault(name, []).append(row)
    order = {name: place for place, name in enumerate(SIZES)}
    return {
        kind: {name: found[name] for name in sorted(found, key=lambda n: (order.get(n, 0), n))}
        for kind, found in strata.items()
    }


def in_strata(
    strata: Strata, scores: Callable[[Sequence[int]], dict[str, Any]]
) -> dict[str, dict[str, Any]]:
    """What `scores` makes of the images of each stratum."""
    return {
        kind: {name: scores(rows) for name, rows in found.items()} for kind, found in strata.items()
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


def _defects(image: ImageReading) -> list[str]:
    """What each gold box shows."""
    return [in_words(box.label or defect_of(image.image)) for box in image.boxes.gold]


def _sizes(image: ImageReading, boxes: Sequence[Box]) -> Sequence[str | None]:
    """The size of each box, None where that of the image is not known."""
    if image.size is None:
        return [None] * len(boxes)
    width, height = image.size
    return [size_class(box.area / (width * height)) for box in boxes]

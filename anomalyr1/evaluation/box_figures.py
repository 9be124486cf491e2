"""Every figure of the stated boxes of a file: of all images, by data set, and in strata."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from anomalyr1.evaluation.box_classes import class_figures, classed_boxes, classes_from
from anomalyr1.evaluation.image_readings import ImageReading
from anomalyr1.evaluation.location_strata import box_strata
from anomalyr1.metrics.box_areas import area_scores
from anomalyr1.metrics.box_groups import image_groups
from anomalyr1.metrics.boxes import box_scores
from anomalyr1.metrics.coco_boxes import coco_matches
from anomalyr1.metrics.detection import Verdict, detection

_POOLED = "pooled"


def box_figures(
    images: Sequence[ImageReading],
    chosen: Mapping[str, str],
    scores: Mapping[str, float],
    resamples: int,
) -> dict[str, Any]:
    """`pooled`, by `datasets`, and what `box_strata` has; COCO's matching is made once for all.

    Args:
        images: with known gold boxes.
        chosen: image -> the type of defect that its answer names.
        scores: image -> P(anomalous), the confidence of its boxes.
        resamples: bootstrap resamples.
    """
    boxes = [image.boxes for image in images]
    matches = coco_matches(boxes, [scores.get(image.image) for image in images])
    source = classes_from(images, chosen)
    classed = classed_boxes(images, chosen, scores, source)
    by_dataset: dict[str, list[int]] = {}
    for row, image in enumerate(images):
        by_dataset.setdefault(image.dataset, []).append(row)

    def of_dataset(rows: Sequence[int]) -> dict[str, Any]:
        group = [images[row] for row in rows]
        own = classes_from(group, chosen)
        of_group = (
            [classed[row] for row in rows]  # whose boxes are paired already
            if own == source
            else classed_boxes(group, chosen, scores, own)
        )
        return _figures(group, resamples) | {
            "deeppcb": class_figures(group, of_group, own, resamples)
        }

    whole = matches.scores(image_groups(boxes, [_POOLED] * len(images)))[_POOLED]
    by_coco = matches.scores(image_groups(boxes, [image.dataset for image in images]))
    pooled = _figures(images, resamples) | whole
    return {
        _POOLED: pooled | {"deeppcb": class_figures(images, classed, source, resamples)},
        "datasets": {name: of_dataset(rows) | by_coco[name] for name, rows in by_dataset.items()},
        **box_strata(images, matches, classed, resamples),
    }


def _figures(images: Sequence[ImageReading], resamples: int) -> dict[str, Any]:
    """Box metrics; an unreadable answer is a wrong verdict on the image."""
    boxes = [image.boxes for image in images]
    by_count, by_area = box_scores(boxes, resamples), area_scores(boxes, resamples)
    verdicts = [
        Verdict(
            normal=not image.gold_in_image,
            correct=image.boxes_in_image is not None
            and bool(image.boxes_in_image) == bool(image.gold_in_image),
        )
        for image in images
    ]
    return {
        **by_count,
        **by_area,
        "intervals": {**by_count["intervals"], **by_area["intervals"]},
        "unreadable": sum(image.boxes_in_image is None for image in images),
        "detection": detection(verdicts),
    }

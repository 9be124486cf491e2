"""COCO's average recall and average precision of boxes, by pycocotools (Lin et al., ECCV 2014).

A stated box has no confidence of its own. Recall needs none. Precision needs one, which is that of
its image, so that all boxes of an image are equals, and images may be too. Among equals pycocotools
ranks by the order in which they come: mirrored predictions have another AP. Here its matching is
kept, and equals enter the curve together, as in scikit-learn's.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from anomalyr1.metrics.boxes import ImageBoxes
from anomalyr1.schema import Box


def coco_scores(
    images: Sequence[ImageBoxes], confidences: Sequence[float | None]
) -> dict[str, float | None]:
    """`ar` and `ap` of a set of images, in percent.

    Args:
        images: boxes.
        confidences: of each image, that of all of its predicted boxes.
    """
    return {"ar": average_recall(images), "ap": average_precision(images, confidences)}


def average_recall(images: Sequence[ImageBoxes]) -> float | None:
    """COCO's AR (IoU 0.50:0.95, all areas, 100 boxes an image, one class); None without gold."""
    if not any(image.gold for image in images):
        return None
    if not any(image.predicted for image in images):
        return 0.0
    evaluation = _evaluated(images, [1.0] * len(images))
    with contextlib.redirect_stdout(io.StringIO()):
        evaluation.accumulate()
    recall = evaluation.eval["recall"][:, 0, 0, -1]  # every IoU, the class, all areas, 100 boxes
    return 100 * float(recall.mean())


def average_precision(
    images: Sequence[ImageBoxes], confidences: Sequence[float | None]
) -> float | None:
    """COCO's AP (IoU 0.50:0.95, 101 recalls, all areas, 100 boxes an image, one class).

    None without a gold box, and where an image with predicted boxes has no confidence.
    """
    boxed = [image.predicted for image in images]
    if not any(image.gold for image in images) or any(
        known is None for known, of in zip(confidences, boxed, strict=True) if of
    ):
        return None
    if not any(boxed):
        return 0.0
    evaluation = _evaluated(images, [known or 0.0 for known in confidences])
    found = [one for one in evaluation.evalImgs[: len(images)] if one is not None]  # of all areas
    scores = np.concatenate([one["dtScores"] for one in found])
    order = np.argsort(-scores, kind="stable")
    matched = np.concatenate([one["dtMatches"] for one in found], axis=1)[:, order] > 0
    last_of_equals = np.flatnonzero(np.append(np.diff(scores[order]) != 0, True))
    gold = sum(len(image.gold) for image in images)
    precisions = []
    for hits in np.cumsum(matched, axis=1)[:, last_of_equals]:
        precision = np.maximum.accumulate((hits / (last_of_equals + 1))[::-1])[::-1]
        reached = np.searchsorted(hits / gold, evaluation.params.recThrs, side="left")
        precisions.append(np.append(precision, 0.0)[reached])
    return 100 * float(np.mean(precisions))


def _evaluated(images: Sequence[ImageBoxes], confidences: Sequence[float]) -> COCOeval:
    """Boxes matched at every IoU; at least one is predicted."""
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        truth.dataset = {
            "info": {},
            "images": [{"id": index} for index in range(len(images))],
            "categories": [{"id": 1, "name": "defect"}],
            "annotations": _annotations([image.gold for image in images]),
        }
        truth.createIndex()
        found = _annotations([image.predicted for image in images])
        scored = [{**box, "score": confidences[box["image_id"]]} for box in found]
        evaluation = COCOeval(truth, truth.loadRes(scored), "bbox")
        evaluation.evaluate()
    return evaluation


def _annotations(boxes: Sequence[Sequence[Box]]) -> list[Mapping[str, Any]]:
    """COCO annotations with ids from 1: pycocotools takes id 0 for "not matched"."""
    rows: list[Mapping[str, Any]] = []
    for index, of_image in enumerate(boxes):
        for box in of_image:
            width, height = max(0.0, box.x2 - box.x1), max(0.0, box.y2 - box.y1)
            row = {"image_id": index, "category_id": 1, "bbox": [box.x1, box.y1, width, height]}
            rows.append({**row, "id": len(rows) + 1, "area": width * height, "iscrowd": 0})
    return rows

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
    """Average recall and average precision of a set of images, in percent.

    IoU 0.50:0.95, all areas, one class, 100 boxes an image; AP over 101 recalls.

    Args:
        images: boxes.
        confidences: of each image, that of all of its predicted boxes.

    Returns:
        `ar`: None without a gold box. `ap`: None without one too, and where an image with predicted
        boxes has no confidence.
    """
    gold = sum(len(image.gold) for image in images)
    boxed = [known for image, known in zip(images, confidences, strict=True) if image.predicted]
    if not gold or not boxed:
        nothing_found = 0.0 if gold else None
        return {"ar": nothing_found, "ap": nothing_found}
    evaluation = matched_by_coco(images, [known or 0.0 for known in confidences])
    with contextlib.redirect_stdout(io.StringIO()):
        evaluation.accumulate()
    recall = 100 * float(evaluation.eval["recall"].mean())
    return {"ar": recall, "ap": None if None in boxed else _average_precision(evaluation, gold)}


def matched_by_coco(images: Sequence[ImageBoxes], confidences: Sequence[float]) -> COCOeval:
    """Boxes matched by pycocotools at every IoU; at least one is predicted."""
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
        evaluation.params.areaRng = evaluation.params.areaRng[:1]  # of all areas
        evaluation.params.maxDets = evaluation.params.maxDets[-1:]
        evaluation.evaluate()
    return evaluation


def _average_precision(evaluation: COCOeval, gold: int) -> float:
    found = [one for one in evaluation.evalImgs if one is not None]
    scores = np.concatenate([one["dtScores"] for one in found])
    order = np.argsort(-scores, kind="stable")
    matched = np.concatenate([one["dtMatches"] for one in found], axis=1)[:, order] > 0
    last_of_equals = np.flatnonzero(np.append(np.diff(scores[order]) != 0, True))
    precisions = []
    for hits in np.cumsum(matched, axis=1)[:, last_of_equals]:
        precision = np.maximum.accumulate((hits / (last_of_equals + 1))[::-1])[::-1]
        reached = np.searchsorted(hits / gold, evaluation.params.recThrs, side="left")
        precisions.append(np.append(precision, 0.0)[reached])
    return 100 * float(np.mean(precisions))


def _annotations(boxes: Sequence[Sequence[Box]]) -> list[Mapping[str, Any]]:
    """COCO annotations with ids from 1: pycocotools takes id 0 for "not matched"."""
    rows: list[Mapping[str, Any]] = []
    for index, of_image in enumerate(boxes):
        for box in of_image:
            width, height = max(0.0, box.x2 - box.x1), max(0.0, box.y2 - box.y1)
            row = {"image_id": index, "category_id": 1, "bbox": [box.x1, box.y1, width, height]}
            rows.append({**row, "id": len(rows) + 1, "area": width * height, "iscrowd": 0})
    return rows

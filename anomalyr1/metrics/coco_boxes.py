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
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval, Params

from anomalyr1.metrics.box_groups import NONE, BoxGroups
from anomalyr1.metrics.boxes import ImageBoxes
from anomalyr1.schema import Box

_RECALLS = Params("bbox").recThrs


@dataclass(frozen=True, slots=True)
class CocoMatches:
    """Boxes as pycocotools matches them, of which the figures of any strata are counted.

    IoU 0.50:0.95, all areas, one class, 100 boxes an image.

    Attributes:
        boxes: (n,) predicted boxes by falling confidence, as places among those of all images.
        confidences: (n,) of each; NaN where its image has none.
        gold_of: (10, n) at each IoU the gold box that a box is matched to, `NONE` without.
    """

    boxes: NDArray[np.int64]
    confidences: NDArray[np.float64]
    gold_of: NDArray[np.int64]

    def scores(self, groups: BoxGroups) -> dict[str, dict[str, float | None]]:
        """Average recall and average precision of each stratum, in percent; AP over 101 recalls.

        Returns:
            `ar`: None without a gold box. `ap`: None without one too, where a predicted box that
            counts has no confidence, and where false alarms are of no stratum.
        """
        strata = groups.counted(self.gold_of, self.boxes)
        gold = groups.sums(groups.gold)
        hits = self.gold_of != NONE
        found = groups.sums(strata[hits])
        scores: dict[str, dict[str, float | None]] = {}
        for place, name in enumerate(groups.names):
            if not gold[place]:
                scores[name] = {"ar": None, "ap": None}
                continue
            recall = 100 * float(found[place]) / (len(hits) * int(gold[place]))
            within = strata == place
            of_it = np.flatnonzero(within.any(axis=0))
            scores[name] = {"ar": recall, "ap": None}
            if groups.own is not None and not np.isnan(self.confidences[of_it]).any():
                scores[name]["ap"] = _average_precision(
                    within[:, of_it], hits[:, of_it], self.confidences[of_it], int(gold[place])
                )
        return scores


def coco_matches(images: Sequence[ImageBoxes], confidences: Sequence[float | None]) -> CocoMatches:
    """Match the boxes of a set of images.

    Args:
        images: boxes.
        confidences: of each image, that of all of its predicted boxes.
    """
    if not any(image.predicted for image in images):
        nothing = np.zeros(0, dtype=np.int64)
        return CocoMatches(nothing, np.zeros(0), np.zeros((10, 0), dtype=np.int64))
    evaluation = matched_by_coco(images, [known or 0.0 for known in confidences])
    found = [one for one in evaluation.evalImgs if one is not None]
    known = np.repeat(
        np.array(confidences, dtype=np.float64), [len(image.predicted) for image in images]
    )
    boxes = np.concatenate([one["dtIds"] for one in found]).astype(np.int64) - 1
    order = np.argsort(-np.concatenate([one["dtScores"] for one in found]), kind="stable")
    gold_of = np.concatenate([one["dtMatches"] for one in found], axis=1).astype(np.int64) - 1
    return CocoMatches(boxes[order], known[boxes[order]], gold_of[:, order])


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


def _average_precision(
    within: NDArray[np.bool_], hits: NDArray[np.bool_], confidences: NDArray[np.float64], gold: int
) -> float:
    """Of the boxes that count (IoUs, boxes), which come by falling confidence."""
    if not (within & hits).any():
        return 0.0
    last_of_equals = np.flatnonzero(np.append(np.diff(confidences) != 0, True))
    precisions = []
    for right, stated in zip(
        np.cumsum(within & hits, axis=1)[:, last_of_equals],
        np.cumsum(within, axis=1)[:, last_of_equals],
        strict=True,
    ):
        precision = np.maximum.accumulate((right / np.maximum(stated, 1))[::-1])[::-1]
        reached = np.searchsorted(right / gold, _RECALLS, side="left")
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

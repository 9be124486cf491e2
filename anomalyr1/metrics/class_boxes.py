"""Boxes that name a defect, as DeepPCB counts them (Tang et al., arXiv 1902.06197).

A detection is right where its IoU with a gold box of the same class is above 0.33, and a gold box
makes one detection right. Precision, recall and F-score are of the boxes of all images together;
mAP is the mean over the classes of the average precision. DeepPCB derives its script from that of
ICDAR 2015, whose walk is kept: gold box by gold box in their order, the first free detection that
fits is taken. A stated box has no confidence of its own, so every one counts in the F-score, and
there is an average precision only where images have a score. Detections of equal confidence enter
the curve together, where the script follows the order of a sort.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anomalyr1.geometry import iou_matrix
from anomalyr1.metrics.bootstrap import RESAMPLES, SEED, ratio_intervals
from anomalyr1.metrics.box_groups import NONE, BoxGroups
from anomalyr1.metrics.detection import average_precision, percent
from anomalyr1.schema import Box

THRESHOLD = 0.33
_RATIOS = ("precision", "recall", "f1")


@dataclass(frozen=True)
class ClassedBoxes:
    """Boxes of one image whose `label` is their class, None of a box that has none.

    `confidence` is the image's score, of each of its predicted boxes; None without one.
    """

    predicted: tuple[Box, ...]
    gold: tuple[Box, ...]
    confidence: float | None = None

    @cached_property
    def gold_of(self) -> tuple[int, ...]:
        """The gold box that each predicted box is right for, `NONE` of one that is wrong."""
        return tuple(right_for(self.predicted, self.gold))

    @property
    def hits(self) -> list[bool]:
        """Which of the predicted boxes are right."""
        return [target != NONE for target in self.gold_of]


def right_for(predicted: Sequence[Box], gold: Sequence[Box]) -> list[int]:
    """Which gold box each predicted one is right for, `NONE` where it is wrong.

    Classes have to be equal, so None fits None.

    >>> gold = [Box(0, 0, 9, 9, "open"), Box(20, 0, 29, 9, "short")]
    >>> said = [Box(0, 0, 9, 9, "short"), Box(0, 0, 9, 8, "open"), Box(0, 0, 9, 9, "open")]
    >>> right_for(said, gold)
    [-1, 0, -1]
    """
    gold_of = [NONE] * len(predicted)
    overlaps = iou_matrix(gold, predicted)
    for place, (target, row) in enumerate(zip(gold, overlaps, strict=True)):
        for index, (box, overlap) in enumerate(zip(predicted, row, strict=True)):
            if gold_of[index] == NONE and box.label == target.label and overlap > THRESHOLD:
                gold_of[index] = place
                break
    return gold_of


def class_scores(
    images: Sequence[ClassedBoxes], resamples: int = RESAMPLES, seed: int = SEED
) -> dict[str, Any]:
    """DeepPCB's figures over a set of images, in percent.

    Returns:
        `gold`, `predicted`: how many boxes. `precision`, `recall`, `f1`: of all boxes; None where
        there is nothing to count. `map`: mean over the classes that have a gold box; None without
        one, and where an image with predicted boxes has no confidence. `classes`: gold, predicted,
        the three ratios and `ap` of each class that has a gold box. `intervals`: 95 % bootstrap by
        image of the three ratios.
    """
    hits = [image.hits for image in images]
    found = np.array([sum(of_image) for of_image in hits], dtype=np.float64)
    stated = np.array([len(image.predicted) for image in images], dtype=np.float64)
    sought = np.array([len(image.gold) for image in images], dtype=np.float64)
    parts = np.stack(
        [np.stack(p, -1) for p in ((found, stated), (found, sought), (2 * found, stated + sought))],
        axis=1,
    )
    ranked = all(image.confidence is not None for image in images if image.predicted)
    marked: dict[str | None, list[tuple[float | None, bool]]] = {}
    for image, of_image in zip(images, hits, strict=True):
        for box, hit in zip(image.predicted, of_image, strict=True):
            marked.setdefault(box.label, []).append((image.confidence, hit))
    of_class = Counter(box.label for image in images for box in image.gold)
    classes = {
        name: _of_class(marked.get(name, ()), of_class[name], ranked)
        for name in sorted(of_class, key=str)
    }
    precisions = [cells["ap"] for cells in classes.values()]
    return {
        "gold": int(sought.sum()),
        "predicted": int(stated.sum()),
        **_ratios(int(found.sum()), int(stated.sum()), int(sought.sum())),
        "map": sum(precisions) / len(precisions) if precisions and ranked else None,
        "classes": {name: cells for name, cells in classes.items() if name is not None},
        "intervals": dict(zip(_RATIOS, ratio_intervals(parts, resamples, seed), strict=True)),
    }


def class_strata(images: Sequence[ClassedBoxes], groups: BoxGroups) -> dict[str, dict[str, Any]]:
    """`predicted`, `precision`, `recall` and `f1`, as `class_scores` has them, of each stratum.

    `recall` alone where false alarms are of no stratum, the others being None.
    """
    first = np.cumsum([0, *(len(image.gold) for image in images)])
    gold_of = np.array(
        [
            NONE if target == NONE else start + target
            for start, image in zip(first[:-1], images, strict=True)
            for target in image.gold_of
        ],
        dtype=np.int64,
    )
    strata = groups.counted(gold_of)
    found, stated = groups.sums(strata[gold_of != NONE]), groups.sums(strata)
    sought = groups.sums(groups.gold)
    figures: dict[str, dict[str, Any]] = {}
    for place, name in enumerate(groups.names):
        numbers = int(found[place]), int(stated[place]), int(sought[place])
        of_it = {"predicted": numbers[1], **_ratios(*numbers)}
        if groups.own is None:
            of_it |= dict.fromkeys(("predicted", "precision", "f1"))
        figures[name] = of_it
    return figures


def _of_class(
    marked: Sequence[tuple[float | None, bool]], gold: int, ranked: bool
) -> dict[str, Any]:
    """Of its predicted boxes, each with its confidence and whether it is right."""
    correct = np.array([hit for _, hit in marked], dtype=bool)
    return {
        "gold": gold,
        "predicted": len(marked),
        **_ratios(int(correct.sum()), len(marked), gold),
        "ap": _precision((c for c, _ in marked), correct, gold) if ranked else None,
    }


def _ratios(found: int, stated: int, sought: int) -> dict[str, float | None]:
    values = percent(found, stated), percent(found, sought), percent(2 * found, stated + sought)
    return dict(zip(_RATIOS, values, strict=True))


def _precision(confidences: Iterable[float | None], correct: NDArray[np.bool_], gold: int) -> float:
    """Sum of the precision at each right detection, over the gold boxes; in percent."""
    if not correct.any():
        return 0.0
    ranking = average_precision(np.array(list(confidences), dtype=np.float64), correct)
    return 100 * ranking * int(correct.sum()) / gold

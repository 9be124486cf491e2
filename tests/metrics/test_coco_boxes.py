"""COCO's AR and AP of boxes against pycocotools' own, and what it makes of equals."""

from __future__ import annotations

import contextlib
import io
import random
from collections.abc import Sequence

import numpy as np
import pytest
from pycocotools.cocoeval import COCOeval
from test_box_metrics import FAR, SQUARE, random_images

from anomalyr1.geometry import iou
from anomalyr1.metrics.boxes import ImageBoxes
from anomalyr1.metrics.coco_boxes import coco_scores, matched_by_coco


def by_pycocotools(images: list[ImageBoxes], confidences: Sequence[float]) -> tuple[float, float]:
    """Its own AR and AP, of which the second goes by the order of equals."""
    given = matched_by_coco(images, confidences)
    with contextlib.redirect_stdout(io.StringIO()):
        evaluation = COCOeval(given.cocoGt, given.cocoDt, "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return 100 * float(evaluation.stats[8]), 100 * float(evaluation.stats[0])


def average_precision(images: list[ImageBoxes], confidences: Sequence[float | None]) -> float:
    return coco_scores(images, confidences)["ap"]


@pytest.mark.parametrize("seed", range(4))
def test_average_recall_equals_cocos_greedy_matching_written_out(seed: int) -> None:
    images = random_images(seed)
    gold = sum(len(image.gold) for image in images)
    recalls = []
    for threshold in np.linspace(0.5, 0.95, 10):
        found = 0
        for image in images:
            free = list(image.gold)
            for box in image.predicted:  # equal scores: COCO keeps the order they are given in
                best = max(free, key=lambda g, box=box: iou(box, g), default=None)
                if best is not None and iou(box, best) >= threshold:
                    free.remove(best)
                    found += 1
        recalls.append(found / gold)
    assert coco_scores(images, [None] * len(images))["ar"] == pytest.approx(
        100 * float(np.mean(recalls))
    )


@pytest.mark.parametrize("seed", range(4))
def test_without_equals_it_is_pycocotools_s_own(seed: int) -> None:
    # Half of the images have their first gold box stated, so that there is something to find.
    images = [
        ImageBoxes((one.gold if place % 2 else one.predicted)[:1], one.gold)
        for place, one in enumerate(random_images(seed, 60))
    ]
    confidences = random.Random(seed).sample(range(1000), len(images))
    found = coco_scores(images, confidences)
    assert (found["ar"], found["ap"]) == pytest.approx(by_pycocotools(images, confidences))
    assert 0 < found["ap"] < 100


def test_equals_enter_together_whatever_their_order() -> None:
    """One right, one wrong, equally sure: half of what is stated is right at full recall."""
    images = [ImageBoxes((SQUARE,), (SQUARE,)), ImageBoxes((FAR,), ())]
    assert by_pycocotools(images, [0.5, 0.5])[1] == pytest.approx(100.0)
    assert by_pycocotools(images[::-1], [0.5, 0.5])[1] == pytest.approx(50.0)
    for order in (images, images[::-1]):
        assert average_precision(order, [0.5, 0.5]) == pytest.approx(50.0)
    assert average_precision(images, [0.9, 0.5]) == pytest.approx(100.0)  # the right one is surer
    assert average_precision(images, [0.5, 0.9]) == pytest.approx(50.0)


@pytest.mark.parametrize("seed", range(4))
def test_the_order_of_images_does_not_count(seed: int) -> None:
    images = [
        ImageBoxes((*one.predicted, *one.gold[:1]), one.gold) for one in random_images(seed, 40)
    ]
    confidences = [random.Random(place // 3).uniform(0, 1) for place in range(40)]
    found = average_precision(images, confidences)
    assert found and found != by_pycocotools(images, confidences)[1]
    assert average_precision(images[::-1], confidences[::-1]) == pytest.approx(found)


def test_where_there_is_none() -> None:
    found, missed = ImageBoxes((SQUARE,), (SQUARE,)), ImageBoxes((), (SQUARE,))
    assert coco_scores([found], [None]) == {"ar": pytest.approx(100.0), "ap": None}
    assert average_precision([found, missed], [0.5, None]) == pytest.approx(100 * 51 / 101)
    assert coco_scores([missed], [None]) == {"ar": 0.0, "ap": 0.0}
    assert coco_scores([ImageBoxes((SQUARE,), ())], [0.5]) == {"ar": None, "ap": None}

"""Box metrics against hand-drawn boxes and brute-force twins."""

from __future__ import annotations

import itertools
import random

import pytest

from anomalyr1.geometry import iou
from anomalyr1.metrics.boxes import ImageBoxes, box_scores, matches
from anomalyr1.metrics.coco_boxes import coco_scores
from anomalyr1.schema import Box

SQUARE = Box(0, 0, 10, 10)
HALF = Box(0, 0, 10, 5)  # IoU 0.5 with SQUARE
THIRD = Box(0, 0, 10, 4)  # IoU 0.4 with SQUARE
FAR = Box(50, 50, 60, 60)
LINE = Box(3, 3, 3, 9)  # no area


@pytest.mark.parametrize(
    ("predicted", "gold", "at_33", "at_50"),
    [
        ([], [], 0, 0),
        ([SQUARE], [], 0, 0),
        ([], [SQUARE], 0, 0),
        ([SQUARE], [SQUARE], 1, 1),
        ([HALF], [SQUARE], 1, 1),  # the threshold itself counts
        ([THIRD], [SQUARE], 1, 0),
        ([FAR], [SQUARE], 0, 0),
        ([SQUARE, SQUARE], [SQUARE], 1, 1),  # saying it twice finds it once
        ([LINE], [SQUARE], 0, 0),
        ([FAR, SQUARE], [SQUARE, FAR], 2, 2),  # order does not matter
    ],
)
def test_matches(predicted: list[Box], gold: list[Box], at_33: int, at_50: int) -> None:
    assert matches(predicted, gold, 0.33) == at_33
    assert matches(predicted, gold, 0.5) == at_50


def test_matching_finds_the_most_pairs_not_the_best_pair_first() -> None:
    """A fits X best and Y too, B fits X only: giving X to A first would lose B."""
    x, y = Box(0, 0, 10, 10), Box(0, 5, 10, 15)
    a, b = Box(0, 2, 10, 12), Box(0, 0, 10, 5)
    assert iou(a, x) > iou(a, y) > 0.33 and iou(b, x) == 0.5 and iou(b, y) < 0.33
    assert matches([a, b], [x, y], 0.33) == 2


def test_hand_table() -> None:
    images = [
        ImageBoxes((SQUARE,), (SQUARE,)),  # found
        ImageBoxes((THIRD, FAR), (SQUARE,)),  # found at 0.33, one too many
        ImageBoxes((), (SQUARE, FAR)),  # two missed
        ImageBoxes((), ()),  # normal, rightly empty
        ImageBoxes((FAR,), ()),  # normal, false alarm
    ]
    scores = box_scores(images)
    assert (scores["images"], scores["predicted"], scores["gold"]) == (5, 4, 4)
    assert scores["precision@0.33"] == 50.0 and scores["recall@0.33"] == 50.0
    assert scores["f1@0.33"] == 50.0 and scores["f1@0.5"] == 25.0
    assert scores["count_error"] == (0 + 1 + 2 + 0 + 1) / 5
    # 1, 0.4 / 2, 0, none and none = 1, some and none = 0
    assert scores["set_iou"] == pytest.approx(100 * (1 + 0.2 + 0 + 1 + 0) / 5)
    assert scores["set_iou_anomalous"] == pytest.approx(100 * 1.2 / 3)
    # the first boxes of images 1 and 2 point into gold, image 3 points nowhere
    assert scores["pointing"] == pytest.approx(200 / 3)
    # image 1 is recalled at all ten thresholds, image 2 (IoU 0.4) at none, of 4 gold boxes
    assert coco_scores(images, [None] * len(images)) == {"ar": pytest.approx(25.0), "ap": None}


def test_nothing_anywhere() -> None:
    scores = box_scores([])
    names = ("f1@0.5", "precision@0.5", "pointing", "set_iou", "count_error")
    assert all(scores[name] is None for name in names)
    normal = box_scores([ImageBoxes((), ())] * 3)
    assert normal["f1@0.5"] is None and normal["set_iou"] == 100.0
    silent = box_scores([ImageBoxes((), (SQUARE,))] * 2)
    assert silent["f1@0.5"] == 0.0 and silent["precision@0.5"] is None


def random_images(seed: int, count: int = 12) -> list[ImageBoxes]:
    chance = random.Random(seed)

    def boxes() -> tuple[Box, ...]:
        corners = (
            (chance.uniform(0, 20), chance.uniform(0, 20), chance.uniform(2, 16))
            for _ in range(chance.randrange(5))
        )
        return tuple(Box(x, y, x + side, y + chance.uniform(2, 16)) for x, y, side in corners)

    return [ImageBoxes(boxes(), boxes()) for _ in range(count)]


@pytest.mark.parametrize("seed", range(8))
def test_matches_equals_trying_every_assignment(seed: int) -> None:
    for image in random_images(seed):
        few, many = sorted([image.predicted, image.gold], key=len)
        best = max(
            sum(iou(a, b) >= 0.33 for a, b in zip(few, order, strict=True))
            for order in itertools.permutations(many, len(few))
        )
        assert matches(image.predicted, image.gold, 0.33) == best


def test_nothing_depends_on_the_order_of_images() -> None:
    images = random_images(3)
    first, second = box_scores(images), box_scores(images[::-1])
    for name, value in first.items():
        if name != "intervals":
            assert second[name] == pytest.approx(value), name


def test_f1_interval_surrounds_f1() -> None:
    scores = box_scores(random_images(5, count=80))
    low, high = scores["intervals"]["f1@0.33"]
    assert low < scores["f1@0.33"] < high
    assert box_scores(random_images(5, count=1))["intervals"]["f1@0.33"] is None

"""Box figures by size, defect and product, by hand and against the figures of all."""

from __future__ import annotations

import random

import pytest

from anomalyr1.metrics.box_areas import area_scores
from anomalyr1.metrics.box_strata import by_category, by_defect, by_size
from anomalyr1.metrics.boxes import ImageBoxes, box_scores
from anomalyr1.schema import Box

FRAME = (640, 480)  # where the limits are COCO's own: 32 x 32 and 96 x 96 pixels
SMALL, MEDIUM = Box(0, 0, 31, 33, "pit"), Box(100, 100, 132, 132, "dent")
LARGE = Box(200, 200, 296, 296, "dent")


def test_sizes_by_hand() -> None:
    half = Box(200, 200, 296, 248)  # half of LARGE: a medium box, that counts for a large one
    images = [
        (ImageBoxes((SMALL, half), (SMALL, LARGE)), FRAME),
        (ImageBoxes((MEDIUM,), (SMALL, MEDIUM)), FRAME),
        (ImageBoxes((Box(9, 9, 20, 20),), ()), FRAME),  # a small false alarm
    ]
    found = by_size(images)
    assert {name: cells["gold"] for name, cells in found.items()} == {
        "small": 2,
        "medium": 1,
        "large": 1,
    }
    small, medium, large = found.values()
    assert (small["recall@0.5"], small["iou"], small["f1@0.5"]) == (50.0, 50.0, 50.0)
    assert (medium["recall@0.5"], medium["f1@0.5"]) == (100.0, 100.0)
    assert (large["recall@0.33"], large["f1@0.5"], large["iou"]) == (100.0, 100.0, 50.0)
    # the same boxes in a frame four times as large are small, all of them
    assert set(by_size([(boxes, (2560, 1920)) for boxes, _ in images])) == {"small"}


def random_images(seed: int) -> list[ImageBoxes]:
    chance = random.Random(seed)

    def boxes() -> tuple[Box, ...]:
        corners = [(chance.randrange(20), chance.randrange(20)) for _ in range(chance.randrange(5))]
        return tuple(
            Box(x, y, x + chance.randint(4, 9), y + chance.randint(4, 9), "pit") for x, y in corners
        )

    return [ImageBoxes(boxes(), boxes()) for _ in range(25)]


@pytest.mark.parametrize("seed", range(4))
def test_one_stratum_is_all(seed: int) -> None:
    """Where everything is of one size, one defect and one product, the figures are those of all."""
    images = random_images(seed)
    whole, areas = box_scores(images), area_scores(images)
    [sized] = by_size([(image, (20, 20)) for image in images]).values()
    [defect] = by_defect(images).values()
    [product] = by_category(images, ["lid"] * len(images)).values()
    for name in ("recall@0.33", "recall@0.5", "f1@0.33", "f1@0.5"):
        assert sized[name] == pytest.approx(whole[name]), name
    assert sized["intervals"]["f1@0.5"] == pytest.approx(whole["intervals"]["f1@0.5"])
    assert {name: defect[name] for name in ("gold", "recall@0.5", "iou")} == {
        name: sized[name] for name in ("gold", "recall@0.5", "iou")
    }
    assert product["set_iou"] == pytest.approx(whole["set_iou"])
    assert product["bbox_miou"] == pytest.approx(areas["bbox_miou"])


def test_strata_hold_what_is_theirs() -> None:
    images = [ImageBoxes((SMALL,), (SMALL, LARGE)), ImageBoxes((), (MEDIUM,)), ImageBoxes((), ())]
    by_name = by_defect(images)
    assert (by_name["pit"]["recall@0.5"], by_name["dent"]["gold"]) == (100.0, 2)
    assert by_name["dent"]["recall@0.33"] == 0.0
    assert by_name["pit"]["intervals"]["iou"] is None  # of one image
    products = by_category(images, ["lid", "cap", "cap"])
    assert list(products) == ["cap", "lid"]
    assert (products["cap"]["set_iou"], products["cap"]["gold"]) == (50.0, 1)
    assert products["lid"]["f1@0.5"] == pytest.approx(200 / 3)
    assert by_size([]) == by_defect([]) == by_category([], []) == {}

"""Box fill and GrabCut: shapes, degenerate boxes, determinism, and a drawn defect."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from anomalyr1.errors import InputError
from anomalyr1.schema import Box
from anomalyr1.segmentation.grabcut import GrabCut
from anomalyr1.segmentation.segmenter import (
    BoxFill,
    Segmenter,
    load_segmenter,
    pixel_boxes,
    segment,
)

HEIGHT, WIDTH = 120, 160
SEGMENTERS = [BoxFill(), GrabCut()]


def drawn_defect() -> tuple[NDArray[np.uint8], NDArray[np.bool_], Box]:
    """A dark disc on a bright, noisy surface, its mask, and a box a little too large."""
    generator = np.random.default_rng(0)
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    gold = (rows - 60) ** 2 + (columns - 80) ** 2 < 18**2
    image = np.where(gold[..., None], 60, 190) + generator.normal(0, 8, (HEIGHT, WIDTH, 3))
    return image.clip(0, 255).astype(np.uint8), gold, Box(57, 37, 103, 83)


def iou(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> float:
    return float((first & second).sum() / (first | second).sum())


@pytest.mark.parametrize("segmenter", SEGMENTERS, ids=lambda s: s.name)
@pytest.mark.parametrize(
    "boxes",
    [
        [],
        [Box(30, 30, 30, 60)],  # no width
        [Box(60, 60, 30, 30)],  # corners swapped
        [Box(200, 10, 300, 20)],  # outside
    ],
)
def test_nothing_to_segment(segmenter: Segmenter, boxes: list[Box]) -> None:
    image, _, _ = drawn_defect()
    mask = segment(segmenter, image, boxes)
    assert mask.shape == (HEIGHT, WIDTH) and mask.dtype == np.bool_ and not mask.any()


@pytest.mark.parametrize("segmenter", SEGMENTERS, ids=lambda s: s.name)
def test_mask_stays_inside_its_boxes_and_unites_them(segmenter: Segmenter) -> None:
    image, _, box = drawn_defect()
    boxes = [box, Box(-9, -9, 6.4, 5), Box(140, 100, 999, 999)]
    mask = segment(segmenter, image, boxes)
    assert not (mask & ~segment(BoxFill(), image, boxes)).any()
    for one in boxes:
        x1, y1, x2, y2 = pixel_boxes([one], WIDTH, HEIGHT)[0]
        assert mask[y1:y2, x1:x2].any()


def test_box_fill_is_exact() -> None:
    image, _, _ = drawn_defect()
    mask = segment(BoxFill(), image, [Box(10, 20, 14, 23)])
    assert mask.sum() == 12 and mask[20:23, 10:14].all()


def test_grabcut_finds_the_defect_better_than_its_box() -> None:
    image, gold, box = drawn_defect()
    found = segment(GrabCut(), image, [box])
    assert iou(found, gold) > 0.9 > iou(segment(BoxFill(), image, [box]), gold)


def test_grabcut_is_deterministic() -> None:
    image, _, box = drawn_defect()
    boxes = [box, Box(0, 0, 40, 30)]
    first = segment(GrabCut(), image, boxes)
    np.random.default_rng(9).random(10)
    assert (first == segment(GrabCut(), image, boxes)).all()


@pytest.mark.parametrize(
    "box",
    [Box(0, 0, WIDTH, HEIGHT), Box(5, 5, 6, 6), Box(10, 10, 60, 50)],
    ids=["whole image: no background", "one pixel", "flat colour"],
)
def test_grabcut_falls_back_to_the_filled_box(box: Box) -> None:
    image = np.full((HEIGHT, WIDTH, 3), 128, dtype=np.uint8)
    assert (segment(GrabCut(), image, [box]) == segment(BoxFill(), image, [box])).all()


def test_grabcut_on_a_large_box_works_at_a_smaller_scale() -> None:
    image, gold, _ = drawn_defect()
    large = np.kron(image, np.ones((6, 6, 1), dtype=np.uint8))
    found = segment(GrabCut(), large, [Box(57 * 6, 37 * 6, 103 * 6, 83 * 6)])
    assert iou(found, np.kron(gold, np.ones((6, 6), dtype=np.bool_))) > 0.85


def test_unknown_segmenter_is_refused() -> None:
    with pytest.raises(InputError, match="box, grabcut, sam2"):
        load_segmenter("grab")

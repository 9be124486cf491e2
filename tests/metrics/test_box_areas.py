"""MMAD-BBox's figures against hand-drawn boxes and against the masks that the paper compares."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anomalyr1.metrics.box_areas import area_iou, area_scores
from anomalyr1.metrics.boxes import ImageBoxes
from anomalyr1.schema import Box
from anomalyr1.segmentation.segmenter import fill_boxes

SQUARE = Box(0, 0, 10, 10)
HALVES = (Box(0, 0, 5, 10), Box(5, 0, 10, 10))
FAR = Box(50, 50, 60, 60)


@pytest.mark.parametrize(
    ("predicted", "gold", "expected"),
    [
        ([], [], 0),
        ([], [SQUARE], 0),
        ([SQUARE], [SQUARE], 1),
        (HALVES, [SQUARE], 1),  # into how many boxes it is split makes no difference
        ([SQUARE, SQUARE], [SQUARE], 1),
        ([HALVES[0]], [SQUARE], 0.5),
        ([SQUARE], [SQUARE, FAR], 0.5),
        ([Box(0, 0, 15, 10)], [Box(5, 0, 20, 10)], 0.5),
        ([Box(3, 3, 3, 9)], [SQUARE], 0),  # a line covers nothing
        ([Box(0.5, 0, 1, 1)], [Box(0, 0, 1, 1)], 0.5),
    ],
)
def test_hand_table(predicted, gold, expected) -> None:
    assert area_iou(predicted, gold) == pytest.approx(expected)


corner = st.integers(0, 12)
boxes = st.lists(st.builds(Box, corner, corner, corner, corner), max_size=5)


@given(boxes, boxes)
def test_on_whole_pixels_it_is_the_iou_of_the_masks(predicted, gold) -> None:
    first, second = fill_boxes(predicted, 12, 12), fill_boxes(gold, 12, 12)
    either = (first | second).sum()
    twin = (first & second).sum() / either if either else 0.0
    assert area_iou(predicted, gold) == pytest.approx(twin)


def test_the_four_figures_are_those_of_a_loop() -> None:
    images = [
        ImageBoxes((SQUARE,), (SQUARE,)),
        ImageBoxes((HALVES[0],), (SQUARE,)),  # 0.5: the threshold itself counts
        ImageBoxes((Box(0, 0, 10, 2),), (SQUARE,)),  # 0.2
        ImageBoxes((), (SQUARE,)),
        ImageBoxes((FAR,), ()),  # a normal image is not counted
    ]
    found = area_scores(images)
    overlaps = [1.0, 0.5, 0.2, 0.0]
    assert found["bbox_miou"] == pytest.approx(100 * np.mean(overlaps))
    for threshold in (0.1, 0.3, 0.5):
        share = sum(overlap >= threshold for overlap in overlaps) / 4
        assert found[f"bbox_acc@{threshold}"] == pytest.approx(100 * share)
    for name, (low, high) in found["intervals"].items():
        assert low <= found[name] <= high
    normal = area_scores(images[-1:])
    assert normal["bbox_miou"] is None and normal["intervals"]["bbox_miou"] is None

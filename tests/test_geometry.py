import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anomalyr1.geometry import Frame, clamp, grid_cell, iou, match_boxes, set_iou
from anomalyr1.schema import Box

sides = st.integers(28, 4000)
coordinates = st.floats(-100, 1100, allow_nan=False)
boxes = st.tuples(
    st.integers(0, 90), st.integers(0, 90), st.integers(1, 30), st.integers(1, 30)
).map(lambda v: Box(v[0], v[1], v[0] + v[2], v[1] + v[3]))


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        ((0, 0, 10, 10), (0, 0, 10, 10), 1.0),  # the same box
        ((0, 0, 10, 10), (10, 0, 20, 10), 0.0),  # edges touch; x2 is exclusive
        ((0, 0, 10, 10), (5, 0, 15, 10), 50 / 150),  # half of each
        ((0, 0, 10, 10), (2, 2, 4, 4), 4 / 100),  # one inside the other
        ((0, 0, 0, 10), (0, 0, 10, 10), 0.0),  # no width, no area
        ((10, 10, 0, 0), (0, 0, 10, 10), 0.0),  # corners swapped: no area
    ],
)
def test_iou_by_hand(a, b, expected):
    assert iou(Box(*a), Box(*b)) == pytest.approx(expected)


@given(sides, sides, sides, sides, boxes)
def test_frames_round_trip(width, height, model_width, model_height, box):
    frame = Frame(width, height, model_width, model_height)
    inside = clamp(box, width, height)
    back = frame.to_original(frame.to_model(inside))
    assert back.xyxy == pytest.approx(inside.xyxy, abs=1e-6)


@given(coordinates, coordinates, coordinates, coordinates)
def test_boxes_from_the_model_stay_in_the_image(x1, y1, x2, y2):
    box = Frame(640, 480, 644, 476).to_original(Box(x1, y1, x2, y2))
    assert 0 <= box.x1 <= 640 and 0 <= box.x2 <= 640
    assert 0 <= box.y1 <= 480 and 0 <= box.y2 <= 480


@given(st.lists(boxes, max_size=5), st.lists(boxes, max_size=5))
def test_matching_is_the_best_of_all_permutations(predicted, gold):
    best = 0.0
    short, long = sorted([predicted, gold], key=len)
    for order in itertools.permutations(long, len(short)):
        best = max(best, sum(iou(a, b) for a, b in zip(short, order, strict=True)))
    assert sum(score for _, _, score in match_boxes(predicted, gold)) == pytest.approx(best)


@pytest.mark.parametrize(
    ("predicted", "gold", "expected"),
    [
        ([], [], 1.0),  # none and none
        ([(0, 0, 2, 2)], [], 0.0),  # invented
        ([], [(0, 0, 2, 2)], 0.0),  # missed
        ([(0, 0, 2, 2)], [(0, 0, 2, 2), (5, 5, 7, 7)], 0.5),  # one of two
        ([(0, 0, 2, 2)] * 2, [(0, 0, 2, 2)], 0.5),  # said twice: the copy costs
    ],
)
def test_set_iou_by_hand(predicted, gold, expected):
    assert set_iou([Box(*b) for b in predicted], [Box(*b) for b in gold]) == expected


@pytest.mark.parametrize(
    ("box", "words"),
    [
        ((0, 0, 10, 10), "top left"),
        ((45, 0, 55, 10), "top center"),
        ((90, 90, 100, 100), "bottom right"),
        ((0, 45, 10, 55), "left"),
        ((95, 45, 105, 55), "right"),
        ((40, 40, 60, 60), "center"),
    ],
)
def test_grid_cells(box, words):
    assert grid_cell(Box(*box), 100, 100) == words


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    ("corners", "iou_with_itself"),
    [
        ((0, 0, 1e200, 1e200), 1.0),  # a square whose area no float holds
        ((-1e308, -1e308, 1e308, 1e308), 1.0),  # nor its sides
        ((-1e308, 5, 1e308, 5), 0.0),  # no height
        ((1e200, 0, 1e300, 10), 0.0),  # beyond what is told apart
    ],
)
def test_boxes_of_any_numbers_have_an_overlap(corners, iou_with_itself):
    far = Box(*corners)
    assert iou(far, far) == iou_with_itself
    assert set_iou([far, Box(0, 0, 2, 2)], [Box(0, 0, 2, 2)]) == 0.5

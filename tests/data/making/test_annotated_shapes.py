"""Polygons and run lengths against pixels counted another way."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools import mask as coco_mask

from anomalyr1.data.making.shapes import (
    Shape,
    bounds,
    draw,
    from_counts,
    from_mask,
    from_runs,
    polygon,
)
from anomalyr1.errors import InputError

masks = st.tuples(st.integers(1, 9), st.integers(1, 9), st.randoms(use_true_random=False)).map(
    lambda t: np.array([[t[2].random() < 0.4 for _ in range(t[0])] for _ in range(t[1])])
)


def runs_of(mask):
    """Kaggle's runs, counted pixel after pixel down the columns."""
    runs, length = [], 0
    flat = mask.T.ravel()
    for place, on in enumerate([*flat, False], start=1):
        if on:
            length += 1
        elif length:
            runs += [place - length, length]
            length = 0
    return runs


@settings(max_examples=150)
@given(masks)
def test_every_form_of_run_lengths_gives_its_pixels(mask):
    size = mask.shape[::-1]
    code = coco_mask.encode(np.asfortranarray(mask, dtype=np.uint8))["counts"].decode()
    shapes = [from_mask(mask, "a"), from_counts(code, size, "a", "x")]
    if mask.any():
        shapes.append(from_runs(runs_of(mask), size, "a", "x"))
    lengths, state = [0], False
    for on in mask.T.ravel():
        if on != state:
            lengths.append(0)
            state = on
        lengths[-1] += 1
    shapes.append(from_counts(lengths, size, "a", "x"))
    for shape in shapes:
        assert np.array_equal(draw([shape], size), mask)
        if mask.any():
            ys, xs = np.nonzero(mask)
            expected = (xs.min(), ys.min(), xs.max() + 1, ys.max() + 1)
            assert bounds(shape).xyxy == expected


@settings(max_examples=100)
@given(st.integers(0, 8), st.integers(0, 8), st.integers(1, 8), st.integers(1, 8))
def test_a_rectangle_of_whole_corners_fills_exactly_its_pixels(x, y, w, h):
    shape = polygon([x, y, x + w, y, x + w, y + h, x, y + h], "a", "x")
    expected = np.zeros((20, 20), bool)
    expected[y : y + h, x : x + w] = True
    assert np.array_equal(draw([shape], (20, 20)), expected)
    assert bounds(shape).xyxy == (x, y, x + w, y + h)


def test_a_triangle_holds_the_pixels_whose_centre_it_holds():
    """(0,0) (8,0) (8,8): the centre (c + .5, r + .5) is inside where c > r; the diagonal may be."""
    mask = draw([polygon([0, 0, 8, 0, 8, 8], "a", "x")], (8, 8))
    rows, columns = np.indices((8, 8))
    assert mask[columns > rows].all() and not mask[columns < rows].any()


def test_a_sliver_marks_a_pixel_and_what_is_outside_none():
    assert draw([polygon([3.1, 2.1, 3.2, 2.1, 3.2, 2.2], "a", "x")], (8, 8)).sum() == 1
    assert draw([polygon([30, 20, 31, 20, 31, 21], "a", "x")], (8, 8)).sum() == 0


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: polygon([1, 2, 3, 4], "a", "f:3"), "three corners or more at f:3"),
        (lambda: polygon([1, 2, 3, 4, 5, 6, 7], "a", "f:3"), "three corners"),
        (lambda: from_runs([1], (4, 4), "a", "f:3"), "pairs of start and length at f:3"),
        (lambda: from_runs([], (4, 4), "a", "f:3"), "pairs"),
        (lambda: from_runs([0, 3], (4, 4), "a", "f:3"), "the run 0 3"),
        (lambda: from_runs([5, 3, 6, 1], (4, 4), "a", "f:3"), "the run 6 1"),
        (lambda: from_runs([15, 3], (4, 4), "a", "f:3"), "inside 4 x 4 pixels"),
        (lambda: from_runs([5, 0], (4, 4), "a", "f:3"), "the run 5 0"),
        (lambda: from_counts([3, 4], (4, 4), "a", "f:3"), "sum to 7"),
        (lambda: from_counts([20, -4], (4, 4), "a", "f:3"), "4 x 4 pixels"),
        (lambda: from_counts("\x00\x01", (4, 4), "a", "f:3"), "COCO run lengths at f:3"),
        (lambda: from_counts("P" * 3, (4, 4), "a", "f:3"), "half of them"),
        (lambda: draw([Shape("a", code="04", size=(2, 2))], (4, 4)), "found them for 2 x 2"),
    ],
)
def test_damaged_regions_are_refused_by_name(make, said):
    with pytest.raises(InputError, match=said):
        make()

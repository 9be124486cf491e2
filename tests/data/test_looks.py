"""An image, its boxes and its mask stay together, however a training image is shown."""

import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from anomalyr1.config import AugmentConfig
from anomalyr1.data.images import boxes_from_mask, turn_image
from anomalyr1.data.looks import Look, draw_look
from anomalyr1.data.turned_copies import TURNS
from anomalyr1.errors import InputError
from anomalyr1.geometry import CELLS, EXIF_TURNS, UNTURNED, View, grid_cell
from anomalyr1.schema import Box

EVERYTHING = AugmentConfig(True, True, True, crop=0.4, brightness=0.3, contrast=0.3)
turns = st.sampled_from([UNTURNED, *TURNS.values()])


@st.composite
def scenes(draw):
    """A size and a rectangle in it, at least eight pixels wide and high."""
    width, height = draw(st.integers(40, 120)), draw(st.integers(40, 120))
    x, y = draw(st.integers(0, width - 12)), draw(st.integers(0, height - 12))
    wide, high = draw(st.integers(8, width - x)), draw(st.integers(8, height - y))
    return (width, height), Box(x, y, x + wide, y + high, "red")


def painted(size, box):
    """A grey image with a red rectangle, and the rectangle's mask."""
    pixels = np.full((size[1], size[0], 3), 90, np.uint8)
    mask = np.zeros((size[1], size[0]), bool)
    mask[int(box.y1) : int(box.y2), int(box.x1) : int(box.x2)] = True
    pixels[mask] = (220, 30, 30)
    return Image.fromarray(pixels), Image.fromarray(mask)


def red(image):
    pixels = np.asarray(image.convert("RGB")).astype(int)
    return pixels[..., 0] - pixels[..., 1] > (pixels[..., 0] - pixels[..., 1]).max() / 2


@given(scenes(), turns)
def test_a_turned_rectangle_is_where_its_box_is_to_the_pixel(scene, turn):
    size, box = scene
    image, mask = painted(size, box)
    look = Look(View(turn=turn))
    shown = look.show(image)
    assert shown.size == turn.size(size)
    assert sorted(np.asarray(shown).ravel()) == sorted(np.asarray(image).ravel())
    for found in (red(shown), np.asarray(look.show(mask, Image.Resampling.NEAREST))):
        assert boxes_from_mask(found)[0].xyxy == look.view.box(box, size).xyxy


@settings(max_examples=200)
@given(scenes(), st.integers(0, 10**9), st.floats(0.3, 1))
def test_however_it_is_shown_a_rectangle_is_where_its_box_is(scene, seed, keep):
    size, box = scene
    options = AugmentConfig(True, True, True, 0.4, keep, 0.3, 0.3)
    look = draw_look(options, random.Random(seed), size, [box])
    view, side = look.view, look.view.part.x2 - look.view.part.x1
    assert side >= 0.4 - 1e-9 and view.kept(box, size) >= min(keep, 1) - 1e-9
    moved, ends = view.box(box, size), view.turn.size(size)
    image, mask = painted(size, box)
    tolerance = 0.5 / side + 0.51  # half a pixel of the image before, half a pixel of the one shown
    marked = Look(view).show(mask, Image.Resampling.NEAREST)
    for found in (red(look.show(image)), marked):
        assert np.asarray(found).shape == ends[::-1]
        (seen,) = boxes_from_mask(np.asarray(found))
        assert seen.xyxy == pytest.approx(moved.xyxy, abs=tolerance)
    assert moved.label == "red"


def test_a_share_kept_by_hand():
    view = View(Box(0.5, 0.0, 1.0, 0.5))  # the upper right quarter of 80 x 40
    for box, share, where in (
        (Box(40, 0, 80, 20), 1.0, (0, 0, 80, 40)),  # all of it
        (Box(20, 0, 60, 10), 0.5, (0, 0, 40, 20)),  # the right half of the box
        (Box(60, 10, 80, 30), 0.5, (40, 20, 80, 40)),  # its upper half
        (Box(0, 0, 40, 40), 0.0, (0, 0, 0, 40)),  # beside it
    ):
        assert view.kept(box, (80, 40)) == pytest.approx(share)
        assert view.box(box, (80, 40)).xyxy == pytest.approx(where)


def test_a_box_that_needs_the_whole_image_is_not_cropped():
    whole, options = Box(0, 0, 60, 60), AugmentConfig(crop=0.4, keep=1.0)
    looks = [draw_look(options, random.Random(n), (60, 60), [whole]) for n in range(20)]
    assert all(look.view.part == View().part for look in looks)
    small = [
        draw_look(options, random.Random(n), (60, 60), [Box(29, 29, 31, 31)]) for n in range(20)
    ]
    assert sum(look.view.part != View().part for look in small) > 15
    free = [draw_look(EVERYTHING, random.Random(n), (60, 60), [], crops=False) for n in range(20)]
    assert all(look.view.part == View().part for look in free)
    held = [draw_look(EVERYTHING, random.Random(n), (60, 60), [], turns=False) for n in range(20)]
    assert {look.view.turn for look in held} == {UNTURNED} and len({x.view.part for x in held}) > 9


@pytest.mark.parametrize(
    ("options", "ways"),
    [
        (AugmentConfig(mirror=True), 2),
        (AugmentConfig(flip=True), 2),
        (AugmentConfig(mirror=True, flip=True), 4),
        (AugmentConfig(turn=True), 4),
        (AugmentConfig(mirror=True, turn=True), 8),
        (AugmentConfig(), 1),
    ],
)
def test_each_key_gives_its_ways_and_each_way_comes_as_often(options, ways):
    drawn = random.Random(0)
    seen = [draw_look(options, drawn, (9, 9), []).view.turn for _ in range(800)]
    counts = [seen.count(way) for way in set(seen)]
    assert len(counts) == ways and min(counts) > 0.7 * 800 / ways
    assert options.changes == (ways > 1)


@given(turns, st.integers(0, 8))
def test_a_cell_goes_where_its_square_goes(turn, index):
    row, column = divmod(index, 3)
    square = turn.box(Box(column, row, column + 1, row + 1), (3, 3))
    cells = np.array(CELLS).reshape(3, 3)
    codes = turn_image(Image.fromarray(np.arange(9, dtype=np.uint8).reshape(3, 3)), turn)
    assert grid_cell(square, 3, 3) == cells[tuple(np.argwhere(np.asarray(codes) == index)[0])]


def test_every_orientation_of_a_camera_is_another_turn():
    assert set(EXIF_TURNS.values()) == set(TURNS.values()) and len(set(TURNS.values())) == 7


@pytest.mark.parametrize(
    ("values", "found"),
    [
        ({"crop": 0.0}, "crop: expected above 0, found 0.0"),
        ({"crop": 1.2}, "crop: expected at most 1, found 1.2"),
        ({"keep": 0.0}, "keep: expected above 0"),
        ({"brightness": 1.0}, "brightness: expected below 1"),
        ({"contrast": -0.1}, "contrast: expected at least 0"),
        ({"mirror": 1}, "mirror: expected bool"),
        ({"zoom": 0.5}, r"unknown key zoom \(nearest: "),
    ],
)
def test_values_that_mean_nothing_are_refused(values, found):
    with pytest.raises(InputError, match=found):
        AugmentConfig(**values)

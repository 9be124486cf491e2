"""Masks and boxes are drawn where they are, labels within the image."""

import numpy as np
import pytest
from PIL import Image

from anomalyr1.schema import Box
from anomalyr1.segmentation.overlay import draw_overlay

GREY = Image.new("RGB", (120, 90), (100, 100, 100))


def changed(drawn):
    return (np.asarray(drawn) != 100).any(-1)


def test_nothing_is_drawn_of_nothing():
    assert not changed(draw_overlay(GREY, (), None)).any()
    assert not changed(draw_overlay(GREY, (), np.zeros((90, 120), bool))).any()


def test_a_mask_is_tinted_by_its_opacity_and_outlined():
    mask = np.zeros((90, 120), bool)
    mask[20:60, 30:80] = True
    drawn = np.asarray(draw_overlay(GREY, (), mask, opacity=0.5))
    assert (changed(drawn) == mask).all()
    assert drawn[40, 50].tolist() == [165, 80, 70]  # halfway from grey to the colour
    assert drawn[20, 30].tolist() == [230, 60, 40]  # the outline is the colour itself


@pytest.mark.parametrize(
    "label", ["hole", "a very long label of a defect", "洞\n\x1b[2J", "\ud83d"]
)
@pytest.mark.parametrize("corner", [(5, 40), (100, 0), (110, 80), (0, 0)])
def test_a_label_stays_in_the_image(label, corner):
    x, y = corner
    box = Box(x, y, x + 9, y + 9, label)
    plain = changed(draw_overlay(GREY, [Box(*box.xyxy)], None))
    drawn = changed(draw_overlay(GREY, [box], None))
    assert plain.sum() == 32  # the edge of 9 x 9 pixels
    written = drawn & ~plain
    assert written.sum() > 60
    if y >= 40:
        assert written[: y + 1].sum() > 0.9 * written.sum()  # above its box


def test_a_box_without_an_area_is_passed_over():
    assert not changed(
        draw_overlay(GREY, [Box(5, 5, 5, 9, "x"), Box(200, 5, 220, 9, "y")], None)
    ).any()

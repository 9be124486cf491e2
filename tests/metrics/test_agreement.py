"""Where an answer, its boxes and their mask point: by hand, and pixel by pixel."""

from __future__ import annotations

import numpy as np
import pytest

from anomalyr1.geometry import CELLS, grid_cell
from anomalyr1.metrics.agreement import Pointed, agreed, agreement, agreement_in_part, mask_cell
from anomalyr1.schema import Box

SIZE = (90, 90)
TOP_LEFT, CENTER = Box(5, 5, 20, 20), Box(40, 40, 50, 50)


def test_hand_table() -> None:
    images = [
        Pointed(SIZE, "top left", (TOP_LEFT,), "top left"),  # all three
        Pointed(SIZE, "center", (TOP_LEFT, CENTER), "top left"),  # most of the mask is elsewhere
        Pointed(SIZE, "bottom right", (TOP_LEFT,), "top left"),
        Pointed(SIZE, None, (TOP_LEFT,), "center"),  # nothing answered; a mask beside its box
        Pointed(SIZE, "top left", (), None),  # nothing to compare with
    ]
    found = agreement(agreed(images))
    shares = {name: (one["percent"], one["images"]) for name, one in found.items()}
    assert shares == {
        "answer_boxes": (pytest.approx(100 * 2 / 3), 3),
        "answer_mask": (pytest.approx(100 / 3), 3),
        "boxes_mask": (75.0, 4),
    }
    assert all(one["interval"][0] <= one["percent"] <= one["interval"][1] for one in found.values())
    nothing = agreement(agreed(images[-1:]))
    assert all(one["percent"] is None and one["interval"] is None for one in nothing.values())
    part = agreement_in_part(agreed(images))
    assert {n: (one["percent"], one["images"]) for n, one in part.items()} == shares
    for one in part.values():  # Wilson's ends solve (p - t)^2 = z^2 t (1 - t) / n
        p, n = one["percent"] / 100, one["images"]
        for end in one["interval"]:
            t = end / 100
            assert (p - t) ** 2 == pytest.approx(1.959964**2 * t * (1 - t) / n, rel=1e-5)
    assert agreement_in_part(agreed(images[-1:])) == nothing


@pytest.mark.parametrize("seed", range(20))
def test_the_cell_of_a_mask_is_that_of_most_of_its_pixels(seed: int) -> None:
    generator = np.random.default_rng(seed)
    height, width = generator.integers(1, 40, 2)
    mask = generator.random((height, width)) < generator.choice([0.02, 0.3, 1.0])
    counts = dict.fromkeys(CELLS, 0)
    for y, x in np.argwhere(mask):
        counts[grid_cell(Box(x, y, x + 1, y + 1), width, height)] += 1
    most = max(counts, key=lambda cell: counts[cell]) if mask.any() else None
    assert mask_cell(mask) == most

"""Mask metrics on masks small enough to count by hand, and a twin on random ones."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from anomalyr1.metrics.pixel import PixelCounts, count_pixels, pixel_scores


def mask(*rows: str) -> NDArray[np.bool_]:
    return np.array([[letter == "#" for letter in row] for row in rows])


GOLD = mask(
    "##..",
    "##..",
    "...#",
)  # two regions: four pixels and one


@pytest.mark.parametrize(
    ("predicted", "tp", "fp", "fn", "regions"),
    [
        (GOLD, 5, 0, 0, (1.0, 1.0)),
        (mask("....", "....", "...."), 0, 0, 5, (0.0, 0.0)),
        (mask("####", "####", "####"), 5, 7, 0, (1.0, 1.0)),  # marking everything covers all
        (mask("#...", "#...", ".##."), 2, 2, 3, (0.5, 0.0)),
        (mask("....", "....", "...#"), 1, 0, 4, (0.0, 1.0)),
    ],
)
def test_counts(
    predicted: NDArray[np.bool_], tp: int, fp: int, fn: int, regions: tuple[float, ...]
) -> None:
    found = count_pixels(predicted, GOLD)
    assert (found.tp, found.fp, found.fn, found.tn) == (tp, fp, fn, 12 - tp - fp - fn)
    assert sorted(found.regions) == sorted(regions)


def test_regions_touching_at_a_corner_are_one() -> None:
    gold = mask("#.", ".#")
    assert count_pixels(mask("#.", ".."), gold).regions == (0.5,)


def test_masks_of_different_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match="one shape"):
        count_pixels(mask("##"), mask("#"))


def test_hand_table() -> None:
    empty = mask("....", "....", "....")
    images = [
        count_pixels(mask("#...", "#...", ".##."), GOLD),  # IoU 2/7, Dice 4/9
        count_pixels(empty, GOLD),  # missed: 0
        count_pixels(empty, empty),  # normal, nothing marked: left out of the overlap
        count_pixels(mask("###.", "....", "...."), empty),  # normal, a quarter marked
    ]
    scores = pixel_scores(images)
    assert (scores["images"], scores["anomalous"], scores["normal"]) == (4, 2, 2)
    assert scores["iou"] == pytest.approx(100 * (2 / 7) / 2)
    assert scores["dice"] == pytest.approx(100 * (4 / 9) / 2)
    # pooled: tp 2, fp 2 + 3, fn 3 + 5
    assert scores["pixel_precision"] == pytest.approx(200 / 7)
    assert scores["pixel_recall"] == pytest.approx(20.0)
    assert scores["pixel_f1"] == pytest.approx(400 / 17)
    assert scores["pixel_iou"] == pytest.approx(200 / 15)
    assert scores["pro"] == pytest.approx(100 * 0.5 / 4)
    assert scores["pixel_fpr"] == pytest.approx(500 / 38)  # 48 pixels, 10 of them gold
    assert scores["normal_flagged"] == 50.0
    assert scores["normal_area"] == pytest.approx(12.5)


def test_only_normals_or_nothing() -> None:
    normal = PixelCounts(0, 0, 0, 9, ())
    scores = pixel_scores([normal, normal])
    assert scores["iou"] is None and scores["pro"] is None and scores["pixel_iou"] is None
    assert scores["normal_flagged"] == 0.0 and scores["intervals"]["iou"] is None
    assert pixel_scores([])["pixel_fpr"] is None


@pytest.mark.parametrize("seed", range(5))
def test_equals_plain_numpy_over_all_pixels(seed: int) -> None:
    generator = np.random.default_rng(seed)
    pairs = [
        (generator.random((17, 13)) < 0.3, generator.random((17, 13)) < share)
        for share in (0.0, 0.1, 0.3, 0.0, 0.5)
    ]
    scores = pixel_scores([count_pixels(predicted, gold) for predicted, gold in pairs])
    predicted = np.concatenate([p.ravel() for p, _ in pairs])
    gold = np.concatenate([g.ravel() for _, g in pairs])
    both, either = (predicted & gold).sum(), (predicted | gold).sum()
    assert scores["pixel_iou"] == pytest.approx(100 * both / either)
    assert scores["pixel_fpr"] == pytest.approx(100 * predicted[~gold].mean())
    ious = [(p & g).sum() / (p | g).sum() for p, g in pairs if g.any()]
    assert scores["iou"] == pytest.approx(100 * np.mean(ious))
    covered = []
    for p, g in pairs:
        labels, number = ndimage.label(g, np.ones((3, 3)))
        covered += [p[labels == index].mean() for index in range(1, number + 1)]
    assert scores["pro"] == pytest.approx(100 * np.mean(covered))

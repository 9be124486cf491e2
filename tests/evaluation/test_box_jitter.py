"""Boxes moved before the segmenter: seeded, in one call an image, and scored without pictures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import invoke
from evaluation_data import (
    DEFECT,
    HEIGHT,
    WIDTH,
    boxes,
    completion,
    draw,
    question,
    to_frame,
    write,
)
from numpy.typing import NDArray

from anomalyr1.cli import app
from anomalyr1.data.rle import decode_mask, encode_mask, rle_iou
from anomalyr1.evaluation.box_jitter import Jitter
from anomalyr1.evaluation.masks import make_masks
from anomalyr1.evaluation.report.page import write_report
from anomalyr1.evaluation.score import score
from anomalyr1.geometry import set_iou
from anomalyr1.metrics.stability import Moved, stability
from anomalyr1.schema import GROUNDING, Box, Prediction
from anomalyr1.segmentation.segmenter import BoxFill, segment
from anomalyr1.storage import read_jsonl

JITTER = Jitter((0.05, 0.2), 3)


def predictions() -> list[Prediction]:
    return [
        question("1", 0, boxes(to_frame(DEFECT)), type=GROUNDING, mask=True),
        question("2", 0, boxes(to_frame(DEFECT), to_frame(Box(2, 2, 9, 9))), type=GROUNDING),
        question("3", 0, boxes(), type=GROUNDING, normal=True),
        question("4", 0, completion("", "[[1"), type=GROUNDING, normal=True),
        question("5", 0, boxes(to_frame(DEFECT)), type=GROUNDING, normal=True),  # a false alarm
    ]


class CountingFill(BoxFill):
    """Counts the boxes it is asked about in a call."""

    def __init__(self) -> None:
        self.asked: list[int] = []

    def masks(self, image: NDArray[np.uint8], boxes: Sequence[Box]) -> Iterator[NDArray[np.bool_]]:
        self.asked.append(len(boxes))
        return super().masks(image, boxes)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    draw(tmp_path / "data", predictions())
    write(tmp_path / "run" / "predictions.jsonl", predictions())
    return tmp_path


def make(run: Path, segmenter: Any = "box", jitter: Jitter | None = JITTER) -> list[dict[str, Any]]:
    path = run / "run" / "predictions.jsonl"
    return read_jsonl(make_masks(path, run / "data", segmenter, jitter=jitter))


def test_moves_are_seeded_bounded_and_farther_for_a_larger_share() -> None:
    near, far = JITTER.moved("a.png", [DEFECT], (WIDTH, HEIGHT))
    assert (near, far) == tuple(JITTER.moved("a.png", [DEFECT], (WIDTH, HEIGHT)))
    assert JITTER.moved("b.png", [DEFECT], (WIDTH, HEIGHT)) != [near, far]
    assert len(near) == 3 and near[0] != near[1] and near[0][0].label == DEFECT.label
    for (close,), (away,) in zip(near, far, strict=True):
        for corner, at, moved in zip(DEFECT.xyxy, close.xyxy, away.xyxy, strict=True):
            assert moved - corner == pytest.approx(4 * (at - corner))
            assert abs(at - corner) <= 0.05 * 1.5 * 20  # a shift, and half of a change of size
    assert JITTER.moved("a.png", [], (WIDTH, HEIGHT)) == [[(), (), ()], [(), (), ()]]


def test_figures_are_those_of_the_moved_boxes(run: Path) -> None:
    """Counted once more from filled boxes, pixel by pixel."""
    rows = make(run)
    assert [len(row["jittered"]) for row in rows] == [2] * 5
    found = score(run / "run" / "predictions.jsonl")["localization"]["masks"]["box"]["stability"]
    assert found["draws"] == 3 and list(found["shares"]) == ["0.05", "0.2"]
    for number, cells in enumerate(found["shares"].values()):
        masks, overlaps, kept = [], [], []
        for row, stated in ((rows[0], [DEFECT]), (rows[1], [DEFECT, Box(2, 2, 9, 9)])):
            moved = JITTER.moved(row["image"], row_boxes(row), (WIDTH, HEIGHT))[number]
            gold = decode_mask(row["target"])
            filled = [filled_in(one) for one in moved]
            masks.append(np.mean([(m & gold).sum() / (m | gold).sum() for m in filled]))
            overlaps.append(np.mean([set_iou(one, [DEFECT]) for one in moved]))
            kept.append(np.mean([set_iou(one, stated) for one in moved]))
        assert cells["images"] == 3  # with the false alarm, of which only `kept` speaks
        assert cells["mask_iou"] == pytest.approx(100 * np.mean(masks))
        assert cells["box_iou"] == pytest.approx(100 * np.mean(overlaps), abs=1.5)
        assert cells["mask_iou_change"] < 0 and cells["kept_boxes"] < 100
        low, high = cells["intervals"]["mask_iou_change"]
        assert low <= cells["mask_iou_change"] <= high
    near, far = found["shares"].values()
    assert near["kept_mask"] > far["kept_mask"] and near["kept_boxes"] > far["kept_boxes"]


def row_boxes(row: dict[str, Any]) -> list[Box]:
    return [Box(*corners) for corners in row["key"]["predicted"]]


def filled_in(moved: Sequence[Box]) -> NDArray[np.bool_]:
    return segment(BoxFill(), np.zeros((HEIGHT, WIDTH, 3), np.uint8), moved)


def test_moved_boxes_are_asked_about_together(run: Path) -> None:
    fill = CountingFill()
    make(run, fill)
    # of an image: predicted, gold, the whole, and all moved ones at once
    assert fill.asked[:8] == [1, 1, 1, 6, 2, 1, 1, 12]


def test_lines_serve_runs_without_moves_and_are_remade_for_other_moves(run: Path) -> None:
    plain = make(run, jitter=None)
    assert "jitter" not in plain[0]["key"] and "jittered" not in plain[0]
    metrics = score(run / "run" / "predictions.jsonl")["localization"]["masks"]["box"]
    assert "stability" not in metrics
    moved, again, other = CountingFill(), CountingFill(), CountingFill()
    make(run, moved)
    make(run, again, jitter=None)
    make(run, other, jitter=Jitter((0.1,), 3))
    assert moved.asked and not again.asked and other.asked


def test_it_is_printed_and_drawn(run: Path) -> None:
    make(run)
    printed = invoke(app, "score", run / "run" / "predictions.jsonl").stdout
    assert "box: boxes moved by up to 20 % of their sides" in " ".join(printed.split())
    page = write_report([run / "run"], root=run / "data").read_text(encoding="utf-8")
    assert "box: up to 5 %" in page and "Mask kept" in page


def test_nothing_to_move(run: Path) -> None:
    write(run / "run" / "predictions.jsonl", predictions()[2:4])
    make(run)
    masks = score(run / "run" / "predictions.jsonl")["localization"]["masks"]["box"]
    assert "stability" not in masks


def test_means_and_pairs() -> None:
    images = [
        Moved((0.8, 0.6), (0.9, 0.7), None, 0.5, 0.4),
        Moved((0.4, 0.4), (0.5, 0.5), (1.0, 0.6), 1.0, 0.6),
        Moved(None, None, None, 0.0, 0.2),
    ]
    found = stability(images)
    assert (found["mask_iou"], found["box_iou"], found["images"]) == (50.0, 60.0, 3)
    assert found["mask_iou_change"] == pytest.approx(-10) and found["kept_mask"] == 50.0
    assert found["intervals"]["box_iou"] is None  # one image
    assert found["kept_boxes"] == pytest.approx(40)


def test_overlap_of_run_lengths() -> None:
    generator = np.random.default_rng(0)
    masks = [generator.random((7, 5)) < 0.5 for _ in range(4)]
    codes = [encode_mask(mask) for mask in masks]
    expected = [(m & masks[0]).sum() / (m | masks[0]).sum() for m in masks]
    assert rle_iou(codes, codes[0]) == pytest.approx(expected)
    empty = encode_mask(np.zeros((7, 5), dtype=np.bool_))
    assert rle_iou([empty, codes[0]], empty) == [0.0, 0.0] and rle_iou([], empty) == []

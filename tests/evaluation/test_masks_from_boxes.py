"""masks/<segmenter>.jsonl: three sources and a target a line, continued and kept up to date."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from evaluation_data import (
    DEFECT,
    HEIGHT,
    WIDTH,
    boxes,
    completion,
    draw,
    letter,
    question,
    to_frame,
    write,
)
from numpy.typing import NDArray

from anomalyr1.data.rle import decode_mask, encode_mask
from anomalyr1.errors import InputError
from anomalyr1.evaluation.masks import make_masks
from anomalyr1.evaluation.report.page import write_report
from anomalyr1.evaluation.score import score
from anomalyr1.schema import GROUNDING, Box, Prediction
from anomalyr1.segmentation.segmenter import BoxFill, segment
from anomalyr1.storage import read_jsonl

HALF = Box(20, 15, 40, 22.5)  # the upper half of the dent


def predictions() -> list[Prediction]:
    return [
        question("1", 0, boxes(to_frame(DEFECT)), type=GROUNDING, mask=True),
        question("2", 0, boxes(to_frame(HALF)), type=GROUNDING),  # boxes on record, no mask
        question("3", 0, boxes(), type=GROUNDING, normal=True),
        question("4", 0, completion("", "[[1"), type=GROUNDING, normal=True),
        question("5", 0, letter("A")),  # never asked for boxes: no line
    ]


@pytest.fixture
def run(tmp_path: Path) -> Path:
    draw(tmp_path / "data", predictions())
    write(tmp_path / "run" / "predictions.jsonl", predictions())
    return tmp_path


def make(run: Path, segmenter: Any = "box") -> list[dict[str, Any]]:
    return read_jsonl(make_masks(run / "run" / "predictions.jsonl", run / "data", segmenter))


class CountingFill(BoxFill):
    """Counts the images it is shown."""

    def __init__(self, settings: str = "filled") -> None:
        self.settings = settings
        self.seen: list[NDArray[np.uint8]] = []

    def masks(self, image: NDArray[np.uint8], boxes: Sequence[Box]) -> Iterator[NDArray[np.bool_]]:
        if not any(image is seen for seen in self.seen):
            self.seen.append(image)
        return super().masks(image, boxes)


def test_lines(run: Path) -> None:
    rows = make(run)
    assert [row["image"].split("/")[-1] for row in rows] == ["1.png", "2.png", "3.png", "4.png"]
    found, half, normal, unreadable = rows
    gold = segment(BoxFill(), np.zeros((HEIGHT, WIDTH, 3), np.uint8), [DEFECT])
    assert found["size"] == [WIDTH, HEIGHT] and found["segmenter"] == "box"
    assert (decode_mask(found["target"]) == gold).all() and found["target_from"] == "mask"
    assert (decode_mask(found["masks"]["gold"]) == gold).all()
    assert decode_mask(found["masks"]["whole"]).all()
    assert (half["target_from"], half["error"]) == ("boxes", None)
    assert normal["target_from"] == "normal" and not decode_mask(normal["masks"]["predicted"]).any()
    assert unreadable["error"] == "unreadable boxes"
    assert not decode_mask(unreadable["masks"]["predicted"]).any()


def test_scores_of_the_lines(run: Path) -> None:
    make(run)
    masks = score(run / "run" / "predictions.jsonl")["localization"]["masks"]["box"]
    pooled = masks["predicted"]["pooled"]
    # one box of 300 pixels found but for a rounded row or column, one half found
    assert pooled["iou"] == pytest.approx(75, abs=4)
    assert masks["gold"]["pooled"]["iou"] == 100.0 and masks["gold"]["pooled"]["pro"] == 100.0
    assert masks["whole"]["pooled"]["iou"] == pytest.approx(100 * 300 / (WIDTH * HEIGHT))
    assert masks["whole"]["pooled"]["pixel_fpr"] == 100.0
    assert masks["targets"] == {"mask": 1, "boxes": 1, "normal": 2, "none": 0}
    assert masks["missing"] == 0 and pooled["normal_flagged"] == 0.0


def test_the_answered_cell_the_boxes_and_the_mask_are_held_together(run: Path) -> None:
    """The dent is in the top left cell and the center one, its middle at (30, 22)."""
    cells = {"A": "Center.", "B": "Top left.", "C": "Bottom right."}
    asked = [
        replace(question(name, 1, letter(answer), type="Defect Localization"), options=cells)
        for name, answer in (("1", "A"), ("2", "C"))
    ]
    write(run / "run" / "predictions.jsonl", [*predictions(), *asked])
    make(run)
    found = score(run / "run" / "predictions.jsonl")["localization"]
    in_masks = found["masks"]["box"]["agreement"]
    assert found["agreement"]["answer_boxes"]["percent"] == 50.0
    assert (in_masks["answer_mask"]["images"], in_masks["boxes_mask"]["percent"]) == (2, 100.0)
    assert found["boxes"]["pooled"]["bbox_acc@0.5"] == 100.0
    page = write_report([run / "run"], root=run / "data").read_text(encoding="utf-8")
    assert "answer and mask, box" in page and "Area IoU" in page


def test_an_interrupted_run_goes_on(run: Path) -> None:
    path = make_masks(run / "run" / "predictions.jsonl", run / "data", "box")
    whole = path.read_text(encoding="utf-8")
    path.write_text(whole[: int(len(whole) * 0.6)], encoding="utf-8")  # cut within a line
    again = CountingFill()
    make(run, again)
    assert path.read_text(encoding="utf-8") == whole
    assert 0 < len(again.seen) < 4
    finished = CountingFill()
    make(run, finished)
    assert not finished.seen


def test_lines_of_other_boxes_or_settings_are_made_anew(run: Path) -> None:
    make(run)
    changed = predictions()
    changed[0] = question("1", 0, boxes(to_frame(HALF)), type=GROUNDING, mask=True)
    write(run / "run" / "predictions.jsonl", changed)
    with pytest.raises(InputError, match="other boxes for Drawn/part/test/dent/1"):
        score(run / "run" / "predictions.jsonl")
    again = CountingFill()
    rows = make(run, again)
    assert len(again.seen) == 1 and len(rows) == 4
    everything = CountingFill(settings="other")
    assert len(make(run, everything)) == 4 and len(everything.seen) == 4


def test_grabcut_runs_through(run: Path) -> None:
    rows = make(run, "grabcut")
    target, found = (decode_mask(code) for code in (rows[0]["target"], rows[0]["masks"]["gold"]))
    assert (target & found).sum() / (target | found).sum() > 0.7


@pytest.mark.parametrize(
    ("damage", "message"),
    [("delete", "no such file"), ("resize", "give the data root")],
)
def test_a_missing_or_other_image_is_refused(run: Path, damage: str, message: str) -> None:
    path = run / "data" / predictions()[0].image
    if damage == "delete":
        path.unlink()
    else:
        draw(run / "data", [])
        from PIL import Image

        Image.new("RGB", (10, 10)).save(path)
    with pytest.raises(InputError, match=message):
        make(run)


def test_a_missing_gold_mask_is_reported_and_left_out(run: Path) -> None:
    mask = predictions()[0].mask
    assert mask is not None
    (run / "data" / mask).unlink()
    rows = make(run)
    assert rows[0]["target"] is None and "no such file" in rows[0]["error"]
    masks = score(run / "run" / "predictions.jsonl")["localization"]["masks"]["box"]
    assert masks["targets"]["none"] == 1 and masks["predicted"]["pooled"]["anomalous"] == 1


def test_foreign_lines_are_refused(run: Path) -> None:
    path = make_masks(run / "run" / "predictions.jsonl", run / "data", "box")
    path.write_text(json.dumps({"image": "x"}) + "\n", encoding="utf-8")
    with pytest.raises(InputError, match="make the masks again"):
        score(run / "run" / "predictions.jsonl")


def test_progress_is_reported(run: Path) -> None:
    path = run / "run" / "predictions.jsonl"
    left: list[int] = []

    def counted(images):
        left.append(len(images))
        return images

    make_masks(path, run / "data", "box", progress=counted)
    make_masks(path, run / "data", "box", progress=counted)  # nothing is left to do
    assert left == [4, 0]


@pytest.mark.parametrize("shape", [(1, 1), (7, 3), (60, 80)])
def test_run_lengths_are_lossless(shape: tuple[int, int]) -> None:
    mask = np.random.default_rng(1).random(shape) < 0.4
    code = json.loads(json.dumps(encode_mask(mask)))
    assert (decode_mask(code) == mask).all()

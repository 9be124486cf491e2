"""Boxes and masks by size, defect and product, and boxes that name a defect: from file to page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from commands import invoke
from evaluation_data import DEFECT, boxes, draw, letter, question, to_frame, write

from anomalyr1.cli import app
from anomalyr1.evaluation.masks import make_masks
from anomalyr1.evaluation.report.page import write_report
from anomalyr1.evaluation.score import score
from anomalyr1.schema import DEFECT_CLASSIFICATION, GROUNDING, Box, Prediction

PIT = Box(2, 2, 5, 5, "pit")  # 9 of 4,800 pixels: small, as DEFECT with 300 is large
KINDS = {"A": "Dent.", "B": "Pit."}


def predictions() -> list[Prediction]:
    """The dent is found and called a dent, the pit is found and called a dent too."""
    wrong = replace(to_frame(PIT), label="Dent")
    return [
        question("1", 0, boxes(to_frame(DEFECT)), type=GROUNDING, gold=(DEFECT,)),
        question("2", 0, boxes(wrong), type=GROUNDING, gold=(PIT,)),
        question("3", 0, boxes(), type=GROUNDING, normal=True),
    ]


def measured(folder: Path, found: Sequence[Prediction]) -> dict[str, Any]:
    metrics = score(write(folder / "predictions.jsonl", found), resamples=20)
    localized: dict[str, Any] = metrics["localization"]
    return localized


def test_boxes_by_class_size_defect_and_product(tmp_path: Path) -> None:
    found = measured(tmp_path, predictions())["boxes"]
    classed = found["pooled"]["deeppcb"]
    assert (classed["classes_from"], classed["f1"], classed["map"]) == ("labels", 50.0, None)
    assert found["pooled"]["f1@0.33"] == 100.0  # by the place alone
    assert classed["classes"]["dent"]["precision"] == 50.0 and set(classed["classes"]) == {
        "dent",
        "pit",
    }
    assert {size: cells["gold"] for size, cells in found["sizes"].items()} == {
        "small": 1,
        "large": 1,
    }
    assert found["defects"]["pit"]["recall@0.33"] == 100.0
    assert found["categories"]["Drawn/part"]["images"] == 3
    assert found["datasets"]["Drawn"]["deeppcb"]["f1"] == 50.0


def test_a_defect_has_one_name_whether_a_folder_or_a_box_tells_it(tmp_path: Path) -> None:
    """One box says "loose thread", one has no label, and the images lie in loose_thread."""
    images = [f"Drawn/part/test/loose_thread/{number}.png" for number in (1, 2)]
    stated = [replace(DEFECT, label=label) for label in ("loose thread", None)]
    asked = [
        replace(
            question(str(number), 0, boxes(to_frame(box)), type=GROUNDING, gold=(box,)), image=image
        )
        for number, (image, box) in enumerate(zip(images, stated, strict=True))
    ]
    write(tmp_path / "predictions.jsonl", asked)
    draw(tmp_path / "data", asked)
    make_masks(tmp_path / "predictions.jsonl", tmp_path / "data", "box")
    found = measured(tmp_path, asked)
    assert found["boxes"]["defects"]["loose thread"]["gold"] == 2
    masks = found["masks"]["box"]["predicted"]["defects"]
    assert {*masks} == {*found["boxes"]["defects"]} == {"loose thread"}


@pytest.mark.parametrize(
    ("label", "answer", "gold", "source", "f1"),
    [
        (None, "A", "dent", "answers", 100.0),
        (None, "B", "dent", "answers", 0.0),
        ("dent", "B", "dent", "labels", 100.0),  # the box's own word goes first
        (None, None, "dent", None, 100.0),  # nobody says a class: the place alone
        ("pit", "B", None, None, 100.0),  # gold has none
    ],
)
def test_where_classes_are_from(
    tmp_path: Path, label: str | None, answer: str | None, gold: str | None, source: str, f1: float
) -> None:
    stated = replace(to_frame(DEFECT), label=label)
    asked = [question("1", 0, boxes(stated), type=GROUNDING, gold=(replace(DEFECT, label=gold),))]
    if answer:
        kind = question("1", 1, letter(answer), type=DEFECT_CLASSIFICATION)
        asked.append(replace(kind, options=KINDS))
    classed = measured(tmp_path, asked)["boxes"]["pooled"]["deeppcb"]
    assert (classed["classes_from"], classed["f1"]) == (source, f1)


def test_a_score_of_the_image_ranks_its_boxes(tmp_path: Path) -> None:
    scored = [
        question("1", 1, letter("A"), score=0.9),
        question("2", 1, letter("A"), score=0.4),
        question("3", 1, letter("B"), score=0.1, normal=True),
    ]
    classed = measured(tmp_path, [*predictions(), *scored])["boxes"]["pooled"]["deeppcb"]
    assert classed["classes"]["dent"]["ap"] == 100.0  # the right one is the surer one
    assert classed["classes"]["pit"]["ap"] == 0.0 and classed["map"] == 50.0


def test_it_is_printed_and_drawn(tmp_path: Path) -> None:
    run = tmp_path / "run"
    lines = predictions()
    elsewhere = replace(lines[2], image="Drawn/lid/test/good/3.png", references=())
    draw(tmp_path / "data", [*lines, elsewhere])
    write(run / "predictions.jsonl", [*lines, elsewhere])
    make_masks(run / "predictions.jsonl", tmp_path / "data", "box")
    printed = invoke(app, "score", run / "predictions.jsonl").stdout
    assert "DeepPCB's F-score, classes by the boxes' labels: 50.0" in printed
    for name in ("small defects", "large defects", "pit", "Drawn/lid"):
        assert name in printed, name
    page = write_report([run], root=tmp_path / "data").read_text(encoding="utf-8")
    for name in (
        "The classes are the labels",
        "small defects",
        "Drawn/lid",
        "box: predicted boxes",
    ):
        assert name in page, name
    masks = score(run / "predictions.jsonl")["localization"]["masks"]["box"]["predicted"]
    assert masks["sizes"]["large"]["images"] == 1 and masks["defects"]["dent"]["images"] == 2
    assert masks["categories"]["Drawn/part"]["iou"] == masks["pooled"]["iou"]

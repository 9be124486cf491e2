"""What stands in a stratum is what scoring its images alone gives."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from evaluation_data import DEFECT, boxes, draw, letter, question, to_frame, write

from anomalyr1.evaluation.box_jitter import Jitter
from anomalyr1.evaluation.masks import make_masks
from anomalyr1.evaluation.report.page import write_report
from anomalyr1.evaluation.score import score
from anomalyr1.schema import GROUNDING, Box, Prediction, category_of
from anomalyr1.storage import read_jsonl, write_jsonl

PIT = Box(62, 42, 66, 47, "pit")  # 20 of 4,800 pixels: medium, as DEFECT with 300 is large
CELLS = {"A": "Top left.", "B": "Center.", "C": "Bottom right."}


def predictions() -> list[Prediction]:
    """Twelve images of two products: dents, pits, both, none; boxes are often wrong."""
    chance = random.Random(0)
    made = []
    for number in range(12):
        gold = ((DEFECT,), (PIT,), (DEFECT, PIT), ())[number % 4]
        near = [Box(box.x1, box.y1, box.x2, box.y2 - 1, box.label) for box in gold]
        stated = [to_frame(box) for box in (*near, PIT, DEFECT) if chance.random() < 0.6]
        where = {"normal": not gold, "gold": gold}
        asked = [
            question(str(number), 0, letter("A"), score=number // 2 / 6, **where),
            question(str(number), 1, boxes(*stated), type=GROUNDING, mask=bool(gold), **where),
        ]
        if gold:
            cell = question(
                str(number), 2, letter(chance.choice("ABC")), type="Defect Localization", **where
            )
            asked.append(replace(cell, options=CELLS))
        product = ("part", "lid")[number % 3 == 0]
        made += [replace(one, image=one.image.replace("/part/", f"/{product}/")) for one in asked]
    return made


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("strata")
    write(folder / "predictions.jsonl", predictions())
    draw(folder / "data", [replace(one, mask=None) for one in predictions()])
    draw(folder / "data", [one for one in predictions() if one.mask])
    make_masks(folder / "predictions.jsonl", folder / "data", "box", jitter=Jitter((0.1, 0.2), 2))
    return folder


def shows(label: str) -> Callable[[Prediction], bool]:
    return lambda one: any(box.label == label for box in one.gold_boxes or ())


@pytest.mark.parametrize(
    ("kind", "name", "of"),
    [
        ("categories", "Drawn/lid", lambda one: category_of(one.image) == "lid"),
        ("categories", "Drawn/part", lambda one: category_of(one.image) == "part"),
        ("defects", "dent", shows("dent")),
        ("defects", "pit", shows("pit")),
        ("sizes", "large", shows("dent")),
        ("sizes", "medium", shows("pit")),
    ],
)
def test_a_part_is_as_if_it_were_all(
    run: Path, tmp_path: Path, kind: str, name: str, of: Callable[[Prediction], bool]
) -> None:
    whole = score(run / "predictions.jsonl", resamples=20)["localization"]
    kept = [one for one in predictions() if of(one)]
    images = {one.image for one in kept}
    assert 2 < len(images) < 12
    lines = [row for row in read_jsonl(run / "masks" / "box.jsonl") if row["image"] in images]
    (tmp_path / "masks").mkdir()
    write_jsonl(tmp_path / "masks" / "box.jsonl", lines)
    part = score(write(tmp_path / "predictions.jsonl", kept), resamples=20)["localization"]

    for found, expected in (
        (whole["agreement"], part["agreement"]),
        (whole["masks"]["box"]["agreement"], part["masks"]["box"]["agreement"]),
    ):
        for pair, cells in found[kind][name].items():
            same = {"percent", "images"}
            assert {k: cells[k] for k in same} == {k: expected[pair][k] for k in same}
            assert (cells["interval"] is None) == (cells["images"] < 2)
    assert whole["masks"]["box"]["agreement"][kind][name]["boxes_mask"]["images"] > 1
    moved = part["masks"]["box"]["stability"]["shares"]
    for share, cells in whole["masks"]["box"]["stability"]["shares"].items():
        expected = {key: moved[share][key] for key in cells[kind][name]}
        assert cells[kind][name] == pytest.approx(expected) and len(expected) == 9

    cells, pooled = whole["boxes"][kind][name], part["boxes"]["pooled"]
    if kind == "categories":  # of the others, the images show more than what is counted
        assert cells["ar"] == pytest.approx(pooled["ar"])
        assert cells["ap"] == pytest.approx(pooled["ap"])
        wanted = {key: pooled["deeppcb"][key] for key in cells["deeppcb"]}
        assert cells["deeppcb"] == pytest.approx(wanted)
    else:
        label = {"large": "dent", "medium": "pit"}.get(name, name)
        wanted = whole["boxes"]["pooled"]["deeppcb"]["classes"][label]
        assert cells["deeppcb"]["recall"] == wanted["recall"] > 0
        if kind == "defects":
            assert cells["deeppcb"]["f1"] == wanted["f1"] and cells["ap"] is None
        else:
            assert cells["ap"] is not None


def test_it_is_drawn(run: Path) -> None:
    page = write_report([run], root=run / "data").read_text(encoding="utf-8")
    for text in ("DeepPCB F", "The same place, in parts", "box: change of IoU", "boxes, 20 %"):
        assert text in page, text


def test_without_boxes_on_record_a_folder_names_the_defect(tmp_path: Path) -> None:
    asked = [
        replace(question("1", 0, boxes(to_frame(DEFECT)), type=GROUNDING), gold_boxes=None),
        replace(question("1", 1, letter("B"), type="Defect Localization"), options=CELLS),
    ]
    found: dict[str, Any] = score(write(tmp_path / "predictions.jsonl", asked))["localization"]
    agreed = found["agreement"]
    assert agreed["defects"]["dent"]["answer_boxes"]["percent"] == 100.0
    assert agreed["sizes"] == {} and "boxes" not in found

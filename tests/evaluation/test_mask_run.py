"""`anomalyr1 mask`: continued, shared, drawn, and loaded by pycocotools."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from commands import command, kill_when, run_here
from evaluation_data import DEFECT, HEIGHT, WIDTH, boxes, draw, question, to_frame, write
from PIL import Image
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from anomalyr1.data.rle import decode_mask
from anomalyr1.errors import InputError
from anomalyr1.evaluation.boxed_predictions import read_boxed
from anomalyr1.evaluation.mask_pictures import picture_name
from anomalyr1.evaluation.mask_run import MasksMade, run_masks
from anomalyr1.evaluation.shards import Shard
from anomalyr1.run_lock import run_lock
from anomalyr1.schema import GROUNDING, Box, Prediction
from anomalyr1.segmentation.segmenter import BoxFill
from anomalyr1.storage import read_jsonl

OTHER = Box(60, 40, 70, 50, "scratch")


def predictions() -> list[Prediction]:
    return [
        question("1", 0, boxes(to_frame(DEFECT), to_frame(OTHER)), type=GROUNDING, mask=True),
        question("2", 0, boxes(to_frame(DEFECT)), type=GROUNDING),
        question("3", 0, boxes(), type=GROUNDING, normal=True),
        question("4", 0, "no list", type=GROUNDING, normal=True),
        question("5", 0, boxes(to_frame(DEFECT)), type=GROUNDING, dataset="Öther, 'x'"),
    ]


@pytest.fixture
def run(tmp_path: Path) -> Path:
    draw(tmp_path / "data", predictions())
    write(tmp_path / "run" / "predictions.jsonl", predictions())
    return tmp_path


def make(run: Path, **options: object) -> MasksMade:
    return run_masks(read_boxed(run / "run", run / "data"), BoxFill(), **options)  # type: ignore[arg-type]


def pictures(made: MasksMade) -> dict[str, tuple[bytes, int]]:
    files = sorted(made.pictures.rglob("*.png"))
    return {
        str(f.relative_to(made.pictures)): (f.read_bytes(), f.stat().st_mtime_ns) for f in files
    }


def test_what_it_leaves(run: Path) -> None:
    made = make(run)
    rows = read_jsonl(made.lines)
    assert (made.images, made.new) == (5, 5) and len(rows) == 5
    assert [None if row["instances"] is None else len(row["instances"]) for row in rows] == [
        2,
        1,
        0,
        None,
        1,
    ]
    for row in rows:
        name = picture_name(row["image"])
        drawn = np.asarray(Image.open(made.pictures / "png" / name))
        assert drawn.shape == (HEIGHT, WIDTH)
        assert ((drawn == 255) == decode_mask(row["masks"]["predicted"])).all()
        assert Image.open(made.pictures / "overlays" / name).size == (WIDTH, HEIGHT)
    assert len(made.sheets) == 2  # a category of each dataset
    for sheet in made.sheets:
        assert (np.asarray(Image.open(sheet)) != 255).any()


def test_names_of_pictures_are_safe_and_tell_images_apart() -> None:
    names = [
        picture_name(key) for key in ("a/b/1.png", "a/b/1.jpg", "a_b/1.png", "../..", "ä/ /ñ.png")
    ]
    assert len(set(names)) == 5
    assert not any("/" in name or " " in name or name.startswith(".") for name in names)


def test_pycocotools_loads_the_results_and_finds_the_perfect_ones(run: Path) -> None:
    made = make(run)
    gold = COCO(str(made.pictures / "coco_gold.json"))
    found = gold.loadRes(str(made.results))
    assert len(found.anns) == 4 and {a["score"] for a in found.anns.values()} == {1.0}
    by_image = [len(found.getAnnIds(imgIds=[image])) for image in sorted(gold.imgs)]
    assert by_image == [2, 1, 0, 0, 1]
    evaluated = COCOeval(gold, found, "segm")
    evaluated.evaluate()
    evaluated.accumulate()
    recall = evaluated.eval["recall"][0, :, 0, -1]  # at IoU 0.5, by category
    dent = [cat["id"] for cat in gold.cats.values()].index(gold.getCatIds(catNms=["dent"])[0])
    assert recall[dent] == 1.0


def test_no_box_at_all_leaves_no_results_which_could_not_be_loaded(run: Path) -> None:
    assert make(run).results is not None
    none = [question("3", 0, boxes(), type=GROUNDING, normal=True)]
    write(run / "run" / "predictions.jsonl", none)
    made = make(run)
    assert made.results is None and not (made.pictures / "coco_results.json").exists()
    assert len(COCO(str(made.pictures / "coco_gold.json")).imgs) == 1


def test_what_stands_is_left_and_what_is_missing_or_old_is_drawn(run: Path) -> None:
    made = make(run)
    before = pictures(made)
    victim = made.pictures / "overlays" / picture_name(predictions()[0].image)
    victim.write_bytes(victim.read_bytes()[:20])
    again = make(run)
    after = pictures(again)
    assert again.new == 0 and {name: content for name, (content, _) in after.items()} == {
        name: content for name, (content, _) in before.items()
    }
    untouched = [name for name in after if after[name] == before[name]]
    assert len(untouched) == 8  # two of five images, and the sheets, were written again
    changed = predictions()
    changed[1] = question("2", 0, boxes(to_frame(OTHER)), type=GROUNDING)
    write(run / "run" / "predictions.jsonl", changed)
    assert make(run).new == 1
    differs = [name for name, (content, _) in pictures(again).items() if content != after[name][0]]
    assert {Path(name).parts[0] for name in differs} == {"png", "overlays", "sheets"}
    assert len(differs) == 3


def test_shards_together_make_what_one_run_makes(run: Path) -> None:
    whole = make(run, out=run / "whole")
    shared = run / "shared"
    first = make(run, out=shared, shard=Shard(1, 2))
    assert (first.images, first.new, first.sheets, first.results) == (3, 3, (), None)
    late = make(run, out=shared)  # before the second shard has begun
    assert late.new == 2 and late.lines.read_text() == whole.lines.read_text()
    assert not list(shared.rglob("*-of-*"))
    assert {n: c for n, (c, _) in pictures(late).items()} == {
        n: c for n, (c, _) in pictures(whole).items()
    }
    for file in ("coco_gold.json", "coco_results.json"):
        assert (late.pictures / file).read_text() == (whole.pictures / file).read_text()
    assert make(run, out=shared, shard=Shard(2, 2)).new == 0  # nothing is left for it
    assert make(run, out=shared).new == 0


def test_a_living_shard_is_not_gathered(run: Path) -> None:
    make(run, shard=Shard(1, 2))
    with (
        run_lock(run / "run" / "masks" / "box" / "shards" / "1-of-2"),
        pytest.raises(InputError, match="no other run at work"),
    ):
        make(run)
    assert make(run).new == 2


def test_an_evaluation_at_work_is_not_disturbed(run: Path) -> None:
    with run_lock(run / "run"), pytest.raises(InputError, match="no other run at work"):
        make(run, out=run / "run" / "masks")


@pytest.mark.parametrize(
    "text", ["", "0/4", "5/4", "1", "1/", "a/b", "-1/4", "1/0", "1/4/2", "1.0/2"]
)
def test_a_shard_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="expected a shard like 1/4"):
        Shard.parse(text)


def test_all_missing_images_are_told_before_any_mask_is_made(run: Path) -> None:
    for missing in (predictions()[1], predictions()[4]):
        (run / "data" / missing.image).unlink()
    with pytest.raises(InputError, match="found 2 of 5 that cannot be used") as caught:
        make(run)
    assert "dent/2.png" in str(caught.value) and "dent/5.png" in str(caught.value)
    assert read_jsonl(run / "run" / "masks" / "box.jsonl") == []


def test_the_command_is_killed_and_goes_on(run: Path) -> None:
    typed = (
        "mask",
        run / "run",
        "--root",
        run / "data",
        "--segmenter",
        "box",
        "--out",
        run / "out",
    )
    lines = run / "out" / "box.jsonl"
    kill_when(command(*typed), lambda: lines.exists() and lines.read_bytes().count(b"\n") >= 1)
    said = run_here(*typed)
    assert "5 images" in said and "COCO results" in said
    rows = read_jsonl(lines)
    assert [row["image"] for row in rows] == [p.image for p in predictions()]
    assert "0 made now" in run_here(*typed)
    assert not list((run / "out").rglob("run.lock"))


def test_the_root_is_that_of_provenance_else_asked_for(run: Path) -> None:
    said = run_here("mask", run / "run", status=2)
    assert "give --root" in said
    runs = [{"verb": "eval", "data": {"root": str(run / "data")}}]
    (run / "run" / "provenance.json").write_text(json.dumps({"runs": runs}))
    assert "5 made now" in run_here("mask", run / "run" / "predictions.jsonl")
    assert (run / "run" / "masks" / "grabcut.jsonl").exists()

"""Gold boxes from a benchmark's own masks, in MMAD's own layout."""

import json

import numpy as np
import pytest
from commands import run_here
from PIL import Image

from anomalyr1.data.checking.check import check_benchmark
from anomalyr1.data.images import BoxOptions
from anomalyr1.data.making.division import SplitOptions
from anomalyr1.data.making.mask_boxes import add_boxes
from anomalyr1.data.making.splits import split_benchmark
from anomalyr1.data.mmad import load_benchmark
from anomalyr1.errors import InputError
from anomalyr1.schema import GROUNDING

RNG = np.random.default_rng(0)


def picture(path, size=(40, 30)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(RNG.integers(0, 255, (size[1], size[0], 3)).astype(np.uint8)).save(path)


def mask(path, *places, size=(40, 30), marked=(255, 0, 0)):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.zeros((size[1], size[0], 3), np.uint8)
    for x1, y1, x2, y2 in places:
        pixels[y1:y2, x1:x2] = marked
    Image.fromarray(pixels).save(path)


def question():
    options = {"A": "Yes.", "B": "No."}
    text = "Are there any defects in the query image?"
    return {"Question": text, "Answer": "A", "Options": options, "type": "Anomaly Detection"}


@pytest.fixture
def mmad(tmp_path):
    """Red masks, a folder of masks, a mask of half the size, none on record, one that is absent."""
    root = tmp_path / "mmad"
    masks = {
        "DS-MVTec/bottle/image/broken/000.png": "rbg_mask/broken/000_mask.png",
        "DS-MVTec/bottle/image/good/001.png": None,
        "MVTec-LOCO/box/test/logical_anomalies/000.png": "ground_truth/logical_anomalies/000",
        "VisA/candle/test/bad/000.JPG": "masks/bad/000.png",
        "GoodsAD/can/test/defect/000.jpg": None,
        "GoodsAD/can/test/defect/001.jpg": "masks/001.png",
        "GoodsAD/can/test/defect/002.jpg": "masks/002.png",
    }
    records = {}
    for key, path in masks.items():
        picture(root / key)
        records[key] = {
            "image_path": key.split("/", 2)[2],
            "mask_path": path,
            "similar_templates": [],
            "random_templates": [],
            "conversation": [question()],
            "license": "kept",
        }
    mask(root / "DS-MVTec/bottle/rbg_mask/broken/000_mask.png", (3, 4, 10, 9), (25, 20, 35, 28))
    mask(root / "MVTec-LOCO/box/ground_truth/logical_anomalies/000/000.png", (0, 0, 6, 5))
    mask(root / "MVTec-LOCO/box/ground_truth/logical_anomalies/000/001.png", (20, 10, 30, 15))
    mask(root / "VisA/candle/masks/bad/000.png", (5, 5, 10, 10), size=(20, 15))
    mask(root / "GoodsAD/can/masks/002.png")
    (root / "mmad.json").write_text(json.dumps(records))
    return root


def boxes_of(benchmark):
    return {
        sample.image: None if sample.boxes is None else [box.xyxy for box in sample.boxes]
        for sample in benchmark.samples
    }


def test_masks_in_the_forms_of_mmad_become_boxes_in_pixels_of_the_image(mmad, tmp_path):
    benchmark = load_benchmark(mmad)
    found = load_benchmark(add_boxes(benchmark, tmp_path / "out", BoxOptions()))
    assert boxes_of(found) == {
        "DS-MVTec/bottle/image/broken/000.png": [(3, 4, 10, 9), (25, 20, 35, 28)],
        "DS-MVTec/bottle/image/good/001.png": [],
        "MVTec-LOCO/box/test/logical_anomalies/000.png": [(0, 0, 6, 5), (20, 10, 30, 15)],
        "VisA/candle/test/bad/000.JPG": [(10, 10, 20, 20)],
        "GoodsAD/can/test/defect/000.jpg": None,
        "GoodsAD/can/test/defect/001.jpg": None,
        "GoodsAD/can/test/defect/002.jpg": None,
    }
    assert found.root.resolve() == mmad.resolve()
    for before, after in zip(benchmark.samples, found.samples, strict=True):
        asked = after.questions[: len(before.questions)]
        assert asked == before.questions
        more = [(q.type, q.boxes) for q in after.questions[len(before.questions) :]]
        assert more == ([] if after.boxes is None else [(GROUNDING, after.boxes)])
    assert all(record["license"] == "kept" for record in found.records.values())


def test_images_that_stay_without_boxes_are_named_with_the_reason(mmad, tmp_path):
    manifest = load_benchmark(
        add_boxes(load_benchmark(mmad), tmp_path / "out", BoxOptions())
    ).manifest
    [note] = manifest["notes"]
    assert note.startswith("3 defective images stay without boxes: GoodsAD/can/test/defect/000.jpg")
    reasons = manifest["without_boxes"]
    assert "found none" in reasons[0] and "no such file" in reasons[1]
    assert "marks nothing" in reasons[2]
    assert manifest["counts"]["boxes"] == 5


def test_boxes_on_record_and_questions_for_them_stay_as_they_are(mmad, tmp_path):
    once = load_benchmark(add_boxes(load_benchmark(mmad), tmp_path / "once", BoxOptions()))
    twice = load_benchmark(add_boxes(once, tmp_path / "twice", BoxOptions(merge_distance=40)))
    assert boxes_of(twice) == boxes_of(once)
    assert [s.questions for s in twice.samples] == [s.questions for s in once.samples]
    quiet = add_boxes(load_benchmark(mmad), tmp_path / "quiet", BoxOptions(), grounding=False)
    assert all(len(sample.questions) == 1 for sample in load_benchmark(quiet).samples)


def test_a_benchmark_without_a_mask_to_read_is_refused(mmad, tmp_path):
    records = json.loads((mmad / "mmad.json").read_text())
    for record in records.values():
        record["mask_path"] = None
    (mmad / "mmad.json").write_text(json.dumps(records))
    with pytest.raises(InputError, match="expected defective images with a mask and without boxes"):
        add_boxes(load_benchmark(mmad), tmp_path / "out", BoxOptions())
    assert not (tmp_path / "out").exists()


def test_the_command_says_what_it_did_and_the_result_can_be_checked_and_split(mmad, tmp_path):
    for name in ("GoodsAD/can/test/defect/001.jpg", "GoodsAD/can/test/defect/002.jpg"):
        records = json.loads((mmad / "mmad.json").read_text())
        del records[name]
        (mmad / "mmad.json").write_text(json.dumps(records))
    said = run_here("data", "boxes", mmad, "--out", tmp_path / "out")
    assert "1 defective images stay without boxes" in said and " 5 boxes" in said
    assert not [f for f in check_benchmark(tmp_path / "out") if f.kind in ("boxes", "record")]
    options = SplitOptions("dataset", test_fraction=0.5)
    files = split_benchmark(load_benchmark(tmp_path / "out"), tmp_path / "split", options)
    sides = [load_benchmark(file) for file in files.values()]
    assert sum(len(side.samples) for side in sides) == 5

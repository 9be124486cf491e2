"""`data check` across sides, on copies, on what cannot be measured, and on many files at once."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from case_trees import box_entry, build, coco, dump, image_entry, marked, photo, put, shown
from PIL import Image

from anomalyr1.data.checking.check import check_benchmark
from anomalyr1.data.checking.coverage import coverage_findings
from anomalyr1.data.making.builder import BuildOptions
from anomalyr1.data.making.division import SplitOptions
from anomalyr1.data.making.splits import split_benchmark
from anomalyr1.data.mmad import load_benchmark
from anomalyr1.errors import InputError
from anomalyr1.schema import Question, Sample

BLOT = (20, 20, 60, 60)


def kinds(path, **options):
    return [(f.level, f.kind) for f in check_benchmark(path, **options)]


def augmented(root, named=True):
    """12 photos and their mirror images, in Roboflow's form or under names of their own."""
    images, entries = [], []
    for n in range(12):
        name = f"part{n}_jpg.rf.{n:032x}.jpg" if named else f"a{n}.jpg"
        twin = f"part{n}_jpg.rf.{n + 100:032x}.jpg" if named else f"b{n}.jpg"
        pixels = photo(root / name, (128, 128), (20 + n, 20, 60 + n, 50), seed=n)
        put(root / twin, np.ascontiguousarray(pixels[:, ::-1]))
        boxes = ([20 + n, 20, 40, 30], [68 - n, 20, 40, 30])
        for k, (file, box) in enumerate(zip((name, twin), boxes, strict=True)):
            images.append(image_entry(2 * n + k, file, (128, 128)))
            entries.append(box_entry(2 * n + k, 2 * n + k, box))
    dump(root / "c.json", coco(images, entries))
    return root


@pytest.mark.parametrize("named", [True, False])
@pytest.mark.parametrize("seed", range(3))
def test_copies_of_a_photo_stay_on_one_side(tmp_path, named, seed):
    benchmark, _ = build("coco", augmented(tmp_path / "c", named), tmp_path / "b")
    split_benchmark(benchmark, tmp_path / "s", SplitOptions(seed=seed))
    sides = {}
    for side in ("train", "test"):
        for s in load_benchmark(tmp_path / "s" / side).samples:
            name = s.image.rsplit("/", 1)[1]
            photo_name = name.split("_")[0] if named else name[1:]
            sides.setdefault(photo_name, set()).add(side)
    assert len(sides) == 12 and all(len(found) == 1 for found in sides.values())
    assert not any(kind == "sides" for _, kind in kinds(tmp_path / "s"))


def test_a_chain_of_near_photos_is_divided_all_the_same(tmp_path):
    """Twelve photos of one even part, the blot a pixel further in each: all are near the next."""
    images, entries = [], []
    rng = np.random.default_rng(0)
    for n in range(12):
        pixels = rng.integers(120, 140, (128, 128)).astype(np.uint8)
        pixels[20:50, 20 + n : 60 + n] = rng.integers(20, 40, (30, 40))
        for k, (mark, turned) in enumerate((("0a0b0c0d", pixels), ("a0b0c0d0", pixels[:, ::-1]))):
            name = f"part{n}_jpg.rf.{mark}.jpg"
            put(tmp_path / "c" / name, np.ascontiguousarray(turned))
            images.append(image_entry(2 * n + k, name, (128, 128)))
            entries.append(box_entry(2 * n + k, 2 * n + k, [20, 20, 40, 30]))
    dump(tmp_path / "c/c.json", coco(images, entries))
    benchmark, _ = build("coco", tmp_path / "c", tmp_path / "b")
    split_benchmark(benchmark, tmp_path / "s", SplitOptions())
    sides = [load_benchmark(tmp_path / "s" / side) for side in ("train", "test")]
    photos = [{s.image.rsplit("/", 1)[1].split("_")[0] for s in side.samples} for side in sides]
    assert photos[0] and photos[1] and not photos[0] & photos[1]
    assert all("join too many images" in side.manifest["notes"][0] for side in sides)


def crossing(tmp_path, **more):
    """The same copies, put on two sides by hand."""
    build("coco", augmented(tmp_path / "c", named=False), tmp_path / "b")
    records = json.loads((tmp_path / "b/mmad.json").read_text())
    for side, letter in (("train", "a"), ("test", "b")):
        own = {k: v for k, v in records.items() if k.rsplit("/", 1)[1].startswith(letter)}
        dump(tmp_path / "s" / side / "mmad.json", own)
        dump(tmp_path / "s" / side / "manifest.json", {"root": str(tmp_path / "b"), **more})
    return tmp_path / "s"


def test_mirrored_copies_across_sides_are_found(tmp_path):
    found = [f for f in check_benchmark(crossing(tmp_path)) if f.kind == "sides"]
    assert len(found) == 12
    assert all("mirrored" in f.message and "of the side test" in f.message for f in found)


def test_groups_across_sides_are_found(tmp_path):
    path = crossing(tmp_path)
    found = check_benchmark(path, near_bits=-1, group=r"[ab](\d+)\.jpg")
    groups = [f for f in found if f.kind == "sides"]
    assert len(groups) == 12 and {f.level for f in groups} == {"error"}
    with pytest.raises(InputError, match="to name groups of images, found none"):
        check_benchmark(path, group="zzz")


def test_sides_on_record_are_checked_against_each_other(tmp_path):
    build("coco", augmented(tmp_path / "c", named=False), tmp_path / "b")
    file = tmp_path / "b/mmad.json"
    records = json.loads(file.read_text())
    for key, record in records.items():
        record["split"] = "train" if "/a" in key else "test"
    dump(file, records)
    found = [f for f in check_benchmark(file) if f.kind == "sides"]
    assert len(found) == 12 and {f.level for f in found} == {"warning"}


def test_equal_files_across_sides_are_errors(tmp_path):
    path = crossing(tmp_path)
    keys = [sorted(json.loads((path / s / "mmad.json").read_text()))[0] for s in ("train", "test")]
    root = tmp_path / "b"
    (root / keys[1]).unlink()
    shutil.copy(root / keys[0], root / keys[1])
    assert ("error", "sides") in kinds(path)


@pytest.mark.parametrize("way", [lambda a: np.rot90(a), lambda a: a[::-1], lambda a: a])
def test_a_reference_that_is_a_near_copy_is_found(tmp_path, way):
    for n in range(4):
        photo(tmp_path / "p/train/good" / f"t{n}.png", seed=n)
        photo(tmp_path / "p/test/good" / f"g{n}.png", seed=10 + n)
        photo(tmp_path / "p/test/bad" / f"x{n}.png", blot=BLOT, seed=20 + n)
    benchmark, _ = build("folder", tmp_path / "p", tmp_path / "b")
    assert kinds(tmp_path / "b") == []
    reference = next(key for key in shown(benchmark) if "t0" in key)
    asked = next(s.path for s in benchmark.samples if "g0" in s.image)
    (benchmark.root / reference).unlink()
    pixels = np.ascontiguousarray(way(np.asarray(Image.open(asked))))
    Image.fromarray(pixels).save(benchmark.root / reference, compress_level=1)
    found = [f for f in check_benchmark(tmp_path / "b") if f.kind == "reference"]
    assert [(f.level, f.image) for f in found] == [("warning", reference)]
    assert "g0.png" in found[0].message


def test_a_split_shows_no_copy_of_an_evaluated_image(tmp_path):
    """References on record that are near copies of evaluated images, on either side."""
    for n in range(6):
        pixels = photo(tmp_path / "p/train/good" / f"t{n}.png", seed=n)
        photo(tmp_path / "p/test/good" / f"g{n}.png", seed=10 + n)
        photo(tmp_path / "p/test/bad" / f"x{n}.png", blot=BLOT, seed=20 + n)
    benchmark, _ = build("folder", tmp_path / "p", tmp_path / "b", BuildOptions(references=6))
    (copy,) = [key for key in shown(benchmark) if "t5" in key]
    for s in benchmark.samples:
        if s.is_normal:
            s.path.unlink()
            put(s.path, np.ascontiguousarray(pixels[:, ::-1]))
    manifest = json.loads((tmp_path / "b/manifest.json").read_text())
    manifest.pop("files")
    dump(tmp_path / "b/manifest.json", manifest)
    split_benchmark(load_benchmark(tmp_path / "b"), tmp_path / "s", SplitOptions())
    for side in ("train", "test"):
        loaded = load_benchmark(tmp_path / "s" / side)
        evaluated = load_benchmark(tmp_path / "s/test")
        if any(s.is_normal for s in evaluated.samples):
            assert copy not in shown(loaded)


def test_a_split_keeps_recorded_sides_and_named_groups(tmp_path):
    root = tmp_path / "c"
    for side in ("train", "valid", "test"):
        for n in range(4):
            photo(root / side / f"{side}{n}.png", seed=n)
        images = [image_entry(n, f"{side}{n}.png") for n in range(4)]
        entries = [box_entry(n, n, [5, 5, 30, 30]) for n in range(2)]
        dump(root / side / "_annotations.coco.json", coco(images, entries))
    benchmark, _ = build("coco", root, tmp_path / "b", BuildOptions(reserve=0))
    split_benchmark(benchmark, tmp_path / "s", SplitOptions(holdout="recorded"))
    for side in ("train", "test"):
        names = {s.image.rsplit("/", 1)[1] for s in load_benchmark(tmp_path / "s" / side).samples}
        assert names == {f"{side}_{side}{n}.png" for n in range(4)}
    split_benchmark(benchmark, tmp_path / "g", SplitOptions(group=r"(\d)\.png"))
    numbers = [
        {s.image[-5] for s in load_benchmark(tmp_path / "g" / side).samples}
        for side in ("train", "test")
    ]
    assert not numbers[0] & numbers[1]


def made(*answers, split=None, folder="bad"):
    options = {"A": "Yes.", "B": "No."}
    return [
        Sample(f"D/c/test/{folder}/{n}.png", Path(), (question(a, options),), split=split)
        for n, a in enumerate(answers)
    ]


def question(answer, options):
    return Question("Q?", "Anomaly Detection", options, answer)


def test_what_cannot_be_measured_is_said():
    balanced = [*made("A", "B"), *made("B", "A", folder="good")]
    assert list(coverage_findings(balanced)) == []
    (alone,) = coverage_findings(made("A", "B"))
    assert "no image is normal: false alarms" in alone.message and alone.level == "warning"
    normal, letter = coverage_findings(made("B", "B", "B", folder="good"))
    assert "every image is normal: missed defects" in normal.message
    assert "the answer to all 3 questions is B" in letter.message
    train = [*made("A", "B", split="train"), *made("B", "A", folder="good", split="train")]
    (side,) = coverage_findings([*train, *made("A", "B", split="test")])
    assert side.image == "split test"


def test_missing_files_of_one_folder_are_one_line(tmp_path):
    for n in range(5):
        photo(tmp_path / "p/good" / f"{n}.png", seed=n)
        photo(tmp_path / "p/bad" / f"{n}.png", blot=BLOT, seed=20 + n)
        marked(tmp_path / "p/masks/bad" / f"{n}.png", BLOT)
    build("folder", tmp_path / "p", tmp_path / "b", BuildOptions(reserve=0))
    shutil.rmtree(tmp_path / "b/p/p/ground_truth")
    (tmp_path / "b/p/p/test/good/3.png").unlink()
    found = [f for f in check_benchmark(tmp_path / "b") if f.level == "error"]
    assert [(f.kind, f.image.rsplit("/", 1)[1]) for f in found] == [
        ("file", "3.png"),
        ("mask", "bad"),
    ]
    assert found[1].message.startswith("5 files of this folder are missing: 0_mask.png, 1_mask.png")
    shutil.rmtree(tmp_path / "b/p")
    found = [f for f in check_benchmark(tmp_path / "b") if f.level == "error"]
    assert len(found) == 2 and all("5 files of this folder" in f.message for f in found)
    # and from where they are, all is well
    build("folder", tmp_path / "p", tmp_path / "again", BuildOptions(reserve=0))
    assert kinds(tmp_path / "b", root=tmp_path / "again") == []


def test_a_box_left_by_rounding_is_a_warning_and_an_inverted_mask_too(tmp_path):
    for n in range(2):
        photo(tmp_path / "p/good" / f"{n}.png", seed=n)
        photo(tmp_path / "p/bad" / f"{n}.png", blot=BLOT, seed=20 + n)
    marked(tmp_path / "p/masks/bad/0.png", BLOT)
    build("folder", tmp_path / "p", tmp_path / "b")
    records = json.loads((tmp_path / "b/mmad.json").read_text())
    (one,) = [key for key in records if "bad/1" in key]
    records[one]["boxes"] = [[150, 60, 200.0000001, 120.5]]
    dump(tmp_path / "b/mmad.json", records)
    assert ("warning", "boxes") in kinds(tmp_path / "b")
    mask = tmp_path / "b/p/p/ground_truth/bad/0_mask.png"
    pixels = 255 - np.asarray(Image.open(mask))
    mask.unlink()
    put(mask, pixels)
    (zero,) = [key for key in records if "bad/0" in key]
    for key in ("boxes", "box_labels"):
        records[zero].pop(key, None)
    records[zero]["conversation"] = [q for q in records[zero]["conversation"] if q["Options"]]
    dump(tmp_path / "b/mmad.json", records)
    found = [f for f in check_benchmark(tmp_path / "b") if f.kind == "mask"]
    assert [f.level for f in found] == ["warning"] and "inverted" in found[0].message


def test_all_cores_say_what_one_says(tmp_path):
    """More files than one process takes, in a fresh interpreter: the same findings, in order."""
    for n in range(60):
        photo(tmp_path / "p/good" / f"{n}.png", (40, 40), seed=n)
        photo(tmp_path / "p/bad" / f"{n}.png", (40, 40), seed=200 + n)
    build("folder", tmp_path / "p", tmp_path / "b", BuildOptions(reserve=0))
    for n in (3, 30, 50):
        broken = tmp_path / "b/p/p/test/bad" / f"{n}.png"
        broken.unlink()
        broken.write_bytes(b"none")
    code = (
        "import sys, anomalyr1.data.many_cores as m\n"
        "from anomalyr1.data.checking.check import check_benchmark\n"
        "if sys.argv[2] == 'one': m._may_fork = lambda: False\n"
        "m.cores = lambda: 2\n"
        "print(*check_benchmark(sys.argv[1]), sep='\\n')\n"
        "assert 'torch' not in sys.modules\n"
    )
    said = [
        subprocess.run(
            [sys.executable, "-c", code, str(tmp_path / "b"), how],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for how in ("one", "all")
    ]
    assert said[0] == said[1] and said[0].count("does not decode") == 3

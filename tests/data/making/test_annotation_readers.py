"""Every annotation form against another reading of its raw files."""

import csv
import json
import re
import shutil
import unicodedata
from pathlib import Path

import annotated_trees as trees
import numpy as np
import pytest
import source_trees
import yaml
from PIL import Image

from anomalyr1.data.checking.check import check_benchmark
from anomalyr1.data.making.builder import BuildOptions, build_benchmark
from anomalyr1.data.making.sources.catalogue import read_source
from anomalyr1.data.mmad import load_benchmark

ALL = BuildOptions(reserve=0.0)  # every picture is asked about


def build(name, root, out, **settings):
    return load_benchmark(build_benchmark(read_source(name, root, settings), out, ALL))


def found(benchmark):
    """{picture: [(label, x1, y1, x2, y2)]} of a benchmark."""
    return {
        sample.path.name: sorted((box.label, *map(round, box.xyxy)) for box in sample.boxes or ())
        for sample in benchmark.samples
    }


# Independent readings: what a reader of the raw file without our code finds.


def raw_voc(root):
    result = {}
    for file in root.glob("Annotations/*.xml"):
        text = file.read_text()
        names = re.findall(r"<name>(.*?)</name>", text)
        numbers = re.findall(r"<(?:xmin|ymin|xmax|ymax)>(\d+)<", text)
        boxes = np.array(numbers, int).reshape(-1, 4).tolist()
        picture = re.search(r"<filename>(.*?)<", text)[1]
        result[picture] = sorted((n, *box) for n, box in zip(names, boxes, strict=True))
    return result


def raw_yolo(root):
    names = yaml.safe_load((root / "data.yaml").read_text())["names"]
    result = {}
    for file in root.rglob("labels/*.txt"):
        picture = file.parent.parent / "images" / f"{file.stem}.png"
        width, height = Image.open(picture).size
        rows = np.loadtxt(file, ndmin=2) if file.stat().st_size else np.zeros((0, 5))
        marks = []
        for kind, *values in rows:
            points = np.array(values).reshape(-1, 2) * (width, height)
            if len(values) == 4:
                low, high = points[0] - points[1] / 2, points[0] + points[1] / 2
            else:
                low, high = points.min(0), points.max(0)
            marks.append((names[int(kind)], *np.rint([*low, *high]).astype(int).tolist()))
        result[picture.name] = sorted(marks)
    return result


def raw_labelme(root):
    result = {}
    for file in root.rglob("*.json"):
        content = json.loads(file.read_text())
        marks = []
        for shape in content["shapes"]:
            points = np.array(shape["points"])
            end = points.max(0) + (shape["shape_type"] == "mask")
            marks.append((shape["label"], *points.min(0).tolist(), *end.tolist()))
        result[content["imagePath"].split("\\")[-1]] = sorted(marks)
    return result


def raw_label_studio(root):
    result = {}
    for task in json.loads((root / "export.json").read_text()):
        marks = []
        for region in task["annotations"][0]["result"]:
            value, (w, h) = region["value"], trees.SIZE
            if region["type"] == "rectanglelabels":
                box = [value["x"] * w, value["y"] * h]
                box += [box[0] + value["width"] * w, box[1] + value["height"] * h]
                marks.append((value["rectanglelabels"][0], *[round(v / 100) for v in box]))
            elif region["type"] == "polygonlabels":
                points = np.array(value["points"]) * (w, h) / 100
                corners = np.rint([*points.min(0), *points.max(0)]).astype(int).tolist()
                marks.append((value["polygonlabels"][0], *corners))
            elif region["type"] == "brushlabels":
                bits = "".join(f"{byte:08b}" for byte in value["rle"])[53:]
                flat = []
                while len(flat) < 4 * w * h:  # every block of the test's brush is a run
                    length, shade = int(bits[3:19], 2) + 1, int(bits[19:27], 2)
                    flat += [shade] * length
                    bits = bits[27:]
                ys, xs = np.nonzero(np.array(flat).reshape(h, w, 4)[..., 3])
                corners = (xs.min(), ys.min(), xs.max() + 1, ys.max() + 1)
                marks.append((value["brushlabels"][0], *map(int, corners)))
        result[task["data"]["image"].rsplit("/", 1)[1]] = sorted(marks)
    return result


def raw_cvat(root):
    result = {}
    for block in re.findall(r"<image .*?</image>", (root / "annotations.xml").read_text()):
        marks = []
        for text in re.findall(r"<(?:box|polygon|mask) .*?/>", block):
            at = dict(re.findall(r'(\w+)="(.*?)"', text))
            if "xtl" in at:
                marks.append((at["label"], *(int(at[k]) for k in ("xtl", "ytl", "xbr", "ybr"))))
            elif "points" in at:
                points = np.array(re.findall(r"[\d.]+", at["points"]), float).reshape(-1, 2)
                marks.append((at["label"], *points.min(0), *points.max(0)))
            else:
                off, on = map(int, at["rle"].split(","))
                left, top, width = (int(at[k]) for k in ("left", "top", "width"))
                y1, y2 = top + off // width, top + (off + on) // width
                marks.append((at["label"], left, y1, left + width, y2))
        result[re.search(r'name="(.*?)"', block)[1]] = sorted(marks)
    return result


def raw_rle_csv(root):
    result = {file.name: [] for file in root.glob("train_images/*")}
    height = trees.SIZE[1]
    for row in csv.DictReader((root / "train.csv").open()):
        pixels = set()
        numbers = list(map(int, row["EncodedPixels"].split()))
        for start, length in zip(numbers[::2], numbers[1::2], strict=True):
            pixels |= {divmod(p - 1, height) for p in range(start, start + length)}
        xs, ys = zip(*pixels, strict=True)
        box = (min(xs), min(ys), max(xs) + 1, max(ys) + 1)
        result[row["ImageId"]].append((f"class {row['ClassId']}", *box))
    return {name: sorted(marks) for name, marks in result.items()}


def raw_manifest(root):
    result = {}
    for line in (root / "train.manifest").read_text().splitlines():
        row = json.loads(line)
        marks = []
        for entry in row.get("job", {}).get("annotations", []):
            x, y = entry["left"], entry["top"]
            label = row["job-metadata"]["class-map"][str(entry["class_id"])]
            marks.append((label, x, y, x + entry["width"], y + entry["height"]))
        if "mask-ref" in row:
            image = np.array(Image.open(root / "masks" / Path(row["mask-ref"]).name))
            for label, colour in trees.COLOURS.items():
                hit = (image == list(bytes.fromhex(colour[1:]))).all(-1)
                if hit.any():
                    ys, xs = np.nonzero(hit)
                    box = (xs.min(), ys.min(), xs.max() + 1, ys.max() + 1)
                    marks.append((label, *map(int, box)))
        result[Path(row["source-ref"]).name] = sorted(marks)
    return result


CASES = [
    ("voc", {}, raw_voc, False),
    ("yolo", {}, raw_yolo, False),
    ("yolo", {"polygons": True}, raw_yolo, True),
    ("labelme", {"kind": "polygon"}, raw_labelme, True),
    ("labelme", {"kind": "rectangle"}, raw_labelme, False),
    ("labelme", {"kind": "mask"}, raw_labelme, True),
    ("label-studio", {"kind": "rectangle"}, raw_label_studio, False),
    ("label-studio", {"kind": "polygon"}, raw_label_studio, True),
    ("label-studio", {"kind": "brush", "choice": True}, raw_label_studio, True),
    ("cvat", {"kind": "box"}, raw_cvat, False),
    ("cvat", {"kind": "polygon"}, raw_cvat, True),
    ("cvat", {"kind": "mask"}, raw_cvat, True),
    ("rle-csv", {}, raw_rle_csv, True),
    ("manifest", {"kind": "boxes"}, raw_manifest, False),
    ("manifest", {"kind": "mask"}, raw_manifest, True),
]


@pytest.mark.parametrize(("name", "form", "raw", "masked"), CASES)
def test_counts_boxes_and_masks_equal_the_raw_file(tmp_path, name, form, raw, masked):
    root = trees.FORMS[name](tmp_path / "raw", **form)
    benchmark = build(name, root, tmp_path / "out")
    expected = raw(root)
    assert sum(map(len, expected.values())) == 4 and len(expected) == 5  # as drawn
    assert found(benchmark) == expected
    assert [f for f in check_benchmark(tmp_path / "out", near_bits=-1) if f.level == "error"] == []
    for drawn in trees.DRAWN:
        sample = next(s for s in benchmark.samples if s.path.name == drawn.name)
        assert sample.is_normal == (not drawn.marks)
        assert (sample.mask is not None) == (masked and bool(drawn.marks))
        if sample.mask:
            mask = np.array(Image.open(benchmark.root / sample.mask)) > 0
            union = np.any([trees.pixels(mark) for mark in drawn.marks], axis=0)
            assert np.array_equal(mask, union)
    assert benchmark.manifest["source"]["licence"] == "the user's"


def test_a_class_of_scattered_runs_has_a_box_for_each_component(tmp_path):
    drawn = (trees.Drawn("a.png", (("dent", 2, 2, 8, 8), ("dent", 30, 20, 40, 30)), 1),)
    root = trees.rle_csv(tmp_path / "raw", drawn)
    lines = (root / "train.csv").read_text().splitlines()
    runs = " ".join(line.split(",")[2] for line in lines[1:])
    (root / "train.csv").write_text(f"{lines[0]}\na.png,1,{runs}\n")
    assert found(build("rle-csv", root, tmp_path / "out"))["a.png"] == [
        ("class 1", 2, 2, 8, 8),
        ("class 1", 30, 20, 40, 30),
    ]


def test_severstals_older_columns_and_names_of_classes(tmp_path):
    root = trees.rle_csv(tmp_path / "raw")
    text = (root / "train.csv").read_text().replace("ImageId,ClassId", "ImageId_ClassId")
    text = re.sub(r"(\w+\.png),(\d),", r"\1_\2,", text) + "n1.png_1,\nn1.png_2,\n"
    (root / "train.csv").write_text(text)
    benchmark = build("rle-csv", root, tmp_path / "out", rename="class 1:dent,class 2:scratch")
    expected = {d.name: sorted(d.marks) for d in trees.DRAWN}
    assert found(benchmark) == expected


def test_sides_are_kept(tmp_path):
    benchmark = build("yolo", trees.yolo(tmp_path / "raw"), tmp_path / "out")
    sides = {s.path.name: s.split for s in benchmark.samples}
    assert sides == {d.name: "train" if d.marks else "valid" for d in trees.DRAWN}
    root = trees.voc(tmp_path / "voc")
    trees.write(root / "ImageSets/Main/train.txt", "a\nb\n")
    trees.write(root / "ImageSets/Main/test.txt", "c\nn1\n")
    benchmark = build("voc", root, tmp_path / "out2")
    sides = {s.path.stem: s.split for s in benchmark.samples}
    assert sides == {"a": "train", "b": "train", "c": "test", "n1": "test", "n2": None}


@pytest.mark.parametrize(
    ("written", "database", "setting", "shift"),
    [
        (1, "The VOC2007 Database", "auto", 0),  # written from 1, read from 1
        (0, "Unknown", "auto", 0),  # labelImg: written from 0, read from 0
        (1, "Unknown", "1", 0),
        (1, "Unknown", "0", 1),  # read wrongly on purpose: one pixel to the right
    ],
)
def test_the_origin_of_voc(tmp_path, written, database, setting, shift):
    root = trees.voc(tmp_path / "raw", origin=written, database=database)
    benchmark = build("voc", root, tmp_path / "out", origin=setting)
    expected = {
        d.name: sorted((m[0], m[1] + shift, m[2] + shift, m[3], m[4]) for m in d.marks)
        for d in trees.DRAWN
    }
    assert found(benchmark) == expected
    used = {"auto": "1" if "VOC" in database else "0"}.get(setting, setting)
    assert benchmark.manifest["options"]["origin"] == [used]


def test_labels_of_images_and_of_nothing(tmp_path):
    """A classification alone: no boxes, no type from "anomaly"."""
    benchmark = build("manifest", trees.manifest(tmp_path / "raw", kind="class"), tmp_path / "out")
    samples = {s.path.name: s for s in benchmark.samples}
    assert samples["n1.png"].is_normal and samples["n1.png"].boxes == ()
    defective = samples["a.png"]
    assert defective.boxes is None and not defective.is_normal
    assert {q.type for q in defective.questions} == {"Anomaly Detection"}


@pytest.mark.parametrize(("name", "remove"), [("yolo", "valid/labels/n1.txt"),
                                              ("voc", "Annotations/n1.xml"),
                                              ("labelme", "json/n1.json")])  # fmt: skip
def test_an_image_nobody_annotated_is_not_normal(tmp_path, name, remove):
    root = trees.FORMS[name](tmp_path / "raw")
    (root / remove).unlink()
    benchmark = build(name, root, tmp_path / "out")
    assert len(benchmark.samples) == 4
    assert benchmark.manifest["source"]["left_out"] == {"images without an annotation": 1}
    taken = build(name, root, tmp_path / "out2", unlabelled="normal")
    assert sum(s.is_normal for s in taken.samples) == 2


def test_btad_and_real_iad_variety(tmp_path):
    benchmark = build("btad", trees.btad(tmp_path / "btad"), tmp_path / "out")
    found = sorted((s.category, s.is_normal) for s in benchmark.samples)
    assert found == [("01", False), ("01", False), ("01", True)]
    assert all(b.xyxy == (6, 8, 18, 20) for s in benchmark.samples for b in s.boxes)
    assert not any(
        q.type == "Defect Classification" for s in benchmark.samples for q in s.questions
    )
    variety = build("real-iad", trees.real_iad_variety(tmp_path / "variety"), tmp_path / "out2")
    assert [s.defect for s in variety.samples] == ["good", "scratch"]
    assert variety.manifest["source"]["left_out"]["views of defective parts without a mask"] == 1
    assert "Variety" in variety.manifest["source"]["citation"]


def test_cvats_coco_goes_through_coco(tmp_path):
    trees.pictures(tmp_path / "raw/images")
    images = [
        {"id": n + 1, "file_name": d.name, "width": trees.SIZE[0], "height": trees.SIZE[1]}
        for n, d in enumerate(trees.DRAWN)
    ]
    annotations = [
        {"id": 10 * n + k, "image_id": n + 1, "category_id": trees.LABELS.index(m[0]) + 1,
         "bbox": [m[1], m[2], m[3] - m[1], m[4] - m[2]], "iscrowd": 0, "segmentation": []}
        for n, d in enumerate(trees.DRAWN) for k, m in enumerate(d.marks)
    ]  # fmt: skip
    categories = [{"id": n + 1, "name": label} for n, label in enumerate(trees.LABELS)]
    content = {"images": images, "annotations": annotations, "categories": categories}
    trees.write(tmp_path / "raw/annotations/instances_default.json", content)
    benchmark = build("coco", tmp_path / "raw", tmp_path / "out")
    assert found(benchmark) == {d.name: sorted(d.marks) for d in trees.DRAWN}


def test_the_manifest_records_every_setting(tmp_path):
    root = trees.yolo(tmp_path / "tree")
    (root / "data.yaml").unlink()
    own = {"names": "dent,scratch", "encoding": "cp1252", "unlabelled": "normal", "dataset": "D"}
    general = {"rename": "dent:ding", "group": "[a-z]", "rescale": "true"}
    manifest = build("yolo", root, tmp_path / "out", **own, **general, category="lid").manifest
    recorded = {key: manifest["options"][key] for key in (*own, *general, "category")}
    assert recorded == {**own, **general, "category": "lid"}


@pytest.mark.parametrize(
    ("name", "draw"), [("voc", trees.voc), ("yolo", trees.yolo), ("labelme", trees.labelme)]
)
def test_linked_folders_are_read_once_and_cycles_end(tmp_path, name, draw):
    """They were passed over: a tree with a linked side was built without it."""
    real = draw(tmp_path / "elsewhere")
    whole = found(build(name, real, tmp_path / "whole"))
    root = tmp_path / "root"
    root.mkdir()
    for entry in (real,) if name == "labelme" else real.iterdir():
        (root / entry.name).symlink_to(entry)
    inner = next(path for path in (*real.iterdir(), real) if path.is_dir())
    (inner / "again").symlink_to(inner)
    (inner / "back").symlink_to(root)
    (inner / "up").symlink_to(tmp_path)
    (root / "twice").symlink_to(inner)
    assert found(build(name, root, tmp_path / "linked")) == whole


def test_voc_folders_of_classes_on_both_sides_of_the_tree(tmp_path):
    """HRIPCB: Annotations/<class>/*.xml and images/<class>/*, names that come twice among them."""
    whole = trees.voc(tmp_path / "plain")
    root = tmp_path / "pcb"
    for kind in ("Short", "Missing_hole"):
        shutil.copytree(whole / "Annotations", root / "Annotations" / kind)
        shutil.copytree(whole / "JPEGImages", root / "images" / kind)
    source = read_source("voc", root)
    for item in source.items:
        assert item.file.parent.parent == root / "images"
    once = {item.file.name: item.boxes for item in read_source("voc", whole).items}
    assert len(source.items) == 2 * len(once)
    assert all(item.boxes == once[item.file.name] for item in source.items)


NFC, NFD = (unicodedata.normalize(form, "Lötstelle") for form in ("NFC", "NFD"))


@pytest.mark.parametrize(
    ("name", "draw"),
    [("coco", source_trees.coco), ("voc", trees.voc), ("label-studio", trees.label_studio)],
)
def test_accents_may_be_written_in_two_ways(tmp_path, name, draw):
    """macOS writes them apart, and annotations whole."""
    root = draw(tmp_path / "tree")
    before = found(build(name, root, tmp_path / "plain"))
    renamed = next(key for key in sorted(before) if before[key])
    stem = Path(renamed).stem
    for file in [f for f in root.rglob("*") if f.is_file()]:
        if file.suffix in (".json", ".xml"):
            text = file.read_text().replace(renamed, renamed.replace(stem, NFC))
            file.write_text(text, encoding="utf-8")
        if file.name == renamed:
            file.rename(file.with_name(renamed.replace(stem, NFD)))
    after = found(build(name, root, tmp_path / "apart"))
    assert sorted(after.values()) == sorted(before.values())

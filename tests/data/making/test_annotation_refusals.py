"""What the annotation readers refuse, by name, and what of odd files they read."""

import json
import re
from pathlib import Path

import annotated_trees as trees
import pytest
from PIL import Image
from source_trees import picture, save

from anomalyr1.data.making.builder import build_benchmark
from anomalyr1.data.making.sources.catalogue import read_source
from anomalyr1.data.mmad import load_benchmark
from anomalyr1.errors import InputError


def replaced(name, old, new, count=-1):
    """An edit of one file of the tree."""

    def edit(root):
        file = root / name
        text = file.read_text()
        assert old in text
        file.write_text(text.replace(old, new, count))

    return edit


def task(**keys):
    """An edit of the first task of the Label Studio export; keys of its first region."""

    def edit(root):
        file = root / "export.json"
        tasks = json.loads(file.read_text())
        region = tasks[0]["annotations"][0]["result"][0]
        for key, value in keys.items():
            (region["value"] if key in region["value"] else region)[key] = value
        file.write_text(json.dumps(tasks))

    return edit


def shape(**keys):
    def edit(root):
        file = root / "json/a.json"
        content = json.loads(file.read_text())
        content["shapes"][0] |= keys
        file.write_text(json.dumps(content))

    return edit


def swap_picture(name, size=(40, 48)):
    return lambda root: save(root / name, picture(3, size))


LAUGHS = '<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><annotation>'
CASES = [
    ("voc", replaced("Annotations/a.xml", "<xmax>20<", "<xmax>wide<"), "a number for xmax"),
    ("voc", replaced("Annotations/a.xml", "<xmax>20<", "<xmax>nan<"), "a number for xmax"),
    ("voc", replaced("Annotations/a.xml", "<xmax>20<", "<xmax>60<"), "box inside the 48 x 40"),
    ("voc", replaced("Annotations/a.xml", "<xmax>20<", "<xmax>4<"), "a box with an area"),
    ("voc", replaced("Annotations/a.xml", "<bndbox>", "<bndbax>"), "broken XML"),
    ("voc", replaced("Annotations/a.xml", "<annotation>", LAUGHS), "document type"),
    ("voc", replaced("Annotations/a.xml", "a.png", "b.png"), "one annotation of .*b.png"),
    ("voc", replaced("Annotations/a.xml", "a.png", "../../x/a.png"), "an image below"),
    ("voc", replaced("Annotations/a.xml", "a.png", "z.png"), "'z.png' that .* found no such file"),
    ("voc", replaced("Annotations/a.xml", "<height>40<", "<height>80<"), "the 48 x 80 pixels"),
    ("voc", swap_picture("JPEGImages/a.png"), "declares, found 40 x 48"),
    ("voc", lambda root: (root / "JPEGImages/a.png").write_bytes(b"x"), "does not decode"),
    ("yolo", replaced("train/labels/a.txt", "1 ", "7 ", 1), r"class out of 0, 1 at .*a.txt:1, fo"),
    ("yolo", replaced("train/labels/a.txt", "1 ", "x ", 1), "a number for the class at .*a.txt:1"),
    ("yolo", replaced("train/labels/a.txt", "\n", " 0.9\n"), "a box with a score"),
    ("yolo", replaced("train/labels/a.txt", "1 0.25", "1 12.0"), "shares of the image from 0 to 1"),
    ("yolo", replaced("train/labels/a.txt", "1 0.25", "1 0.99"), "box inside the 48 x 40"),
    ("yolo", lambda root: (root / "train/images/a.png").unlink(), "an image beside or opposite"),
    ("yolo", lambda root: (root / "data.yaml").unlink(), "give --set names="),
    ("yolo", replaced("data.yaml", "names: [", "names: [["), "broken YAML"),
    ("yolo", replaced("data.yaml", "['dent', 'scratch']", "{a: b}"), "the class 'a'"),
    ("yolo", replaced("data.yaml", "../valid/images", "train/images"), "on one side"),
    ("labelme", shape(points=[[1, 2], [3, 4]]), "three corners or more at shape 1 of .*a.json"),
    ("labelme", shape(points=[[1], [3, 4], [5, 6]]), r"expected \[x, y\]"),
    ("labelme", shape(points=None), "a shape with points"),
    ("labelme", shape(label=""), "a label at shape 1"),
    ("labelme", shape(shape_type="line"), "a line: it marks no area"),
    ("labelme", shape(shape_type="mask", points=[[1, 1], [3, 3]], mask="AAAA"), "PNG in base64"),
    ("labelme", shape(shape_type="circle"), "two points of a circle"),
    ("labelme", replaced("json/a.json", "..\\\\pics", "..\\\\..\\\\pics"), "an image below"),
    ("labelme", replaced("json/a.json", '"imageWidth": 48', '"imageWidth": 96'), "96 x 40 pixels"),
    ("label-studio", task(rotation=30), "rotated by 30 degrees"),
    ("label-studio", task(image_rotation=90), "turned by 90 degrees"),
    ("label-studio", task(type="keypointlabels"), "'keypointlabels': it marks no area"),
    ("label-studio", task(x="left"), "a number for x at region 1 of task 1"),
    ("label-studio", task(original_width=96), "96 x 40 pixels"),
    ("label-studio", task(rectanglelabels=[]), "one label at region 1 of task 1"),
    ("label-studio", task(rectanglelabels=["a", "b"]), "one label"),
    ("label-studio", task(width=99), "box inside the 48 x 40"),
    ("label-studio", replaced("export.json", "images/a.png", "../a.png"), "an image below"),
    ("label-studio", replaced("export.json", '"annotations"', '"label"'), "not JSON-MIN|annotat"),
    ("label-studio", lambda root: trees.write(root / "export.json", {}), "found dict"),
    ("cvat", replaced("annotations.xml", 'ybr="12"', 'ybr="12" rotation="15.0"'), "by 15 degrees"),
    ("cvat", replaced("annotations.xml", "<image ", "<track ", -1), "broken XML|a video"),
    ("cvat", replaced("annotations.xml", "<box ", "<points ", 1), "a points, which marks no area"),
    ("cvat", replaced("annotations.xml", 'width="48"', 'width="99999999"', 1), "99999999 x 40"),
    ("cvat", replaced("annotations.xml", 'xtl="4"', 'xtl=""', 1), "a number for xtl"),
    ("rle-csv", replaced("train.csv", "a.png,2,", "a.png,2,7 "), "pairs of start and length|runs"),
    ("rle-csv", replaced("train.csv", "a.png,2,", "a.png,2,1 99999 "), "the run 1 99999"),
    ("rle-csv", replaced("train.csv", "a.png,2,", "a.png,2,x "), r"pairs .* at .*train.csv:2"),
    ("rle-csv", replaced("train.csv", "a.png", "q.png", 1), "'q.png' that .* found no such file"),
    ("rle-csv", replaced("train.csv", "EncodedPixels", "Pixels"), "the columns imageid"),
    ("rle-csv", replaced("train.csv", "a.png,2", "a.png"), "3 columns at .*train.csv:2, found 2"),
    ("manifest", replaced("train.manifest", '"class_id": 1', '"class_id": 5', 1), "names in 'job'"),
    ("manifest", replaced("train.manifest", "object-detection", "video", 1), "'groundtruth/video"),
    ("manifest", replaced("train.manifest", '"left": 4', '"left": null', 1), "a number for left"),
    ("manifest", replaced("train.manifest", "line1/a.png", "line1/../../a.png"), "below the root"),
    ("manifest", replaced("train.manifest", '{"source-ref"', '{source', 1), "broken JSON at .*:1"),
    ("manifest", replaced("train.manifest", '"width": 48', '"width": 24', 1), "24 x 40 pixels"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "edit", "said"), CASES)
def test_a_fault_is_refused_by_name(tmp_path, name, edit, said):
    root = trees.FORMS[name](tmp_path / "raw")
    edit(root)
    with pytest.raises(InputError, match=said) as caught:
        build_benchmark(read_source(name, root), tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert not re.search("(Type|Key|Value|Index|Attribute)Error|object at", str(caught.value))


@pytest.mark.parametrize("name", [*trees.FORMS, "btad"])
def test_an_empty_folder_is_refused(tmp_path, name):
    with pytest.raises(InputError, match="expected"):
        read_source(name, tmp_path)


def test_many_faults_are_a_count_and_the_first_ten(tmp_path):
    drawn = [trees.Drawn(f"{n}.png", (("dent", 1, 1, 9, 9),), n) for n in range(23)]
    root = trees.voc(tmp_path / "raw", drawn)
    for file in root.glob("Annotations/*.xml"):
        file.write_text(file.read_text().replace("<xmax>9<", "<xmax>wide<"))
    with pytest.raises(InputError) as caught:
        read_source("voc", root)
    lines = str(caught.value).splitlines()
    assert lines[0] == "23 annotations cannot be used; mend them:"
    assert len(lines) == 12 and lines[-1].startswith("... and 13 more; all of them: ")
    kept = Path(lines[-1].rpartition(": ")[2])
    assert len(kept.read_text().splitlines()) == 23
    kept.unlink()


def test_a_box_half_a_pixel_outside_is_cut_and_counted(tmp_path):
    root = trees.cvat(tmp_path / "raw")
    replaced("annotations.xml", 'xbr="48"', 'xbr="48.6"')(root)
    benchmark = load_benchmark(build_benchmark(read_source("cvat", root), tmp_path / "out"))
    assert max(b.x2 for sample in benchmark.samples for b in sample.boxes) == 48
    assert any(note.startswith("1 boxes left their image") for note in benchmark.manifest["notes"])


def test_a_label_that_says_normal_and_marks_contradict(tmp_path):
    root = trees.label_studio(tmp_path / "raw", choice=True)
    replaced("export.json", '"NG"', '"OK"', 1)(root)
    with pytest.raises(InputError, match=r"task 1 of .* calls .*a.png 'OK' and has the label 's"):
        read_source("label-studio", root)


def test_several_annotators_and_none(tmp_path):
    root = trees.label_studio(tmp_path / "raw")
    tasks = json.loads((root / "export.json").read_text())
    tasks[3]["annotations"] = []
    tasks[4]["annotations"][0]["was_cancelled"] = True
    trees.write(root / "export.json", tasks)
    assert read_source("label-studio", root).left_out == {"images without an annotation": 2}
    tasks[0]["annotations"] *= 2
    trees.write(root / "export.json", tasks)
    with pytest.raises(InputError, match=r"found 2 .several annotators"):
        read_source("label-studio", root)


@pytest.mark.parametrize("cut", [0, 3, 10, -1])
def test_a_brush_that_ends_early(tmp_path, cut):
    root = trees.label_studio(tmp_path / "raw", kind="brush")
    code = trees.brush_code(trees.pixels(trees.DRAWN[0].marks[0]))
    task(rle=code[:cut])(root)
    with pytest.raises(InputError, match=r"brush|expected the 7680 values"):
        read_source("label-studio", root)


@pytest.mark.parametrize(
    "name",
    [
        "images/a.png",
        "/data/local-files/?d=images/a.png",
        "/data/upload/3/0f1e2d3c-a.png",
        "http://host:8080/data/images/a.png",
        "s3://bucket/images/a.png",
        "images\\a.png",
        "images/A.PNG",
        "C:\\line\\images\\a.png",
    ],
)
def test_where_an_image_may_be_named(tmp_path, name):
    root = trees.label_studio(tmp_path / "raw", trees.DRAWN[:1])
    tasks = json.loads((root / "export.json").read_text())
    tasks[0]["data"] = {"image": name}
    trees.write(root / "export.json", tasks)
    (item,) = read_source("label-studio", root).items
    assert item.file == root / "images/a.png"


def test_a_name_too_long_for_a_file(tmp_path):
    """The operating system refuses to look for it; that is no reason to stop with its error."""
    long = "x" * 5000
    for name, file in (("cvat", "annotations.xml"), ("label-studio", "export.json"),
                       ("rle-csv", "train.csv"), ("yolo", "data.yaml")):  # fmt: skip
        root = trees.FORMS[name](tmp_path / name)
        text = (root / file).read_text().replace("a.png", f"{long}.png")
        (root / file).write_text(text.replace("../valid/images", long))
        if name == "yolo":
            assert read_source(name, root).items  # a side that is not there
            continue
        with pytest.raises(InputError, match="found no such file"):
            read_source(name, root)


def test_a_wrong_folder_is_no_match(tmp_path):
    """cam2/0.png must not be answered with cam1/0.png."""
    root = trees.cvat(tmp_path / "raw", trees.DRAWN[:1])
    replaced("annotations.xml", 'name="a.png"', 'name="cam2/a.png"')(root)
    with pytest.raises(InputError, match=r"'cam2/a.png' that .* found no such file"):
        read_source("cvat", root)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "gbk", "cp1252"])
def test_encodings_of_xml(tmp_path, encoding):
    label = "裂纹" if encoding == "gbk" else "Größe"
    root = trees.voc(tmp_path / "raw", (trees.Drawn("a.png", ((label, 1, 1, 9, 9),)),))
    text = (root / "Annotations/a.xml").read_text()
    declared = f"<?xml version='1.0' encoding='{encoding}'?>\n" if "utf" not in encoding else ""
    (root / "Annotations/a.xml").write_bytes((declared + text).encode(encoding))
    (item,) = read_source("voc", root).items
    assert item.defects == (label.lower(),)
    if declared:
        (root / "Annotations/a.xml").write_bytes(text.encode(encoding))
        with pytest.raises(InputError, match=r"in UTF-8 at .*a.xml, found"):
            read_source("voc", root)
        assert read_source("voc", root, {"encoding": encoding}).items[0].defects == item.defects


def test_a_photo_turned_by_exif_keeps_its_boxes(tmp_path):
    root = trees.voc(tmp_path / "raw", (trees.Drawn("a.jpg", (("dent", 1, 1, 9, 9),)),))
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(picture(1, trees.SIZE)).save(root / "JPEGImages/a.jpg", exif=exif)
    file = build_benchmark(read_source("voc", root), tmp_path / "out")
    (sample,) = load_benchmark(file).samples
    assert sample.boxes[0].xyxy == (31, 1, 39, 9)  # stored on its left side: 40 - y is the new x


def test_labels_that_are_paths_stay_inside_the_output(tmp_path):
    drawn = (trees.Drawn("a.png", (("../../../escaped", 1, 1, 9, 9),)),)
    root = trees.labelme(tmp_path / "raw", drawn)
    file = build_benchmark(read_source("labelme", root), tmp_path / "out/deep/er")
    (sample,) = load_benchmark(file).samples
    assert sample.path.is_relative_to(tmp_path / "out/deep/er") and sample.path.is_file()
    assert sample.boxes[0].label == "../../../escaped"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out", "raw"]


def test_pictures_of_one_name_on_two_sides(tmp_path):
    root = trees.yolo(tmp_path / "raw", (*trees.DRAWN[:3], trees.Drawn("a.png", (), 9)))
    names = {item.name for item in read_source("yolo", root).items}
    assert {"train_images_a.png", "valid_images_a.png"} <= names

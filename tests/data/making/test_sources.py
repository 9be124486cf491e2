import json

import pytest
import source_trees as trees

from anomalyr1.data.checking.check import check_benchmark
from anomalyr1.data.making.builder import BuildOptions, build_benchmark
from anomalyr1.data.making.division import SplitOptions
from anomalyr1.data.making.sources.catalogue import SOURCES, read_source
from anomalyr1.data.making.splits import split_benchmark
from anomalyr1.data.manifest import read_groups
from anomalyr1.data.mmad import load_benchmark
from anomalyr1.errors import InputError
from anomalyr1.schema import Box

# source -> tree, settings, expected: asked normal, asked defective, reference images in the pool,
# boxes. Counts are read off the tree in source_trees.py.
CASES = {
    "mvtec": (trees.mvtec, {}, (4, 6, 6, 6)),
    "mvtec-ad2": (trees.mvtec_ad2, {}, (1, 1, 2, 1)),
    "loco": (trees.loco, {}, (1, 2, 2, 2)),
    "goodsad": (trees.goodsad, {}, (1, 1, 1, 1)),
    "visa": (trees.visa_raw, {}, (1, 2, 1, 2)),
    "visa-1cls": (trees.visa_1cls, {}, (1, 1, 1, 1)),
    "real-iad": (trees.real_iad, {}, (1, 2, 1, 2)),
    # 6 pairs: half of the templates are normal images, half references; boxes 2*1 + 4*2
    "deeppcb": (trees.deeppcb, {}, (3, 6, 3, 10)),
    # 5 normal tiles, a fifth of them set aside
    "magnetic-tile": (trees.magnetic_tile, {}, (4, 4, 1, 4)),
    # 2 normal cells each of mono and poly, one each set aside; one cell between the thresholds
    "elpv": (trees.elpv, {}, (2, 2, 2, 0)),
    "coco": (trees.coco, {"category": "panel"}, (1, 2, 1, 3)),
    "folder": (trees.own_folder, {"dataset": "Mine"}, (4, 3, 1, 2)),
}


def source_name(case: str) -> str:
    return case if case in SOURCES else case.rsplit("-", 1)[0]


@pytest.mark.parametrize("case", CASES)
def test_each_source_builds_and_checks(tmp_path, case):
    make, settings, (normal, defective, references, boxes) = CASES[case]
    source = read_source(source_name(case), make(tmp_path / "source"), settings)
    build_benchmark(source, tmp_path / "out")
    benchmark = load_benchmark(tmp_path / "out")
    assert sum(s.is_normal for s in benchmark.samples) == normal
    assert sum(not s.is_normal for s in benchmark.samples) == defective
    assert sum(len(s.boxes or ()) for s in benchmark.samples) == boxes
    used = {k for s in benchmark.samples for k in (*s.similar_templates, *s.random_templates)}
    assert len(used) == references
    assert not used & {s.image for s in benchmark.samples}
    assert all(s.similar_templates and s.random_templates for s in benchmark.samples)
    found = [f for f in check_benchmark(tmp_path / "out", near_bits=-1) if f.level == "error"]
    assert found == []
    counts = benchmark.manifest["counts"]
    assert (counts["normal"], counts["abnormal"], counts["boxes"]) == (normal, defective, boxes)
    assert benchmark.manifest["source"]["licence"] and benchmark.manifest["root"] == "."


def build(tmp_path, name, make, **settings):
    source = read_source(name, make(tmp_path / "source"), settings)
    return load_benchmark(build_benchmark(source, tmp_path / "out"))


def one(benchmark, part):
    return next(s for s in benchmark.samples if part in s.image)


def classification(sample):
    return next((q for q in sample.questions if q.type == "Defect Classification"), None)


def test_boxes_come_from_the_masks(tmp_path):
    benchmark = build(tmp_path, "mvtec", trees.mvtec)
    assert one(benchmark, "bottle/test/crack").boxes == (Box(*trees.BOX, "crack"),)


def test_a_loco_directory_of_masks_is_united_and_a_missing_one_is_no_fault(tmp_path):
    benchmark = build(tmp_path, "loco", trees.loco)
    logical, structural = one(benchmark, "logical"), one(benchmark, "structural")
    assert [b.xyxy for b in logical.boxes] == [(2, 2, 10, 10), (30, 30, 44, 44)]
    assert logical.boxes[0].label == "logical anomaly"
    assert structural.boxes is None
    assert not any(q.is_grounding for q in structural.questions)


def test_a_folder_named_bad_names_no_type(tmp_path):
    sample = one(build(tmp_path, "visa", trees.visa_1cls), "bad")
    assert classification(sample) is None and sample.boxes[0].label is None


LIGHTS = ("regular", "overexposed", "underexposed", "shift_1", "shift_2")


def test_a_scene_of_ad2_in_several_lights_is_on_one_side(tmp_path):
    root = trees.mvtec_ad2(tmp_path / "ad2")
    for n in range(1, 7):
        for k, (part, light) in enumerate((p, x) for p in ("good", "bad") for x in LIGHTS):
            # each light another picture: what they look like does not tell it
            pixels = trees.picture(1000 * n + k)
            trees.save(root / f"vial/test_public/{part}/{n:03d}_{light}.png", pixels)
    bench = load_benchmark(build_benchmark(read_source("mvtec", root), tmp_path / "b"))
    groups = read_groups(bench.manifest)
    assert {groups.get(s.image) for s in bench.samples if "/000_" in s.image} == {None}
    assert len(set(groups.values())) == 12 and len(groups) == 12 * len(LIGHTS)
    files = split_benchmark(bench, tmp_path / "s", SplitOptions())
    scenes = [
        {(s.defect, s.path.name[:3]) for s in load_benchmark(file).samples}
        for file in files.values()
    ]
    assert scenes[0] and scenes[1] and not scenes[0] & scenes[1]


def test_visa_types_come_from_its_annotations(tmp_path):
    benchmark = build(tmp_path, "visa", trees.visa_raw)
    wax, both = one(benchmark, "0002"), one(benchmark, "0003")
    assert wax.boxes[0].label == "chunk of wax missing"
    question = classification(both)
    assert question.options[question.answer] in ("Stain.", "Melt.")
    assert both.boxes[0].label is None  # one of two types: which one is not known


def test_real_iad_names_types_and_groups_views(tmp_path):
    benchmark = build(tmp_path, "real-iad", trees.real_iad)
    sample = one(benchmark, "c_C1")
    assert sample.defect == "scratch"
    files = benchmark.manifest["files"]
    group = files[sample.image]["group"]
    assert group == files[sample.image.replace("c_C1", "c_C2")]["group"] == "mint/NG/HS/S0003"
    assert benchmark.manifest["source"]["left_out"] == {"defective images in train": 1}


def test_deeppcb_references(tmp_path):
    benchmark = build(tmp_path, "deeppcb", trees.deeppcb)
    normals = {s.image for s in benchmark.samples if s.is_normal}
    own = 0
    for sample in benchmark.samples:
        assert not normals & {*sample.similar_templates, *sample.random_templates}
        number = sample.image.rsplit("/", 1)[1].split("_")[0]
        own += any(number in key for key in sample.similar_templates)
    assert own == 3  # the pairs whose template is not itself asked about


def test_deeppcb_without_aligned_references(tmp_path):
    benchmark = build(tmp_path, "deeppcb", trees.deeppcb, aligned="false")
    for sample in benchmark.samples:
        number = sample.image.rsplit("/", 1)[1].split("_")[0]
        own = sum(number in key for key in sample.similar_templates)
        # half of the six templates are references; a board does not get its own
        assert own == 0 and len(sample.similar_templates) in (2, 3)


def test_deeppcb_folders_and_types(tmp_path):
    benchmark = build(tmp_path, "deeppcb", trees.deeppcb)
    assert {s.defect for s in benchmark.samples} == {"spur", "multiple", "good"}
    question = classification(one(benchmark, "multiple"))
    assert question.options[question.answer] in ("Spur.", "Pin-hole.")


@pytest.mark.parametrize(
    ("name", "make", "breakage", "said"),
    [
        ("deeppcb", trees.deeppcb, "**/12300000_temp.jpg", "expected the template"),
        ("deeppcb", trees.deeppcb, "**/12300000.txt", "expected a text file"),
        ("magnetic-tile", trees.magnetic_tile, "MT_Crack/Imgs/*.png", "expected the mask"),
        ("visa", trees.visa_raw, "**/Normal/*.JPG", "found no such file; bring it"),
        ("real-iad", trees.real_iad, "**/b_C1.jpg", "no such file"),
        ("elpv", trees.elpv, "**/cell0000.png", "found no such file; bring it"),
        ("coco", trees.coco, "images/0.png", "beside or above it, found no such file"),
        ("folder", trees.own_folder, "dent/0.png", "found no such file; bring it"),
    ],
)
def test_missing_files_are_refused(tmp_path, name, make, breakage, said):
    root = make(tmp_path / "source")
    for path in root.glob(breakage):
        path.unlink()
    with pytest.raises(InputError, match=said):
        read_source(name, root)


@pytest.mark.parametrize(
    ("line", "said"),
    [("1 2 3 4", "type' with a type of 1 to 6"), ("1 2 3 4 9", "1 to 6"), ("", "at least one box")],
)
def test_deeppcb_lines(tmp_path, line, said):
    root = trees.deeppcb(tmp_path)
    next(root.glob("**/12300000.txt")).write_text(line)
    with pytest.raises(InputError, match=said):
        read_source("deeppcb", root)


def test_deeppcb_takes_commas(tmp_path):
    root = trees.deeppcb(tmp_path)
    next(root.glob("**/12300000.txt")).write_text("6,8,18,20,1")
    boxes = next(i for i in read_source("deeppcb", root).items if "12300000_test" in i.name).boxes
    assert boxes == (Box(6, 8, 18, 20, "open"),)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"bbox": [0, 0, 0, 5]}, "a box with an area"),
        ({"image_id": 99}, "an unknown image or category"),
        ({"category_id": 99}, "an unknown image or category"),
        ({"iscrowd": 1}, "a crowd region"),
    ],
)
def test_coco_annotations_are_checked(tmp_path, change, said):
    root = trees.coco(tmp_path)
    content = json.loads((root / "annotations.json").read_text())
    content["annotations"][0].update(change)
    (root / "annotations.json").write_text(json.dumps(content))
    with pytest.raises(InputError, match=said):
        read_source("coco", root)


def test_coco_needs_its_keys(tmp_path):
    (tmp_path / "a.json").write_text('{"images": []}')
    with pytest.raises(InputError, match="a list of objects under 'categories', found none"):
        read_source("coco", tmp_path)
    (tmp_path / "b.json").write_text("{}")
    with pytest.raises(InputError, match=r"a\.json, b\.json"):
        read_source("coco", tmp_path)


@pytest.mark.parametrize("name", sorted(set(SOURCES) - {"coco", "elpv"}))
def test_an_empty_folder_shows_the_tree(tmp_path, name):
    with pytest.raises(InputError, match="expected"):
        read_source(name, tmp_path)


def test_names_roots_and_settings_are_checked(tmp_path):
    with pytest.raises(InputError, match="expected a source out of"):
        read_source("imagenet", tmp_path)
    with pytest.raises(InputError, match="found no such folder"):
        read_source("mvtec", tmp_path / "nowhere")
    with pytest.raises(InputError, match="as ROOT"):
        read_source("mvtec", None)
    with pytest.raises(InputError, match=r"of mvtec out of normal, rename, .* found 'speed'"):
        read_source("mvtec", tmp_path, {"speed": "1"})
    with pytest.raises(InputError, match="expected a number for defect_min"):
        read_source("elpv", tmp_path, {"defect_min": "high"})
    with pytest.raises(InputError, match="normal_max < defect_min"):
        read_source("elpv", tmp_path, {"defect_min": "0"})


def test_elpv_thresholds(tmp_path):
    source = read_source("elpv", trees.elpv(tmp_path), {"normal_max": "0.4"})
    assert sum(item.normal for item in source.items) == 5
    assert source.options == {"normal_max": 0.4, "defect_min": 1.0}


def test_deeppcb_on_the_real_images(tmp_path, real_data):
    """Counts of its own annotation files: 205 pairs, 1158 boxes."""
    source = read_source("deeppcb", real_data("DeepPCB"))
    defective = [item for item in source.items if not item.normal]
    lines = sum(
        len(file.read_text().split("\n")) - file.read_text().endswith("\n")
        for file in (real_data("DeepPCB")).glob("PCBData/*/*_not/*.txt")
    )
    assert len(defective) == 205
    assert sum(len(item.boxes) for item in defective) == lines == 1158
    assert sum(item.normal and not item.reference for item in source.items) == 102


def test_magnetic_tile_on_the_real_images(tmp_path, real_data):
    """60 normal tiles, 16 each of five defects; 12 of the normals are set aside as references."""
    source = read_source("magnetic-tile", real_data("magnetic_tile"))
    benchmark = load_benchmark(build_benchmark(source, tmp_path / "out", BuildOptions()))
    counts = benchmark.manifest["counts"]
    assert counts["by_category"]["MagneticTile/tile"] == {
        "blowhole": 16,
        "break": 16,
        "crack": 16,
        "fray": 16,
        "uneven": 16,
        "good": 48,
    }
    assert counts["references"] == 12 and counts["boxes"] == 95


def test_elpv_package():
    pytest.importorskip("elpv_dataset", reason="needs the package elpv-dataset")
    source = read_source("elpv", None)
    assert sum(item.normal for item in source.items) == 1508
    assert sum(not item.normal for item in source.items) == 715
    assert source.left_out == {"probability between the thresholds": 401}

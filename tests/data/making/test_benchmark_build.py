import json

import pytest
import source_trees as trees
from source_trees import mask, picture, save

from anomalyr1.data.images import BoxOptions
from anomalyr1.data.making.builder import BuildOptions, build_benchmark
from anomalyr1.data.making.sources.catalogue import read_source
from anomalyr1.data.mmad import load_benchmark
from anomalyr1.errors import InputError


def test_images_are_hard_links_and_bytes_are_kept(tmp_path):
    root = trees.mvtec(tmp_path / "source", ("bottle",))
    build_benchmark(read_source("mvtec", root), tmp_path / "out")
    original = root / "bottle/test/crack/000.png"
    placed = tmp_path / "out/MVTec-AD/bottle/test/crack/000.png"
    assert placed.read_bytes() == original.read_bytes()
    assert placed.stat().st_ino == original.stat().st_ino


def test_the_same_build_is_the_same_bytes(tmp_path):
    root = trees.mvtec(tmp_path / "source")
    for name in ("a", "b"):
        build_benchmark(read_source("mvtec", root), tmp_path / name, BuildOptions(seed=3))
    for file in ("mmad.json", "manifest.json"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()
    build_benchmark(read_source("mvtec", root), tmp_path / "c", BuildOptions(seed=4))
    assert (tmp_path / "a/mmad.json").read_bytes() != (tmp_path / "c/mmad.json").read_bytes()


def test_options_stand_in_the_manifest(tmp_path):
    root = trees.mvtec(tmp_path / "source", ("bottle",))
    options = BuildOptions(seed=5, boxes=BoxOptions(4, 2, 3), references=1)
    build_benchmark(read_source("mvtec", root), tmp_path / "out", options)
    manifest = json.loads((tmp_path / "out/manifest.json").read_text())
    assert manifest["seed"] == 5
    assert manifest["options"]["boxes"] == {"connectivity": 4, "min_area": 2, "merge_distance": 3}
    assert manifest["tool"].startswith("anomalyr1 ")
    key = "MVTec-AD/bottle/test/crack/000.png"
    assert len(manifest["files"][key]["sha256"]) == 64
    assert all(len(s.similar_templates) == 1 for s in load_benchmark(tmp_path / "out").samples)


def test_a_mask_of_another_size_is_refused_and_nothing_is_left(tmp_path):
    root = trees.mvtec(tmp_path / "source", ("bottle",))
    save(root / "bottle/ground_truth/crack/000_mask.png", mask(trees.BOX, size=(40, 48)))
    save(root / "bottle/ground_truth/crack/001_mask.png", mask(trees.BOX, size=(48, 40)))
    with pytest.raises(InputError) as caught:
        build_benchmark(read_source("mvtec", root), tmp_path / "out")
    assert str(caught.value).startswith("2 files cannot be used") and "40 x 48" in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_a_broken_image_is_refused(tmp_path):
    root = trees.mvtec(tmp_path / "source", ("bottle",))
    (root / "bottle/test/good/000.png").write_bytes(b"no image")
    with pytest.raises(InputError, match=r"test/good/000\.png"):
        build_benchmark(read_source("mvtec", root), tmp_path / "out")


def test_boxes_outside_the_image_are_refused(tmp_path):
    root = trees.own_folder(tmp_path / "source")
    (root / "boxes.json").write_text('{"dent/0.png": [[6, 8, 18, 49.1]]}')
    with pytest.raises(InputError, match="expected boxes inside the 48 x 48 pixels"):
        build_benchmark(read_source("folder", root), tmp_path / "out")
    (root / "boxes.json").write_text('{"dent/0.png": [[6, 8]]}')
    with pytest.raises(InputError, match="expected \\[x1, y1, x2, y2\\]"):
        read_source("folder", root)


def test_an_empty_mask_leaves_the_place_unknown_and_is_recorded(tmp_path):
    root = trees.mvtec(tmp_path / "source", ("bottle",))
    save(root / "bottle/ground_truth/hole/000_mask.png", mask())
    build_benchmark(read_source("mvtec", root), tmp_path / "out")
    benchmark = load_benchmark(tmp_path / "out")
    key = "MVTec-AD/bottle/test/hole/000.png"
    sample = next(s for s in benchmark.samples if s.image == key)
    assert sample.mask is None and sample.boxes is None
    assert benchmark.manifest["source"]["empty_masks"] == [key]


def test_the_output_must_be_empty(tmp_path):
    root = trees.mvtec(tmp_path / "source", ("bottle",))
    (tmp_path / "out").mkdir()
    (tmp_path / "out/x").write_text("")
    with pytest.raises(InputError, match="to be empty or new"):
        build_benchmark(read_source("mvtec", root), tmp_path / "out")


def test_two_files_for_one_key_are_refused(tmp_path):
    root = trees.coco(tmp_path)
    content = json.loads((root / "annotations.json").read_text())
    save(root / "images/a/0.png", picture(7))
    save(root / "images/a_0.png", picture(8))
    content["images"] = [
        {"id": 0, "file_name": "a/0.png"},
        {"id": 1, "file_name": "a_0.png"},
    ]
    content["annotations"] = []
    (root / "annotations.json").write_text(json.dumps(content))
    with pytest.raises(InputError, match="expected one file for"):
        build_benchmark(read_source("coco", root), tmp_path / "out")


@pytest.mark.parametrize("options", [{"references": -1}, {"pool": 0}, {"reserve": 1.0}])
def test_options_are_checked(options):
    with pytest.raises(InputError):
        BuildOptions(**options)


def test_the_pool_of_references_is_limited(tmp_path):
    root = trees.mvtec(tmp_path / "source", ("bottle",))
    build_benchmark(read_source("mvtec", root), tmp_path / "out", BuildOptions(pool=1))
    assert load_benchmark(tmp_path / "out").manifest["counts"]["references"] == 1


def test_a_second_mask_of_one_name_does_not_write_into_the_first(tmp_path):
    root = trees.mvtec(tmp_path / "source", ("bottle",))
    save(root / "bottle/test/crack/000.bmp", picture(50))
    original = (root / "bottle/ground_truth/crack/000_mask.png").read_bytes()
    with pytest.raises(
        InputError, match=r"expected one image for the mask .*000\.bmp and .*000\.png"
    ):
        build_benchmark(read_source("mvtec", root), tmp_path / "out")
    assert (root / "bottle/ground_truth/crack/000_mask.png").read_bytes() == original

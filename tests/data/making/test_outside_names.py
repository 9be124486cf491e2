"""A name in a file of annotations leads to nothing outside the folder that was given."""

import json

import annotated_trees
import pytest
import source_trees as trees
from case_trees import box_entry, coco, dump, image_entry

from anomalyr1.data.making.builder import build_benchmark
from anomalyr1.data.making.row_benchmark import build_from_rows
from anomalyr1.data.making.sources.catalogue import read_source
from anomalyr1.data.mmad import load_benchmark
from anomalyr1.errors import InputError


def mask_tree(root):
    return annotated_trees.manifest(root, kind="mask")


def one_coco(root, file="c.json", name="a.png"):
    """The JSON may lie in a folder of its own; the picture is ROOT/images/a.png."""
    trees.save(root / "images/a.png", trees.picture(1))
    content = coco(
        [image_entry(1, name, (trees.SIZE, trees.SIZE))], [box_entry(1, 1, [6, 8, 9, 9])]
    )
    dump(root / file, content)
    return root


# form -> the tree, one of its files, and a name in it
NAMES = {
    "coco": (one_coco, "c.json", "a.png"),
    "visa": (trees.visa_raw, "split_csv/1cls.csv", "candle/Data/Images/Anomaly/0002.JPG"),
    "visa mask": (trees.visa_raw, "split_csv/1cls.csv", "candle/Data/Masks/Anomaly/0002.png"),
    "elpv": (trees.elpv, "labels.csv", "images/cell0000.png"),
    "real-iad": (trees.real_iad, "realiad_jsons/mint.json", "OK/S0002/b_C1.jpg"),
    "real-iad mask": (trees.real_iad, "realiad_jsons/mint.json", "NG/HS/S0003/c_C1.png"),
    "folder": (trees.own_folder, "boxes.json", "dent/0.png"),
    "voc": (annotated_trees.voc, "Annotations/a.xml", "a.png"),
    "labelme": (annotated_trees.labelme, "json/a.json", r"..\\pics\\a.png"),
    "label-studio": (annotated_trees.label_studio, "export.json", "images/a.png"),
    "cvat": (annotated_trees.cvat, "annotations.xml", "a.png"),
    "rle-csv": (annotated_trees.rle_csv, "train.csv", "a.png"),
    "manifest": (mask_tree, "train.manifest", "s3://bucket/raw/line1/a.png"),
    "manifest mask": (mask_tree, "train.manifest", "s3://bucket/out/masks/a.png"),
}  # fmt: skip


@pytest.mark.parametrize("absolute", [False, True], ids=["climbing", "absolute"])
@pytest.mark.parametrize("form", NAMES)
def test_a_name_that_leaves_the_folder_is_refused(tmp_path, form, absolute):
    make, file, old = NAMES[form]
    outside = tmp_path / "outside.png"
    trees.save(outside, trees.mask(trees.BOX) if "mask" in form else trees.picture(99))
    root = make(tmp_path / "a/raw")
    (root / "images").mkdir(exist_ok=True)
    text = (root / file).read_text()
    assert old in text
    # as many steps as lead out of whatever folder below ROOT the name starts in
    for steps in (2, 3, 4, 5):
        new = str(outside) if absolute else "../" * steps + "outside.png"
        (root / file).write_text(text.replace(old, new, 1))
        with pytest.raises(InputError, match=r"expected .*outside\.png") as caught:
            build_benchmark(read_source(form.split(" ")[0], root), tmp_path / "out")
        assert len(str(caught.value).splitlines()) <= 2  # a headline where faults are gathered
        assert not (tmp_path / "out").exists()


def test_a_prefix_or_a_subset_that_leaves_the_folder_is_refused(tmp_path):
    trees.save(tmp_path / "x/OK/S0002/b_C1.jpg", trees.picture(99))
    trees.save(tmp_path / "x/a.png", trees.picture(98))
    root = trees.real_iad(tmp_path / "iad")
    table = root / "realiad_jsons/mint.json"
    for prefix in ("../../x/", str(tmp_path / "x")):
        content = json.loads(table.read_text())
        content["meta"]["prefix"] = prefix
        table.write_text(json.dumps({**content, "train": []}))
        with pytest.raises(InputError, match=r"an image below .*realiad_1024"):
            read_source("real-iad", root)
    root = annotated_trees.cvat(tmp_path / "cvat")
    text = (root / "annotations.xml").read_text()
    for subset in ("../x", str(tmp_path / "x")):
        (root / "annotations.xml").write_text(
            text.replace('name="a.png"', f'name="a.png" subset="{subset}"')
        )
        with pytest.raises(InputError, match=r"an image below .*cvat"):
            read_source("cvat", root)


@pytest.mark.parametrize("spelled", ["../mint/OK/S0002/b_C1.jpg", "ok/s0002/B_c1.JPG"])
@pytest.mark.parametrize("prefix", ["mint/", "mint/../mint/", "Mint"])
def test_a_name_that_comes_back_keeps_its_group(tmp_path, prefix, spelled):
    root = trees.real_iad(tmp_path / "iad")
    expected = read_source("real-iad", root).items
    table = root / "realiad_jsons/mint.json"
    text = table.read_text().replace('"mint/"', json.dumps(prefix))
    table.write_text(text.replace("OK/S0002/b_C1.jpg", spelled))
    found = read_source("real-iad", root).items
    assert [item.file for item in found] == [item.file for item in expected]
    assert len({item.group for item in found}) == len({item.group for item in expected}) == 3


@pytest.mark.parametrize("key", ["image", "mask"])
def test_rows_name_images_below_their_folder(tmp_path, key):
    trees.save(tmp_path / "outside.png", trees.picture(1))
    trees.save(tmp_path / "rows/a.png", trees.picture(2))
    turns = [
        {"from": "human", "value": "<image>Any?\nA. Yes\nB. No"},
        {"from": "gpt", "value": "B"},
    ]
    row = {"image": "a.png", "conversations": turns, key: "../outside.png"}
    file = tmp_path / "rows/rows.jsonl"
    file.write_text(json.dumps(row) + "\n")
    with pytest.raises(InputError, match=r"images below .*rows at .*found '\.\./outside\.png'"):
        build_from_rows(file, tmp_path / "out", "vlm-r1")


def test_all_names_of_a_coco_file_are_told_at_once(tmp_path):
    root = tmp_path / "c"
    trees.save(tmp_path / "outside.png", trees.picture(1))
    names = ["../outside.png", str(tmp_path / "outside.png"), "x/../../outside.png", "..", "/"]
    dump(root / "c.json", coco([image_entry(n, name) for n, name in enumerate(names)], []))
    with pytest.raises(InputError) as caught:
        read_source("coco", root)
    headline, *lines = str(caught.value).splitlines()
    assert headline.startswith("5 images cannot be used")
    for name, line in zip(names, lines, strict=True):
        assert line.startswith(f"expected an image below {root} at ") and repr(name) in line


@pytest.mark.parametrize("name", ["x/..", ".", "./"])
def test_a_name_of_the_folder_itself_is_no_image(tmp_path, name):
    with pytest.raises(InputError, match="found no such file"):
        read_source("coco", one_coco(tmp_path / "c", name=name))


@pytest.mark.parametrize("where", [".", "c"])
def test_names_are_held_against_a_folder_given_relatively(tmp_path, monkeypatch, where):
    root = one_coco(tmp_path / "c", name="../outside.png")
    trees.save(tmp_path / "outside.png", trees.picture(1))
    monkeypatch.chdir(root if where == "." else tmp_path)
    with pytest.raises(InputError, match=r"an image below .* found '\.\./outside\.png'"):
        read_source("coco", type(root)(where))


@pytest.mark.parametrize("given", [".", "annotations", "annotations/c.json"])
@pytest.mark.parametrize("name", ["../images/a.png", "{root}/images/a.png"])
def test_coco_names_may_climb_and_be_absolute_below_the_folder(tmp_path, name, given):
    """The folder above annotations/ is that of the tree, whichever part of it is given."""
    root = one_coco(tmp_path / "c", "annotations/c.json", name.format(root=tmp_path / "c"))
    (item,) = read_source("coco", root / given).items
    assert item.file == root / "images/a.png"
    trees.save(tmp_path / "outside.png", trees.picture(2))
    one_coco(root, "annotations/c.json", "../../outside.png")
    with pytest.raises(InputError, match=r"an image below .*outside"):
        read_source("coco", root / given)


def test_coco_names_below_the_folder_of_images_that_was_given(tmp_path):
    """`images=DIR` may lie anywhere, and an absolute name below it is no way out."""
    root, pictures = tmp_path / "c", tmp_path / "pictures"
    trees.save(pictures / "deep/a.png", trees.picture(1))
    trees.save(tmp_path / "outside.png", trees.picture(2))
    for name, found in (
        ("deep/a.png", True),
        (str(pictures / "deep/a.png"), True),
        ("deep/../deep/a.png", True),
        ("../outside.png", False),
        (str(tmp_path / "outside.png"), False),
    ):
        dump(root / "c.json", coco([image_entry(1, name, (48, 48))], []))
        for given in ("../pictures", str(pictures)):
            if found:
                (item,) = read_source("coco", root, {"images": given}).items
                assert item.file.samefile(pictures / "deep/a.png")
            else:
                with pytest.raises(InputError, match=r"an image below .*outside"):
                    read_source("coco", root, {"images": given})


@pytest.mark.parametrize("form", ["coco", "elpv", "visa"])
def test_a_symbolic_link_in_the_tree_is_the_users_own(tmp_path, form):
    """As in trees of folders: links lead where they lead, and the benchmark stands alone."""
    make, _, name = NAMES[form]
    root = make(tmp_path / "raw")
    image = root / ("images/a.png" if form == "coco" else name)
    image.rename(tmp_path / image.name)
    image.symlink_to(tmp_path / image.name)
    benchmark = load_benchmark(build_benchmark(read_source(form, root), tmp_path / "out"))
    assert not any(path.is_symlink() for path in benchmark.root.rglob("*"))
    assert any(image.name in key for key in benchmark.manifest["files"])

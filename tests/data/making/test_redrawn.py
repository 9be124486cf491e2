"""Redrawn copies (`data build --gradient`, `--differences`): annotations stay as they are.

A fault is told of the user's own file: the copies are gone when the user reads it.
"""

import numpy as np
import pytest
from case_trees import box_entry, build, coco, dump, image_entry
from pictures import save
from PIL import Image
from source_trees import mask, mvtec, picture

from anomalyr1.data.images import open_image, read_mask
from anomalyr1.data.making.builder import BuildOptions, build_benchmark
from anomalyr1.data.making.differences import differing
from anomalyr1.data.making.sources.catalogue import read_source
from anomalyr1.data.making.sources.item import Item, Source
from anomalyr1.errors import InputError
from anomalyr1.schema import Box

COLOURED = BuildOptions(gradient=True)


def turned(path, orientation, seed=0):
    """A JPEG stored as 60 x 40 pixels, with a black blot where the box (5, 10, 25, 20) is."""
    stored = picture(seed, (60, 40)).copy()
    stored[10:20, 5:25] = 0
    exif = Image.Exif()
    exif[0x0112] = orientation
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(stored).save(path, exif=exif, quality=95)
    return path


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
@pytest.mark.parametrize("left", [5, -0.5])  # the second is clipped, which is told
def test_photos_turned_by_exif_keep_their_boxes_and_regions(orientation, left, tmp_path):
    turned(tmp_path / "c/a.jpg", orientation)
    ring = [5, 10, 25, 10, 25, 20, 5, 20]
    entry = box_entry(1, 1, [left, 10, 25 - left, 10], segmentation=[ring])
    dump(tmp_path / "c/c.json", coco([image_entry(1, "a.jpg", (60, 40))], [entry]))
    plain, said = build("coco", tmp_path / "c", tmp_path / "plain")
    bench, notes = build("coco", tmp_path / "c", tmp_path / "coloured", COLOURED)
    (before,), (after,) = plain.samples, bench.samples
    assert after.image == before.image.replace("a.jpg", "a.png")
    assert after.boxes == before.boxes and sorted(notes) == sorted(said)
    marks = [read_mask(s.root / s.mask) for s in (before, after)]
    assert np.array_equal(*marks)
    green = [np.asarray(open_image(s.path))[..., 1] for s in (before, after)]
    assert np.array_equal(*green)  # it is never coloured
    _, cut = build("coco", tmp_path / "c", tmp_path / "cut", BuildOptions(tile=40))
    framing = [note for note in said if "EXIF" in note or "clipped" in note]
    assert len(framing) == (orientation != 1) + (left < 0) and set(framing) <= set(cut)


def test_painted_photos_turned_by_exif_keep_their_boxes(tmp_path):
    board, template = turned(tmp_path / "a.jpg", 6), turned(tmp_path / "b.jpg", 6)
    box, declared = (Box(5, 10, 25, 20, "short"),), (60, 40)
    item = Item(board, "D", "pcb", "short", "a.jpg", "board", ("short",), None, box,
                references=(template,), declared=declared)  # fmt: skip
    source = Source("boards", "none", "", "", (item,))
    with differing(source, True, tmp_path) as painted:
        (found,) = painted.items
        x1, y1, x2, y2 = (int(v) for v in found.boxes[0].xyxy)
        blot = np.asarray(open_image(found.file))[y1:y2, x1:x2]
    assert (x2 - x1, y2 - y1) == (10, 20) and blot.max() < 80  # dim and black, not painted


def size_declared(root):
    turned(root / "a.jpg", 1)
    entry = box_entry(1, 1, [5, 10, 20, 10])
    dump(root / "c.json", coco([image_entry(1, "a.jpg", (61, 40))], [entry]))
    return "coco", "61 x 40 pixels that its annotation declares, found 60 x 40", ["a.jpg"]


def box_outside(root):
    turned(root / "a.jpg", 1)
    dump(
        root / "c.json", coco([image_entry(1, "a.jpg", (60, 40))], [box_entry(1, 1, [5, 9, 70, 9])])
    )
    return "coco", "expected boxes inside the 60 x 40 pixels", ["a.jpg"]


def mask_size(root):
    mvtec(root, ("bottle",))
    save(root / "bottle/ground_truth/crack/000_mask.png", mask(size=(40, 48)))
    return "mvtec", "expected a mask of 48 x 48 pixels", ["test/crack/000.png", "000_mask.png"]


def mask_of_normal(root):
    mvtec(root, ("bottle",))
    save(root / "bottle/ground_truth/good/000_mask.png", mask((2, 2, 9, 9)))
    return "mvtec", "expected an empty mask", ["test/good/000.png", "000_mask.png"]


def one_name(root):
    mvtec(root, ("bottle",))
    save(root / "bottle/test/good/000.jpg", picture(50))
    return "mvtec", "expected one file for", ["test/good/000.jpg", "test/good/000.png"]


@pytest.mark.parametrize("spoil", [size_declared, box_outside, mask_size, mask_of_normal, one_name])
def test_a_fault_names_the_users_own_file(spoil, tmp_path):
    name, wanted, files = spoil(tmp_path / "tree")
    with pytest.raises(InputError) as refused:
        build_benchmark(read_source(name, tmp_path / "tree"), tmp_path / "out", COLOURED)
    said = str(refused.value)
    assert wanted in said and all(file in said for file in files) and ".redrawn" not in said
    assert not (tmp_path / "out").exists()


def test_pieces_without_a_template_are_told_by_their_images(tmp_path):
    tree = mvtec(tmp_path / "tree", ("bottle",))
    options = BuildOptions(tile=40, differences=True)
    with pytest.raises(InputError, match="expected an aligned reference") as refused:
        build_benchmark(read_source("mvtec", tree), tmp_path / "out", options)
    assert str(tree / "bottle/test/crack/000.png") in str(refused.value)

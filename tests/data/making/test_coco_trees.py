"""COCO files as tools and people write them: what is read, and what is refused by name."""

import json
from pathlib import Path

import numpy as np
import pytest
from case_trees import box_entry, build, coco, dump, image_entry, one_coco, photo, sample
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from anomalyr1.data.images import read_mask
from anomalyr1.data.making.frames import to_image_frame
from anomalyr1.data.making.shapes import draw, from_mask, polygon
from anomalyr1.data.making.sources.catalogue import read_source
from anomalyr1.data.making.sources.item import Item
from anomalyr1.errors import InputError
from anomalyr1.schema import Box


@pytest.mark.parametrize(
    ("bbox", "expected"),
    [
        ([150, 60, 50.0000000001, 60.5], (150, 60, 200, 120)),  # half a pixel below
        ([-0.25, -1, 50, 41], (0, 0, 49.75, 40)),  # up to a pixel left and above
        ([10, 10, 30, 20], (10, 10, 40, 30)),  # inside: as it is
    ],
)
def test_boxes_a_fraction_outside_are_clipped_and_counted(tmp_path, bbox, expected):
    benchmark, notes = build("coco", one_coco(tmp_path / "c", bbox), tmp_path / "out")
    assert benchmark.samples[0].boxes[0].xyxy == pytest.approx(expected)
    told = any("1 boxes left their image by up to a pixel" in note for note in notes)
    assert told == (list(expected) != [bbox[0], bbox[1], bbox[0] + bbox[2], bbox[1] + bbox[3]])


@pytest.mark.parametrize("bbox", [[150, 60, 51.5, 10], [-1.01, 0, 5, 5], [200.2, 5, 0.5, 9]])
def test_boxes_further_outside_are_refused_with_the_image(tmp_path, bbox):
    with pytest.raises(InputError, match=r"inside the 200 x 120 pixels of .*a\.png"):
        build("coco", one_coco(tmp_path / "c", bbox), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_box_in_pixels_of_another_tool_is_clipped_for_every_source(tmp_path):
    photo(tmp_path / "p/good/g.png")
    photo(tmp_path / "p/scratch/s.png")
    dump(tmp_path / "p/boxes.json", {"scratch/s.png": [[100, 50, 200.4, 120.9]]})
    benchmark, _ = build("folder", tmp_path / "p", tmp_path / "out")
    assert sample(benchmark, "scratch").boxes[0].xyxy == (100, 50, 200, 120)


RING = [50, 40, 90, 40, 90, 80, 70, 60, 50, 80]


def standard(root, **more):
    photo(root / "train/p.jpg", seed=1)
    entry = box_entry(3, 7, [50, 40, 40, 40], segmentation=[RING], **more)
    dump(root / "annotations/train.json", coco([image_entry(7, "p.jpg")], [entry]))
    (root / "annotations/._train.json").write_bytes(b"\x00\x05\x16\x07" + bytes(40))
    return root


def test_annotations_beside_their_sides(tmp_path):
    """The hidden twin is passed over; the polygon becomes the mask."""
    benchmark, _ = build("coco", standard(tmp_path / "c"), tmp_path / "out")
    (only,) = benchmark.samples
    mask = read_mask(benchmark.root / only.mask)
    assert np.array_equal(mask, draw([polygon(RING, None, "")], (200, 120)))
    # a square of 40 with a triangular notch of 40 x 20 / 2
    assert abs(mask.sum() - (1600 - 400)) < 40
    assert only.boxes == (Box(50, 40, 90, 80, "scratch"),) and only.dataset == "c"


@pytest.mark.parametrize("form", ["side/file", "annotations", "instances"])
def test_several_sides_in_one_command(tmp_path, form):
    """Equal names and equal ids on two sides are different images."""
    root = tmp_path / "c"
    for n, side in enumerate(("train", "valid", "test")):
        spelled = {"side/file": side, "annotations": side, "instances": f"{side}2017"}[form]
        images = root / ("images" if form == "instances" else ".") / spelled
        photo(images / "a.png", seed=n)
        photo(images / "good.png", seed=n + 10)
        content = coco(
            [image_entry(1, "a.png"), image_entry(2, "good.png")],
            [box_entry(1, 1, [10 + n, 10, 30, 20])],
        )
        place = {
            "side/file": f"{side}/_annotations.coco.json",
            "annotations": f"annotations/{side}.json",
            "instances": f"annotations/instances_{side}2017.json",
        }[form]
        dump(root / place, content)
    benchmark, _ = build("coco", root, tmp_path / "out")
    sides = {s.split: s.boxes[0].x1 for s in benchmark.samples if not s.is_normal}
    assert sides == {"train": 10, "valid": 11, "test": 12}
    read = {s.split: s.path.read_bytes() for s in benchmark.samples if not s.is_normal}
    assert len(set(read.values())) == 3


def test_two_files_of_no_side_are_refused(tmp_path):
    one_coco(tmp_path, [1, 1, 5, 5])
    dump(tmp_path / "d.json", json.loads((tmp_path / "c.json").read_text()))
    with pytest.raises(InputError, match=r"found c\.json, d\.json; name the file"):
        read_source("coco", tmp_path)
    assert len(read_source("coco", tmp_path / "d.json").items) == 1


def test_other_json_files_beside_it_are_told(tmp_path):
    one_coco(tmp_path, [1, 1, 5, 5])
    dump(tmp_path / "package.json", {"name": "x"})
    source = read_source("coco", tmp_path)
    assert source.notes[0] == "not COCO, passed over: package.json"


def test_images_elsewhere(tmp_path):
    one_coco(tmp_path / "c", [1, 1, 5, 5])
    (tmp_path / "c/pics/2024").mkdir(parents=True)
    (tmp_path / "c/a.png").rename(tmp_path / "c/pics/2024/a.png")
    with pytest.raises(InputError, match="beside or above it, found no such file"):
        read_source("coco", tmp_path / "c")
    source = read_source("coco", tmp_path / "c", {"images": "pics/2024"})
    assert source.items[0].file == tmp_path / "c/pics/2024/a.png"
    with pytest.raises(InputError, match="expected a folder of images at"):
        read_source("coco", tmp_path / "c", {"images": "nowhere"})


def test_an_image_in_two_places_is_not_guessed(tmp_path):
    one_coco(tmp_path, [1, 1, 5, 5])
    photo(tmp_path / "images/a.png", seed=9)
    with pytest.raises(InputError, match=r"found two that differ, .*a\.png and .*images/a\.png"):
        read_source("coco", tmp_path)


def test_run_lengths_become_a_mask(tmp_path):
    """COCO's uncompressed counts run down the columns, off first."""
    pixels = np.zeros((120, 200), bool)
    pixels[30:50, 20:24] = True
    flat = pixels.T.ravel().tolist()
    counts, state = [0], False
    for on in flat:
        if on != state:
            counts.append(0)
            state = on
        counts[-1] += 1
    runs = {"counts": counts, "size": [120, 200]}
    root = one_coco(tmp_path / "c", [20, 30, 4, 20], segmentation=runs)
    benchmark, _ = build("coco", root, tmp_path / "out")
    assert np.array_equal(read_mask(benchmark.root / benchmark.samples[0].mask), pixels)


def test_an_image_with_a_region_for_some_boxes_only_has_no_mask(tmp_path):
    photo(tmp_path / "c/a.png")
    photo(tmp_path / "c/b.png")
    boxes = [
        box_entry(1, 1, [50, 40, 40, 40], segmentation=[RING]),
        box_entry(2, 1, [5, 5, 10, 10], segmentation=[]),
        box_entry(3, 2, [50, 40, 40, 40], segmentation=[RING]),
    ]
    dump(tmp_path / "c/c.json", coco([image_entry(1, "a.png"), image_entry(2, "b.png")], boxes))
    benchmark, notes = build("coco", tmp_path / "c", tmp_path / "out")
    assert sample(benchmark, "a.png").mask is None and sample(benchmark, "b.png").mask
    assert "1 images have annotations without a region: they get no mask" in notes


def test_a_declared_size_that_is_not_the_files(tmp_path):
    root = one_coco(tmp_path / "c", [40, 40, 80, 80], declared=(400, 240), segmentation=[[
        40, 40, 120, 40, 120, 120, 40, 120]])  # fmt: skip
    with pytest.raises(InputError) as caught:
        build("coco", root, tmp_path / "out")
    said = str(caught.value)
    assert "400 x 240" in said and "200 x 120" in said and "a.png" in said
    assert "rescale=true" in said and not (tmp_path / "out").exists()
    benchmark, notes = build("coco", root, tmp_path / "out", rescale="true")
    (only,) = benchmark.samples
    assert only.boxes[0].xyxy == (20, 20, 60, 60)
    assert np.array_equal(
        np.argwhere(read_mask(benchmark.root / only.mask))[[0, -1]], [[20, 20], [59, 59]]
    )
    assert any("were rescaled" in note for note in notes)


def test_another_shape_is_not_rescaled(tmp_path):
    root = one_coco(tmp_path / "c", [40, 40, 80, 80], declared=(400, 241))
    for rescale in ("false", "true"):
        with pytest.raises(InputError, match=r"400 x 241 pixels .* found 200 x 120; mend the"):
            build("coco", root, tmp_path / "out", rescale=rescale)


@pytest.mark.parametrize(
    ("frame", "orientation"),
    # two frames of one size (2 to 4) cannot be told apart: upright is taken, and a line says so
    [("upright", n) for n in range(1, 9)] + [("stored", n) for n in (1, 5, 6, 7, 8)],
)
def test_a_jpeg_turned_by_exif_is_held_against_both_frames(tmp_path, frame, orientation):
    """The box follows the blot, whichever of the two frames the annotation was made in."""
    stored = np.full((120, 200), 200, np.uint8)
    stored[30:50, 20:60] = 10
    exif = Image.Exif()
    exif[0x0112] = orientation
    (tmp_path / "c").mkdir()
    Image.fromarray(stored).save(tmp_path / "c/a.jpg", exif=exif, quality=95)
    swapped = orientation >= 5
    bbox, size = [20, 30, 40, 20], (200, 120)
    if frame == "upright":
        from anomalyr1.data.images import open_image

        dark = np.argwhere(np.asarray(open_image(tmp_path / "c/a.jpg"))[..., 0] < 60)
        (y1, x1), (y2, x2) = dark.min(0).tolist(), (dark.max(0) + 1).tolist()
        bbox, size = [x1, y1, x2 - x1, y2 - y1], (120, 200) if swapped else (200, 120)
    segmentation = [[bbox[0], bbox[1], bbox[0] + bbox[2], bbox[1], bbox[0] + bbox[2],
        bbox[1] + bbox[3], bbox[0], bbox[1] + bbox[3]]]  # fmt: skip
    entry = box_entry(1, 1, bbox, segmentation=segmentation)
    dump(tmp_path / "c/c.json", coco([image_entry(1, "a.jpg", size)], [entry]))
    benchmark, notes = build("coco", tmp_path / "c", tmp_path / "out")
    (only,) = benchmark.samples
    from anomalyr1.data.images import open_image

    pixels = np.asarray(open_image(only.path))[..., 0]
    x1, y1, x2, y2 = map(int, only.boxes[0].xyxy)
    assert pixels[y1:y2, x1:x2].max() < 60 and (pixels < 60).sum() <= (x2 - x1) * (y2 - y1) + 20
    assert read_mask(benchmark.root / only.mask)[y1:y2, x1:x2].all()
    unsure = any("could be as stored or upright" in note for note in notes)
    assert unsure == (orientation in (2, 3, 4))


@settings(max_examples=60)
@given(st.integers(5, 8), st.integers(2, 9), st.integers(2, 9), st.randoms(use_true_random=False))
def test_run_lengths_turn_with_their_image(orientation, width, height, random):
    """Against PIL's own turning of the pixels."""
    pixels = np.array([[random.random() < 0.4 for _ in range(width)] for _ in range(height)])
    pixels[0, 0] = True
    ways = {5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_270}
    ways |= {7: Image.Transpose.TRANSVERSE, 8: Image.Transpose.ROTATE_90}
    turned = np.asarray(Image.fromarray(pixels).transpose(ways[orientation]))
    if width == height:
        return
    item = Item(
        None, "d", "c", "x", "n", "p", shapes=(from_mask(pixels, "x"),), declared=(width, height)
    )
    framed = to_image_frame(item, (height, width), orientation, False)
    assert framed.turned and np.array_equal(draw(framed.item.shapes, (height, width)), turned)


def broken(change):
    content = coco(
        [image_entry(1, "a.png"), image_entry(2, "b.png")], [box_entry(1, 1, [10, 10, 30, 20])]
    )
    change(content)
    return content


def of(part, number=0, **values):
    """A change of one record."""
    return lambda content: content[part][number].update(values)


AT = "at annotation 1 of a.png"
RUNS = {"counts": [5], "size": [2, 2]}
DENT = {"id": 1, "name": "dent"}
FAULTS = {  # what is changed, what is said
    "two images of one id": (of("images", 1, id=1), "id 1 is given twice: a.png and b.png"),
    "two ids of one image": (of("images", 1, file_name="a.png"), "a.png has two ids: 1 and 2"),
    "two categories of one id": (
        lambda c: c["categories"].append(DENT),
        "category id 1 is given twice: 'scratch' and 'dent'",
    ),
    "no category name": (lambda c: c["categories"][0].pop("name"), "with an id and a name"),
    "a category name that is none": (of("categories", name=3), "a category with an id"),
    "no file name": (lambda c: c["images"][0].pop("file_name"), "with an id and a file_name"),
    "an id that is a list": (of("images", id=[1]), "an image with an id"),
    "a zero byte": (of("images", file_name="a\0.png"), "an image with an id"),
    "a size that is text": (of("images", width="wide"), "width and height of a.png"),
    "no bbox": (lambda c: c["annotations"][0].pop("bbox"), f"bbox [x, y, width, height] {AT}"),
    "three numbers": (of("annotations", bbox=[1, 2, 3]), f"{AT}, found [1, 2, 3]"),
    "text": (of("annotations", bbox=["1", "2", "3", "4"]), AT),
    "no number": (of("annotations", bbox=[float("nan"), 2, 3, 4]), "NaN is not a number"),
    "a number beyond floats": (of("annotations", bbox=[10**400, 2, 3, 4]), AT),
    "half a polygon": (of("annotations", segmentation=[[1, 2, 3]]), f"three corners or more {AT}"),
    "a polygon of text": (of("annotations", segmentation="x"), f"polygons of numbers {AT}"),
    "runs of another size": (of("annotations", segmentation=RUNS), f"of 2 x 2 pixels {AT}"),
    "annotations that are no objects": (lambda c: c.update(annotations=[1]), "'annotations'"),
    "no annotations": (lambda c: c.pop("annotations"), "under 'annotations', found none"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_each_fault_is_named_with_its_image(tmp_path, name):
    change, said = FAULTS[name]
    photo(tmp_path / "a.png")
    photo(tmp_path / "b.png")
    dump(tmp_path / "c.json", broken(change))
    with pytest.raises(InputError) as caught:
        read_source("coco", tmp_path)
    assert said in str(caught.value) and "c.json" in str(caught.value)
    assert not any(word in str(caught.value) for word in ("Error:", "KeyError", "TypeError"))


def test_many_faults_are_a_count_ten_lines_and_a_file(tmp_path):
    images = [image_entry(n, f"{n}.png") for n in range(230)]
    dump(tmp_path / "c.json", coco(images, []))
    with pytest.raises(InputError) as caught:
        read_source("coco", tmp_path)
    first, *lines, last = str(caught.value).splitlines()
    assert first.startswith("230 images") and len(lines) == 10 and "220 more" in last
    written = Path(last.split("all of them: ")[1])
    assert len(written.read_text().splitlines()) == 230


def test_an_annotation_given_twice_counts_once(tmp_path):
    root = one_coco(tmp_path / "c", [10, 10, 30, 20])
    content = json.loads((root / "c.json").read_text())
    content["annotations"] *= 2
    dump(root / "c.json", content)
    benchmark, notes = build("coco", root, tmp_path / "out")
    assert len(benchmark.samples[0].boxes) == 1
    assert "1 annotations repeat another one exactly; each is taken once" in notes


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
def test_encodings_by_their_mark(tmp_path, encoding):
    root = one_coco(tmp_path / "c", [10, 10, 30, 20])
    text = (root / "c.json").read_text().replace("scratch", "Kratzer größer")
    (root / "c.json").write_bytes(text.encode(encoding))
    benchmark, _ = build("coco", root, tmp_path / "out")
    assert benchmark.samples[0].boxes[0].label == "kratzer größer"


def test_other_encodings_are_refused_by_name(tmp_path):
    root = one_coco(tmp_path / "c", [10, 10, 30, 20])
    text = (root / "c.json").read_text().replace("scratch", "größer")
    (root / "c.json").write_bytes(text.encode("cp1252"))
    with pytest.raises(
        InputError, match=r"UTF-8 at .*c\.json, found byte .*save the file as UTF-8"
    ):
        read_source("coco", root)


ESCAPES = ["../../../escaped", "/etc/x", "a/b\\c:d", "..", "con", "x" * 400, "\ud800", "good/../.."]


@pytest.mark.parametrize("name", ESCAPES)
@pytest.mark.parametrize("where", ["defect", "category", "dataset"])
def test_names_that_are_no_path_are_made_safe(tmp_path, name, where):
    """Nothing is written outside the output folder, and the source's own name is kept."""
    root = tmp_path / "below/c"
    photo(root / "a.png")
    content = coco([image_entry(1, "a.png")], [box_entry(1, 1, [10, 10, 30, 20])])
    values = {}
    if where == "defect":
        content["categories"][0]["name"] = name
    else:
        values[where] = name
    dump(root / "c.json", content)
    before = {p for p in tmp_path.rglob("*") if "out" not in p.parts}
    benchmark, _ = build("coco", root, tmp_path / "below/out", **values)
    assert {p for p in tmp_path.rglob("*") if "out" not in p.parts} == before
    (only,) = benchmark.samples
    assert only.path.is_file() and len(only.image.split("/")) == 5
    if where != "defect":
        names = benchmark.manifest["names"]
        assert names[getattr(only, where)] == name.replace("\ud800", "\ufffd")


@pytest.mark.parametrize("name", ["../c/a.png", "./a.png", "x/../a.png"])
def test_a_file_name_that_climbs_stays_below_the_output(tmp_path, name):
    root = one_coco(tmp_path / "c", [10, 10, 30, 20])
    (root / "x").mkdir()
    content = json.loads((root / "c.json").read_text())
    content["images"][0]["file_name"] = name
    dump(root / "c.json", content)
    benchmark, _ = build("coco", root, tmp_path / "out")
    (only,) = benchmark.samples
    assert only.path.is_file() and only.path.is_relative_to(tmp_path / "out")


def test_two_names_that_come_to_one_stay_apart(tmp_path):
    root = tmp_path / "c"
    for n in (1, 2):
        photo(root / f"{n}.png", seed=n)
    content = coco([image_entry(1, "1.png"), image_entry(2, "2.png")], [], ("a/b", "a:b"))
    content["annotations"] = [box_entry(n, n, [1, 1, 9, 9], n) for n in (1, 2)]
    dump(root / "c.json", content)
    benchmark, _ = build("coco", root, tmp_path / "out")
    assert len({s.defect for s in benchmark.samples}) == 2
    assert sorted(benchmark.manifest["names"].values()) == ["a/b", "a:b"]


def test_a_product_called_good_would_make_all_normal(tmp_path):
    root = one_coco(tmp_path / "c", [10, 10, 30, 20])
    with pytest.raises(InputError, match="a name for the category, found 'good'"):
        build("coco", root, tmp_path / "out", category="good")

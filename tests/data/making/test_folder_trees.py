"""A user's folders as they come: labels, masks, sides, other forms, copies."""

import json
import unicodedata

import numpy as np
import pytest
from case_trees import build, dump, marked, photo, put, question, sample, shown
from PIL import Image

from anomalyr1.data.checking.check import check_benchmark
from anomalyr1.data.images import read_mask
from anomalyr1.data.making.builder import BuildOptions
from anomalyr1.data.making.sources.catalogue import read_source
from anomalyr1.errors import InputError
from anomalyr1.schema import GROUNDING, Box

BLOT = (20, 20, 60, 60)


def sides(root, normal="normal", defect="anomaly"):
    for n in range(3):
        photo(root / "train" / normal / f"n{n}.jpg", seed=n)
        photo(root / "test" / normal / f"n{n + 3}.jpg", seed=n)
        photo(root / "test" / defect / f"x{n}.jpg", blot=BLOT, seed=n)
    return root


WORDS = [
    "normal",
    "Good",
    "OK",
    "ok",
    "pass",
    "non-defective",
    "Non_Defective",
    "defect free",
    "i.O.",
]


@pytest.mark.parametrize("word", WORDS)
def test_folders_in_order_under_any_word(tmp_path, word):
    benchmark, notes = build("folder", sides(tmp_path / "p", word), tmp_path / "out")
    assert [sum(s.is_normal == n for s in benchmark.samples) for n in (True, False)] == [3, 3]
    assert len(shown(benchmark)) == 3 and all("/train/good/n" in key for key in shown(benchmark))
    assert f"labels read as normal: {word} (6)" in notes
    assert "labels read as defects: anomaly (3)" in notes


def test_two_folders_in_order_are_one_without_losing_an_image(tmp_path):
    for folder in ("good", "OK", "Pass"):
        photo(tmp_path / "p" / folder / "0.png", seed=len(folder))
    photo(tmp_path / "p/scratch/0.png")
    benchmark, _ = build("folder", tmp_path / "p", tmp_path / "out", BuildOptions(reserve=0))
    names = sorted(s.image.rsplit("/", 1)[1] for s in benchmark.samples if s.is_normal)
    assert names == ["0.png", "OK_0.png", "Pass_0.png"]


@pytest.mark.parametrize("source", ["mvtec", "goodsad", "visa", "loco"])
def test_every_source_of_that_form_knows_the_words(tmp_path, source):
    benchmark, _ = build(source, sides(tmp_path / "p" / "nut"), tmp_path / "out")
    assert sum(s.is_normal for s in benchmark.samples) == 3 and len(shown(benchmark)) == 3


def test_which_labels_are_normal_can_be_said(tmp_path):
    root = sides(tmp_path / "p", "A1", "OK")
    benchmark, notes = build("folder", root, tmp_path / "out", normal="A1")
    assert {s.defect for s in benchmark.samples} == {"good", "OK"}
    assert "labels read as normal: A1 (6)" in notes and "labels read as defects: OK (3)" in notes
    with pytest.raises(InputError, match="images in normal, found 'b2'; choose out of a1, ok"):
        read_source("folder", root, {"normal": "B2"})


def test_a_tree_without_normal_images_is_built_with_one_warning(tmp_path):
    for kind in ("crazing", "patches"):
        for n in range(2):
            photo(tmp_path / "p" / kind / f"{n}.png", seed=n)
    benchmark, notes = build("folder", tmp_path / "p", tmp_path / "out")
    assert len(benchmark.samples) == 4
    (warning,) = [note for note in notes if note.startswith("warning")]
    assert "no image is normal" in warning and "false alarms cannot be measured" in warning


def test_a_labelled_train_folder_is_asked_about_and_keeps_its_side(tmp_path):
    """Casting, steel and the like: defects in train too; until now they were left out unsaid."""
    root = sides(tmp_path / "p")
    for n in range(2):
        photo(root / "train/anomaly" / f"x{n}.jpg", blot=BLOT, seed=20 + n)
        photo(root / "val/anomaly" / f"x{n}.jpg", blot=BLOT, seed=30 + n)
        photo(root / "val/normal" / f"n{n}.jpg", seed=40 + n)
    benchmark, _ = build("folder", root, tmp_path / "out", BuildOptions(reserve=0.15))
    counts = {}
    for s in benchmark.samples:
        counts[s.split, s.is_normal] = counts.get((s.split, s.is_normal), 0) + 1
    assert {k: v for k, v in counts.items() if not k[1]} == {
        ("train", False): 2,
        ("valid", False): 2,
        ("test", False): 3,
    }
    # 8 normal images on three sides, round(0.15 * 8) of them references
    assert sum(v for k, v in counts.items() if k[1]) == 7 and len(shown(benchmark)) == 1


@pytest.mark.parametrize("source", ["folder", "mvtec", "visa", "goodsad", "loco"])
def test_a_detection_tree_is_no_folder_of_defects(tmp_path, source):
    for side in ("train", "valid", "test"):
        photo(tmp_path / "t" / side / "images/0.jpg")
        dump(tmp_path / "t" / side / "labels/0.txt", "0 0.3 0.3 0.2 0.2\n")
    with pytest.raises(InputError, match=r"images/ and labels/: a detection tree.*data build yolo"):
        build(source, tmp_path / "t", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("files", "said"),
    [
        (("images/0.jpg", "labels/0.txt"), "data build yolo"),
        (("images/train/0.jpg", "images/1.jpg", "labels/train/0.txt"), "data build yolo"),
        (("JPEGImages/0.jpg", "Annotations/0.xml"), "data build voc"),
        (("images/0.jpg", "annotations/instances.json"), "data build coco"),
        (("images/0.jpg", "images/0.json"), "data build labelme"),
        (("images/0.jpg", "annotations.xml"), "data build cvat"),
        (("images/0.jpg",), "which is no label"),
    ],
)
def test_other_forms_are_named_with_their_source(tmp_path, files, said):
    for name in files:
        photo(tmp_path / name) if name.endswith("jpg") else dump(tmp_path / name, "{}")
    with pytest.raises(InputError, match=said):
        read_source("folder", tmp_path)


def test_what_is_not_read_is_told(tmp_path):
    root = sides(tmp_path / "p")
    photo(root / "test/anomaly/more/0.png")
    photo(root / "overview.png")
    _, notes = build("folder", root, tmp_path / "out")
    assert (
        "2 image files were not read (no folder of a label): overview.png, test/anomaly/more/0.png"
        in notes
    )


def two_labels(root):
    for kind in ("crazing", "patches", "scratches"):
        photo(root / kind / f"{kind}_1.jpg", (200, 200), BLOT)
    photo(root / "good/g.jpg", (200, 200))
    boxes = [[14, 44, 123, 106, "crazing"], [130, 5, 190, 60, "Patches"]]
    dump(root / "boxes.json", {"crazing/crazing_1.jpg": boxes})
    return root


@pytest.mark.parametrize("seed", range(6))
def test_every_labelled_kind_is_a_type_of_the_image(tmp_path, seed):
    benchmark, _ = build("folder", two_labels(tmp_path / "p"), tmp_path / "out", BuildOptions(seed))
    asked = question(sample(benchmark, "crazing_1"), "Defect Classification")
    right = asked.options[asked.answer]
    assert right in ("Crazing.", "Patches.")
    assert not {"Crazing.", "Patches."} & (set(asked.options.values()) - {right})


def test_labels_of_boxes_name_a_nameless_folder(tmp_path):
    photo(tmp_path / "p/good/g.png")
    photo(tmp_path / "p/bad/0.png")
    photo(tmp_path / "p/bad/1.png", seed=1)
    boxes = {
        "bad/0.png": [[1, 1, 9, 9, "dent"]],
        "bad/1.png": [[1, 1, 9, 9, "dent"], [20, 20, 30, 30]],
    }
    dump(tmp_path / "p/boxes.json", boxes)
    benchmark, _ = build("folder", tmp_path / "p", tmp_path / "out")
    assert question(sample(benchmark, "bad/0"), "Defect Classification")
    # one of two boxes has no label: it may be of any type
    assert not question(sample(benchmark, "bad/1"), "Defect Classification")


def test_boxes_on_a_normal_image_are_refused(tmp_path):
    photo(tmp_path / "good/g.png")
    photo(tmp_path / "bad/0.png")
    dump(tmp_path / "boxes.json", {"good/g.png": [[1, 1, 9, 9]]})
    with pytest.raises(
        InputError, match=r"no boxes on .*good/g\.png, whose label 'good' is normal"
    ):
        read_source("folder", tmp_path)


def test_an_empty_list_of_boxes_on_a_defective_image_states_no_place(tmp_path):
    """`[]` became the right answer about a defect."""
    photo(tmp_path / "p/good/0.png")
    photo(tmp_path / "p/scratch/0.png", blot=BLOT)
    photo(tmp_path / "p/dent/0.png", blot=BLOT, seed=1)
    marked(tmp_path / "p/masks/scratch/0.png")
    dump(tmp_path / "p/boxes.json", {"scratch/0.png": [], "dent/0.png": [], "good/0.png": []})
    benchmark, notes = build("folder", tmp_path / "p", tmp_path / "out")
    assert sample(benchmark, "scratch").boxes == (Box(*BLOT, "scratch"),)
    assert sample(benchmark, "dent").boxes is None
    assert not any(q.is_grounding for q in sample(benchmark, "dent").questions)
    assert "1 defective images have neither a mask nor boxes" in notes
    assert [f for f in check_benchmark(tmp_path / "out") if f.level == "error"] == []


def test_one_image_twice_in_boxes_is_refused(tmp_path):
    photo(tmp_path / "good/g.png")
    photo(tmp_path / "bad/0.png")
    dump(tmp_path / "boxes.json", {"bad/0.png": [[1, 1, 9, 9]], "./bad/0.png": [[2, 2, 9, 9]]})
    with pytest.raises(InputError, match="twice"):
        read_source("folder", tmp_path)
    (tmp_path / "boxes.json").write_text(
        '{"bad/0.png": [[1, 1, 9, 9]], "bad/0.png": [[2, 2, 9, 9]]}'
    )
    with pytest.raises(InputError, match="twice"):
        read_source("folder", tmp_path)


MASKS = [
    "0.PNG",
    "0_GT.png",
    "0.png.png",
    "0.tif",
    "0_mask.bmp",
    "0-Mask.PNG",
    "0_label.png",
    "0/a.png",
]


@pytest.mark.parametrize("folder", ["masks", "ground_truth", "GT", "Ground-Truth"])
@pytest.mark.parametrize("name", MASKS)
def test_masks_under_other_names(tmp_path, folder, name):
    photo(tmp_path / "p/good/g.png")
    photo(tmp_path / "p/scratch/0.png", blot=BLOT)
    marked(tmp_path / "p" / folder / "Scratch" / name)
    benchmark, _ = build("folder", tmp_path / "p", tmp_path / "out")
    assert sample(benchmark, "scratch").boxes == (Box(*BLOT, "scratch"),)
    assert read_mask(benchmark.root / sample(benchmark, "scratch").mask).sum() == 1600


def test_masks_whose_names_have_their_accents_apart(tmp_path):
    whole, apart = (unicodedata.normalize(form, "Löcher") for form in ("NFC", "NFD"))
    photo(tmp_path / "p/good/g.png")
    photo(tmp_path / "p" / apart / f"{whole}.png", blot=BLOT)
    marked(tmp_path / "p/masks" / whole / f"{apart}.png")
    benchmark, _ = build("folder", tmp_path / "p", tmp_path / "out")
    assert [s.boxes and s.boxes[0].xyxy for s in benchmark.samples if not s.is_normal] == [BLOT]


@pytest.mark.parametrize("name", ["masks/0.png", "masks/0_mask.png", "scratch/0_mask.png"])
def test_flat_masks_and_masks_beside_their_image(tmp_path, name):
    photo(tmp_path / "p/good/0.png")
    photo(tmp_path / "p/scratch/0.png", blot=BLOT)
    marked(tmp_path / "p" / name)
    benchmark, _ = build("folder", tmp_path / "p", tmp_path / "out")
    assert len(benchmark.samples) == 2
    assert sample(benchmark, "scratch").boxes == (Box(*BLOT, "scratch"),)


@pytest.mark.parametrize(
    "name",
    [
        "scratch/0.png",
        "scratch/0.jpg.png",
        "scratch_mask/0.png",
        "Scratch-Masks/0_mask.png",
        "scratch_gt/0.bmp",
        "mask_images/0.png",
        "gt_masks/scratch/0.png",
        "binary_masks/0.png",
    ],
)
@pytest.mark.parametrize("side", ["", "test/"])
def test_masks_in_the_places_where_tools_put_them(tmp_path, name, side):
    """They were read as photos of defects."""
    root = tmp_path / "p" / side
    photo(root / "good/g.jpg")
    photo(root / "dent/0.jpg")
    photo(root / "dent/1.jpg", seed=1)
    if "images" in name or "binary" in name:
        (root / "dent/0.jpg").unlink()  # one file could be the mask of two
    photo(root / "scratch/0.jpg", blot=BLOT)
    marked(root / name)
    benchmark, notes = build("folder", tmp_path / "p", tmp_path / "out")
    assert {s.defect for s in benchmark.samples} == {"good", "dent", "scratch"}
    assert sample(benchmark, "scratch").boxes == (Box(*BLOT, "scratch"),)
    assert all(s.boxes is None for s in benchmark.samples if s.defect == "dent")
    assert not any("not read" in note for note in notes)


def test_two_photos_of_one_name_are_two_images(tmp_path):
    photo(tmp_path / "good/g.png")
    photo(tmp_path / "scratch/0.jpg")
    photo(tmp_path / "scratch/0.png")
    source = read_source("folder", tmp_path)
    assert [item.name for item in source.items if not item.normal] == ["0.jpg", "0.png"]


@pytest.mark.parametrize("photos", [0, 2])
def test_files_of_one_name_that_are_no_image_and_mask_are_refused(tmp_path, photos):
    photo(tmp_path / "good/g.png")
    marked(tmp_path / "scratch/0.bmp")
    if photos:
        photo(tmp_path / "scratch/0.jpg")
        photo(tmp_path / "scratch/0.png")
    else:
        marked(tmp_path / "scratch/0.png")
    with pytest.raises(
        InputError, match=r"an image and its mask of two values, found .*0\.\w+ and"
    ):
        read_source("folder", tmp_path)


def test_a_mask_may_be_the_product(tmp_path):
    photo(tmp_path / "p/good/g.png")
    photo(tmp_path / "p/torn_mask/0.png", blot=BLOT)
    benchmark, _ = build("folder", tmp_path / "p", tmp_path / "out")
    assert {s.defect for s in benchmark.samples} == {"good", "torn_mask"}


def test_masks_that_match_nothing_are_listed(tmp_path):
    photo(tmp_path / "p/good/g.png")
    photo(tmp_path / "p/scratch/0.png", blot=BLOT)
    photo(tmp_path / "p/scratch/1.png", blot=BLOT)
    marked(tmp_path / "p/masks/scratch/0.png")
    marked(tmp_path / "p/masks/scratch/one.png")
    _, notes = build("folder", tmp_path / "p", tmp_path / "out")
    assert "1 masks belong to no image: masks/scratch/one.png" in notes
    assert "1 defective images have neither a mask nor boxes" in notes


@pytest.mark.parametrize(
    ("masks", "said"),
    [
        (("masks/scratch/0.png", "masks/scratch/0_mask.png"), "expected one mask for"),
        (("masks/0.png",), "expected one image for the mask"),  # scratch/0 and dent/0
    ],
)
def test_masks_that_fit_twice_are_refused(tmp_path, masks, said):
    photo(tmp_path / "good/g.png")
    photo(tmp_path / "scratch/0.png")
    photo(tmp_path / "dent/0.png")
    for name in masks:
        marked(tmp_path / name)
    with pytest.raises(InputError, match=said):
        read_source("folder", tmp_path)


def test_a_marked_normal_image_is_refused(tmp_path):
    photo(tmp_path / "p/good/g.png")
    photo(tmp_path / "p/scratch/0.png")
    marked(tmp_path / "p/masks/good/g.png")
    with pytest.raises(InputError, match=r"expected an empty mask for .*g\.png"):
        build("folder", tmp_path / "p", tmp_path / "out")
    put(tmp_path / "p/masks/good/g.png", np.zeros((120, 200), np.uint8))
    benchmark, _ = build("folder", tmp_path / "p", tmp_path / "out")
    assert sample(benchmark, "good").mask is None


def test_a_mask_whose_ground_is_transparent(tmp_path):
    photo(tmp_path / "p/good/g.png")
    photo(tmp_path / "p/scratch/0.png", blot=BLOT)
    pixels = np.zeros((120, 200, 4), np.uint8)
    pixels[..., :3] = 255
    pixels[20:60, 20:60] = (255, 0, 0, 255)
    put(tmp_path / "p/masks/scratch/0.png", pixels)
    benchmark, _ = build("folder", tmp_path / "p", tmp_path / "out")
    assert sample(benchmark, "scratch").boxes == (Box(*BLOT, "scratch"),)


def test_an_inverted_mask_is_refused(tmp_path):
    photo(tmp_path / "p/good/g.png")
    photo(tmp_path / "p/scratch/0.png", blot=BLOT)
    pixels = np.full((120, 200), 255, np.uint8)
    pixels[20:60, 20:60] = 0
    put(tmp_path / "p/masks/scratch/0.png", pixels)
    with pytest.raises(
        InputError, match=r"reads one way at .*0\.png, found marks all along its edge"
    ):
        build("folder", tmp_path / "p", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("redrawn", [{}, {"gradient": True}, {"tile": 80}])
def test_deep_images_are_recorded_with_their_rule(redrawn, tmp_path):
    photo(tmp_path / "p/scratch/x.png", blot=BLOT)
    marked(tmp_path / "p/masks/scratch/x.png", BLOT)
    ramp = np.tile(np.linspace(0, 4095, 200).astype(np.uint16), (120, 1))
    put(tmp_path / "p/good/g.png", ramp)
    put(tmp_path / "p/good/f.tif", np.tile(np.linspace(0, 1, 200, dtype=np.float32), (120, 1)))
    options = BuildOptions(reserve=0, **redrawn)
    benchmark, notes = build("folder", tmp_path / "p", tmp_path / "out", options)
    assert benchmark.manifest["grey_levels"] == {"0 .. 1 to 0 .. 255": 1, "12 bits to 8": 1}
    assert any(note.startswith("2 images are of more than 8 bits") for note in notes)


def copied(root, change=lambda pixels: pixels, suffix="png"):
    for n in range(6):
        pixels = photo(root / "good" / f"g{n}.png", seed=n)
        put(root / "good" / f"g{n}_copy.{suffix}", np.ascontiguousarray(change(pixels)))
        photo(root / "scratch" / f"s{n}.png", blot=BLOT, seed=n + 20)
    return root


CHANGES = {
    "the same bytes": lambda a: a,
    "mirrored": lambda a: a[:, ::-1],
    "upside down": lambda a: a[::-1],
    "turned": lambda a: np.rot90(a),
    "darker": lambda a: (a * 0.8).astype(np.uint8),
}


@pytest.mark.parametrize("name", CHANGES)
@pytest.mark.parametrize("seed", range(3))
def test_no_reference_is_a_copy_of_an_evaluated_image(tmp_path, name, seed):
    root = copied(tmp_path / "p", CHANGES[name])
    benchmark, _ = build("folder", root, tmp_path / "out", BuildOptions(seed))
    references, asked = shown(benchmark), {s.image for s in benchmark.samples}
    assert references
    photos = {key.rsplit("/", 1)[1][:2] for key in references}
    assert not photos & {key.rsplit("/", 1)[1][:2] for key in asked if "/good/" in key}


def test_a_train_image_that_is_a_copy_of_a_test_image_is_no_reference(tmp_path):
    root = sides(tmp_path / "p")
    pixels = np.asarray(Image.open(root / "test/normal/n3.jpg"))
    put(root / "train/normal/n9.png", np.ascontiguousarray(pixels[:, ::-1]))
    benchmark, notes = build("folder", root, tmp_path / "out")
    assert not any("n9" in key for key in shown(benchmark)) and len(shown(benchmark)) == 3
    assert "1 references look like evaluated images and are not used as such" in notes


def test_the_pool_is_filled_with_images_that_are_no_copies(tmp_path):
    root = sides(tmp_path / "p")
    for n in range(3):
        pixels = np.asarray(Image.open(root / f"test/normal/n{n + 3}.jpg"))
        put(root / f"train/normal/copy{n}.png", pixels)
    benchmark, _ = build("folder", root, tmp_path / "out", BuildOptions(pool=3))
    assert sorted(key.rsplit("/", 1)[1] for key in shown(benchmark)) == [
        "n0.jpg",
        "n1.jpg",
        "n2.jpg",
    ]


# ---- labels ---------------------------------------------------------------------------------


def parts(root, kinds=("sc", "pa", "misc")):
    for n in range(3):
        photo(root / "good" / f"{n}.png", seed=n)
        for kind in kinds:
            photo(root / kind / f"{n}.png", seed=10 + n)
    return root


def test_renamed_labels(tmp_path):
    root = parts(tmp_path / "p")
    benchmark, _ = build("folder", root, tmp_path / "out", rename="sc:scratch,pa:OK")
    assert {s.defect for s in benchmark.samples} == {"scratch", "misc", "good"}
    texts = {
        q.options[q.answer]
        for s in benchmark.samples
        if (q := question(s, "Defect Classification"))
    }
    assert texts == {"Scratch.", "Misc."}
    (tmp_path / "labels.yaml").write_text("sc: scratch\npa: ok\n")
    again, _ = build("folder", root, tmp_path / "b", rename=str(tmp_path / "labels.yaml"))
    assert {s.image for s in again.samples} == {s.image for s in benchmark.samples}


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (
            {"rename": "xy:z"},
            "images in rename, found 'xy'; choose out of good, misc, pa, sc",
        ),
        ({"rename": "sc"}, "expected rename=old:new"),
        ({"rename": "nowhere.yaml"}, "found no such file"),
        ({"category": " "}, "expected category=NAME"),
        ({"defect": "bad"}, "name what it is"),
        ({"group": "("}, "regular expression"),
        ({"group": "zzz"}, "to name groups of images, found none"),
        ({"group": "none.csv:serial"}, r"table of groups at none\.csv"),
        ({"rescale": "maybe"}, "rescale=true or rescale=false"),
    ],
)
def test_settings_are_checked(tmp_path, settings, said):
    with pytest.raises(InputError, match=said):
        read_source("folder", parts(tmp_path / "p"), settings)


def test_a_yaml_of_another_form_is_refused(tmp_path):
    for text in ("- a\n- b\n", "a: [1\n", "a: 3\n"):
        (tmp_path / "l.yaml").write_text(text)
        with pytest.raises(InputError, match="expected old: new lines"):
            read_source("folder", parts(tmp_path / "p"), {"rename": str(tmp_path / "l.yaml")})


def test_the_category_and_the_type_can_be_named(tmp_path):
    root = parts(tmp_path / "data", ("Defect",))
    benchmark, notes = build("folder", root, tmp_path / "a")
    # a type called Defect and a product called data give themselves away: neither is asked
    kinds = {q.type for s in benchmark.samples for q in s.questions}
    assert "Defect Classification" not in kinds and "Object Classification" not in kinds
    assert any("names no type" in note for note in notes)
    assert any("the product is called data, which names none" in note for note in notes)
    benchmark, notes = build("folder", root, tmp_path / "b", category="Gear wheel", defect="dent")
    kinds = {q.type for s in benchmark.samples for q in s.questions}
    assert {"Defect Classification", "Object Classification"} <= kinds
    one = sample(benchmark, "dent/0")
    assert one.category == "Gear wheel"
    asked = question(one, "Object Classification")
    assert asked.options[asked.answer] == "Gear wheel."
    assert not any("names no" in note or "names none" in note for note in notes)


def test_several_products_are_not_called_one(tmp_path):
    for product in ("nut", "bolt"):
        parts(tmp_path / product)
    with pytest.raises(InputError, match="expected one product for category=x, found bolt, nut"):
        read_source("folder", tmp_path, {"category": "x"})


def test_a_bottle_is_not_asked_against_a_glass_bottle(tmp_path):
    for n in range(20):
        photo(tmp_path / "bottle/good" / f"{n}.png", seed=n)
    photo(tmp_path / "bottle/scratch/0.png")
    benchmark, _ = build("folder", tmp_path / "bottle", tmp_path / "out")
    options = {
        o for s in benchmark.samples for o in question(s, "Object Classification").options.values()
    }
    assert "Bottle." in options and "Glass bottle." not in options


def test_coco_categories_that_say_in_order_are_no_defects(tmp_path):
    from case_trees import box_entry, coco, image_entry

    for n in range(3):
        photo(tmp_path / "c" / f"{n}.png", seed=n)
    entries = [box_entry(1, 0, [1, 1, 20, 20], 2), box_entry(2, 1, [1, 1, 20, 20], 2)]
    entries += [box_entry(3, 1, [50, 50, 20, 20], 1)]
    images = [image_entry(n, f"{n}.png") for n in range(3)]
    dump(tmp_path / "c/c.json", coco(images, entries, ("scratch", "OK")))
    benchmark, _ = build("coco", tmp_path / "c", tmp_path / "out", BuildOptions(reserve=0))
    assert {s.image[-5]: s.defect for s in benchmark.samples} == {
        "0": "good",
        "1": "scratch",
        "2": "good",
    }
    assert sample(benchmark, "1.png").boxes == (Box(50, 50, 70, 70, "scratch"),)
    assert question(sample(benchmark, "0.png"), GROUNDING).boxes == ()


# ---- groups ---------------------------------------------------------------------------------


def groups(benchmark):
    return {k.rsplit("/", 1)[1]: v.get("group") for k, v in benchmark.manifest["files"].items()}


def test_augmented_copies_are_one_group(tmp_path):
    for n in range(2):
        for mark in ("0a1b2c3d", "ffeedd00"):
            photo(tmp_path / "p/scratch" / f"part{n}_jpg.rf.{mark}.jpg", seed=n)
    photo(tmp_path / "p/good/x.rf.jpg")
    benchmark, notes = build("folder", tmp_path / "p", tmp_path / "out")
    found = groups(benchmark)
    assert len(set(found.values()) - {None}) == 2 and found["x.rf.jpg"] is None
    assert "4 copies of 2 photos by their names (<photo>.rf.<hash>)" in notes


def test_groups_by_expression_and_by_table(tmp_path):
    root = parts(tmp_path / "p", ("sc",))
    benchmark, notes = build("folder", root, tmp_path / "a", group=r"sc/(\d)")
    found = benchmark.manifest["files"]
    assert {k: v.get("group") for k, v in found.items() if "/sc/" in k} == {
        f"p/p/test/sc/{n}.png": str(n) for n in range(3)
    }
    assert "3 groups of 3 images by group=sc/(\\d)" in notes
    lines = ["file_name,serial", "good/0.png,S1", "good/1.png,S1", "sc/2.png,S2", ""]
    (tmp_path / "parts.csv").write_bytes("\n".join(lines).encode("utf-8-sig"))
    benchmark, notes = build("folder", root, tmp_path / "b", group=f"{tmp_path}/parts.csv:serial")
    named = {v["group"] for v in benchmark.manifest["files"].values() if "group" in v}
    assert named == {"S1", "S2"}
    with pytest.raises(InputError, match="a column 'lot'"):
        read_source("folder", root, {"group": f"{tmp_path}/parts.csv:lot"})


# ---- nothing half written -------------------------------------------------------------------


def test_a_build_that_fails_leaves_what_was_there(tmp_path, monkeypatch):
    root = parts(tmp_path / "p")
    (root / "sc/0.png").write_bytes(b"none")
    for out in (tmp_path / "deep/er/out", tmp_path / "empty"):
        if out.name == "empty":
            out.mkdir()
        with pytest.raises(InputError, match=r"1 file cannot be used|1 files cannot be used"):
            build("folder", root, out)
        assert out.exists() == (out.name == "empty") and not (tmp_path / "deep").exists()
        assert not out.exists() or not any(out.iterdir())


def test_a_disk_that_fails_while_writing_leaves_no_folder(tmp_path, monkeypatch):
    from anomalyr1.data.making import placing

    root, number = parts(tmp_path / "p"), 0

    def full(source, target):
        nonlocal number
        number += 1
        if number > 4:
            raise OSError(28, "No space left on device", str(target))
        return placing.shutil.copyfile(source, target)

    monkeypatch.setattr(placing.os, "link", full)
    monkeypatch.setattr(placing.shutil, "copy2", full)
    with pytest.raises(InputError, match="No space left on device"):
        build("folder", root, tmp_path / "deep/out")
    assert number > 4 and not (tmp_path / "deep").exists()


def test_an_output_that_is_a_file(tmp_path):
    dump(tmp_path / "out", "x")
    with pytest.raises(InputError, match="found a file; choose another"):
        build("folder", parts(tmp_path / "p"), tmp_path / "out")


def test_one_file_under_two_labels_is_refused(tmp_path):
    from dataclasses import replace

    from anomalyr1.data.making.builder import build_benchmark

    source = read_source("folder", parts(tmp_path / "p"))
    twice = replace(source, items=(*source.items, replace(source.items[0], name="x.png")))
    with pytest.raises(InputError, match="expected one entry for"):
        build_benchmark(twice, tmp_path / "out")


def test_json_of_a_benchmark_is_untouched_by_what_was_noted(tmp_path):
    build("folder", parts(tmp_path / "p"), tmp_path / "out")
    records = json.loads((tmp_path / "out/mmad.json").read_text())
    assert all("split" not in record for record in records.values())

"""`data build --tile`: pieces that show a defect whole or none, each with its own reference."""

import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pictures import save
from source_trees import mask, mvtec, picture

from anomalyr1.data.checking.check import check_benchmark
from anomalyr1.data.images import open_image, read_mask
from anomalyr1.data.making.builder import BuildOptions, build_benchmark
from anomalyr1.data.making.piece_places import apart, around_defects, clear_places, inside
from anomalyr1.data.making.shapes import from_mask
from anomalyr1.data.making.sources.catalogue import read_source
from anomalyr1.data.making.sources.item import Item, Source
from anomalyr1.data.making.synthetic.lighting import GRADIENT
from anomalyr1.data.mmad import load_benchmark
from anomalyr1.errors import InputError
from anomalyr1.schema import Box

SPUR, HOLE = (10, 20, 26, 34), (100, 110, 118, 122)  # far apart
SHORT = (104, 100, 112, 112)  # over the hole's edge: one cannot be shown whole without the other


def boards(root, pairs=4):
    """DeepPCB: boards with a black spur and hole, the second with a short besides."""
    for n in range(pairs):
        folder = root / "group12300/12300"
        board = picture(n, (160, 160))
        save(folder / f"1230000{n}_temp.jpg", board)
        noise = np.random.default_rng(n).integers(0, 20, board.shape).astype(np.uint8)
        test, lines = board // 2 + 60 + noise, []
        for kind, box in [(4, SPUR), (6, HOLE)] + [(2, SHORT)] * (n == 1):
            test[box[1] : box[3], box[0] : box[2]] = 0
            lines.append(" ".join(map(str, (*box, kind))))
        save(folder / f"1230000{n}_test.jpg", test)
        notes = root / "group12300/12300_not" / f"1230000{n}.txt"
        notes.parent.mkdir(exist_ok=True)
        notes.write_text("\n".join(lines))
    return root


def build(tree, out, side=64, seed=0, settings=None, name="deeppcb", gradient=False):
    settings = {"normal_share": "0"} if settings is None else settings
    source = read_source(name, tree, settings)
    options = BuildOptions(seed=seed, tile=side, gradient=gradient)
    return load_benchmark(build_benchmark(source, out, options))


@pytest.fixture(scope="module")
def cut(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pieces")
    bench = build(boards(folder / "pcb"), folder / "bench")
    assert sorted(path.name for path in folder.iterdir()) == ["bench", "pcb"]  # nothing is left
    return folder, bench


def test_half_of_the_pieces_show_defects_and_each_has_its_template_beside_it(cut):
    folder, bench = cut
    # Board 1 shows hole and short in one piece; each board has another for its spur.
    assert [s.is_normal for s in bench.samples].count(True) == 8 == len(bench.samples) / 2
    for sample in bench.samples:
        name = sample.path.name
        number, x, y = name[:8], *(int(v) for v in name.removesuffix(".png").split("_")[2:])
        piece = np.asarray(open_image(sample.path))
        board = np.asarray(open_image(next(folder.glob(f"pcb/**/{number}_test.jpg"))))
        assert np.array_equal(piece, board[y : y + 64, x : x + 64])
        (template, *_) = sample.similar_templates
        assert template.endswith(name.replace("_test_", "_temp_"))
        shown = np.asarray(open_image(sample.root / template))
        board = np.asarray(open_image(next(folder.glob(f"pcb/**/{number}_temp.jpg"))))
        assert np.array_equal(shown, board[y : y + 64, x : x + 64])
        dark = piece.max(2) < 30
        for box in sample.boxes:
            x1, y1, x2, y2 = (int(v) for v in box.xyxy)
            assert dark[y1 + 2 : y2 - 2, x1 + 2 : x2 - 2].all()
            dark[y1:y2, x1:x2] = False
        assert dark.sum() < 20 and sample.is_normal == (not sample.boxes)


def test_a_piece_has_the_types_it_shows(cut):
    _, bench = cut
    kinds = sorted((s.defect, tuple(b.label for b in s.boxes)) for s in bench.samples if s.boxes)
    both = ("multiple", ("pin-hole", "short"))
    assert kinds == sorted([("spur", ("spur",))] * 4 + [("pin-hole", ("pin-hole",))] * 3 + [both])
    assert {entry["group"] for entry in bench.manifest["files"].values()} == {
        f"1230000{n}" for n in range(4)
    }
    assert bench.manifest["options"]["tile"] == 64
    assert "cut into 16 pieces of 64 pixels a side" in bench.manifest["notes"]
    assert not [f for f in check_benchmark(bench.path) if f.level == "error"]


def test_pieces_are_coloured_by_position(cut, tmp_path):
    """Red by column, blue by row, counted from the piece's own corner; all else is as without."""
    folder, plain = cut
    bench = build(folder / "pcb", tmp_path / "out", gradient=True)
    assert bench.manifest["options"]["gradient"] and not list((tmp_path / "out").glob(".*"))
    floor, along = GRADIENT["floor"], GRADIENT["red_along_x"]
    for sample, other in zip(bench.samples, plain.samples, strict=True):
        assert (sample.image, sample.boxes) == (other.image, other.boxes)
        assert sample.questions == other.questions
        for key in (sample.image, *sample.similar_templates):
            pixels, before = (np.asarray(open_image(s.root / key), float) for s in (sample, other))
            assert np.array_equal(pixels[..., 1], before[..., 1])
            for at in (0, 20, 63):
                ramp = at / 63 - 0.5
                lit = before / 255 * (1 + along * ramp) + floor * (ramp + 0.5)
                wanted = np.clip(lit, 0, 1) * 255
                assert np.abs(pixels[:, at, 0] - wanted[:, at, 0]).max() <= 1
                assert np.abs(pixels[at, :, 2] - wanted[at, :, 2]).max() <= 1


def test_a_seed_decides_where_pieces_are(cut, tmp_path):
    folder, bench = cut
    again = build(folder / "pcb", tmp_path / "again")
    other = build(folder / "pcb", tmp_path / "other", seed=1)
    assert again.sha256 == bench.sha256 != other.sha256
    assert again.manifest == bench.manifest


def test_masks_are_cut_with_their_image_and_normal_images_make_up_the_balance(tmp_path):
    for n in range(3):
        save(tmp_path / f"nut/good/{n}.png", picture(n, (120, 90)))
        save(tmp_path / f"nut/crack/{n}.png", picture(10 + n, (120, 90)))
        marks = mask((20, 30, 40, 50), (80, 10, 90, 22), size=(120, 90))
        save(tmp_path / f"nut/masks/crack/{n}.png", marks)
    save(tmp_path / "nut/crack/9.png", picture(19, (120, 90)))  # nobody says where
    bench = build(tmp_path / "nut", tmp_path / "out", 40, settings={}, name="folder")
    defective = [s for s in bench.samples if not s.is_normal]
    normal = [s for s in bench.samples if s.is_normal]
    # Six clear pieces beside the six, and a piece of each good image that is not a reference.
    assert len(defective) == 6 and 6 <= len(normal) <= 8
    for sample in defective:
        (box,) = sample.boxes
        marked = read_mask(sample.root / sample.mask)
        x1, y1, x2, y2 = (int(v) for v in box.xyxy)
        assert marked.shape == (40, 40) and marked[y1:y2, x1:x2].all()
        assert marked.sum() == (x2 - x1) * (y2 - y1) and box.label == "crack"
    assert "1 defective images do not say where the defect is: left out" in bench.manifest["notes"]
    assert not [f for f in check_benchmark(bench.path) if f.level == "error"]


@pytest.mark.parametrize(
    ("side", "found"),
    [
        (27, "expected pieces of at least 28 pixels a side, found 27"),
        (30, "expected a defect that fits into a piece of 30 x 30 pixels, found none"),
    ],
)
def test_pieces_that_show_nothing_are_refused(tmp_path, side, found):
    save(tmp_path / "nut/good/0.png", picture(0, (120, 90)))
    save(tmp_path / "nut/crack/0.png", picture(1, (120, 90)))
    save(tmp_path / "nut/masks/crack/0.png", mask((20, 30, 60, 70), size=(120, 90)))
    with pytest.raises(InputError, match=found):
        build(tmp_path / "nut", tmp_path / "out", side, settings={}, name="folder")
    assert not (tmp_path / "out").exists() and not list(tmp_path.glob(".pieces*"))


def test_a_reference_of_another_size_is_refused(tmp_path):
    tree = boards(tmp_path / "pcb", pairs=2)
    save(tree / "group12300/12300/12300001_temp.jpg", picture(1, (150, 160)))
    with pytest.raises(
        InputError, match=r"01_temp.jpg to have the 160 x 160 pixels of .*found 150"
    ):
        build(tree, tmp_path / "out")


def equal(piece, image, place=None):
    return np.array_equal(np.asarray(open_image(piece)), np.asarray(open_image(image).crop(place)))


@pytest.mark.parametrize("gradient", [False, True])
def test_train_and_test_images_of_one_name_stay_apart(gradient, tmp_path):
    """Images smaller than a piece are all cut at (0, 0)."""
    tree = mvtec(tmp_path / "tree", ("bottle",))
    bench = build(tree, tmp_path / "out", 1024, settings={}, name="mvtec", gradient=gradient)
    shown = [s.image for s in bench.samples]
    files = ["good/000", "good/001", "crack/000", "crack/001", "hole/000"]
    assert sorted(shown) == sorted(f"MVTec-AD/bottle/test/{f}_0_0.png" for f in files)
    references = {key for s in bench.samples for key in s.similar_templates}
    assert references == {f"MVTec-AD/bottle/train/good/00{n}_0_0.png" for n in range(3)}
    for key in (*shown, *references):
        original = tree / key.removeprefix("MVTec-AD/").replace("_0_0.png", ".png")
        found, wanted = (np.asarray(open_image(f)) for f in (bench.root / key, original))
        assert np.array_equal(found[..., 1], wanted[..., 1])  # green is never coloured


def test_clear_pieces_of_images_of_one_name_are_told_apart(tmp_path):
    """The one place beside either defect is (12, 0); both pieces there are called good."""
    size = (52, 40)
    for n, kind in enumerate(["crack", "hole"]):
        save(tmp_path / f"nut/{kind}/000.png", picture(n, size))
        save(tmp_path / f"nut/masks/{kind}/000.png", mask((2, 10, 12, 20), size=size))
    for n in range(4):
        save(tmp_path / f"nut/good/{n + 1:03d}.png", picture(10 + n, size))
    bench = build(tmp_path / "nut", tmp_path / "out", 40, settings={}, name="folder")
    pieces = {s.path.name: s for s in bench.samples if s.path.name.endswith("_12_0.png")}
    for kind in ("crack", "hole"):
        piece = pieces[f"{kind}_000.png_12_0.png"]
        assert piece.is_normal
        assert equal(piece.path, tmp_path / f"nut/{kind}/000.png", (12, 0, 52, 40))
    defective = {s.image: s for s in bench.samples if not s.is_normal}
    for key, sample in defective.items():
        _, _, _, kind, name = key.split("/")
        x = int(name.split("_")[1])
        assert name == f"000_{x}_0.png"
        assert equal(sample.path, tmp_path / f"nut/{kind}/000.png", (x, 0, x + 40, 40))
    assert len(defective) == 2


def test_images_whose_names_differ_in_their_suffix_stay_apart(tmp_path):
    for n, name in enumerate(["good/a.png", "good/a.jpg", "good/b.png", "dent/0.png"]):
        save(tmp_path / "nut" / name, picture(n))
    save(tmp_path / "nut/masks/dent/0.png", mask((6, 8, 18, 20)))
    source = read_source("folder", tmp_path / "nut", {})
    options = BuildOptions(tile=64, reserve=0, references=0)
    bench = load_benchmark(build_benchmark(source, tmp_path / "out", options))
    pieces = {s.path.name: s.path for s in bench.samples if s.is_normal}
    assert sorted(pieces) == ["b_0_0.png", "good_a.jpg_0_0.png", "good_a.png_0_0.png"]
    for name in ("a.jpg", "a.png"):
        assert equal(pieces[f"good_{name}_0_0.png"], tmp_path / "nut/good" / name)


@pytest.mark.parametrize("regions", ["mask", "shapes"])
def test_a_clear_piece_shows_no_speck_too_small_for_a_box(regions, tmp_path):
    size, marks = (132, 40), mask((2, 10, 12, 20), (51, 20, 53, 22), size=(132, 40))
    items = []
    for n in range(6):
        own = {"shapes": (from_mask(marks > 0, "dent"),)}
        if regions == "mask":
            own = {"mask": save(tmp_path / f"masks/{n}.png", marks)}
        file = save(tmp_path / f"dent/{n}.png", picture(n, size))
        items.append(Item(file, "D", "nut", "dent", f"{n}.png", "nut", defects=("dent",), **own))
    source = Source("folder", "none", "", "", tuple(items))
    bench = load_benchmark(build_benchmark(source, tmp_path / "out", BuildOptions(tile=40)))
    clear = [s for s in bench.samples if s.is_normal]
    assert len(clear) >= 4
    for sample in clear:
        x, y = (int(v) for v in sample.path.stem.split("_")[-2:])
        assert not marks[y : y + 40, x : x + 40].any()


def test_a_piece_named_by_one_type_of_several_stays_below_the_benchmark(tmp_path):
    file = save(tmp_path / "a.png", picture(0, (120, 40)))
    boxes = (Box(2, 10, 12, 20, "../../../x"), Box(100, 10, 110, 20, "dent"))
    kinds = ("../../../x", "dent")
    item = Item(file, "D", "nut", "multiple", "a.png", "nut", defects=kinds, boxes=boxes)
    source = Source("folder", "none", "", "", (item,))
    bench = load_benchmark(build_benchmark(source, tmp_path / "out", BuildOptions(tile=40)))
    folders = sorted(s.image.rpartition("/")[0] for s in bench.samples if not s.is_normal)
    assert folders == ["D/nut/test/dent", "D/nut/test/x"]


@given(st.integers(0, 10**6), st.integers(0, 6), st.integers(28, 130))
def test_no_piece_cuts_a_defect(seed, count, side):
    drawn = random.Random(seed)
    size, boxes = (120, 80), []
    for _ in range(count):
        x, y = drawn.uniform(0, 110), drawn.uniform(0, 70)
        boxes.append(
            Box(x, y, min(120, x + drawn.uniform(1, 40)), min(80, y + drawn.uniform(1, 40)))
        )
    around = around_defects(boxes, size, side, drawn)
    clear = clear_places(boxes, size, side, 5, drawn)
    for place in (*around, *clear):
        x1, y1, x2, y2 = place
        assert min(x1, y1) >= 0 and x2 <= 120 and y2 <= 80
        assert (x2 - x1, y2 - y1) == (min(side, 120), min(side, 80))
        assert all(inside(box, place) != apart(box, place) for box in boxes)
    assert all(any(inside(box, place) for box in boxes) for place in around)
    assert all(all(apart(box, place) for box in boxes) for place in clear)
    assert len(around) <= count and len(set(clear)) == len(clear) <= 5

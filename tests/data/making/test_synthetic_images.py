import json
from dataclasses import replace

import cv2
import numpy as np
import pytest
from commands import fresh, invoke
from PIL import Image

from anomalyr1.cli.data import app
from anomalyr1.data.checking.check import check_benchmark
from anomalyr1.data.images import read_mask
from anomalyr1.data.leakage import overlap
from anomalyr1.data.making.synthetic import synthesize
from anomalyr1.data.making.synthetic.defects import DRAWN, KINDS, MIN_SIDE, MISSING_PART, add_defect
from anomalyr1.data.making.synthetic.etching import ETCHED, bare_board
from anomalyr1.data.making.synthetic.grinding import GROUND
from anomalyr1.data.making.synthetic.products import LOOKALIKES, PRODUCTS
from anomalyr1.data.mmad import load_benchmark
from anomalyr1.errors import InputError
from anomalyr1.schema import GROUNDING, SUBTASKS


@pytest.fixture(scope="module")
def synthetic(tmp_path_factory):
    out = tmp_path_factory.mktemp("synthetic") / "out"
    synthesize(out, train=72, test=12, seed=1, size=112)
    return out


@pytest.fixture(scope="module")
def train(synthetic):
    return load_benchmark(synthetic / "train")


def test_half_is_normal_and_every_product_and_defect_comes(train):
    assert sum(s.is_normal for s in train.samples) == len(train.samples) / 2 == 36
    assert {s.category for s in train.samples} == set(PRODUCTS) == set(KINDS) - set(LOOKALIKES)
    assert {s.defect for s in train.samples} == {"good", *DRAWN, MISSING_PART}


def test_bgr_exchanges_red_and_blue_and_nothing_else(tmp_path):
    for name, bgr in (("rgb", False), ("bgr", True)):
        synthesize(tmp_path / name, train=8, test=1, seed=4, size=56, bgr=bgr)
    rgb, bgr = (load_benchmark(tmp_path / name / "train") for name in ("rgb", "bgr"))
    assert bgr.manifest["options"]["bgr"] and not rgb.manifest["options"]["bgr"]
    for one, other in zip(rgb.samples, bgr.samples, strict=True):
        assert one.boxes == other.boxes and one.questions == other.questions
        first, second = (np.asarray(Image.open(s.root / s.image)) for s in (one, other))
        assert (first == second[..., ::-1]).all() and (first != second).any()


def test_every_question_type_is_asked(train):
    assert {q.subtask for s in train.samples for q in s.questions} == {*SUBTASKS, GROUNDING}
    assert {q.type for s in train.samples for q in s.questions} >= {
        "Object Structure",
        "Object Details",
    }


def test_the_benchmarks_are_sound_and_do_not_overlap(synthetic, train):
    test = load_benchmark(synthetic / "test")
    for side in ("train", "test"):
        assert [f for f in check_benchmark(synthetic / side) if f.level == "error"] == []
    assert overlap(train.manifest, test) == []
    assert train.root == test.root == synthetic / "images"


def test_references_are_normal_images_of_the_product_that_nothing_asks_about(train):
    asked = {s.image for s in train.samples}
    for sample in train.samples:
        assert sample.random_templates and not set(sample.random_templates) & asked
        assert all(f"/{sample.category}/train/good/" in key for key in sample.random_templates)


def test_defects_are_large_enough_and_boxes_fit_the_masks(train):
    for sample in train.samples:
        if sample.is_normal:
            continue
        mask = read_mask(sample.root / sample.mask)
        rows, columns = np.nonzero(mask)
        (box,) = sample.boxes
        assert box.xyxy == (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
        # the drawing is reduced to the image's size: a pixel less on either side
        assert min(box.x2 - box.x1, box.y2 - box.y1) >= MIN_SIDE * 112 - 2


def test_the_gradient_shows_the_position(train):
    """Red rises from left to right, blue from top to bottom, over all images together."""
    mean = np.mean([np.asarray(Image.open(s.path), float) for s in train.samples], axis=0)
    red, green, blue = np.moveaxis(mean, 2, 0)
    assert (red - green)[:, -20:].mean() - (red - green)[:, :20].mean() > 15
    assert (blue - green)[-20:].mean() - (blue - green)[:20].mean() > 15
    assert train.manifest["options"]["gradient"]["red_along_x"] > 0


@pytest.mark.parametrize("product", [*PRODUCTS, *LOOKALIKES])
def test_each_defect_shows(product):
    for kind in KINDS[product]:
        rng = np.random.default_rng(5)
        scene = {**PRODUCTS, **LOOKALIKES}[product](rng, 168)
        changed, mask = add_defect(rng, scene, kind, scene.image)
        inside = np.abs(changed - scene.image)[mask].mean()
        outside = np.abs(changed - scene.image)[~mask].mean()
        least = scene.faults.least_contrast if scene.faults else 0.08
        assert inside > least and inside > 5 * outside, kind


def etched(kind, seed):
    """A board, and itself with a defect: as it is drawn, on the first board with a place for it."""
    for attempt in range(20):
        rng = np.random.default_rng((seed, attempt))
        scene = bare_board(rng, 168)
        changed, mask = add_defect(rng, scene, kind, scene.image)
        if mask.any():
            return scene, changed, mask
    raise AssertionError(f"no board of 20 has a place for {kind}")


@pytest.mark.parametrize("seed", range(8))
def test_etching_leaves_copper_where_its_kind_says(seed):
    """Bridges change how many pieces of copper there are, islands add one, bites none."""

    def pieces(copper):
        return cv2.connectedComponents(copper.astype(np.uint8))[0] - 1

    for kind in ETCHED:
        scene, changed, mask = etched(kind, seed)
        before, after = (image[..., 0] > 0.5 for image in (scene.image, changed))
        missing, added = (before & ~after).sum(), (after & ~before).sum()
        assert (missing > 0) == (kind in ("open", "mousebite", "pin-hole")), kind
        assert (added > 0) == (kind in ("short", "spur", "copper")), kind
        assert not (before ^ after)[~mask].any()
        if kind == "open":
            assert pieces(after) > pieces(before)
        if kind == "short":
            assert pieces(~after) > pieces(~before)
        if kind == "copper":
            assert pieces(after) == pieces(before) + 1
        if kind == "pin-hole":
            assert pieces(~after) == pieces(~before) + 1


@pytest.mark.parametrize(("size", "train", "test"), [(56, 200, 20), (112, 400, 40), (336, 72, 4)])
def test_other_products_are_drawn_when_asked_for(tmp_path, size, train, test):
    """None of the defective boards and tiles, half of all, is without its defect."""
    synthesize(tmp_path / "x", train=train, test=test, seed=1, size=size, products=LOOKALIKES)
    for side, count in (("train", train), ("test", test)):
        samples = load_benchmark(tmp_path / "x" / side).samples
        assert {s.category for s in samples} == set(LOOKALIKES)
        assert [f for f in check_benchmark(tmp_path / "x" / side) if f.level == "error"] == []
        defective = [s for s in samples if not s.is_normal]
        assert len(defective) == count / 2 and not any(s.boxes for s in samples if s.is_normal)
        for sample in defective:
            (box,) = sample.boxes
            assert read_mask(sample.root / sample.mask).any() and box.area > 0, sample.image
        if side == "train":
            assert {s.defect for s in defective} == {*ETCHED, *GROUND}


def test_a_defect_without_a_place_is_an_error_and_no_label(tmp_path):
    """A board that is all copper has no place for an open."""

    def full(rng, n):
        scene = bare_board(rng, n)
        return replace(scene, parts=(np.ones((n, n), np.float32),))

    with pytest.raises(InputError, match=r"a place for the defect open .*test/open/") as caught:
        synthesize(tmp_path / "x", train=12, test=2, size=56,
                   products={"printed_circuit_board": full})  # fmt: skip
    assert len(str(caught.value).splitlines()) == 1 and not (tmp_path / "x").exists()


def test_similar_references_pass_the_check_and_come_through_a_split(tmp_path):
    """All of them: were they kept for defective images alone, they would tell the answer."""
    synthesize(tmp_path / "x", train=48, test=2, seed=2, size=112, similar=True)
    for side in ("train", "test"):
        assert invoke(app, "check", tmp_path / "x" / side).exit_code == 0
    views = {s.image: s.similar_templates for s in load_benchmark(tmp_path / "x/train").samples}
    assert len({view for (view,) in views.values()}) == 48
    assert invoke(app, "split", tmp_path / "x/train", "--out", tmp_path / "s").exit_code == 0
    assert invoke(app, "check", tmp_path / "s").exit_code == 0
    kept = [s for side in ("train", "test") for s in load_benchmark(tmp_path / "s" / side).samples]
    assert {s.image: s.similar_templates for s in kept} == views


def test_two_processes_draw_the_same(tmp_path):
    code = (
        "import sys, hashlib; from pathlib import Path\n"
        "from anomalyr1.data.making.synthetic import synthesize\n"
        "files = synthesize(Path(sys.argv[1]), train=4, test=2, seed=3, size=56)\n"
        "for f in files: print(hashlib.sha256(f.with_name('manifest.json').read_bytes()).digest())"
    )
    runs = [fresh(code, tmp_path / name) for name in ("a", "b")]
    assert runs[0] == runs[1]


def test_another_seed_draws_other_images(tmp_path):
    for seed in (0, 1):
        synthesize(tmp_path / str(seed), train=2, test=2, seed=seed, size=56)
    hashes = [
        {
            entry["sha256"]
            for entry in json.loads((tmp_path / s / "train/manifest.json").read_text())[
                "files"
            ].values()
        }
        for s in "01"
    ]
    assert not hashes[0] & hashes[1]


@pytest.mark.parametrize("numbers", [{"train": 0}, {"test": 0}, {"size": 20}])
def test_numbers_are_checked(tmp_path, numbers):
    with pytest.raises(InputError, match="expected at least 1 image"):
        synthesize(tmp_path / "x", **{"train": 1, "test": 1, **numbers})


def test_an_occupied_folder_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="to be empty or new"):
        synthesize(tmp_path, train=1, test=1)

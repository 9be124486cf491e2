import json
import shutil

import pytest
import source_trees as trees
from PIL import Image
from source_trees import mask, picture, save

from anomalyr1.data.checking.check import check_benchmark
from anomalyr1.data.checking.findings import MMAD_COLUMNS, MMAD_COUNTS, MMAD_IMAGES, mmad_findings
from anomalyr1.schema import Question, Sample

CRACK = "MVTec-AD/bottle/test/crack/000.png"
GOOD = "MVTec-AD/bottle/test/good/000.png"
MASK = "MVTec-AD/bottle/ground_truth/crack/000_mask.png"


@pytest.fixture
def bench(tmp_path, mvtec_benchmark):
    """To be spoilt: copies of files."""
    return shutil.copytree(mvtec_benchmark, tmp_path / "bench")


def edit(bench, change):
    records = json.loads((bench / "mmad.json").read_text())
    change(records)
    (bench / "mmad.json").write_text(json.dumps(records))


def errors(bench):
    found = check_benchmark(bench, near_bits=-1)
    return [(f.kind, f.image, f.message) for f in found if f.level == "error"]


def replace(bench, key, pixels):
    (bench / key).unlink()
    save(bench / key, pixels)


def test_a_sound_benchmark_has_no_findings(bench):
    assert check_benchmark(bench) == []


def test_missing_and_broken_images(bench):
    (bench / CRACK).unlink()
    (bench / GOOD).unlink()
    (bench / GOOD).write_bytes(b"no image")
    found = errors(bench)
    assert [f[:2] for f in found] == [("file", CRACK), ("file", GOOD)] or len(found) == 2
    reference = json.loads((bench / "mmad.json").read_text())[CRACK]["similar_templates"][0]
    (bench / reference).unlink()
    assert any(f[1] == reference and "reference of" in f[2] for f in errors(bench))


@pytest.mark.parametrize(
    ("pixels", "said"),
    [
        (mask(trees.BOX, size=(40, 48)), "the mask has 40 x 48 pixels, the image 48 x 48"),
        (mask(), "the mask marks nothing"),
        (mask((30, 30, 44, 44)), "mask and boxes disagree"),  # the mask of another image
    ],
)
def test_a_planted_wrong_mask(bench, pixels, said):
    replace(bench, MASK, pixels)
    ((kind, image, message),) = errors(bench)
    assert (kind, image) == ("mask", CRACK) and said in message


def test_a_missing_mask(bench):
    (bench / MASK).unlink()
    assert errors(bench)[0][0] == "mask"


def test_planted_duplicates(bench):
    """The same bytes, a JPEG re-encoding, and a crop of 2 %."""
    (bench / GOOD).unlink()
    shutil.copy(bench / CRACK, bench / GOOD)
    kinds = {kind for kind, _, _ in errors(bench)}
    assert kinds == {"duplicate", "manifest"}


def test_two_references_that_are_equal_are_a_warning(bench):
    """They are shown and never asked about: nothing is counted twice."""
    one, other = sorted(f for f in bench.rglob("*.png") if "/train/good/" in f.as_posix())[:2]
    shutil.copy(one, other)
    found = [f for f in check_benchmark(bench / "mmad.json") if f.kind == "duplicate"]
    assert [f.level for f in found] == ["warning"]


@pytest.mark.parametrize("crop", [(0, 0, 48, 48), (1, 0, 48, 48)])
def test_planted_near_duplicates(bench, crop):
    image = Image.open(bench / CRACK).convert("RGB").crop(crop)
    image.save(bench / "copy.jpg", quality=80)
    key = "MVTec-AD/bottle/test/good/copy.jpg"
    shutil.move(bench / "copy.jpg", bench / key)
    edit(bench, lambda r: r.update({key: {"conversation": r[GOOD]["conversation"], "boxes": []}}))
    (found,) = check_benchmark(bench)
    assert (found.level, found.kind, found.image) == ("warning", "near-duplicate", key)
    assert CRACK in found.message


def conversation(question, **changes):
    return lambda records: records[CRACK]["conversation"][question].update(changes)


PLANTED = {
    "answer not among the options": (conversation(0, Answer="E"), "record", "expected Answer"),
    "equal options": (
        conversation(0, Options={"A": "Yes.", "B": "yes"}),
        "options",
        "is given 2 times",
    ),
    "one option": (conversation(0, Options={"A": "Yes."}, Answer="A"), "options", "one option"),
    "wrong label": (
        conversation(0, Options={"A": "Yes.", "B": "No."}, Answer="B"),
        "label",
        "path says defective",
    ),
    "box outside": (
        lambda r: (
            r[CRACK].update(boxes=[[6, 8, 60, 20]]),
            r[CRACK]["conversation"].pop(),
        ),
        "boxes",
        "leaves the 48 x 48",
    ),
    "box without area": (
        lambda r: r[CRACK].update(boxes=[[6, 8, 18, 20], [5, 5, 5, 9]], box_labels=["a", "b"]),
        "boxes",
        "has no area",
    ),
    "other boxes in the answer": (
        lambda r: r[CRACK].update(boxes=[[6, 8, 18, 19]]),
        "boxes",
        "not the record's",
    ),
    "boxes on a normal image": (
        lambda r: (r[GOOD].update(boxes=[[1, 1, 5, 5]]), r[GOOD]["conversation"].pop()),
        "boxes",
        "a normal image has 1 boxes",
    ),
    "no boxes on a defective image": (
        lambda r: (r[CRACK].update(boxes=[], box_labels=[]), r[CRACK]["conversation"].pop()),
        "boxes",
        "a defective image has no boxes",
    ),
    "mask on a normal image": (
        lambda r: r[GOOD].update(mask_path="ground_truth/crack/000_mask.png"),
        "mask",
        "a normal",
    ),
    "its own reference": (
        lambda r: r[GOOD].update(random_templates=[GOOD]),
        "reference",
        "its own reference",
    ),
    "a defective reference": (
        lambda r: r[GOOD].update(random_templates=[CRACK]),
        "reference",
        "not a normal image",
    ),
    "another path": (
        lambda r: r[GOOD].update(image_path="test/good/9.png"),
        "path",
        "image_path says",
    ),
}


@pytest.mark.parametrize("name", PLANTED)
def test_planted_faults_are_caught(bench, name):
    change, kind, said = PLANTED[name]
    edit(bench, change)
    found = errors(bench)
    assert any(k == kind and said in message for k, _, message in found), found


@pytest.mark.parametrize(
    ("text", "answer", "wrong"),
    [
        ("Is there a defect?", "No.", True),
        ("Is the object free of defects?", "No.", False),  # "no" means that there is one
        ("Does the item look normal?", "Yes.", False),  # not judged: the wording is turned round
    ],
)
def test_turned_round_questions_are_not_judged(bench, text, answer, wrong):
    letter = {"Yes.": "A", "No.": "B"}[answer]
    options = {"A": "Yes.", "B": "No."}
    edit(bench, conversation(0, Question=text, Options=options, Answer=letter))
    assert bool(errors(bench)) == wrong


def test_a_presupposing_question_on_a_normal_image_is_a_warning(bench):
    def plant(records):
        records[GOOD]["conversation"].append(records[CRACK]["conversation"][1])

    edit(bench, plant)
    (found,) = check_benchmark(bench)
    assert (found.level, found.kind) == ("warning", "label")


def test_a_changed_file_is_not_that_of_the_manifest(bench):
    replace(bench, GOOD, picture(77))
    assert errors(bench) == [("manifest", GOOD, "the file is not the one in manifest.json")]


def mmad_samples(counts=MMAD_COUNTS, images=MMAD_IMAGES):
    """Samples with MMAD's number of questions; one image carries all questions of a type."""
    samples = []
    for dataset, numbers in counts.items():
        for column, number in zip(MMAD_COLUMNS, numbers, strict=True):
            kind = column.removesuffix(" on normals").removesuffix(" on anomalies")
            kind = "Object Details" if kind == "Object Analysis" else kind
            folder = "good" if column.endswith("on normals") else "bad"
            question = Question("Q?", kind, {"A": "x", "B": "y"}, "A")
            key = f"{dataset}/c/test/{folder}/{column}.png"
            samples.append(Sample(key, None, (question,) * number))
    filler = Sample("VisA/c/test/bad/{}.png", None, ())
    return tuple(samples + [filler] * (images - len(samples)))


def test_the_mmad_table():
    samples = mmad_samples()
    assert sum(len(s.questions) for s in samples) == 39672 and len(samples) == 8366
    assert list(mmad_findings(samples)) == []
    short = mmad_samples({**MMAD_COUNTS, "VisA": (943, 1198, 1189, *MMAD_COUNTS["VisA"][3:])})
    (found,) = mmad_findings(short)
    assert found.message == "MMAD has 1190 questions of Defect Classification, found 1189"
    assert list(mmad_findings(samples[:5])) == []  # three data sets missing: not MMAD
    assert "found 8365" in next(iter(mmad_findings(samples[:-1]))).message


def test_the_wrong_pills(tmp_path):
    """Metal nuts in the place of pills, as in MMAD's hub copy; a real pill among them is fine."""
    records = {}
    question = {
        "Question": "What is it?",
        "Answer": "A",
        "Options": {"A": "Pill.", "B": "Nut."},
        "type": "Object Classification",
    }

    def add(key, pixels):
        save(tmp_path / key, pixels)
        records[key] = {"conversation": [question]}

    shape = {"pill": picture(1, (96, 96)), "metal_nut": picture(2, (96, 96))}
    for n in range(22, 25):
        add(f"DS-MVTec/pill/image/good/{n:03d}.png", shape["pill"] + n)
    for n in range(3):
        add(f"DS-MVTec/metal_nut/image/good/{n:03d}.png", shape["metal_nut"] + n)
    add("DS-MVTec/pill/image/good/000.png", shape["metal_nut"] + 7)
    add("DS-MVTec/pill/image/good/001.png", shape["pill"] + 7)
    (tmp_path / "mmad.json").write_text(json.dumps(records))
    found = [f for f in check_benchmark(tmp_path, near_bits=-1) if f.kind == "known fault"]
    assert [(f.level, f.image[-7:]) for f in found] == [("error", "000.png")]
    for key in [key for key in records if "metal_nut" in key]:
        del records[key]
    (tmp_path / "mmad.json").write_text(json.dumps(records))
    found = [f for f in check_benchmark(tmp_path, near_bits=-1) if f.kind == "known fault"]
    assert {f.level for f in found} == {"warning"} and len(found) == 2


def test_structural_faults_are_listed_with_the_rest(bench):
    edit(bench, lambda r: (r[CRACK].update(split=3), r[GOOD].update(random_templates=[GOOD])))
    assert {kind for kind, _, _ in errors(bench)} == {"record", "reference"}

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import source_trees as trees
from commands import fresh, invoke
from source_trees import SIZE, picture, save

from anomalyr1.cli.data import app
from anomalyr1.data.checking.check import check_benchmark
from anomalyr1.data.leakage import overlap
from anomalyr1.data.making.builder import BuildOptions, build_benchmark
from anomalyr1.data.making.division import SplitOptions
from anomalyr1.data.making.grouping import read_grouping
from anomalyr1.data.making.sources.catalogue import read_source
from anomalyr1.data.making.splits import read_split_options, split_benchmark
from anomalyr1.data.mmad import load_benchmark
from anomalyr1.errors import InputError


def parts(root: Path, products=("nut", "bolt", "pin")) -> Path:
    """Three products with 6 normals, 4 cracks and 3 dents each, no train folder."""
    for p, product in enumerate(products):
        for k, (kind, count) in enumerate((("good", 8), ("crack", 4), ("dent", 3))):
            for n in range(count):
                save(root / product / kind / f"{n}.png", picture(1000 * p + 100 * k + n))
    return root


@pytest.fixture
def bench(tmp_path):
    source = read_source("folder", parts(tmp_path / "parts"), {"dataset": "Parts"})
    build_benchmark(source, tmp_path / "bench")
    return load_benchmark(tmp_path / "bench")


def split(bench, out, **options):
    files = split_benchmark(bench, out, SplitOptions(**options))
    return tuple(load_benchmark(files[side]) for side in ("train", "test"))


def keys(benchmark):
    return {s.image for s in benchmark.samples}


def strata(benchmark):
    return Counter((s.category, "good" if s.is_normal else s.defect) for s in benchmark.samples)


def references(benchmark):
    return {k for s in benchmark.samples for k in (*s.similar_templates, *s.random_templates)}


def test_the_sides_share_no_image_and_point_to_the_one_root(bench, tmp_path):
    train, test = split(bench, tmp_path / "split")
    assert not keys(train) & keys(test) and keys(train) | keys(test) == keys(bench)
    assert train.root == test.root == bench.root
    assert all(s.path.exists() for s in (*train.samples, *test.samples))
    assert {s.split for s in train.samples} == {"train"}
    assert overlap(train.manifest, test) == []
    assert not references(train) & keys(test) and not references(test) & keys(test)


def test_every_defect_is_on_both_sides(bench, tmp_path):
    train, test = split(bench, tmp_path / "split", test_fraction=0.3)
    assert set(strata(train)) == set(strata(test)) == set(strata(bench))
    assert strata(test)["nut", "crack"] == 1  # 0.3 of 4, rounded
    assert strata(test)["nut", "good"] == 2  # 0.3 of 6 (2 of 8 are set aside as references)


@pytest.mark.parametrize("k", [1, 2])
def test_few_shot_counts(bench, tmp_path, k):
    train, test = split(bench, tmp_path / "split", k_shot=k)
    for product in ("nut", "bolt", "pin"):
        assert strata(train)[product, "crack"] == strata(train)[product, "dent"] == k
        assert strata(train)[product, "good"] == 2 * k  # as many normals as defective images
    assert len(train.samples) + len(test.samples) == len(bench.samples)


def test_few_shot_leaves_one_to_evaluate(bench, tmp_path):
    train, test = split(bench, tmp_path / "split", k_shot=50)
    assert strata(train)["nut", "crack"] == 3 and strata(test)["nut", "crack"] == 1
    assert strata(train)["nut", "good"] == 5 and strata(test)["nut", "good"] == 1


def test_a_category_is_held_out_whole(bench, tmp_path):
    train, test = split(bench, tmp_path / "split", holdout="category", k_shot=1)
    categories = ({s.category for s in train.samples}, {s.category for s in test.samples})
    assert not categories[0] & categories[1] and [len(c) for c in categories] == [2, 1]
    assert strata(train).total() == 2 * (1 + 1 + 2)


def test_one_dataset_cannot_be_held_out(bench, tmp_path):
    with pytest.raises(InputError, match="at least two separate dataset units"):
        split(bench, tmp_path / "split", holdout="dataset")


def test_groups_and_near_duplicates_stay_together(tmp_path):
    build_benchmark(read_source("deeppcb", trees.deeppcb(tmp_path / "pcb", 12)), tmp_path / "bench")
    bench = load_benchmark(tmp_path / "bench")
    train, test = split(bench, tmp_path / "split", test_fraction=0.4)
    numbers = [
        {s.image.rsplit("/", 1)[1].split("_")[0] for s in side.samples} for side in (train, test)
    ]
    assert not numbers[0] & numbers[1]
    # nor is the template of an evaluated board a reference in training
    assert not {k.rsplit("/", 1)[1].split("_")[0] for k in references(train)} & numbers[1]


def test_a_planted_near_duplicate_cannot_cross(tmp_path):
    from PIL import Image

    root = parts(tmp_path / "parts", ("nut",))
    for n in range(4):
        image = Image.open(root / f"nut/crack/{n}.png")
        image.crop((1, 0, 48, 48)).save(root / f"nut/crack/copy{n}.jpg", quality=85)
    source = read_source("folder", root / "nut", {"dataset": "Parts"})
    build_benchmark(source, tmp_path / "bench")
    for seed in range(4):
        sides = split(load_benchmark(tmp_path / "bench"), tmp_path / f"s{seed}", seed=seed)
        for n in range(4):
            own = [any(f"/crack/{n}.png" in key for key in keys(side)) for side in sides]
            copy = [any(f"copy{n}.jpg" in key for key in keys(side)) for side in sides]
            assert own == copy


def test_an_evaluated_reference_is_replaced(bench, tmp_path):
    """A file whose templates are themselves asked about, as with a self-made benchmark."""
    records = json.loads(bench.path.read_text())
    normals = [key for key in records if "/nut/test/good/" in key]
    for record in records.values():
        record["similar_templates"] = normals[:1]
        record["random_templates"] = []
    (tmp_path / "own").mkdir()
    (tmp_path / "own/mmad.json").write_text(json.dumps(records))
    (tmp_path / "own/manifest.json").write_text(json.dumps({"root": str(bench.root)}))
    train, test = split(load_benchmark(tmp_path / "own"), tmp_path / "split", holdout="image")
    for side in (train, test):
        for sample in side.samples:
            chosen = {*sample.similar_templates, *sample.random_templates}
            assert not chosen & keys(test) and sample.image not in chosen
            assert all("good" in key for key in chosen)
            if sample.category == "nut":
                assert chosen


def test_references_in_a_template_folder_stay(bench, tmp_path):
    """DTD in IAD-R1's files keeps its normal references beside `good`; a defective one goes."""
    file = bench.root / "mmad.json"
    records, shown = json.loads(file.read_text()), {}
    for n, (key, record) in enumerate(records.items()):
        product = "/".join(key.split("/")[:2])
        template, bad = f"{product}/template/{n}.png", f"{product}/broken/{n}.png"
        for k, reference in enumerate((template, bad)):
            save(bench.root / reference, picture(10_000 + 2 * n + k))
        record.update(similar_templates=[], random_templates=[bad, template])
        shown[key] = (template,)
    file.write_text(json.dumps(records))
    for side in split(load_benchmark(bench.root), tmp_path / "split"):
        assert {s.image: s.random_templates for s in side.samples} == {
            s.image: shown[s.image] for s in side.samples
        }


def test_the_same_seed_in_two_processes(bench, tmp_path):
    code = (
        "import sys, hashlib; from pathlib import Path\n"
        "from anomalyr1.data.mmad import load_benchmark\n"
        "from anomalyr1.data.making.division import SplitOptions\n"
        "from anomalyr1.data.making.splits import split_benchmark\n"
        "out = Path(sys.argv[2])\n"
        "options = SplitOptions(k_shot=1, seed=4)\n"
        "files = split_benchmark(load_benchmark(sys.argv[1]), out, options)\n"
        "print([hashlib.sha256(f.read_bytes()).hexdigest() for f in files.values()])"
    )
    runs = [fresh(code, bench.path.parent, tmp_path / name) for name in ("a", "b")]
    assert runs[0] == runs[1]
    manifests = [(tmp_path / name / "train/manifest.json").read_bytes() for name in ("a", "b")]
    assert manifests[0] == manifests[1]
    other = split_benchmark(bench, tmp_path / "c", SplitOptions(k_shot=1, seed=5))
    assert other["train"].read_bytes() != (tmp_path / "a/train/mmad.json").read_bytes()


def test_a_split_is_made_again_from_its_manifest(bench, tmp_path):
    split(bench, tmp_path / "first", k_shot=1, seed=9, near_bits=7)
    options, hashes, parent = read_split_options(tmp_path / "first/test/manifest.json")
    assert (options.k_shot, options.seed, options.near_bits) == (1, 9, 7)
    assert parent == bench.sha256
    files = split_benchmark(bench, tmp_path / "again", options)
    again = json.loads((tmp_path / "again/train/manifest.json").read_text())
    assert again["sha256"] == hashes and set(files) == {"train", "test"}
    with pytest.raises(InputError, match="expected the manifest of a split"):
        read_split_options(bench.path.parent / "manifest.json")


def test_unknown_keys_and_questions_survive(bench, tmp_path):
    train, test = split(bench, tmp_path / "split")
    questions = {s.image: s.questions for s in bench.samples}
    assert all(questions[s.image] == s.questions for s in (*train.samples, *test.samples))


def fixed_camera(root: Path, normals: int = 12) -> Path:
    """Normals that differ by noise alone, all near one another, and defects that are far apart."""
    rng = np.random.default_rng(5)
    for n in range(normals):
        noise = rng.normal(0, 2, (SIZE, SIZE, 3))
        save(root / f"good/{n}.png", np.clip(picture(1) + noise, 0, 255).astype(np.uint8))
    for n in range(6):
        save(root / f"scratch/{n}.png", picture(100 + n))
    return root


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("k_shot", [None, 2])
def test_photos_of_a_fixed_camera_are_on_both_sides(tmp_path, seed, k_shot):
    source = read_source("folder", fixed_camera(tmp_path / "cam"), {})
    build_benchmark(source, tmp_path / "bench", BuildOptions(reserve=0))
    bench = load_benchmark(tmp_path / "bench")
    sides = split(bench, tmp_path / "split", seed=seed, k_shot=k_shot)
    assert all({s.is_normal for s in side.samples} == {True, False} for side in sides)
    assert all("join too many" in side.manifest["notes"][0] for side in sides)


def test_what_a_side_lacks_at_any_distance_is_named(tmp_path):
    """All normals are one group; and one image of a kind goes to one side, which is no fault."""
    root = parts(tmp_path / "parts", ("nut", "bolt"))
    save(root / "bolt/break/0.png", picture(5000))
    source = read_source("folder", root, {"dataset": "P", "group": "nut/good"})
    build_benchmark(source, tmp_path / "bench")
    _, test = split(load_benchmark(tmp_path / "bench"), tmp_path / "split")
    (lacks,) = test.manifest["notes"]
    assert lacks in (f"{side} has no normal image of P/nut" for side in ("train", "test"))


def recorded(bench, tmp_path):
    """The benchmark with its crack and good images numbered 0 and 1 in test, the rest in train."""
    records = json.loads(bench.path.read_text())
    for key, record in records.items():
        record["split"] = "test" if key.rsplit("/", 1)[1] in ("0.png", "1.png") else "train"
    bench.path.write_text(json.dumps(records))
    return load_benchmark(bench.path.parent)


def test_a_few_shot_set_of_a_recorded_side(bench, tmp_path):
    bench = recorded(bench, tmp_path)
    whole = split(bench, tmp_path / "whole", holdout="recorded")
    train, test = split(bench, tmp_path / "few", holdout="recorded", k_shot=1)
    assert keys(test) == keys(whole[1]) and keys(train) < keys(whole[0])
    for product in ("nut", "bolt", "pin"):
        assert strata(train)[product, "crack"] == strata(train)[product, "dent"] == 1


def test_groups_on_both_recorded_sides_are_named(bench, tmp_path):
    bench = recorded(bench, tmp_path)
    train, _ = split(bench, tmp_path / "s", holdout="recorded", group="(nut)/test/crack")
    assert train.manifest["notes"] == [
        next(n for n in train.manifest["notes"] if "images are in no group: " in n),
        "1 groups are on both recorded sides: nut",
    ]
    with pytest.raises(InputError, match="with --holdout recorded, found --test-fraction"):
        command = ("split", bench.path.parent, "--out", tmp_path / "t", "--holdout", "recorded")
        invoke(app, *command, "--test-fraction", 0.5)


def test_a_split_says_what_is_on_neither_side(tmp_path):
    source = read_source("folder", fixed_camera(tmp_path / "cam"), {})
    build_benchmark(source, tmp_path / "bench", BuildOptions(reserve=0))
    out = tmp_path / "s"
    said = invoke(app, "split", tmp_path / "bench", "--out", out, "--k-shot", 1).output
    dropped = json.loads((out / "train/manifest.json").read_text())["dropped"]
    assert f"{len(dropped)} images are on neither side" in said
    assert said.count("join too many images") == 1


def test_groups_hold_references_too(tmp_path):
    """The left view of a part is a reference, its right view is asked about."""
    for n in range(6):
        save(tmp_path / f"p/train/good/part{n}_left.png", picture(500 + n))
        save(tmp_path / f"p/test/scratch/part{n}_right.png", picture(600 + n))
        save(tmp_path / f"p/test/good/part{n + 10}_right.png", picture(700 + n))
    save(tmp_path / "p/test/good/other.png", picture(800))
    source = read_source("folder", tmp_path / "p", {})
    build_benchmark(source, tmp_path / "bench", BuildOptions(references=6))
    bench = load_benchmark(tmp_path / "bench")
    group = r"(part\d+)_"
    train, test = split(bench, tmp_path / "split", group=group)
    named = [read_grouping(group)(key) for key in keys(test)]
    assert references(train)
    assert not {read_grouping(group)(key) for key in references(train)} & set(named)
    assert any(n.startswith("1 images are in no group: ") for n in train.manifest["notes"])
    found = check_benchmark(bench.path, near_bits=-1, group=group)
    assert ["other.png" in f.message for f in found if f.kind == "group"] == [True]


@pytest.mark.parametrize("options", [{"k_shot": 0}, {"test_fraction": 1.0}, {"holdout": "line"}])
def test_options_are_checked(options):
    with pytest.raises(InputError, match="expected"):
        SplitOptions(**options)


def test_all_files_that_a_split_lacks_are_named_at_once(bench, tmp_path):
    (bench.path.parent / "manifest.json").unlink()  # nothing is on record: every file is opened
    lost = sorted(references(bench))[:2]
    for key in lost:
        (bench.root / key).unlink()
    with pytest.raises(InputError) as refused:
        split(load_benchmark(bench.path.parent), tmp_path / "split", k_shot=1)
    assert all(key in str(refused.value) for key in lost) and "found 2 that" in str(refused.value)
    assert not (tmp_path / "split").exists()

import json
from collections import Counter
from pathlib import Path

import pytest
import source_trees as trees
from commands import fresh
from source_trees import picture, save

from anomalyr1.data.leakage import overlap
from anomalyr1.data.making.builder import build_benchmark
from anomalyr1.data.making.division import SplitOptions
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

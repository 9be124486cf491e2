import json
from pathlib import Path

import pytest
from PIL import Image, ImageOps
from source_trees import picture, save

from anomalyr1.data.leakage import canonical_key, overlap, own_references, training_manifest
from anomalyr1.data.mmad import load_benchmark

QUESTION = {
    "Question": "Is there a defect?",
    "Answer": "B",
    "Options": {"A": "Yes.", "B": "No."},
    "type": "Anomaly Detection",
}


def bench(folder: Path, images: dict[str, Image.Image | bytes], references=()):
    records = {}
    for key, image in images.items():
        path = folder / key
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(image, bytes):
            path.write_bytes(image)
        else:
            image.save(path)
        if key not in references:
            records[key] = {"conversation": [QUESTION], "random_templates": list(references)}
    (folder / "mmad.json").write_text(json.dumps(records))
    return load_benchmark(folder)


def photo(seed: int) -> Image.Image:
    return Image.fromarray(picture(seed, (200, 160)))


def test_exact_near_and_reference_overlap(tmp_path):
    train = bench(
        tmp_path / "train",
        {
            "A/nut/test/good/1.png": photo(1),
            "A/nut/test/good/2.png": photo(2),
            "A/nut/train/good/9.png": photo(9),
        },
        references=["A/nut/train/good/9.png"],
    )
    photo(2).crop((4, 0, 200, 160)).convert("RGB").save(tmp_path / "cropped.jpg", quality=75)
    test = bench(
        tmp_path / "test",
        {
            "B/nut/test/good/same.png": (tmp_path / "train/A/nut/test/good/1.png").read_bytes(),
            "B/nut/test/good/cropped.jpg": (tmp_path / "cropped.jpg").read_bytes(),
            "B/nut/test/good/reference.png": photo(9),
            "B/nut/test/good/new.png": photo(5),
        },
    )
    manifest = training_manifest(train, train.samples, references=1)
    found = {
        o.image.rsplit("/", 1)[1]: (o.seen.rsplit("/", 1)[1], o.kind)
        for o in overlap(manifest, test)
    }
    assert found == {
        "same.png": ("1.png", "exact"),
        "cropped.jpg": ("2.png", "near"),
        "reference.png": ("9.png", "exact"),
    }
    without = training_manifest(train, train.samples, references=0)
    assert "reference.png" not in {o.image.rsplit("/", 1)[1] for o in overlap(without, test)}


@pytest.mark.parametrize(
    ("way", "turn"),
    [
        (ImageOps.mirror, "mirrored"),
        (lambda image: image.rotate(180), "turned by 180 degrees"),
        (lambda image: image, ""),
    ],
)
def test_mirrored_and_turned_copies_are_seen(tmp_path, way, turn):
    train = bench(tmp_path / "train", {"A/nut/test/good/1.png": photo(1)})
    way(photo(1)).save(tmp_path / "copy.jpg", quality=85)
    test = bench(
        tmp_path / "test",
        {"B/nut/test/good/2.jpg": (tmp_path / "copy.jpg").read_bytes(), "B/nut/3.png": photo(5)},
    )
    (found,) = overlap(training_manifest(train, train.samples), test)
    assert (found.image, found.kind, found.turn) == ("B/nut/test/good/2.jpg", "near", turn)
    assert str(found) == f"A/nut/test/good/1.png (near{', ' if turn else ''}{turn})"


def test_the_manifest_survives_json(tmp_path):
    train = bench(tmp_path / "train", {"A/nut/test/good/1.png": photo(1)})
    manifest = json.loads(json.dumps(training_manifest(train, train.samples)))
    assert [o.kind for o in overlap(manifest, train)] == ["exact"]
    assert overlap({}, train) == []


def test_equal_paths_of_other_images_are_no_overlap(tmp_path):
    """Two synthetic benchmarks of different seeds use the same names."""
    first = bench(tmp_path / "a", {"Synthetic/nut/test/good/1.png": photo(1)})
    second = bench(tmp_path / "b", {"Synthetic/nut/test/good/1.png": photo(2)})
    assert overlap(training_manifest(first, first.samples), second) == []


def test_mvtec_by_its_other_name(tmp_path):
    """The same photograph under MMAD's path, even if its pixels were changed beyond recognition."""
    train = bench(tmp_path / "a", {"MVTec-AD/pill/test/crack/003.png": photo(1)})
    test = bench(tmp_path / "b", {"DS-MVTec/pill/image/crack/003.png": photo(2)})
    (found,) = overlap(training_manifest(train, train.samples), test)
    assert (found.kind, found.seen) == ("path", "MVTec-AD/pill/test/crack/003.png")


def test_canonical_keys():
    same = {canonical_key(k) for k in ("MVTec/a/test/x/1.png", "DS-MVTec/a/image/x/1.png")}
    assert same == {"MVTec-AD/a/test/x/1.png"}
    assert canonical_key("VisA/a/image/x/1.png") == "VisA/a/image/x/1.png"
    # templates lie in train/good and are other images than those of test/good
    assert canonical_key("MVTec-AD/a/train/good/1.png") != canonical_key(
        "DS-MVTec/a/image/good/1.png"
    )


def test_a_query_that_is_its_own_reference(tmp_path):
    image = save(tmp_path / "x.png", picture(1)).read_bytes()
    benchmark = bench(
        tmp_path / "a",
        {"A/nut/test/good/1.png": image, "A/nut/train/good/2.png": image},
        references=["A/nut/train/good/2.png"],
    )
    from anomalyr1.data.leakage import fingerprints

    keys = ["A/nut/test/good/1.png", "A/nut/train/good/2.png"]
    (found,) = own_references(benchmark.samples, fingerprints(benchmark, keys))
    assert (found.kind, found.seen) == ("exact", "A/nut/train/good/2.png")

"""A policy that has seen the test images is found out, whatever they are called by now."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from PIL import Image

from anomalyr1.config import PromptConfig
from anomalyr1.data.making.synthetic.drawing import synthesize
from anomalyr1.data.mmad import load_benchmark
from anomalyr1.errors import InputError
from anomalyr1.exposure import refuse_seen, seen_images, write_exposure
from anomalyr1.run_folder import TRAINING_DATA


@pytest.fixture(scope="module")
def sides(tmp_path_factory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("bench") / "b"
    return synthesize(folder, train=6, test=6, seed=3, size=112)


def record(folder: Path, train: Path, started_from: str = "hub/base") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    benchmark = load_benchmark(train)
    write_exposure(folder, started_from, [(benchmark, benchmark.samples)], PromptConfig())


def test_a_clean_split_is_unseen(sides, tmp_path):
    record(tmp_path, sides[0])
    assert seen_images(str(tmp_path), load_benchmark(sides[1])) == {}


def test_training_images_are_seen_and_refused(sides, tmp_path):
    record(tmp_path, sides[0])
    seen = seen_images(str(tmp_path), load_benchmark(sides[0]))
    assert len(seen) == 6
    with pytest.raises(InputError, match=r"6 image\(s\) it has seen.*; take others$"):
        refuse_seen("policy", seen, False, "take others")
    refuse_seen("policy", seen, True, "take others")


def test_what_the_starting_policy_saw_counts(sides, tmp_path):
    record(tmp_path / "first", sides[0])
    record(tmp_path / "second", sides[1], started_from=str(tmp_path / "first"))
    manifests = json.loads((tmp_path / "second" / TRAINING_DATA).read_text())["manifests"]
    assert len(manifests) == 2
    assert len(seen_images(str(tmp_path / "second"), load_benchmark(sides[0]))) == 6


def test_a_re_encoded_copy_under_another_name_is_seen(sides, tmp_path):
    record(tmp_path / "policy", sides[0])
    source = load_benchmark(sides[0])
    sample = next(s for s in source.samples if not s.is_normal)
    root = tmp_path / "other"
    key = "Other/thing/test/scratch/renamed.jpg"
    (root / key).parent.mkdir(parents=True)
    Image.open(sample.path).convert("RGB").save(root / key, quality=80)
    record_json = dict(source.records[sample.image])
    record_json.update(image_path="test/scratch/renamed.jpg", mask_path=None, random_templates=[])
    (root / "mmad.json").write_text(json.dumps({key: record_json}))
    assert list(seen_images(str(tmp_path / "policy"), load_benchmark(root))) == [key]


def test_a_policy_without_a_record_is_not_accused(sides, tmp_path):
    assert seen_images("Qwen/Qwen2.5-VL-3B-Instruct", load_benchmark(sides[1])) == {}
    shutil.rmtree(tmp_path)
    assert seen_images(str(tmp_path), load_benchmark(sides[1])) == {}

"""A threshold is chosen on a benchmark, kept by the policy, and used under its settings alone."""

from __future__ import annotations

import json
from copy import copy
from dataclasses import replace
from pathlib import Path

import pytest
from commands import REPOSITORY
from pictures import noise

from anomalyr1 import Inspector
from anomalyr1.config import PromptConfig
from anomalyr1.data.mmad import load_benchmark
from anomalyr1.errors import InputError
from anomalyr1.exposure import write_exposure
from anomalyr1.inspection.calibration import read_calibration


@pytest.fixture(scope="module")
def policy(tmp_path_factory) -> Path:
    """The policy in a folder that can be written to."""
    folder = tmp_path_factory.mktemp("policy")
    for file in (REPOSITORY / "data/tiny-policy").iterdir():
        (folder / file.name).symlink_to(file)
    return folder


def load(policy: Path, **more) -> Inspector:
    options = {"segmenter": None, "locate": False, "weigh": "at_once", **more}
    return Inspector.from_pretrained(policy, **options)


@pytest.fixture(scope="module")
def chosen(policy, toy_benchmark):
    inspector = load(policy)
    seen = []
    point = inspector.calibrate(
        toy_benchmark, overkill=0.25, references=1, on_image=lambda *done: seen.append(done)
    )
    assert seen[-1] == (8, 8)
    return inspector, point


def test_it_is_kept_with_its_interval_and_its_settings(chosen, policy, toy_benchmark):
    inspector, point = chosen
    assert inspector.threshold == point.threshold
    assert point.overkill <= 0.25 and (point.normal, point.anomalous) == (4, 4)
    kept = json.loads((policy / "threshold.json").read_text())
    assert kept["threshold"] == point.threshold
    assert kept["threshold_interval"] == list(point.threshold_interval)
    assert kept["wanted"] == {"overkill": 0.25, "miss": None}
    assert len(kept["benchmark"]["sha256"]) == len(kept["settings"]["weights"]) == 64
    assert kept["settings"]["references"] == 1 and kept["settings"]["weigh"] == "at_once"


def test_it_decides_as_it_did_on_the_benchmark(chosen, policy, toy_benchmark):
    """By the saved file, image by image through `inspect`: the same alarms."""
    _, point = chosen
    inspector = load(policy)
    assert inspector.threshold == point.threshold
    alarms = {True: [], False: []}
    for image in sorted(toy_benchmark.glob("Toy/tile/test/*/*.png")):
        found = inspector.inspect(image, [toy_benchmark / "Toy/tile/train/good/000.png"])
        assert found.decided_by == "threshold" and found.threshold == point.threshold
        alarms[image.parent.name == "good"].append(found.verdict == "anomalous")
    assert sum(alarms[True]) / 4 == point.overkill
    assert 1 - sum(alarms[False]) / 4 == point.miss


@pytest.mark.parametrize(
    ("setting", "named"),
    [
        ({"max_pixels": 6272}, "pixels"),
        ({"weigh": "reasoning"}, "weigh"),
        ({"template": "inspect"}, "template"),
        ({"attention": "eager"}, "attention"),
        ({"dtype": "bfloat16"}, "dtype"),
    ],
)
def test_other_settings_are_refused_by_name(chosen, policy, setting, named):
    with pytest.raises(InputError, match=rf"others: (max_new_tokens .*)?{named} \("):
        load(policy, **setting)
    assert load(policy, **setting, threshold=None).threshold is None


def test_another_question_or_other_references_are_refused(chosen, policy):
    inspector = load(policy)
    with pytest.raises(InputError, match=r"references \(1 and 0\)"):
        inspector.inspect(noise(0))
    with pytest.raises(InputError, match=r"question_sha256 .*knowledge \(no and yes\)"):
        inspector.inspect(noise(0), [noise(1)], "Is it scratched?", knowledge="It is shiny.")
    inspector.threshold = 0.5  # one's own is used under any
    assert inspector.inspect(noise(0)).threshold == 0.5


def test_a_threshold_is_a_number_a_file_saved_or_none(chosen, policy):
    _, point = chosen
    file = policy / "threshold.json"
    for given in ("saved", file, str(file)):
        assert load(policy, threshold=given).threshold == point.threshold
    for given in (0.25, "0.25"):
        assert load(policy, threshold=given).threshold == 0.25
    assert load(policy, threshold="none").threshold is None
    for given in (f"{file}.gone", "high"):
        with pytest.raises(InputError, match=f"saved or none, found '{given}'"):
            load(policy, threshold=given)


def test_what_cannot_be_used_is_said_before_the_work(inspector, toy_benchmark, tmp_path):
    other = copy(inspector)
    with pytest.raises(InputError, match="wanted overkill"):
        other.calibrate(toy_benchmark, save=False)
    with pytest.raises(InputError, match="2 reference"):
        other.calibrate(toy_benchmark, miss=0.1, references=2, save=False)
    seen = tmp_path / "seen"  # a policy that the record says was trained on these images
    seen.mkdir()
    read = load_benchmark(toy_benchmark)
    write_exposure(seen, "hub/base", [(read, read.samples)], PromptConfig(references=0))
    other.config = replace(other.config, path=str(seen))
    with pytest.raises(InputError, match=r"calibrate on a held-out .*calibrate --allow-seen"):
        other.calibrate(toy_benchmark, miss=0.1, save=False)
    broken = tmp_path / "threshold.json"
    broken.write_text('{"threshold": 3, "settings": {}}')
    with pytest.raises(InputError, match="another form"):
        read_calibration(broken)
    for wrong in (1.5, "half", True):
        with pytest.raises(InputError, match="threshold from 0 to 1"):
            other.threshold = wrong

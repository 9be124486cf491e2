"""`anomalyr1 calibrate` as a person types it, and `predict` by what it has written."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from commands import REPOSITORY, run_here

from anomalyr1.errors import InputError
from anomalyr1.inspection.calibration import place_of_threshold

TINY = REPOSITORY / "data/tiny-policy"
ASKED = ["--weigh", "at_once", "--max-new-tokens", "96"]


@pytest.fixture(scope="module")
def policy(tmp_path_factory) -> Path:
    """The policy in a folder that can be written to."""
    folder = tmp_path_factory.mktemp("calibrated")
    for file in TINY.iterdir():
        (folder / file.name).symlink_to(file)
    return folder


@pytest.fixture(scope="module")
def said(policy, toy_benchmark) -> str:
    return run_here("calibrate", toy_benchmark, "--policy", policy, "--overkill", "0.25", *ASKED)


def test_one_table_says_what_was_chosen(said, policy):
    kept = json.loads((policy / "threshold.json").read_text())
    shown = [line.split() for line in said.splitlines()]
    [threshold] = [words for words in shown if words[:1] == ["threshold"]]
    [overkill] = [words for words in shown if words[:1] == ["overkill"]]
    low, high = kept["threshold_interval"]
    assert threshold[1:] == [f"{kept['threshold']:.4g}", f"{low:.4g}", "to", f"{high:.4g}"]
    assert overkill[1:4] == ["25", "%", f"{100 * kept['overkill']:.4g}"]
    assert overkill[-2:] == ["4", "normal"] and f"threshold: {policy}/threshold.json" in said


def test_predict_decides_by_it_under_its_settings_alone(said, policy, toy_benchmark):
    image = toy_benchmark / "Toy/tile/test/spot/001.png"
    asked = ["predict", image, "--segmenter", "none", "--json", "--policy", policy]
    row = json.loads(run_here(*asked, *ASKED).splitlines()[-1])
    kept = json.loads((policy / "threshold.json").read_text())
    assert row["decided_by"] == "threshold" and row["threshold"] == kept["threshold"]
    assert "calibrate again" in run_here(*asked, "--weigh", "reasoning", status=2)


def test_it_may_be_kept_elsewhere(toy_benchmark, tmp_path):
    file = tmp_path / "made" / "mine.json"
    typed = ["--policy", TINY, "--limit", "4", *ASKED]
    run_here("calibrate", toy_benchmark, "--miss", "0", "--out", file, *typed)
    assert json.loads(file.read_text())["miss"] == 0
    assert [path.name for path in file.parent.iterdir()] == ["mine.json"]
    image = toy_benchmark / "Toy/tile/test/spot/001.png"
    asked = ["predict", image, "--segmenter", "none", "--json", "--policy", TINY, *ASKED]
    row = json.loads(run_here(*asked, "--threshold", file).splitlines()[-1])
    assert row["threshold"] == json.loads(file.read_text())["threshold"]


@pytest.mark.parametrize(
    ("typed", "named"),
    [
        ([], "overkill=None, miss=None"),
        (["--overkill", "0.1", "--miss", "0.1"], "give one of them"),
        (["--overkill", "1"], "from 0 to below 1"),
        (["--overkill", "0.1", "--out", REPOSITORY], "Is a directory"),
        (["--overkill", "0.1", "--policy", "Qwen/Qwen2.5-VL-3B-Instruct"], "calibrate --out FILE"),
    ],
)
def test_a_mistake_is_one_line_before_any_work(toy_benchmark, typed, named):
    text = run_here("calibrate", toy_benchmark, "--policy", TINY, *typed, status=2)
    assert named in text and len(text.splitlines()) == 1


def test_a_folder_that_nothing_can_be_written_to_is_told(tmp_path):
    places = [Path("/proc/self")]  # not even by root
    if os.geteuid() != 0:
        tmp_path.chmod(0o500)
        places.append(tmp_path)
    for place in places:
        with pytest.raises(InputError, match=f"make {place} writable, or save it to a file"):
            place_of_threshold(place)
        with pytest.raises(InputError, match=f"make {place} writable"):
            place_of_threshold(TINY, place / "new" / "threshold.json")
    tmp_path.chmod(0o700)
    assert list(tmp_path.iterdir()) == []

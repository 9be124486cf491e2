"""Two runs on one folder: the second is refused while the first lives, by every verb that stays.

`score` and `report` write single files, whole, and need no such rule.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from commands import run_here

from anomalyr1.output_folder import new_folder
from anomalyr1.run_lock import run_lock


@pytest.mark.parametrize("name", ["predict --watch", "eval", "sft", "train", "ablate"])
def test_a_second_run_is_refused_and_changes_nothing(verbs, name, tmp_path):
    out = tmp_path / "out"
    with run_lock(out):
        said = run_here(*verbs[name].arguments(tmp_path, out), status=2)
        assert "expected no other run at work in" in " ".join(said.split())
        assert [entry.name for entry in out.iterdir()] == ["run.lock"]
    assert list(out.iterdir()) == []


@pytest.mark.parametrize("name", ["data build", "data build --tile"])
def test_a_second_command_is_refused_a_folder_that_is_being_written(verbs, name, tmp_path):
    out = tmp_path / "out"
    with new_folder(out):
        said = run_here(*verbs[name].arguments(tmp_path, out), status=2)
        assert "expected no other command to write into" in " ".join(said.split())


@pytest.mark.parametrize("words", [["synth", "--train", 1, "--test", 1], ["split"], ["export"]])
def test_so_do_the_other_verbs_that_make_a_folder(words, toy_benchmark, tmp_path):
    out, verb = tmp_path / "out", words[0]
    given: list[Path | str] = [] if verb == "synth" else [toy_benchmark]
    more = ["--format", "coco"] if verb == "export" else []
    with new_folder(out):
        said = run_here("data", *words, *given, *more, "--out", out, status=2)
    assert "found one at work" in " ".join(said.split())
    shutil.rmtree(out, ignore_errors=True)

"""A full disk and a folder that may not be written: old results stay whole, and one line says so.

`pytest -m slow tests/reliability/test_full_disks.py` has the verbs with a policy.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from disks import bound_by_modes, fail_for_room, one_line, small_disk
from killing import Verb, forking, left_in
from made_runs import left

NO_ROOM = "No space left on device"


def scored(folder: Path) -> Path:
    """A run folder with predictions, as an evaluation leaves them before they are scored."""
    left(folder, 6)
    return folder


@pytest.fixture(scope="module")
def light(verbs) -> dict[str, Verb]:
    """The verbs that need no policy."""
    return {
        "data build": verbs["data build"],
        "score": Verb(
            lambda given, out: ["score", out / "predictions.jsonl"], False, lambda out: left(out, 6)
        ),
        "report": Verb(
            lambda given, out: ["report", out, "--out", out / "report.html"],
            False,
            lambda out: left(out, 6),
        ),
    }


HEAVY = ("predict --watch", "eval", "sft", "train")


@pytest.mark.parametrize("name", ["data build", "score", "report"])
def test_a_full_disk(light, name, tmp_path):
    disk = tmp_path / "disk"
    with forking(tmp_path, False, small_disk(disk, 8)) as process:
        said = fail_for_room(process, light[name], tmp_path, disk, (0.0, 0.5))
    assert len(said) >= 1 and all(NO_ROOM in line for line in said), said


@pytest.mark.slow
@pytest.mark.parametrize("name", HEAVY)
def test_a_disk_that_fills_up(verbs, name, tmp_path):
    disk, shares = tmp_path / "disk", (0.0, 0.05, 0.2, 0.4, 0.6, 0.8, 0.95)
    with forking(tmp_path, True, small_disk(disk, 64)) as process:
        said = fail_for_room(process, verbs[name], tmp_path, disk, shares)
    print("\n".join(said))
    assert len(said) >= 3


@pytest.mark.parametrize("name", ["data build", "score", "report"])
def test_a_folder_that_may_not_be_written(light, name, tmp_path):
    refused(light[name], tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", HEAVY)
def test_a_run_folder_that_may_not_be_written(verbs, name, tmp_path):
    refused(verbs[name], tmp_path)


def refused(verb: Verb, folder: Path) -> None:
    out = folder / "closed" / "out"
    out.parent.mkdir()
    with forking(folder, verb.torch, bound_by_modes()) as process:

        def run(name: str) -> int:
            argv = verb.arguments(folder / "given", out)
            return process.run(argv, out, folder / f"{name}.log")["status"]

        verb.prepare(out)
        closed = [path for path in (out.parent, out) if path.exists()]
        old = left_in(out) if out.exists() else {}
        for path in closed:
            path.chmod(0o555)
        try:
            assert run("refused") == 2
        finally:
            for path in closed:
                path.chmod(0o755)
        assert "Permission denied" in one_line(folder / "refused.log")
        assert (left_in(out) if out.exists() else {}) == old
        assert run("allowed") == 0
    shutil.rmtree(folder)

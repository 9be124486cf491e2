"""A full disk and a folder that may not be written: old results stay whole, and one line says so.

`pytest -m slow tests/reliability/test_full_disks.py` has the verbs with a policy.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from disks import bound_by_modes, fail_for_room, one_line, small_disk
from killing import Verb, Verbs, forking, left_in
from made_runs import left


@pytest.fixture(scope="module")
def light(verbs) -> dict[str, Verb]:
    """The verbs that need no policy."""
    return {
        "data build": verbs["data build"],
        "mask": verbs["mask"],
        "score": Verb(
            lambda given, out: ["score", out / "predictions.jsonl"], False, lambda out: left(out, 6)
        ),
        "report": Verb(
            lambda given, out: ["report", out, "--out", out / "report.html"],
            False,
            lambda out: left(out, 6),
        ),
    }


LIGHT = ("data build", "mask", "score", "report")
HEAVY = ("predict --watch", "eval", "sft", "train")


@pytest.fixture(scope="module")
def starved(tmp_path_factory) -> Iterator[tuple[Verbs, Path]]:
    """A process that forks verbs without torch, and its small disk."""
    folder = tmp_path_factory.mktemp("starved")
    with forking(folder, False, small_disk(folder / "disk", 8)) as process:
        yield process, folder / "disk"


@pytest.fixture(scope="module")
def bound(tmp_path_factory) -> Iterator[Verbs]:
    """One that may not write where a folder's mode says so."""
    with forking(tmp_path_factory.mktemp("bound"), False, bound_by_modes()) as process:
        yield process


@pytest.mark.parametrize("name", LIGHT)
def test_a_full_disk(light, starved, name, tmp_path):
    said = fail_for_room(starved[0], light[name], tmp_path, starved[1], (0.5,))
    assert len(said) >= 1 and all("No space left on device" in line for line in said), said


@pytest.mark.slow
@pytest.mark.parametrize("name", HEAVY)
def test_a_disk_that_fills_up(verbs, name, tmp_path):
    disk, shares = tmp_path / "disk", (0.0, 0.05, 0.2, 0.4, 0.6, 0.8, 0.95)
    with forking(tmp_path, True, small_disk(disk, 64)) as process:
        said = fail_for_room(process, verbs[name], tmp_path, disk, shares)
    print("\n".join(said))
    assert len(said) >= 3


@pytest.mark.parametrize("name", LIGHT)
def test_a_folder_that_may_not_be_written(light, bound, name, tmp_path):
    refused(bound, light[name], tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", HEAVY)
def test_a_run_folder_that_may_not_be_written(verbs, name, tmp_path):
    with forking(tmp_path, True, bound_by_modes()) as process:
        refused(process, verbs[name], tmp_path)


def refused(process: Verbs, verb: Verb, folder: Path) -> None:
    """Run a verb where its folder is closed, and again where it is open."""
    out = folder / "closed" / "out"
    out.parent.mkdir()

    def run(name: str) -> int:
        argv = verb.arguments(folder / "given", out)
        return process.run(argv, out, folder / f"{name}.log")["status"]

    verb.prepare(out)
    closed = [path for path in (out.parent, out) if path.exists()]
    old = left_in(out) if out.exists() else {}
    for path in closed:
        path.chmod(0o555)
    try:
        assert run("refused") == 2, (folder / "refused.log").read_text()[-3000:]
    finally:
        for path in closed:
            path.chmod(0o755)
    assert "Permission denied" in one_line(folder / "refused.log")
    assert (left_in(out) if out.exists() else {}) == old
    assert run("allowed") == 0, (folder / "allowed.log").read_text()[-3000:]

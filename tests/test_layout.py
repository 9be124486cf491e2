"""The tests stand where the code that they test stands, and bring what they cannot carry."""

from __future__ import annotations

import sys
from collections import Counter

from commands import REPOSITORY, completed

TESTS = REPOSITORY / "tests"
# Not of one room: the whole command line, what is hostile to it, and programs that tests start in
# several processes.
ELSEWHERE = {"integration", "launched", "reliability"}


def test_every_folder_of_tests_is_one_of_the_package():
    folders = {path.parent.relative_to(TESTS) for path in TESTS.rglob("*.py")}
    rooms = {path.parent.relative_to(REPOSITORY) for path in REPOSITORY.glob("anomalyr1/**/*.py")}
    mirrored = {room.relative_to("anomalyr1") for room in rooms}
    assert folders - mirrored == {TESTS.joinpath(name).relative_to(TESTS) for name in ELSEWHERE}


def test_every_room_has_tests():
    rooms = {path.name for path in (REPOSITORY / "anomalyr1").iterdir() if path.is_dir()}
    tested = {path.parent.relative_to(TESTS).parts[0] for path in TESTS.glob("*/**/test_*.py")}
    assert rooms - {"__pycache__"} <= tested


def test_no_file_name_of_tests_is_there_twice():
    """Helpers are imported by their name alone, and so does pytest import the tests."""
    names = Counter(path.name for path in TESTS.rglob("*.py") if path.name != "conftest.py")
    assert [name for name, count in names.items() if count > 1] == []
    launched = {path.name for path in (TESTS / "launched").glob("*.py")}
    assert launched and not [name for name in launched if name.startswith("test_")]


PYTEST = [sys.executable, "-m", "pytest"]
REAL = "tests/data/test_domain_knowledge.py::test_the_real_file"


def test_without_the_real_data_a_test_says_how_to_bring_it(tmp_path):
    quiet = ["-p", "no:cacheprovider", "-rs"]
    said = completed([*PYTEST, *quiet, REAL, "--real-data", str(tmp_path)]).stdout
    said = said.replace("\n", " ")
    assert f"needs {tmp_path}/mmad" in said and "pytest --real-data=DIR" in said
    assert "github.com/jam-cc/MMAD" in said


def test_the_option_is_known_where_no_tests_are_named(tmp_path):
    assert "-c pyproject.toml" in (REPOSITORY / "scripts" / "test.sh").read_text()
    for option in (["-c", "pyproject.toml", "--real-data", tmp_path], [f"--real-data={tmp_path}"]):
        assert "slow" in completed([*PYTEST, *map(str, option), "--markers"]).stdout


def test_real_data_that_is_not_there_is_one_line(tmp_path):
    done = completed([*PYTEST, REAL, "--real-data", str(tmp_path / "none")], status=4)
    assert "--real-data: expected a folder with DeepPCB, magnetic_tile, mmad" in done.stderr

"""What the page keeps for a while goes when it ends, and what a killed one left with the next."""

from __future__ import annotations

import os
import signal
import tempfile
import time
from pathlib import Path

import pytest

from anomalyr1.demo.temporary_folder import PREFIX, temporary_folder


@pytest.fixture
def beside(tmp_path, monkeypatch) -> Path:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def page(then) -> int:
    """Another process with a page, an upload and a picture of a library; its number."""
    child = os.fork()
    if child == 0:
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        try:
            with temporary_folder() as folder:
                (folder / "upload.png").write_bytes(b"x")
                tempfile.mkdtemp()
                then()
        finally:
            os._exit(0)
    return child


def names(folder: Path) -> set[str]:
    return {entry.name for entry in folder.iterdir()}


def test_all_temporary_files_of_the_process_are_in_it_and_go_with_it(beside):
    with temporary_folder() as folder:
        assert Path(tempfile.mkdtemp()).parent == folder and folder.parent == beside
    assert list(beside.iterdir()) == [] and tempfile.gettempdir() == str(beside)


def test_a_page_that_is_asked_to_end_leaves_nothing(beside):
    child = page(lambda: time.sleep(60))
    while not list(beside.glob("*/upload.png")):
        time.sleep(0.01)
    os.kill(child, signal.SIGTERM)
    os.waitpid(child, 0)
    assert list(beside.iterdir()) == []


def test_what_a_killed_page_left_goes_and_what_a_living_one_uses_stays(beside):
    os.waitpid(page(lambda: os._exit(9)), 0)
    left = names(beside)
    assert len(left) == 1
    (beside / f"{PREFIX}link").symlink_to(beside)
    (beside / "another-program").mkdir()
    with temporary_folder() as living:
        assert names(beside) == {living.name, f"{PREFIX}link", "another-program"}
        with temporary_folder() as second:
            assert living.exists() and second.parent == living
        monkey = tempfile.tempdir
        tempfile.tempdir = str(beside)
        with temporary_folder():
            assert living.exists()
        tempfile.tempdir = monkey
    assert names(beside) == {f"{PREFIX}link", "another-program"}

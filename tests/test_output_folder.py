"""A folder is written whole or not at all, by one command at a time, however that one ends."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from anomalyr1.errors import InputError
from anomalyr1.file_lock import take
from anomalyr1.output_folder import UNFINISHED, new_folder, require_new


def killed_in(out: Path) -> None:
    """Another process that writes half of a folder and is gone without a last word."""
    child = os.fork()
    if child == 0:
        with new_folder(out):
            (out / "deep").mkdir()
            (out / "deep" / "half").write_text("x")
            os._exit(9)
    os.waitpid(child, 0)


def test_what_is_done_inside_is_whole_or_absent(tmp_path):
    out = tmp_path / "a" / "b"
    with pytest.raises(KeyboardInterrupt), new_folder(out):
        (out / "file").write_text("x")
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []
    with new_folder(out) as folder:
        (folder / "file").write_text("x")
    assert [entry.name for entry in out.iterdir()] == ["file"]
    with pytest.raises(InputError, match="empty or new, found files in it"):
        require_new(out)


def test_what_a_killed_command_left_is_taken_away_by_the_next(tmp_path, capsys):
    out = tmp_path / "out"
    killed_in(out)
    assert {entry.name for entry in out.iterdir()} == {UNFINISHED, "deep"}
    require_new(out)
    with new_folder(out):
        assert [entry.name for entry in out.iterdir()] == [UNFINISHED]
        (out / "whole").write_text("x")
    assert [entry.name for entry in out.iterdir()] == ["whole"]
    assert "what a killed command had left of it is taken away" in capsys.readouterr().out


def test_a_folder_of_ones_own_stays_when_the_work_fails(tmp_path):
    """A mount point, for instance, which could not be taken away."""
    killed_in(tmp_path)
    with pytest.raises(InputError, match="mend it"), new_folder(tmp_path):
        raise InputError("mend it")
    assert list(tmp_path.iterdir()) == []


def test_a_second_command_is_refused_while_the_first_writes(tmp_path):
    out = tmp_path / "out"
    with new_folder(out):
        (out / "mine").write_text("x")
        for refuse in (require_new, lambda folder: new_folder(folder).__enter__()):
            with pytest.raises(InputError, match="found one at work; wait for its end"):
                refuse(out)
        assert (out / "mine").read_text() == "x"
    assert [entry.name for entry in out.iterdir()] == ["mine"]


def test_what_another_finished_meanwhile_is_not_taken_away(tmp_path, monkeypatch):
    """It was empty when it was looked at first, and full when it was taken."""
    out = tmp_path / "out"
    out.mkdir()

    def late(path: Path):
        (out / "finished").write_text("x")
        return take(path)

    monkeypatch.setattr("anomalyr1.output_folder.take", late)
    with pytest.raises(InputError, match="found files in it"), new_folder(out):
        pass
    assert [entry.name for entry in out.iterdir()] == ["finished"]

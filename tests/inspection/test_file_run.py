"""Many files: what stands for an image, what is kept of it, and a folder that is watched."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest
from pictures import noise
from PIL import Image

from anomalyr1.errors import InputError
from anomalyr1.inspection import file_run
from anomalyr1.inspection.file_run import FileRun
from anomalyr1.inspection.inputs import find_images
from anomalyr1.inspection.ledger import Ledger, file_id


def save(path: Path, seed: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    noise(seed, 64, 56).save(path)
    return path


@pytest.fixture
def parts(tmp_path) -> Path:
    folder = tmp_path / "parts"
    for number, name in enumerate(("b.png", "a.png", "below/c.jpg", ".hidden.png")):
        save(folder / name, number)
    (folder / "broken.png").write_bytes(b"\x89PNG")
    (folder / "notes.txt").write_text("none")
    return folder


def names(found, folder):
    return [str(path.relative_to(folder)) for path in found]


def test_files_folders_and_patterns_stand_for_images(parts, tmp_path):
    every = ["a.png", "b.png", "below/c.jpg", "broken.png"]
    assert names(find_images([str(parts)]), parts) == every
    assert names(find_images([f"{parts}/[ab].*", f"{parts}/a.png"]), parts) == every[:2]
    assert names(find_images([f"{parts}/**/*"]), parts) == every
    assert names(find_images([str(parts / "notes.txt")]), parts) == ["notes.txt"]  # as told
    assert names(find_images([str(parts)], parts / "below"), parts) == [*every[:2], every[3]]
    save(tmp_path / "elsewhere.png")
    (parts / "link.png").symlink_to(tmp_path / "elsewhere.png")
    (parts / "alias.png").symlink_to(parts / "a.png")
    assert names(find_images([str(parts)]), parts) == [every[0], "alias.png", *every[1:]]
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(InputError, match=r"none at nowhere, .*empty, \*\.bmp"):
        find_images(["nowhere", str(parts), str(empty), "*.bmp"])
    with pytest.raises(InputError, match="none at"):
        find_images(["x" * 5000])


def inspected(inspector, folder, ledger):
    files = [(file_id(path), path) for path in find_images([str(folder)], ledger.out)]
    return list(FileRun(inspector).inspect(files, ledger))


def test_results_are_kept_and_gone_on_from(inspector, parts, tmp_path):
    settings, out = FileRun(inspector).settings(), tmp_path / "out"
    rows = inspected(inspector, parts, Ledger(out, settings))
    assert [Path(row["image"]).name for row in rows if "error" in row] == ["broken.png"]
    assert len(rows) == 4
    for row in rows:
        if "error" not in row:
            with Image.open(out / row["overlay"]) as overlay:
                assert overlay.size == tuple(row["size"]) == (64, 56)
    lines = (out / "inspections.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == rows
    # A torn last line is asked again; what is whole is not, unless the file was written anew.
    (out / "inspections.jsonl").write_text("\n".join(lines[:-1]) + "\n" + lines[-1][:30])
    os.utime(parts / "a.png", ns=(1, 1))
    again = inspected(inspector, parts, Ledger(out, settings))
    redone = {Path(row["image"]).name for row in again}
    assert redone == {"a.png", Path(rows[-1]["image"]).name}
    assert inspected(inspector, parts, Ledger(out, settings)) == []
    other = FileRun(inspector, question="Is it scratched?").settings()
    with pytest.raises(InputError, match=r"question_sha256 .* choose another folder"):
        Ledger(out, other)


def test_a_name_in_the_results_is_no_path_and_no_other_file(inspector, tmp_path):
    ledger = Ledger(tmp_path / "out", {})
    found = inspector.inspect(noise(0, 64, 56))
    identities = [(f"/x/{'..' * 3}a\n\x1b[2J/é .png", 1, 1), ("/y/..png", 1, 1), ("/y/..png", 1, 2)]
    rows = [ledger.add(identity, found) for identity in identities]
    pictures = sorted((tmp_path / "out" / "overlays").iterdir())
    assert len(pictures) == 3 == len({row["overlay"] for row in rows})
    assert all(path.name.isprintable() and path.name[0] != "." for path in pictures)
    with pytest.raises(InputError, match=r"line 1 of inspections\.jsonl"):
        (tmp_path / "out" / "inspections.jsonl").write_text('{"file": "a"}\n')
        Ledger(tmp_path / "out", {})


def test_a_long_watch_keeps_and_asks_little(inspector, tmp_path, monkeypatch):
    ledger = Ledger(tmp_path / "out", {})
    path = save(tmp_path / "in/a.png")
    row = ledger.add(file_id(path), inspector.inspect(path))
    assert sys.getrefcount(row) == 2  # of this name and of the call
    again = Ledger(tmp_path / "out", {})
    assert again.done == {file_id(path)} and not again.before
    assert list(Ledger(tmp_path / "out", {}, again.done).before.values()) == [row]
    new, resolved, resolve = save(tmp_path / "in/b.png"), [], Path.resolve
    with monkeypatch.context() as patched:
        patched.setattr(Path, "resolve", lambda path: resolved.append(path) or resolve(path))
        present = file_run._present(tmp_path / "in", again)
    assert present == [(file_id(new), new)]
    assert resolved == [tmp_path / "in", new]  # links are followed for what is new alone


class Clock:
    """Time that passes only while the watch sleeps, and brings what is due."""

    def __init__(self, *deliveries) -> None:
        self.now, self.deliveries = 0.0, list(deliveries)

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        if self.deliveries:
            self.deliveries.pop(0)()


def test_a_watched_folder_is_inspected_as_it_fills(inspector, parts, tmp_path, monkeypatch):
    """A file is waited for until it is whole; after a restart none is inspected twice."""
    run, out = FileRun(inspector), tmp_path / "out"
    whole = save(tmp_path / "whole.png", 7).read_bytes()
    late = parts / "late.png"

    def write(end):
        return lambda: late.write_bytes(whole[:end])

    def watch(*deliveries):
        clock = Clock(*deliveries)
        monkeypatch.setattr(file_run, "time", clock)
        rows = list(run.watch(parts, Ledger(out, run.settings()), interval=1.0, idle=3.0))
        return {Path(row["image"]).name: row.get("error") for row in rows}, len(rows), clock.now

    nothing = lambda: None  # noqa: E731
    # It grows, stops for two looks as networks do, and is whole.
    told, count, seconds = watch(write(99), write(999), nothing, nothing, write(None))
    assert count == 5 and late.read_bytes() == whole
    assert sorted(told) == ["a.png", "b.png", "broken.png", "c.jpg", "late.png"]
    assert [name for name, error in told.items() if error] == ["broken.png"]
    assert seconds > file_run.PATIENCE  # that it is broken was not said at once
    assert watch() == ({}, 0, 3.0)
    told, count, _ = watch(lambda: save(parts / "new.png", 9))
    assert (list(told), count) == (["new.png"], 1)
    # What stays torn is told in the end; made whole, it is another file.
    told, _, _ = watch(lambda: (parts / "torn.png").write_bytes(whole[:99]))
    assert "does not decode" in told["torn.png"]
    told, _, _ = watch(lambda: (parts / "torn.png").write_bytes(whole))
    assert told == {"torn.png": None}

"""A disk of a few bytes, and folders that nobody may write to, for verbs that a process forks."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from killing import Verb, Verbs, differences, left_in

_FILLER = ".filler"


def small_disk(at: Path, megabytes: int) -> list[str]:
    """What a command stands behind that is to see a small disk at a folder; nobody else does."""
    unshare = ["unshare", "-m" if os.geteuid() == 0 else "-Urm"]
    mount = f'mount -t tmpfs -o size={megabytes}m none "$0" && exec "$@"'
    at.mkdir(parents=True, exist_ok=True)
    before = [*unshare, "sh", "-c", mount, str(at)]
    _skip_unless(before, "needs mount namespaces, to have a disk of its own")
    return before


def bound_by_modes() -> list[str]:
    """The same for a command that no folder's mode may be overridden by: root overrides them."""
    if os.geteuid() != 0:
        return []
    before = ["setpriv", "--bounding-set", "-dac_override", "--inh-caps", "-dac_override"]
    _skip_unless(before, "needs setpriv, because root may write everywhere")
    return before


def _skip_unless(before: list[str], why: str) -> None:
    if (
        not shutil.which(before[0])
        or subprocess.run([*before, "true"], capture_output=True).returncode
    ):
        pytest.skip(why)


def used(disk: Path) -> int:
    """Bytes taken on the disk at a path."""
    stat = os.statvfs(disk)
    return (stat.f_blocks - stat.f_bfree) * stat.f_frsize


def fill(disk: Path, free: int) -> None:
    """Leave so many bytes on a disk; none leaves not one block."""
    stat = os.statvfs(disk)
    with (disk / _FILLER).open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, max(1, stat.f_bavail * stat.f_frsize - free))


def empty(disk: Path) -> None:
    """Make room again."""
    (disk / _FILLER).unlink(missing_ok=True)


def one_line(log: Path) -> str:
    """What a verb said of its failure: one line behind `error:`, and no traceback."""
    said = log.read_text()
    assert "Traceback" not in said, said[-3000:]
    [line] = [line for line in said.splitlines() if line.startswith("error: ")]
    assert said.endswith(f"{line}\n"), said[-3000:]
    return line.removeprefix("error: ")


def whole(folder: Path) -> None:
    """Nothing below a folder is half-written."""
    for path in folder.rglob("*") if folder.exists() else ():
        assert not path.name.endswith(".tmp"), path
        if path.suffix == ".jsonl":
            text = path.read_text()
            assert not text or text.endswith("\n"), path
            [json.loads(line) for line in text.splitlines()]
        elif path.suffix == ".json":
            json.loads(path.read_text())
        elif path.suffix in (".safetensors", ".html", ".png", ".csv"):
            assert path.stat().st_size > 0, path


def fail_for_room(
    verbs: Verbs, verb: Verb, folder: Path, disk: Path, shares: tuple[float, ...]
) -> list[str]:
    """Run a verb where there is room for a share of what it writes, then again with room for all.

    Args:
        verbs: that see a small disk at `disk`.
        verb: writes below `disk / "out"`.
        folder: for logs.
        disk: the small one.
        shares: of the room that the verb needs.

    Returns:
        The line that each said which found no room.
    """
    seen, out = verbs.seen(disk), disk / "out"

    def run(log: str) -> int:
        argv = verb.arguments(folder / "given", out)
        return verbs.run(argv, out, folder / f"{log}.log")["status"]

    verb.prepare(seen / "out")
    before = used(seen)
    assert run("whole") == 0, (folder / "whole.log").read_text()[-3000:]
    expected, needed, lines = left_in(seen / "out"), used(seen) - before, []
    for share in shares:
        shutil.rmtree(seen / "out", ignore_errors=True)
        verb.prepare(seen / "out")
        old = left_in(seen / "out") if (seen / "out").exists() else {}
        fill(seen, int(share * needed))
        status = run(f"full-{share}")
        if status != 0:  # where files are written anew, less may do
            assert status == 2, (share, (folder / f"full-{share}.log").read_text()[-3000:])
            lines.append(one_line(folder / f"full-{share}.log"))
        whole(seen / "out")
        found = left_in(seen / "out") if (seen / "out").exists() else {}
        assert {name: found.get(name) for name in old} == old, share
        empty(seen)
        assert run(f"again-{share}") == 0, (folder / f"again-{share}.log").read_text()[-3000:]
        unlike = differences(expected, left_in(seen / "out"))
        assert not unlike, (share, unlike)
    shutil.rmtree(seen / "out")
    return lines

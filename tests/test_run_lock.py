"""Two runs on one folder: the second is refused while the first lives, and only then."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import socket
import subprocess
import sys

import pytest

from anomalyr1.errors import InputError
from anomalyr1.run_lock import run_lock

HOLD = """
import sys, time
from pathlib import Path
from anomalyr1.errors import InputError
from anomalyr1.run_lock import run_lock
try:
    with run_lock(Path(sys.argv[1])):
        print("held", flush=True)
        sys.stdin.readline()
except InputError as error:
    print(error, flush=True)
"""


@pytest.fixture
def holder(tmp_path):
    """Another process that holds the lock of `tmp_path / "run"`."""
    with started(tmp_path / "run") as process:
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def started(folder) -> subprocess.Popen:
    pipe = subprocess.PIPE
    return subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder)], stdin=pipe, stdout=pipe, text=True
    )


def test_a_second_run_is_refused_while_the_first_lives(tmp_path, holder):
    said = rf"found process {holder.pid} on {socket.gethostname()}, begun 20.*; wait for its end"
    for _ in range(2):  # a refusal does not take the lock away
        with pytest.raises(InputError, match=said), run_lock(tmp_path / "run"):
            pass
    holder.communicate("\n", timeout=60)
    assert not (tmp_path / "run" / "run.lock").exists()
    with run_lock(tmp_path / "run"):
        record = json.loads((tmp_path / "run" / "run.lock").read_text())
    assert record["pid"] == os.getpid()
    assert list((tmp_path / "run").iterdir()) == []


def test_the_lock_of_a_killed_run_is_taken_over_with_a_line(tmp_path, holder, capsys):
    holder.kill()
    holder.wait(timeout=60)
    with run_lock(tmp_path / "run"):
        assert json.loads((tmp_path / "run" / "run.lock").read_text())["pid"] == os.getpid()
    assert f"taken over from process {holder.pid} on" in capsys.readouterr().out


@pytest.mark.parametrize("since", ["1970-01-01T00:00:00+00:00", "2999-01-01T00:00:00+00:00", "?"])
def test_no_clock_is_asked_whether_a_run_lives(tmp_path, holder, since):
    path = tmp_path / "run" / "run.lock"
    record = json.loads(path.read_text())
    path.write_text(json.dumps({**record, "since": since}))  # as after a jump
    with pytest.raises(InputError, match="no other run at work"), run_lock(tmp_path / "run"):
        pass
    holder.kill()
    holder.wait(timeout=60)
    with run_lock(tmp_path / "run"):
        pass


def test_a_living_process_of_the_same_number_does_not_keep_a_lock(tmp_path, capsys):
    path = tmp_path / "run.lock"
    with run_lock(tmp_path):
        record = json.loads(path.read_text())
    path.write_text(json.dumps({**record, "pid": os.getppid()}))
    with run_lock(tmp_path):
        pass
    assert "which has ended" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("other", "refused"),
    [
        ({"host": "node7", "boot": "another"}, True),  # a machine that cannot be looked at
        ({"host": "node7"}, False),  # another container of this machine
        ({"boot": "another"}, False),  # this machine was switched off and on
        ({"host": "node7", "boot": None}, True),
    ],
)
def test_another_machine_is_not_taken_for_dead(tmp_path, other, refused):
    path = tmp_path / "run.lock"
    with run_lock(tmp_path):
        record = json.loads(path.read_text())
    if record["boot"] is None:
        pytest.skip("needs Linux, where a machine has a number of its own")
    path.write_text(json.dumps({**record, **other}))
    if not refused:
        with run_lock(tmp_path):
            return
    said = f"on node7, begun .* if it has ended, take {path} away"
    with pytest.raises(InputError, match=said), run_lock(tmp_path):
        pass
    path.unlink()
    with run_lock(tmp_path):
        pass


@pytest.mark.parametrize("content", ["", "{", "[]", "null", '{"pid": 1'])
def test_what_a_full_disk_left_of_a_lock_keeps_nobody_out(tmp_path, content):
    (tmp_path / "run.lock").write_text(content)
    with run_lock(tmp_path):
        pass


def test_of_many_that_start_together_one_gets_it(tmp_path):
    processes = [started(tmp_path / "run") for _ in range(6)]
    said = [process.stdout.readline() for process in processes]
    assert said.count("held\n") == 1
    assert sum("expected no other run at work" in line for line in said) == 5
    for process in processes:
        process.communicate("\n", timeout=60)
    assert list((tmp_path / "run").iterdir()) == []


def test_the_first_process_of_a_launch_holds_it_for_all(tmp_path, holder, monkeypatch):
    monkeypatch.setenv("RANK", "1")
    with run_lock(tmp_path / "run"):
        pass
    assert (tmp_path / "run" / "run.lock").exists()  # still that of the other


def test_a_file_system_without_locks_is_a_line(tmp_path, monkeypatch, capsys):
    def none(handle: int, operation: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", none)
    with run_lock(tmp_path):
        pass
    assert "the file system has none; start one run at a time" in capsys.readouterr().out


def test_a_place_that_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="expected to write"), run_lock(tmp_path / "file" / "run"):
        pass

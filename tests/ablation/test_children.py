"""The processes of an ablation are asked to end at a good moment, and nothing of them is left."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import psutil
import pytest

from anomalyr1.ablation import children
from anomalyr1.run_folder import PROCESS
from anomalyr1.storage import read_json

# A run that leaves word when it is asked to end, as a training leaves a checkpoint.
RUN = """
import signal, sys, time
from pathlib import Path
def stop(number, frame):
    time.sleep(0.3)
    Path(sys.argv[1]).write_text(Path(sys.argv[1]).read_text() + "stopped")
    sys.exit(143)
signal.signal(signal.SIGTERM, stop)
Path(sys.argv[1]).write_text("")
print("at work", flush=True)
time.sleep(60)
"""
# A launcher that dies of SIGTERM and leaves its run behind.
LAUNCHER = "import subprocess, sys; subprocess.run([sys.executable, '-c', *sys.argv[1:]])"


def started(folder: Path, *words: str) -> psutil.Process:
    log = folder / "train.log"
    child = children.start([sys.executable, "-c", *words], log, {})
    deadline = time.monotonic() + 60
    while "at work" not in log.read_text():
        assert child.poll() is None and time.monotonic() < deadline
        time.sleep(0.01)
    return psutil.Process(child.pid)


def test_heads_are_asked_once_and_waited_for(tmp_path):
    words = [tmp_path / name / "word" for name in ("plain", "launched")]
    for word in words:
        word.parent.mkdir()
    plain = started(words[0].parent, RUN, str(words[0]))
    launcher = started(words[1].parent, LAUNCHER, RUN, str(words[1]))
    below = launcher.children(recursive=True)
    children.ask([plain, launcher])
    assert [word.read_text() for word in words] == ["stopped", "stopped"]
    assert below and not any(one.is_running() for one in (plain, launcher, *below))


def test_a_process_is_known_again_whatever_the_clock_says(tmp_path, monkeypatch):
    head = started(tmp_path, RUN, str(tmp_path / "word"))
    record = read_json(tmp_path / PROCESS)
    assert record == {"pid": head.pid, "begun": pytest.approx(record["begun"])}
    jumped = 1e6  # the clock is set: the machine's start and all that began since move with it
    create_time, boot_time = psutil.Process.create_time, psutil.boot_time
    monkeypatch.setattr(psutil.Process, "create_time", lambda self: create_time(self) + jumped)
    monkeypatch.setattr(psutil, "boot_time", lambda: boot_time() + jumped)
    assert children.end_left_behind(tmp_path) is True
    assert not head.is_running() and not (tmp_path / PROCESS).exists()

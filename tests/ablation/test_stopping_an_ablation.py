"""Ctrl-C in an ablation: its present run is asked to stop, and nothing of it is left at work."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest

from anomalyr1.ablation.launch import _carry_out

# A run that leaves word when it is asked to stop, as a training leaves a checkpoint.
RUN = """
import signal, sys, time
from pathlib import Path
def stop(number, frame):
    Path(sys.argv[1]).write_text("stopped")
    sys.exit(143)
signal.signal(signal.SIGTERM, stop)
print("at work", flush=True)
time.sleep(60)
"""
# A launcher that dies of SIGTERM and leaves its run behind.
LAUNCHER = "import subprocess, sys; subprocess.run([sys.executable, '-c', *sys.argv[1:]])"


@pytest.mark.parametrize("launched", [False, True])
def test_a_run_is_asked_and_waited_for(tmp_path, launched):
    word, log = tmp_path / "word", tmp_path / "log"
    command = [sys.executable, "-c", RUN, str(word)]
    if launched:
        command = [sys.executable, "-c", LAUNCHER, RUN, str(word)]

    def interrupt() -> None:
        while not (log.exists() and "at work" in log.read_text()):
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    with log.open("wb") as output, pytest.raises(KeyboardInterrupt):
        thread.start()
        _carry_out(command, output, os.environ)
    thread.join()
    assert word.read_text() == "stopped"
    assert not psutil.Process().children(recursive=True)


def test_a_run_that_ends_by_itself_has_its_status(tmp_path):
    with Path(tmp_path / "log").open("wb") as output:
        words = [sys.executable, "-c", "import sys; sys.exit(7)"]
        assert _carry_out(words, output, os.environ) == 7
        with pytest.raises(OSError):
            _carry_out([str(tmp_path / "none")], output, os.environ)

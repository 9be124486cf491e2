"""The processes of an ablation: started with a log each, and ended with the one that started them.

A child is the head of a session of its own, so that Ctrl-C reaches the ablation alone, which then
ends whole trees. Where the ablation was killed its children live on: they are on record, and the
next ablation ends them before it goes on.
"""

from __future__ import annotations

import fcntl
import os
import shlex
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any

import psutil

from anomalyr1.errors import InputError
from anomalyr1.storage import read_json, write_json, writing

RECORD = "process.json"
_LOCK = ".lock"
_GRACE = 10.0  # seconds between asking a process to end and ending it


def start(
    command: Sequence[str], log: Path, environment: Mapping[str, str]
) -> subprocess.Popen[bytes] | None:
    """Start a command that prints into a log, and put it on record beside it.

    Returns:
        The process; None where it cannot be started, and the log says why.
    """
    scripts = str(Path(sys.executable).parent)
    variables = {**os.environ, **environment}
    variables["PATH"] = os.pathsep.join([scripts, variables.get("PATH", "")])
    with writing(log), log.open("wb") as output:
        try:
            child = subprocess.Popen(
                command,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=variables,
                start_new_session=True,
            )
        except OSError as error:
            output.write(f"{shlex.join(command)}: {error}\n".encode())
            return None
    with suppress(psutil.NoSuchProcess):
        created = psutil.Process(child.pid).create_time()
        write_json(log.parent / RECORD, {"pid": child.pid, "created": created})
    return child


def end(process: psutil.Process) -> None:
    """End a process and all that it started: asked first, then made to."""
    tree = [process]
    with suppress(psutil.NoSuchProcess):
        tree += process.children(recursive=True)
    for one in tree:
        with suppress(psutil.NoSuchProcess):
            one.terminate()
    for one in psutil.wait_procs(tree, timeout=_GRACE)[1]:
        with suppress(psutil.NoSuchProcess):
            one.kill()


def end_left_behind(folder: Path) -> bool:
    """End what a killed ablation left at work in a run folder; True where there was something."""
    record = folder / RECORD
    if not record.exists():
        return False
    found = read_json(record, "the record of a process")
    record.unlink()
    try:
        process = psutil.Process(int(found["pid"]))
        if process.create_time() != found["created"]:
            return False  # another process has the number now
    except (psutil.NoSuchProcess, KeyError, TypeError, ValueError):
        return False
    end(process)
    return True


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Hold an ablation's folder: two ablations would end each other's processes.

    Raises:
        InputError: another ablation is at work there.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with writing(folder / _LOCK), (folder / _LOCK).open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(
                f"expected {folder} to be free, found another ablation at work there; wait for its "
                "end or stop it"
            ) from None
        yield


@contextmanager
def ended_on_signal() -> Iterator[None]:
    """Let a SIGTERM raise SystemExit, so that what must be ended is."""
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may set a handler
        return

    def leave(number: int, frame: FrameType | None) -> Any:
        sys.exit(128 + number)

    before = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)

"""Commands in processes of their own that have the libraries already.

A new process imports for seconds what a training or an evaluation needs. These are forked (by
multiprocessing's fork server) from one process that imported it once, and else they are what a
command is: an environment, an output and an exit status of their own. The functions are named as
those of commands.py, which are for what has to begin with the interpreter, with a launcher or with
variables that libraries read as they are imported. launched/forked_verbs.py has a process that may
have disks of its own, and verbs that are killed at a writing step.
"""

from __future__ import annotations

import gc
import multiprocessing
import os
import runpy
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from multiprocessing.process import BaseProcess
from pathlib import Path

import psutil
from commands import REPOSITORY

_PRELOADED = [
    *("anomalyr1.cli", "anomalyr1.training.grpo", "anomalyr1.training.sft"),
    *("anomalyr1.evaluation.pipeline", "anomalyr1.inspection.file_run"),
    "transformers.models.qwen2_5_vl.modeling_qwen2_5_vl",
]
_SERVER = multiprocessing.get_context("forkserver")


def run(*arguments: object, status: int = 0, processes: int = 1, **environment: str | None) -> str:
    """All that the command line of a user prints; a mistake of theirs is no traceback."""
    words = ("anomalyr1", *arguments)
    said = completed(words, status=status, processes=processes, **environment)
    assert "Traceback" not in said, said[-4000:]
    return said


def completed(
    words: Sequence[object],
    *,
    status: int = 0,
    timeout: int = 600,
    processes: int = 1,
    folder: Path = REPOSITORY,
    **environment: str | None,
) -> str:
    """All that a command prints which is run to its end.

    Args:
        words: `anomalyr1` and its arguments, or a script and its.
        status: that each process must end with.
        timeout: seconds.
        processes: how many do it together, over gloo; each has the rank a launcher would give it.
        folder: to work in.
        environment: variables that differ from those of this process; None takes one out.
    """
    deadline = time.monotonic() + timeout
    with _begun(words, processes, folder, environment) as (started, log):
        for process in started:
            process.join(max(0.0, deadline - time.monotonic()))
        ended = [process.exitcode for process in started]
        assert ended == [status] * processes, f"{ended}: {log.read_text()[-4000:]}"
        return log.read_text()


def kill_when(words: Sequence[object], ready: Callable[[], bool], processes: int = 1) -> None:
    """Start a command and SIGKILL its processes, and all that they started, once `ready()`."""
    deadline = time.monotonic() + 300
    with _begun(words, processes, REPOSITORY, {}) as (started, _):
        while not ready():
            assert all(process.is_alive() for process in started), "ended before it was killed"
            assert time.monotonic() < deadline
            time.sleep(0.005)


@contextmanager
def _begun(
    words: Sequence[object], processes: int, folder: Path, changes: dict[str, str | None]
) -> Iterator[tuple[list[BaseProcess], Path]]:
    """The processes of a command and what they print; killed where the block ends before them."""
    common, started = {**os.environ, **changes}, []
    if processes > 1:
        common |= _meeting(processes)
    _SERVER.set_forkserver_preload(_PRELOADED)
    with tempfile.TemporaryDirectory() as temporary:
        log = Path(temporary, "log")
        log.touch()
        try:
            for rank in range(processes):
                own = {"RANK": str(rank), "LOCAL_RANK": str(rank)} if processes > 1 else {}
                given = {k: v for k, v in {**common, **own}.items() if v is not None}
                task = ([str(word) for word in words], str(log), folder, given)
                process = _SERVER.Process(target=_work, args=task)
                process.start()
                started.append(process)
            yield started, log
        finally:
            _kill(started)


def _meeting(processes: int) -> dict[str, str]:
    """What a launcher tells each of several processes on one CPU."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    size = {"WORLD_SIZE": str(processes), "LOCAL_WORLD_SIZE": str(processes)}
    meeting = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    return {**size, **meeting, "ACCELERATE_USE_CPU": "true"}


def _kill(started: Sequence[BaseProcess]) -> None:
    """What is still alive of them, and of what they started."""
    killed: list[psutil.Process] = []
    for process in started:
        with suppress(psutil.NoSuchProcess):  # it may have ended by itself meanwhile
            if process.is_alive():
                one = psutil.Process(process.pid)
                killed += [one, *one.children(recursive=True)]
    for one in killed:
        with suppress(psutil.NoSuchProcess):
            one.kill()
    for process in started:
        process.join(60)


def _work(words: list[str], log: str, folder: Path, environment: dict[str, str]) -> None:
    """The command, in the process that was forked for it."""
    gc.freeze()  # what was imported is not gone through again wherever garbage is collected
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    handle = os.open(log, os.O_WRONLY | os.O_APPEND)
    os.dup2(handle, 1)
    os.dup2(handle, 2)
    sys.stdout.reconfigure(line_buffering=True)  # both in the order they were printed in
    sys.argv = words
    if words[0] == "anomalyr1":
        from anomalyr1.cli import main

        main()
    else:
        sys.path.insert(0, str(Path(words[0]).parent))  # as an interpreter that is given it
        runpy.run_path(words[0], run_name="__main__")

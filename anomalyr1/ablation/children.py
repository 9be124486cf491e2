"""The processes of an ablation: started with a log each, and ended with the one that started them.

A child is the head of a session of its own, so that Ctrl-C reaches the ablation alone, which then
asks its children to end. Where the ablation was killed they live on: they are on record, and the
next ablation ends them before it goes on.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import psutil

from anomalyr1.run_folder import PROCESS
from anomalyr1.storage import read_json, write_json, writing

_GRACE = 10.0  # seconds between asking a process to end and ending it
_SAME = 1.5  # seconds within which two readings of when a process was begun are of the same one


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
        begun = _begun(psutil.Process(child.pid))
        write_json(log.parent / PROCESS, {"pid": child.pid, "begun": begun})
    return child


def ask(heads: Sequence[psutil.Process]) -> None:
    """Ask processes to end at their next good moment, a training behind a checkpoint, and wait.

    Only the heads are asked, which ask on; what a head that ended at once has left is asked then.
    """
    trees = [_tree(head) for head in heads]
    _terminate(heads)
    psutil.wait_procs(heads)
    left = [one for tree in trees for one in tree if one.is_running()]
    _terminate(left)
    psutil.wait_procs(left)


def end(process: psutil.Process) -> None:
    """End a process and all that it started: asked first, then made to."""
    tree = _tree(process)
    _terminate(tree)
    for one in psutil.wait_procs(tree, timeout=_GRACE)[1]:
        with suppress(psutil.NoSuchProcess):
            one.kill()


def end_all_left_behind(folder: Path) -> list[Path]:
    """End what killed ablations left at work in any run folder below theirs; those folders.

    All at once, whatever config they were of: one may hold the GPU that another run is about to
    get.
    """
    runs = sorted(record.parent for record in folder.glob(f"*/{PROCESS}"))
    return [run for run in runs if end_left_behind(run)]


def end_left_behind(folder: Path) -> bool:
    """End what a killed ablation left at work in a run folder; True where there was something."""
    record = folder / PROCESS
    if not record.exists():
        return False
    found = read_json(record, "the record of a process")
    record.unlink()
    try:
        process = psutil.Process(int(found["pid"]))
        if abs(_begun(process) - found["begun"]) > _SAME:
            return False  # another process has the number now
    except (psutil.NoSuchProcess, KeyError, TypeError, ValueError):
        return False
    end(process)
    return True


def _tree(head: psutil.Process) -> list[psutil.Process]:
    """A process and all that it started."""
    with suppress(psutil.NoSuchProcess):
        return [head, *head.children(recursive=True)]
    return [head]


def _terminate(processes: Sequence[psutil.Process]) -> None:
    for one in processes:
        with suppress(psutil.NoSuchProcess):
            one.terminate()


def _begun(process: psutil.Process) -> float:
    """Seconds from the start of the machine to that of a process; no clock that is set moves it."""
    return round(float(process.create_time() - psutil.boot_time()), 2)

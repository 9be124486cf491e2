"""The runs of an ablation, one after another."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

import psutil

from anomalyr1.ablation.grid import Run, plan
from anomalyr1.ablation.results import Result, measure, read_result, write_result
from anomalyr1.ablation.table import write_tables
from anomalyr1.run_folder import contents_of_ablation, log_of
from anomalyr1.run_lock import run_lock
from anomalyr1.run_readme import write_page
from anomalyr1.stopping import postponed
from anomalyr1.terminal import notes

_LISTEN = 0.2  # seconds between two looks at whether to stop


def ablate(path: Path, overrides: Sequence[str] = ()) -> tuple[Path, list[Result]]:
    """Run what is not finished yet, and write `table.md` and `table.csv` after every run.

    A run whose hash is among the finished ones is skipped. One that fails is recorded with the last
    line it printed, and the rest goes on; called again, it is tried again from where it stopped.

    Returns:
        The folder of the ablation, and the result of every run.

    Raises:
        InputError: a config of any of the runs cannot be used; nothing has been started then.
    """
    runs = plan(path, overrides)
    folder = runs[0].folder.parent
    with run_lock(folder):
        again = ("goes on where ablate was stopped", ["ablate", path, *overrides])
        begun = shlex.join(["anomalyr1", *map(str, again[1])])
        write_page(folder, begun, contents_of_ablation(), [again])
        return folder, _run(runs, folder, path)


def _run(runs: Sequence[Run], folder: Path, path: Path) -> list[Result]:
    console = notes()
    results: list[Result] = []
    for number, run in enumerate(runs, start=1):
        name = f"[{number}/{len(runs)}] {run.variant}, seed {run.seed}"
        before = read_result(run.folder, run.digest)
        if before is not None and before.stage is None:
            console.print(f"{name}: finished before")
            results.append(before)
        else:
            console.print(f"{name}: {run.folder}")
            result = _execute(run, after_training=before is not None and before.stage == "eval")
            write_result(run.folder, result)
            results.append(result)
            if result.stage is not None:
                log = run.folder / log_of(result.stage)
                print(f"{result.stage} failed: {result.message} ({log})", flush=True)
        write_tables(folder, path, results)
    return results


def _execute(run: Run, *, after_training: bool) -> Result:
    """Run the stages, from the evaluation on `after_training`; output goes to `<stage>.log`."""
    started = time.monotonic()
    run.folder.mkdir(parents=True, exist_ok=True)
    scripts = str(Path(sys.executable).parent)
    environment = {**os.environ, "PATH": os.pathsep.join([scripts, os.environ.get("PATH", "")])}
    failed: dict[str, Any] = {}
    for stage, command in run.commands[1:] if after_training else run.commands:
        log = run.folder / log_of(stage)
        with log.open("wb") as output:
            try:
                status = _carry_out(command, output, environment)
            except OSError as error:
                status = 1
                output.write(f"{shlex.join(command)}: {error}\n".encode())
        if status:
            lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
            failed = {"stage": stage, "message": lines[-1] if lines else f"exit status {status}"}
            break
    measures = {} if failed else measure(run.folder)
    seconds = round(time.monotonic() - started, 1)
    return Result(run.variant, run.seed, run.digest, seconds=seconds, measures=measures, **failed)


def _carry_out(command: Sequence[str], output: BinaryIO, environment: Mapping[str, str]) -> int:
    """The exit status of a command.

    Raises:
        KeyboardInterrupt: somebody asked to stop. The command was asked as well, and has ended.
    """
    with postponed("stopping once the present run has") as wish:
        process = psutil.Popen(command, stdout=output, stderr=subprocess.STDOUT, env=environment)
        status = None
        while status is None and wish.stop is None:
            with suppress(psutil.TimeoutExpired):
                status = process.wait(timeout=_LISTEN)
        if wish.stop is None:
            return int(status or 0)
        _end(process)
        raise wish.stop


def _end(process: psutil.Popen) -> None:
    """Ask a command to end and wait for it, and for what it started: a launcher may end first."""
    started: list[psutil.Process] = []
    with suppress(psutil.NoSuchProcess):
        started = process.children(recursive=True)
    try:
        _terminate(process)
        process.wait()
    finally:  # after a second wish, too
        for one in (process, *started):
            _terminate(one)
        psutil.wait_procs([process, *started])


def _terminate(process: psutil.Process) -> None:
    with suppress(psutil.NoSuchProcess):
        process.terminate()

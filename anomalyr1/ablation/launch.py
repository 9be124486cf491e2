"""The runs of an ablation, one after another."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from anomalyr1.ablation.grid import Run, plan
from anomalyr1.ablation.results import Result, measure, read_result, write_result
from anomalyr1.ablation.table import write_tables


def ablate(
    path: Path, overrides: Sequence[str] = (), console: Console | None = None
) -> tuple[Path, list[Result]]:
    """Run what is not finished yet, and write `table.md` and `table.csv` after every run.

    A run whose hash is among the finished ones is skipped. One that fails is recorded with the last
    line it printed, and the rest goes on; called again, it is tried again from where it stopped.

    Returns:
        The folder of the ablation, and the result of every run.

    Raises:
        InputError: a config of any of the runs cannot be used; nothing has been started then.
    """
    console = console or Console()
    runs = plan(path, overrides)
    folder = runs[0].folder.parent
    results: list[Result] = []
    for number, run in enumerate(runs, start=1):
        name = f"[{number}/{len(runs)}] {run.variant}, seed {run.seed}"
        before = read_result(run.folder, run.digest)
        if before is not None and before.stage is None:
            console.print(f"{name}: finished before", markup=False, highlight=False)
            results.append(before)
        else:
            console.print(f"{name}: {run.folder}", markup=False, highlight=False, soft_wrap=True)
            result = _execute(run, after_training=before is not None and before.stage == "eval")
            write_result(run.folder, result)
            results.append(result)
            if result.stage is not None:
                log = run.folder / f"{result.stage}.log"
                console.print(f"{result.stage} failed: {result.message} ({log})", markup=False)
        write_tables(folder, path, results)
    return folder, results


def _execute(run: Run, *, after_training: bool) -> Result:
    """Run the stages, from the evaluation on `after_training`; output goes to `<stage>.log`."""
    started = time.monotonic()
    run.folder.mkdir(parents=True, exist_ok=True)
    scripts = str(Path(sys.executable).parent)
    environment = {**os.environ, "PATH": os.pathsep.join([scripts, os.environ.get("PATH", "")])}
    failed: dict[str, Any] = {}
    for stage, command in run.commands[1:] if after_training else run.commands:
        log = run.folder / f"{stage}.log"
        with log.open("wb") as output:
            try:
                status = subprocess.run(
                    command, stdout=output, stderr=subprocess.STDOUT, env=environment
                ).returncode
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

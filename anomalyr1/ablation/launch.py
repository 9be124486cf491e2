"""The runs of an ablation, one after another or several at once."""

from __future__ import annotations

import os
import subprocess
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import psutil
from rich.console import Console

from anomalyr1.ablation import children
from anomalyr1.ablation.devices import places
from anomalyr1.ablation.grid import Ablation, Run, plan
from anomalyr1.ablation.outputs import write_outputs
from anomalyr1.ablation.results import Result, read_result, training_measures, write_result
from anomalyr1.ablation.run_answers import Answers
from anomalyr1.provenance import command_of
from anomalyr1.run_folder import PROCESS, contents_of_ablation, log_of
from anomalyr1.run_lock import run_lock
from anomalyr1.run_readme import write_page
from anomalyr1.stopping import postponed
from anomalyr1.terminal import notes

_LOOK = 0.2  # seconds between two looks at the processes


def ablate(
    path: Path, overrides: Sequence[str] = (), console: Console | None = None, jobs: int = 1
) -> tuple[Ablation, list[Result], Answers]:
    """Run what is not finished yet, and write tables and plots after every run.

    A run whose hash is among the finished ones is skipped. One that fails is recorded with the last
    line it printed, and the rest goes on; called again, it is tried again from where it stopped.
    So is one that was cut off with the ablation itself.

    Args:
        path: the ablation file.
        overrides: `section.key=value` for all runs.
        console: told what starts and ends.
        jobs: runs at once, a GPU each, or a share of the cores.

    Returns:
        The ablation, the result of every run, and their completions.

    Raises:
        InputError: a config of any of the runs cannot be used, so many runs cannot be made at
            once, or another ablation is at work in the folder; nothing has been started then.
    """
    console = console or notes()
    ablation = plan(path, overrides)
    slots = places(jobs, _gpus(), os.environ, launched=ablation.launched, on_cpu=ablation.on_cpu)
    answers = Answers({(run.variant, run.seed): run.folder for run in ablation.runs})

    def write(results: Sequence[Result]) -> None:
        write_outputs(ablation, results, answers)

    again = ["ablate", path, *overrides, *(["--jobs", jobs] if jobs > 1 else [])]
    with run_lock(ablation.folder):
        commands = [("goes on where ablate was stopped", again)]
        write_page(ablation.folder, command_of(again), contents_of_ablation(), commands)
        for folder in children.end_all_left_behind(ablation.folder):
            _say(console, f"{folder}: ended the process that an earlier ablation left")
        results = execute(ablation.runs, slots, answers, console, write)
    return ablation, results, answers


@dataclass
class _Attempt:
    """A run at work: its stage, the process of it, and when both began."""

    run: Run
    name: str
    place: Mapping[str, str]
    waiting: deque[tuple[str, tuple[str, ...]]]
    earlier: float
    started: float = field(default_factory=time.monotonic)
    stage: str = ""
    process: subprocess.Popen[bytes] | None = None

    def next_stage(self) -> None:
        self.stage, command = self.waiting.popleft()
        self.process = children.start(command, self.log, self.place)

    @property
    def log(self) -> Path:
        return self.run.folder / log_of(self.stage)

    @property
    def status(self) -> int | None:
        """Exit status of the stage; None while it is at work."""
        return 1 if self.process is None else self.process.poll()

    def result(self, answers: Answers) -> Result:
        """What came of it, once a stage has failed or none is left."""
        run, seconds = self.run, round(self.earlier + time.monotonic() - self.started, 1)
        made = Result(run.variant, run.seed, run.digest, seconds=seconds)
        if self.status:
            lines = self.log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
            message = lines[-1] if lines else f"exit status {self.status}"
            if self.status < 0:  # out of memory, say: what it printed last is no reason
                message = f"ended by signal {-self.status} after: {message}"
            return replace(made, stage=self.stage, message=message)
        measures = {**training_measures(run.folder), **answers.of(run.folder).values}
        return replace(made, measures=measures)


def execute(
    runs: Sequence[Run],
    slots: Sequence[Mapping[str, str]],
    answers: Answers,
    console: Console,
    write: Callable[[Sequence[Result]], None],
) -> list[Result]:
    """Make the runs, as many at once as there are slots.

    Args:
        runs: all of them; those that share a folder are made once.
        slots: environment variables of each run at once.
        answers: takes the completions of finished runs apart.
        console: told what starts and ends.
        write: called with the results so far, after each.

    Returns:
        A result a run, in their order.

    Raises:
        KeyboardInterrupt: somebody asked to stop; the runs at work were asked as well, and ended.
    """
    results: dict[Path, Result] = {}
    at_work: list[_Attempt] = []
    free = deque(slots)
    waiting: deque[_Attempt] = deque()

    def so_far() -> list[Result]:
        return [
            replace(results[run.folder], variant=run.variant, seed=run.seed)
            for run in runs
            if run.folder in results
        ]

    def say(text: str) -> None:
        _say(console, text)

    for number, run in enumerate(runs, start=1):
        name = f"[{number}/{len(runs)}] {run.variant}, seed {run.seed}"
        before = read_result(run.folder, run.digest)
        if run.folder in results or any(one.run.folder == run.folder for one in waiting):
            say(f"{name}: the same run as an earlier seed's")
        elif before is not None and before.stage is None:
            say(f"{name}: finished before")
            results[run.folder] = before
        else:
            stages = [stage for stage, _ in run.commands]
            first = stages.index(before.stage) if before and before.stage in stages else 0
            earlier = before.seconds if before else 0.0
            waiting.append(_Attempt(run, name, {}, deque(run.commands[first:]), earlier))
    write(so_far())
    with postponed("stopping once the runs at work have") as wish:
        try:
            while (waiting or at_work) and wish.stop is None:
                while waiting and free:
                    attempt = waiting.popleft()
                    attempt.place, attempt.started = free.popleft(), time.monotonic()
                    attempt.run.folder.mkdir(parents=True, exist_ok=True)
                    say(f"{attempt.name}: {attempt.run.folder}")
                    at_work.append(attempt)
                    attempt.next_stage()
                done = [attempt for attempt in at_work if attempt.status is not None]
                for attempt in done:
                    if attempt.status == 0 and attempt.waiting:
                        attempt.next_stage()
                        continue
                    at_work.remove(attempt)
                    free.append(attempt.place)
                    result = attempt.result(answers)
                    results[attempt.run.folder] = result
                    (attempt.run.folder / PROCESS).unlink(missing_ok=True)
                    write_result(attempt.run.folder, result)
                    say(f"{attempt.name}: {_told(result, attempt.log)}")
                    write(so_far())
                if not done:
                    time.sleep(_LOOK)
            if wish.stop is not None:
                children.ask(_alive(at_work))
                raise wish.stop
        finally:
            for process in _alive(at_work):
                children.end(process)
    return so_far()


def _say(console: Console, text: str) -> None:
    console.print(text, markup=False, highlight=False, soft_wrap=True)


def _alive(attempts: Sequence[_Attempt]) -> list[psutil.Process]:
    """The processes of runs that are still at work."""
    processes = [a.process for a in attempts if a.process is not None and a.status is None]
    return [psutil.Process(process.pid) for process in processes]


def _told(result: Result, log: Path) -> str:
    if result.stage is None:
        return f"finished in {result.seconds:.0f} s"
    return f"{result.stage} failed: {result.message} ({log})"


def _gpus() -> int:
    import torch

    return torch.cuda.device_count() if torch.cuda.is_available() else 0

"""A verb that is killed at random moments, and run again, leaves what an undisturbed run does.

Half of the moments are drawn over the length of the undisturbed run, half over its writing steps;
every third run is killed once more while it goes on.
"""

from __future__ import annotations

import csv
import hashlib
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from commands import REPOSITORY
from safetensors.torch import load

# What says when, how long and by which process, and so differs from run to run; the size of a file
# that does.
_PASSING = frozenset(
    {
        "seconds",
        "started",
        "since",
        "pid",
        "step_time",
        "train_runtime",
        "train_loss",
        "trainer_state.json",
    }
    | {"eval_samples_per_second", "eval_steps_per_second"}
)
# Records of what was run, a line a start; pickled settings; what a verb printed; tables that tell
# minutes beside what table.csv has.
_OF_THE_STARTS = re.compile(r"provenance\.json|training_args\.bin|.*\.log|table\.(md|tex)")


@dataclass(frozen=True)
class Verb:
    """A command to be killed.

    Attributes:
        arguments: the words after `anomalyr1`, writing below the folder `out` alone; what it reads
            is made in `given`, once.
        torch: whether it needs the libraries that take seconds.
        prepare: makes the folder before each undisturbed or killed run, where the verb goes on from
            what another left.
    """

    arguments: Callable[[Path, Path], Sequence[object]]
    torch: bool = True
    prepare: Callable[[Path], None] = field(default=lambda out: None)
    may_leave: re.Pattern[str] | None = None


@dataclass(frozen=True)
class Kills:
    """What came of the kills of a verb.

    Attributes:
        seconds: of the undisturbed run.
        steps: its writing steps.
        killed: runs that were killed.
        faults: a line each that differed.
    """

    seconds: float
    steps: int
    killed: int
    faults: tuple[str, ...]


class Verbs:
    """The process that forks verbs."""

    def __init__(self, folder: Path, torch: bool, under: Sequence[str] = ()) -> None:
        self.temporary = folder / "temporary"
        self.temporary.mkdir(parents=True, exist_ok=True)
        program = [sys.executable, str(REPOSITORY / "tests/launched/forked_verbs.py")]
        self.process = subprocess.Popen(
            [*under, *program, *(["torch"] if torch else [])],
            cwd=REPOSITORY,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "TMPDIR": str(self.temporary), "OMP_NUM_THREADS": "1"},
        )
        json.loads(self._answer())

    def seen(self, path: Path) -> Path:
        """A path as the verbs see it, who may have disks of their own."""
        return Path(f"/proc/{self.process.pid}/root{path}")

    def run(
        self, argv: Sequence[object], folder: Path, log: Path, *, after=None, at=None
    ) -> dict[str, Any]:
        """A verb to its end, or to the moment it is killed at."""
        asked = {"argv": [*map(str, argv)], "folder": str(folder), "log": str(log)}
        self.process.stdin.write(json.dumps({**asked, "after": after, "at": at}) + "\n")
        self.process.stdin.flush()
        return json.loads(self._answer())

    def _answer(self) -> str:
        for line in self.process.stdout:
            if line.startswith("{"):
                return line
        raise AssertionError("the process that forks verbs has ended")


@contextmanager
def forking(folder: Path, torch: bool, under: Sequence[str] = ()) -> Iterator[Verbs]:
    """A process that forks verbs, while the block runs; `under` is what its command stands behind.

    Its temporary files are all in `temporary`, where none may be left.
    """
    verbs = Verbs(folder, torch, under)
    try:
        yield verbs
    finally:
        verbs.process.stdin.close()
        verbs.process.wait(60)


def kill(verbs: Verbs, verb: Verb, folder: Path, *, times: int, seed: int) -> Kills:
    """Kill a verb `times` times, each at a moment of its own, and compare what it leaves at last.

    Args:
        verbs: that runs it.
        verb: to be killed.
        folder: to work in; new.
        times: kills, each of a run that begins from nothing.
        seed: of the moments.
    """
    given, out, whole = folder / "given", folder / "out", folder / "whole"
    given.mkdir(parents=True)
    draw, faults, killed = random.Random(seed), [], 0

    def run(log: str, **moment: Any) -> dict[str, Any]:
        return verbs.run(verb.arguments(given, out), out, folder / f"{log}.log", **moment)

    verb.prepare(out)
    undisturbed = run("whole")
    assert undisturbed["status"] == 0, (folder / "whole.log").read_text()[-4000:]
    out.rename(whole)
    expected, seconds, steps = left_in(whole), undisturbed["seconds"], undisturbed["steps"]
    for number in range(times):
        moments: list[str] = []
        while not moments or moments[-1].endswith(" 0"):  # it had ended before its moment
            shutil.rmtree(out, ignore_errors=True)
            verb.prepare(out)
            moments = []
            for _ in range(2 if number % 3 == 2 else 1):
                late = {"after": draw.uniform(0, seconds)}
                moment = late if number % 2 == 0 else {"at": draw.randint(1, steps)}
                ended = run(f"killed-{number}", **moment)
                moments.append(f"{moment} of {seconds:.2f} s, {steps} steps: {ended['status']}")
                if ended["status"] == 0:
                    break
                killed += ended["status"] == -signal.SIGKILL
        last = run(f"last-{number}")
        name = f"kill {number} ({'; '.join(moments)})"
        if last["status"] != 0:
            said = (folder / f"last-{number}.log").read_text()[-1500:]
            faults.append(f"{name}: ended with {last['status']}: {said}")
            continue
        found = {
            file: content
            for file, content in left_in(out).items()
            if verb.may_leave is None or file in expected or not verb.may_leave.search(file)
        }
        faults += [f"{name}: {line}" for line in differences(expected, found)]
    return Kills(seconds, steps, killed, tuple(faults))


def left_in(folder: Path) -> dict[str, object]:
    """Every file below a folder, and what is in it but for when, how long and by whom."""
    return {
        str(path.relative_to(folder)): content_of(path)
        for path in sorted(folder.rglob("*"))
        if not path.is_dir()
    }


def content_of(path: Path) -> object:
    """What has to be the same of a file."""
    if _OF_THE_STARTS.fullmatch(path.name):
        return None
    content = path.read_bytes()
    if path.suffix == ".safetensors":
        return {name: _digest(bytes(t.numpy().data)) for name, t in load(content).items()}
    if path.suffix == ".jsonl":
        rows = [json.loads(line) for line in content.decode().splitlines()]
        # A training's closing line is of its last start; one with nothing left to do has none.
        return [lasting(row) for row in rows if "train_runtime" not in row]
    if path.suffix == ".json":
        return lasting(json.loads(content))
    if path.name == "table.csv":
        rows = csv.DictReader(content.decode().splitlines())
        return [{k: v for k, v in row.items() if not k.startswith("minutes")} for row in rows]
    if path.suffix == ".html":  # the page, up to its record of the starts
        content = content.partition(b'<div class="origin">')[0]
    return _digest(content)


def lasting(value: Any) -> Any:
    """JSON without what differs from run to run."""
    if isinstance(value, dict):
        return {key: lasting(inner) for key, inner in value.items() if key not in _PASSING}
    return [lasting(inner) for inner in value] if isinstance(value, list) else value


def differences(expected: dict[str, object], found: dict[str, object]) -> list[str]:
    """A line a file that is missing, too many or another."""
    lines = [f"{name} is missing" for name in sorted(expected.keys() - found.keys())]
    lines += [f"{name} is left over" for name in sorted(found.keys() - expected.keys())]
    for name in sorted(expected.keys() & found.keys()):
        if expected[name] != found[name]:
            lines.append(f"{name} differs: {_first(expected[name], found[name])}")
    return lines


def _first(a: object, b: object, at: str = "") -> str:
    """Where two contents differ first."""
    if isinstance(a, dict) and isinstance(b, dict):
        for key in [*a, *b]:
            if a.get(key) != b.get(key):
                return _first(a.get(key), b.get(key), f"{at}.{key}")
    if isinstance(a, list) and isinstance(b, list) and len(a) == len(b):
        for number, (left, right) in enumerate(zip(a, b, strict=True)):
            if left != right:
                return _first(left, right, f"{at}[{number}]")
    if isinstance(a, list) and isinstance(b, list):
        return f"{at} has {len(b)} lines, not {len(a)}"
    return f"{at} is {str(b)[:80]!r}, not {str(a)[:80]!r}"


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]

"""One stage of a curriculum: so many steps of one lesson, resumable, with its curve kept."""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from rich.console import Console
from safetensors.torch import load_file, save_file
from torch import nn

from anomalyr1.storage import append_jsonl, read_json, resume_jsonl, write_json, write_jsonl

CURVE = "curve.jsonl"
FIGURES = "figures.json"
_STATES = "state", "state.new", "state.old"  # the last two while one takes the other's place
_STEP, _WEIGHTS, _MOMENTS = "step.json", "weights.safetensors", ("exp_avg", "exp_avg_sq")
_LOGGED = 50  # steps a line of the curve


@dataclass(frozen=True)
class Plan:
    """How a stage is run.

    Attributes:
        steps: optimiser steps.
        rate: peak of the learning rate: a short rise, then half a cosine down to nothing.
        save_every: steps between two states on disk.
    """

    steps: int
    rate: float
    save_every: int = 200


class Lesson(Protocol):
    """What a stage runs."""

    def backward(self, batch: Any) -> dict[str, float]:
        """Compute the gradients of a step and say its losses."""
        ...

    def parameters(self) -> list[nn.Parameter]:
        """Those that learn."""
        ...


def run_stage(
    name: str,
    folder: Path,
    plan: Plan,
    modules: nn.ModuleDict,
    lesson: Lesson,
    batches: Callable[[int], Iterator[Any]],
    figures: Callable[[], dict[str, float]],
    console: Console,
) -> dict[str, float]:
    """Run a stage from where it stopped, leave `modules` as it ended, and give its figures.

    Args:
        name: told on the console.
        folder: of this stage; holds its state, curve and figures.
        plan: steps and rate.
        modules: everything that a state has to bring back.
        lesson: what is learned.
        batches: what the lesson gives for each step from the given one on; steps count from 1, and
            what a step does follows from its number alone.
        figures: measures the stage on held-out data.
        console: where progress is printed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    learning = lesson.parameters()
    optimizer = torch.optim.AdamW(learning, lr=plan.rate, weight_decay=0.01, betas=(0.9, 0.98))
    done = _restore(folder, modules, optimizer)
    if done >= plan.steps and (folder / FIGURES).is_file():
        found: dict[str, float] = read_json(folder / FIGURES)
        return found
    (folder / FIGURES).unlink(missing_ok=True)  # of a state that is lost, or of fewer steps
    _cut(folder / CURVE, done)
    sums: dict[str, float] = {}
    since, logged = time.monotonic(), done
    coming = batches(done + 1)
    for step in range(done + 1, plan.steps + 1):
        for group in optimizer.param_groups:
            group["lr"] = plan.rate * share_of_rate(step, plan.steps)
        optimizer.zero_grad()
        for key, value in lesson.backward(next(coming)).items():
            sums[key] = sums.get(key, 0.0) + value
        nn.utils.clip_grad_norm_(learning, 1.0)
        optimizer.step()
        if step % _LOGGED == 0 or step == plan.steps:
            line = {key: value / (step - logged) for key, value in sums.items()}
            seconds = time.monotonic() - since
            append_jsonl(folder / CURVE, [{"step": step, "seconds": seconds, **line}])
            told = "  ".join(f"{key} {value:.3f}" for key, value in line.items())
            console.print(f"{name} {step}/{plan.steps}  {told}  ({seconds:.0f} s)", highlight=False)
            sums, since, logged = {}, time.monotonic(), step
        if step % plan.save_every == 0 or step == plan.steps:
            _save(folder, step, modules, optimizer)
    measured = figures()
    write_json(folder / FIGURES, measured)
    told = "  ".join(f"{key} {value:.3f}" for key, value in measured.items())
    console.print(f"{name}, held out: {told}", highlight=False)
    return measured


def share_of_rate(step: int, steps: int) -> float:
    """Of the peak rate: up in the first 5 % of the steps, then half a cosine.

    >>> [round(share_of_rate(step, 100), 2) for step in (1, 5, 100)]
    [0.2, 1.0, 0.0]
    """
    rise = max(1, round(0.05 * steps))
    if step <= rise:
        return step / rise
    return 0.5 * (1 + math.cos(math.pi * (step - rise) / max(1, steps - rise)))


def _cut(path: Path, step: int) -> None:
    """Keep the lines of a curve up to a step: those after it are run again."""
    if path.is_file():
        write_jsonl(path, [line for line in resume_jsonl(path) if line["step"] <= step])


def _save(folder: Path, step: int, modules: nn.ModuleDict, optimizer: Any) -> None:
    """Write a state beside the last one, then put it in its place: one is whole at any time."""
    state, new, old = (folder / name for name in _STATES)
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir()
    save_file(
        {k: v.detach().cpu().clone() for k, v in modules.state_dict().items()}, new / _WEIGHTS
    )
    moments = [optimizer.state[p] for group in optimizer.param_groups for p in group["params"]]
    for name in _MOMENTS:
        kept = {str(n): found[name].cpu() for n, found in enumerate(moments) if name in found}
        save_file(kept, new / _file(name))
    write_json(new / _STEP, {"step": step})  # the last: a state that has it was written to its end
    if state.exists():
        shutil.rmtree(old, ignore_errors=True)
        state.rename(old)
    new.rename(state)
    shutil.rmtree(old, ignore_errors=True)


def _restore(folder: Path, modules: nn.ModuleDict, optimizer: Any) -> int:
    """Take up the newest whole state, in its place, and say its step; 0 where there is none."""
    state, *beside = (folder / name for name in _STATES)
    states = {_step(found): found for found in (*beside, state)}
    step = max(states)
    if step and states[step] != state:  # stopped while it was to take that place
        shutil.rmtree(state, ignore_errors=True)
        states[step].rename(state)
    for left in beside:
        shutil.rmtree(left, ignore_errors=True)
    if step == 0:
        return 0
    modules.load_state_dict(load_file(state / _WEIGHTS))
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    for name in _MOMENTS:
        for number, moment in load_file(state / _file(name)).items():
            parameter = parameters[int(number)]
            optimizer.state[parameter][name] = moment.to(parameter.device)
            optimizer.state[parameter]["step"] = torch.tensor(float(step))
    return step


def _step(state: Path) -> int:
    """The step of a state; 0 where it is not whole, for it was being written or removed."""
    if not all((state / name).is_file() for name in (_STEP, _WEIGHTS, *map(_file, _MOMENTS))):
        return 0
    step: int = read_json(state / _STEP)["step"]
    return step


def _file(moment: str) -> str:
    return f"{moment}.safetensors"

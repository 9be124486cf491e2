"""One stage of a curriculum: so many steps of one lesson, resumable, with its curve kept."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from torch import nn

from anomalyr1.storage import append_jsonl, read_json, resume_jsonl, write_json, write_jsonl

CURVE = "curve.jsonl"
FIGURES = "figures.json"
_STATE = "state.pt"
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


def run_stage(
    name: str,
    folder: Path,
    plan: Plan,
    modules: nn.ModuleDict,
    learning: list[nn.Parameter],
    backward: Callable[[int], dict[str, float]],
    figures: Callable[[], dict[str, float]],
    console: Console,
) -> dict[str, float]:
    """Run a stage from where it stopped, leave `modules` as it ended, and give its figures.

    Args:
        name: told on the console.
        folder: of this stage; holds its state, curve and figures.
        plan: steps and rate.
        modules: everything that a state has to bring back.
        learning: parameters of the optimiser.
        backward: computes the gradients of a step, counted from 1, and says its losses; what a
            step does follows from its number alone.
        figures: measures the stage on held-out data.
        console: where progress is printed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    optimizer = torch.optim.AdamW(learning, lr=plan.rate, weight_decay=0.01, betas=(0.9, 0.98))
    done = _restore(folder, modules, optimizer)
    if (folder / FIGURES).is_file():
        found: dict[str, float] = read_json(folder / FIGURES)
        return found
    _cut(folder / CURVE, done)
    sums: dict[str, float] = {}
    since = time.monotonic()
    for step in range(done + 1, plan.steps + 1):
        for group in optimizer.param_groups:
            group["lr"] = plan.rate * share_of_rate(step, plan.steps)
        optimizer.zero_grad()
        for key, value in backward(step).items():
            sums[key] = sums.get(key, 0.0) + value
        nn.utils.clip_grad_norm_(learning, 1.0)
        optimizer.step()
        if step % _LOGGED == 0 or step == plan.steps:
            count = (step - 1) % _LOGGED + 1
            line = {key: value / count for key, value in sums.items()}
            seconds = time.monotonic() - since
            append_jsonl(folder / CURVE, [{"step": step, "seconds": seconds, **line}])
            told = "  ".join(f"{key} {value:.3f}" for key, value in line.items())
            console.print(f"{name} {step}/{plan.steps}  {told}  ({seconds:.0f} s)", highlight=False)
            sums, since = {}, time.monotonic()
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
    from anomalyr1.storage import write_jsonl

    if path.is_file():
        write_jsonl(path, [line for line in resume_jsonl(path) if line["step"] <= step])


def _save(folder: Path, step: int, modules: nn.ModuleDict, optimizer: Any) -> None:
    new = folder / f"{_STATE}.new"
    torch.save(
        {"step": step, "modules": modules.state_dict(), "optimizer": optimizer.state_dict()}, new
    )
    new.replace(folder / _STATE)


def _restore(folder: Path, modules: nn.ModuleDict, optimizer: Any) -> int:
    if not (folder / _STATE).is_file():
        return 0
    state = torch.load(folder / _STATE, map_location="cpu", weights_only=True)
    modules.load_state_dict(state["modules"])
    optimizer.load_state_dict(state["optimizer"])
    return int(state["step"])

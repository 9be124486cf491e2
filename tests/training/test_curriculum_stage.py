"""A stage of a curriculum is gone on from wherever it was killed, and done only when it is."""

from __future__ import annotations

import os
import shutil
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from rich.console import Console
from torch import nn

from anomalyr1.storage import read_json, read_jsonl
from anomalyr1.training.curriculum.stage import CURVE, FIGURES, Plan, run_stage

# What the interpreter tells of, before it does it, where a state is written and takes its place.
CHANGES = ("os.mkdir", "os.rename", "os.remove", "os.rmdir")


class Line:
    """A lesson of four numbers; its gradients by hand, for autograd takes no forked process."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        self.model = nn.Linear(3, 1)

    @torch.no_grad()
    def backward(self, batch: torch.Tensor) -> dict[str, float]:
        error = self.model(batch) - batch.sum(1, keepdim=True)
        self.model.weight.grad = (2 * error * batch).mean(0, keepdim=True)
        self.model.bias.grad = 2 * error.mean(0)
        return {"loss": error.square().mean().item()}

    def parameters(self) -> list[nn.Parameter]:
        return list(self.model.parameters())


def stage(
    folder: Path, steps: int = 6, lesson: Line | None = None
) -> tuple[dict[str, torch.Tensor], list[int], dict]:
    """Run it: the weights it leaves, the steps it took, its figures."""
    lesson, taken = lesson or Line(), []

    def batches(first: int) -> Iterator[torch.Tensor]:
        for step in range(first, steps + 1):
            taken.append(step)
            yield torch.rand(5, 3, generator=torch.Generator().manual_seed(step))

    modules = nn.ModuleDict({"model": lesson.model})
    found = run_stage(
        "line",
        folder,
        Plan(steps, 0.01, save_every=2),
        modules,
        lesson,
        batches,
        lambda: {"weight": lesson.model.weight.sum().item()},
        Console(quiet=True),
    )
    return modules.state_dict(), taken, found


def killed(folder: Path, change: int) -> bool:
    """Whether a process that runs it was there to be killed before its so-manieth change."""
    child = os.fork()
    if child == 0:
        left = change

        def watch(event: str, _: tuple) -> None:
            nonlocal left
            left -= event in CHANGES
            if event in CHANGES and left == 0:  # os.kill is an event too
                os.kill(os.getpid(), signal.SIGKILL)

        try:
            sys.addaudithook(watch)
            stage(folder)
        finally:
            os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(one[name], other[name]) for name in one)


def test_wherever_it_was_killed_it_ends_as_if_it_had_not_been(tmp_path):
    whole, taken, figures = stage(tmp_path / "whole")
    assert taken == [1, 2, 3, 4, 5, 6]
    change, begun = 1, [1]
    while killed(folder := tmp_path / str(change), change):
        weights, taken, found = stage(folder)
        assert same(weights, whole) and found == figures, change
        assert [line["step"] for line in read_jsonl(folder / CURVE)][-1:] == [6], change
        left = {path.name for path in folder.iterdir()}
        assert left <= {"state", CURVE, FIGURES, f".{CURVE}.tmp", f".{FIGURES}.tmp"}, change
        begun.append(taken[0] if taken else 7)
        change += 1
    # The later it was killed, the later it goes on: nothing that was saved is lost.
    assert begun == sorted(begun) and {1, 3, 5, 7} == set(begun)
    assert change > 25


def test_a_stage_without_its_state_is_run_again(tmp_path):
    weights, _, figures = stage(tmp_path)
    assert stage(tmp_path)[1:] == ([], figures)
    shutil.rmtree(tmp_path / "state")
    again, taken, found = stage(tmp_path)
    assert taken == [1, 2, 3, 4, 5, 6] and same(again, weights) and found == figures
    assert [line["step"] for line in read_jsonl(tmp_path / CURVE)] == [6]


def test_a_finished_stage_goes_on_to_further_steps(tmp_path):
    weights, _, figures = stage(tmp_path)
    more, taken, found = stage(tmp_path, steps=9)
    assert taken == [7, 8, 9] and not same(more, weights) and found != figures
    assert found == read_json(tmp_path / FIGURES)
    assert [line["step"] for line in read_jsonl(tmp_path / CURVE)] == [6, 9]
    assert stage(tmp_path, steps=6)[1:] == ([], found)  # fewer are done


def test_figures_are_of_the_state_beside_them(tmp_path):
    """Killed between its last state and its figures, it does not show those of fewer steps."""
    before = stage(tmp_path)[2]

    class Stop(Exception):
        pass

    def cut() -> dict[str, float]:
        raise Stop

    lesson = Line()
    with pytest.raises(Stop):
        run_stage(
            "line", tmp_path, Plan(9, 0.01), nn.ModuleDict({"model": lesson.model}), lesson,
            lambda first: iter([torch.ones(1, 3)] * (10 - first)), cut, Console(quiet=True),
        )  # fmt: skip
    _, taken, found = stage(tmp_path, steps=9)
    assert taken == [] and found != before


def test_a_line_of_the_curve_is_a_mean_over_the_steps_it_tells_of(tmp_path):
    """Of steps run since the last line, or since the stage went on, all of one loss here."""

    class Even(Line):
        def backward(self, batch: torch.Tensor) -> dict[str, float]:
            return {**super().backward(batch), "loss": 3.0}

    stage(tmp_path, 30, Even())
    stage(tmp_path, 120, Even())
    lines = [(line["step"], line["loss"]) for line in read_jsonl(tmp_path / CURVE)]
    assert lines == [(30, 3.0), (50, 3.0), (100, 3.0), (120, 3.0)]

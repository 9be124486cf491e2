"""Runs of an ablation whose stages are programs of a few lines, and what they leave."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from evaluation_data import DEFECT, boxes, letter, question, to_frame, write

from anomalyr1.ablation.grid import Run
from anomalyr1.schema import GROUNDING, Prediction

HISTORY = [{"step": step, "reward": step / 10, "rewards/iou/mean": 0.5} for step in (1, 2, 3)]


def predictions(right: int, images: int = 10) -> list[Prediction]:
    """Letters and boxes of which the first `right` images' are correct."""
    made = []
    for number in range(images):
        name, correct = str(number), number < right
        made.append(question(name, 0, letter("A" if correct else "B")))
        text = boxes(*([to_frame(DEFECT)] if correct else []))
        made.append(question(name, 1, text, type=GROUNDING))
    return made


def left(folder: Path, right: int, images: int = 10) -> Path:
    """What a training and an evaluation leave in a run folder."""
    folder.mkdir(parents=True, exist_ok=True)
    write(folder / "predictions.jsonl", predictions(right, images))
    text = "".join(json.dumps(row) + "\n" for row in HISTORY)
    (folder / "log_history.jsonl").write_text(text)
    return folder


def program(code: str, *arguments: object) -> tuple[str, ...]:
    return (sys.executable, "-c", code, *map(str, arguments))


def run(folder: Path, variant: str, seed: int, *stages: tuple[str, Sequence[str]]) -> Run:
    """A run in `folder`/<variant>-<seed>."""
    made = tuple((stage, tuple(command)) for stage, command in stages)
    return Run(variant, seed, folder / f"{variant}-{seed}", f"{variant}{seed}", made)


def ablation(folder: Path, text: str) -> Path:
    """An ablation file of these keys beside the configs of the fixture."""
    path = folder / "terms.yaml"
    head = f"base: train.yaml\neval: eval.yaml\nrun_dir: {folder / 'runs'}\n"
    path.write_text(head + text)
    return path

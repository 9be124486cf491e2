"""An evaluation by several processes: each answers a share of the images, the first gathers.

While they work, every process appends to a file of its own beside predictions.jsonl. What a killed
evaluation left in such files is gathered by the next one, however many processes that has.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from datetime import timedelta
from itertools import groupby
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState
from accelerate.utils import parse_flag_from_env

from anomalyr1.evaluation.prediction_lines import resume_predictions
from anomalyr1.rows import Row
from anomalyr1.storage import write_jsonl

# Shares are equal in questions, not in seconds: the fastest waits at the end for the slowest.
_PATIENCE = timedelta(days=1)


def join_processes() -> PartialState:
    """The processes of this evaluation; one where nothing launched several."""
    launched = int(os.environ.get("WORLD_SIZE", "1")) > 1
    cpu = parse_flag_from_env("ACCELERATE_USE_CPU") or (launched and not torch.cuda.is_available())
    return PartialState(cpu=cpu, timeout=_PATIENCE)


def own_file(path: Path, state: PartialState) -> Path:
    """Where this process appends its predictions: `path` itself where it is the only one."""
    if state.num_processes == 1:
        return path
    return path.with_name(f"{path.stem}.part-{state.process_index:05d}{path.suffix}")


def parts_of(path: Path) -> list[Path]:
    """The files that processes of a killed evaluation left beside `path`."""
    return sorted(path.parent.glob(f"{path.stem}.part-*{path.suffix}"))


def own_share(rows: Sequence[Row], state: PartialState) -> list[Row]:
    """Every n-th image with all of its questions, which share the tokens of their image."""
    images = [list(group) for _, group in groupby(rows, key=lambda row: row.sample.image)]
    return [row for group in images[state.process_index :: state.num_processes] for row in group]


def gather(
    path: Path,
    order: Iterable[tuple[str, int]] = (),
    told: Callable[[str], object] = lambda _: None,
) -> list[dict[str, Any]]:
    """Bring what the processes' own files hold into `path`, in order; for one process to do.

    Args:
        path: predictions.jsonl.
        order: image and question index of the lines, in the order wanted; others come first.
        told: is given a line about each file whose last line was torn.

    Returns:
        The lines of `path`.

    Raises:
        InputError: a line is broken.
    """
    lines = resume_predictions(path, told=told)
    parts = parts_of(path)
    for part in parts:
        lines += resume_predictions(part, "predictions of one process", told)
    # Killed between writing and deleting, an evaluation leaves the same lines in both.
    each = {(line["image"], line["question_index"]): line for line in lines}
    place = {key: number for number, key in enumerate(order)}
    ordered = [each[key] for key in sorted(each, key=lambda key: place.get(key, -1))]
    if parts or ordered != lines:
        write_jsonl(path, ordered)
    for part in parts:
        part.unlink()
    return ordered

"""Which checkpoint a run continues from, and what a run folder already holds."""

from __future__ import annotations

import json
import math
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from accelerate import PartialState

from anomalyr1.errors import InputError
from anomalyr1.policy.weights import saving
from anomalyr1.run_folder import CHECKPOINTS, POLICY

_STATE = "trainer_state.json"
# What a checkpoint holds beside the policy.
_TRAINER = (
    _STATE,
    "*.pt",
    "*.pth",
    "*.bin",
    "global_step*",
    "latest",
    "zero_to_fp32.py",
    "optimizer*",
    "pytorch_model_fsdp*",
)


def last_whole_checkpoint(run_dir: Path) -> Path | None:
    """The newest checkpoint that was written to its end.

    The trainer writes `trainer_state.json` last, so a folder without a readable one was cut off
    while it was being saved.
    """
    found = []
    for folder in (run_dir / CHECKPOINTS).glob("checkpoint-*"):
        match = re.fullmatch(r"checkpoint-(\d+)", folder.name)
        if match and _is_whole(folder):
            found.append((int(match[1]), folder))
    return max(found)[1] if found else None


def prepare_run(run_dir: Path, resume: Literal["auto", "never", "force"]) -> Path | None:
    """Decide between a new run and a continued one; one process removes torn checkpoints.

    Returns:
        The checkpoint to continue from, or None for a start from step 0.

    Raises:
        InputError: `resume` is `never` and the folder holds a run.
    """
    checkpoint = last_whole_checkpoint(run_dir)
    if resume == "never" and (checkpoint or (run_dir / POLICY).exists()):
        raise InputError(
            f"expected an empty run folder at {run_dir} (resume: never), found a run; "
            "choose another run_dir or set resume=auto"
        )
    if PartialState().is_main_process:
        for folder in (run_dir / CHECKPOINTS).glob("checkpoint-*"):
            if not _is_whole(folder):
                shutil.rmtree(folder)
    return checkpoint


def is_finished(checkpoint: Path, max_steps: int, epochs: float) -> bool:
    """Whether a checkpoint is the last of its run; the trainer would take one step beyond it.

    Args:
        checkpoint: a whole one.
        max_steps: what is asked for now; not above 0 where epochs decide.
        epochs: what is asked for now.
    """
    state = json.loads((checkpoint / _STATE).read_text())
    if max_steps > 0:
        return bool(state["global_step"] >= max_steps)
    same = state["num_train_epochs"] == math.ceil(epochs)
    return same and bool(state["global_step"] >= state["max_steps"])


@contextmanager
def published(policy: Path) -> Iterator[Path]:
    """A folder beside `policy` that takes its place, whole, when all processes are done with it.

    Raises:
        InputError: there is no room for it; what stood there before still does.
    """
    state, folder = PartialState(), policy.with_name(f".{policy.name}.tmp")
    if state.is_main_process:
        shutil.rmtree(folder, ignore_errors=True)
    state.wait_for_everyone()
    try:
        with saving(folder):
            yield folder
            state.wait_for_everyone()
            if state.is_main_process:
                for name in folder.glob("training_args.bin"):  # pickled; no part of a policy
                    name.unlink()
                shutil.rmtree(policy, ignore_errors=True)
                folder.rename(policy)
    finally:
        if state.is_main_process:
            shutil.rmtree(folder, ignore_errors=True)


def copy_policy(checkpoint: Path, folder: Path) -> None:
    """Copy the policy out of a run's last checkpoint, or out of the best one where it names one."""
    state = json.loads((checkpoint / _STATE).read_text())
    best = checkpoint.parent / Path(state.get("best_model_checkpoint") or checkpoint).name
    shutil.copytree(
        best if best.is_dir() else checkpoint, folder, ignore=shutil.ignore_patterns(*_TRAINER)
    )


def _is_whole(folder: Path) -> bool:
    try:
        json.loads((folder / _STATE).read_text())
    except (OSError, ValueError):
        return False
    return True

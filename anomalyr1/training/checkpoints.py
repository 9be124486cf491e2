"""Which checkpoint a run continues from, and what a run folder already holds."""

from __future__ import annotations

import json
import math
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from accelerate import PartialState

from anomalyr1.errors import InputError
from anomalyr1.policy.weights import saving
from anomalyr1.run_folder import CHECKPOINTS, POLICY
from anomalyr1.training.checkpoint_files import FILES, lost_files

_STATE = "trainer_state.json"
# What a checkpoint holds beside the policy.
_TRAINER = (
    _STATE,
    FILES,
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
    """The newest checkpoint that was written to its end and has lost nothing since."""
    return next((folder for folder in _written(run_dir) if not _lost(folder)), None)


def prepare_run(run_dir: Path, resume: Literal["auto", "never", "force"]) -> Path | None:
    """Decide between a new run and a continued one; one process removes torn checkpoints.

    Returns:
        The checkpoint to continue from, or None for a start from step 0.

    Raises:
        InputError: `resume` is `never` and the folder holds a run; or the newest checkpoint has
            lost files since it was written.
    """
    checkpoint = next(_written(run_dir), None)
    if resume == "never" and (checkpoint or (run_dir / POLICY).exists()):
        raise InputError(
            f"expected an empty run folder at {run_dir} (resume: never), found a run; "
            "choose another run_dir or set resume=auto"
        )
    if checkpoint is not None and (lost := _lost(checkpoint)):
        whole = last_whole_checkpoint(run_dir)
        rest = f"go on from {whole.name}" if whole else "begin anew, for no other one is whole"
        raise InputError(
            f"expected a whole checkpoint at {checkpoint}, found {', '.join(lost)}; put back what "
            f"is lost, or take the folder away to {rest}"
        )
    if PartialState().is_main_process:
        for folder in (run_dir / CHECKPOINTS).glob("checkpoint-*"):
            if _is_torn(folder):
                shutil.rmtree(folder)
    return checkpoint


def is_finished(checkpoint: Path, max_steps: int, epochs: float) -> bool:
    """Whether a checkpoint is the last of its run; the trainer would take one step beyond it.

    Where epochs decide, the ones behind it are held against those asked for: a trial of a few
    steps ended, too, but its run has not.

    Args:
        checkpoint: a whole one.
        max_steps: what is asked for now; not above 0 where epochs decide.
        epochs: what is asked for now.
    """
    state = json.loads((checkpoint / _STATE).read_text())
    if max_steps > 0:
        return bool(state["global_step"] >= max_steps)
    ended = bool(state["global_step"] >= state["max_steps"])
    if not ended and state["num_train_epochs"] == math.ceil(epochs):
        return False  # killed on its way
    left, step = epochs - state["epoch"], state["epoch"] / state["global_step"]
    return bool(left <= 0 or (ended and left < step))


def evaluations_in_vain(checkpoint: Path) -> int:
    """Evaluations in a row without a better one, up to a checkpoint."""
    callbacks = json.loads((checkpoint / _STATE).read_text()).get("stateful_callbacks") or {}
    return without_better(callbacks.get("EarlyStop", {}))


def without_better(kept: Mapping[str, Any]) -> int:
    """The same from what the callback that counts them (`heldout.EarlyStop`) keeps of itself."""
    return int(kept.get("attributes", {}).get("early_stopping_patience_counter", 0))


def stopped_early(evaluations: int) -> str:
    """What is said of a run that ended before its last step."""
    return (
        f"stopped early, {evaluations} evaluation(s) in a row without a better one; a larger "
        "early_stop_patience goes on"
    )


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


def ends_with(checkpoint: Path, *, best: bool) -> Path:
    """The checkpoint whose policy a run ends with.

    Args:
        checkpoint: the last one.
        best: take the best one instead, where the last names one.
    """
    state = json.loads((checkpoint / _STATE).read_text())
    named = state.get("best_model_checkpoint") if best else None
    source = checkpoint.parent / Path(named or checkpoint).name
    return source if source.is_dir() else checkpoint


def copy_policy(checkpoint: Path, folder: Path) -> None:
    """Copy the policy out of a checkpoint to a folder that is not there yet or empty."""
    shutil.copytree(checkpoint, folder, ignore=shutil.ignore_patterns(*_TRAINER))


def _written(run_dir: Path) -> Iterator[Path]:
    """The checkpoints that were written to their end, the newest first."""
    found = []
    for folder in (run_dir / CHECKPOINTS).glob("checkpoint-*"):
        match = re.fullmatch(r"checkpoint-(\d+)", folder.name)
        if match and not _is_torn(folder):
            found.append((int(match[1]), folder))
    yield from (folder for _, folder in sorted(found, reverse=True))


def _is_torn(folder: Path) -> bool:
    """True where the run was killed while it was saving, before the last files were there."""
    return not (folder / FILES).is_file() and not _has_state(folder)


def _lost(folder: Path) -> list[str]:
    return lost_files(folder) or ([] if _has_state(folder) else [f"{_STATE} that cannot be read"])


def _has_state(folder: Path) -> bool:
    try:
        json.loads((folder / _STATE).read_text())
    except (OSError, ValueError):
        return False
    return True

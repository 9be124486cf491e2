"""Which checkpoint a run continues from, and what a run folder already holds."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Literal

from anomalyr1.errors import InputError

POLICY_DIR = "policy"
CHECKPOINT_DIR = "checkpoints"


def last_whole_checkpoint(run_dir: Path) -> Path | None:
    """The newest checkpoint that was written to its end.

    The trainer writes `trainer_state.json` last, so a folder without a readable one was cut off
    while it was being saved.
    """
    found = []
    for folder in (run_dir / CHECKPOINT_DIR).glob("checkpoint-*"):
        match = re.fullmatch(r"checkpoint-(\d+)", folder.name)
        if match and _is_whole(folder):
            found.append((int(match[1]), folder))
    return max(found)[1] if found else None


def prepare_run(run_dir: Path, resume: Literal["auto", "never"]) -> Path | None:
    """Decide between a new run and a continued one; torn checkpoints are removed.

    Returns:
        The checkpoint to continue from, or None for a start from step 0.

    Raises:
        InputError: `resume` is `never` and the folder holds a run.
    """
    checkpoint = last_whole_checkpoint(run_dir)
    if resume == "never" and (checkpoint or (run_dir / POLICY_DIR).exists()):
        raise InputError(
            f"expected an empty run folder at {run_dir} (resume: never), found a run; "
            "choose another run_dir or set resume=auto"
        )
    for folder in (run_dir / CHECKPOINT_DIR).glob("checkpoint-*"):
        if not _is_whole(folder):
            shutil.rmtree(folder)
    return checkpoint


def _is_whole(folder: Path) -> bool:
    try:
        json.loads((folder / "trainer_state.json").read_text())
    except (OSError, ValueError):
        return False
    return True

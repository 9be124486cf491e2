"""What a checkpoint consists of: written down behind its last file, held against the folder later.

A trainer that finds no optimizer, scheduler or random states beside the weights goes on with new
ones and says nothing; of weights that were cut it says what its reader says.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from accelerate import PartialState
from safetensors import SafetensorError, safe_open
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from anomalyr1.errors import InputError
from anomalyr1.storage import read_json, write_json

FILES = "checkpoint_files.json"
# What a run needs to go on, by the names it has: of one process or DDP, FSDP, DeepSpeed.
_PARTS = {
    "weights": ("*.safetensors", "pytorch_model_fsdp*", "global_step*"),
    "optimizer": ("optimizer*", "global_step*"),
    "scheduler": ("scheduler.pt", "global_step*"),
    "random states": ("rng_state*.pth",),
}


class RecordFiles(TrainerCallback):  # type: ignore[misc]
    """Writes down the files of a checkpoint once every process has written its part."""

    def on_save(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Wait for the others, and write."""
        PartialState().wait_for_everyone()
        if args.should_save:
            record_files(Path(args.output_dir) / f"checkpoint-{state.global_step}")


def record_files(folder: Path) -> None:
    """Write the names and sizes of all files of a checkpoint into it."""
    write_json(folder / FILES, _sizes(folder))


def lost_files(folder: Path) -> list[str]:
    """What a checkpoint lacks to go on from, a text each; nothing where it is whole.

    A checkpoint of which no list was kept is held against what every one has.
    """
    try:
        known = dict(read_json(folder / FILES))
    except (InputError, ValueError, TypeError):
        known = {}
    here = _sizes(folder)
    lost = [
        f"{name} cut ({here[name]} of {size} bytes)" if name in here else f"{name} missing"
        for name, size in known.items()
        if here.get(name) != size
    ]
    lost += [
        f"no {part}"
        for part, names in _PARTS.items()
        if not any(Path(name).match(form) for form in names for name in known)
        and not any(any(folder.glob(form)) for form in names)
    ]
    return lost or [f"{path.name} cut" for path in folder.glob("*.safetensors") if _is_cut(path)]


def _sizes(folder: Path) -> dict[str, int]:
    return {
        str(path.relative_to(folder)): path.stat().st_size
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != FILES
    }


def _is_cut(path: Path) -> bool:
    try:
        with safe_open(path, framework="numpy"):
            return False
    except (OSError, SafetensorError):
        return True

"""What a run leaves behind while it trains: log_history.jsonl and one line a step."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from transformers import (
    PrinterCallback,
    ProgressCallback,
    Trainer,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)

from anomalyr1.rewards.telemetry import OUTCOME
from anomalyr1.run_folder import HISTORY
from anomalyr1.storage import append_jsonl, write_jsonl
from anomalyr1.terminal import Bar, notes

# What a reader watches: log key -> name in the summary line.
_SUMMARY = {
    "loss": "loss",
    "reward": "reward",
    "zero_variance": "zero variance",
    "kl": "kl",
    "entropy": "entropy",
    "completions/mean_length": "length",
    "mean_token_accuracy": "token accuracy",
    "learning_rate": "lr",
    "step_time": "s/step",
    "eval_loss": "held-out loss",
    "eval_reward": "held-out reward",
}


class HistoryCallback(TrainerCallback):  # type: ignore[misc]
    """Appends every log of the trainer to `log_history.jsonl` and prints a summary line.

    On resume the file is rewritten from the checkpoint's own history, so that the steps an
    interrupted run had logged beyond its last checkpoint are not counted twice.
    """

    def __init__(self, run_dir: Path, console: Console | None = None) -> None:
        self.path = run_dir / HISTORY
        self.console = console or notes()
        self.bar: Bar | None = None

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Start the file, or cut it back to the checkpoint; a terminal gets a progress bar."""
        if not state.is_world_process_zero:
            return
        write_jsonl(self.path, [_finite(entry) for entry in state.log_history])
        self.bar = Bar(
            "training", state.max_steps, state.global_step, console=self.console, plain=False
        )

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Move the progress bar."""
        if self.bar is not None:
            self.bar.to(state.global_step)

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Take the progress bar down."""
        if self.bar is not None:
            self.bar.close()
            self.bar = None

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, Any] | None = None,
        **_: Any,
    ) -> None:
        """Keep the entry and show its main figures."""
        if not state.is_world_process_zero or not logs:
            return
        append_jsonl(self.path, [_finite({**logs, "step": state.global_step})])
        parts = [
            f"{name} {value:.4g}"
            for key, name in _SUMMARY.items()
            if isinstance(value := logs.get(key), (int, float))
        ]
        if parts:
            parts += _outcomes(logs)
            step = f"step {state.global_step}/{state.max_steps}"
            self.console.print(f"{step}  {'  '.join(parts)}")


def quiet(trainer: Trainer) -> None:
    """Take out the trainer's own printing, which `HistoryCallback` replaces."""
    for callback in (PrinterCallback, ProgressCallback):
        trainer.remove_callback(callback)


def _outcomes(logs: Mapping[str, Any]) -> list[str]:
    """The share of each outcome that occurs, the commonest first.

    >>> _outcomes({"outcome/malformed": 0.25, "outcome/aligned_correct": 0.75, "loss": 0.1})
    ['aligned_correct 75%', 'malformed 25%']
    """
    shares = {
        key.removeprefix(OUTCOME): value
        for key, value in logs.items()
        if key.startswith(OUTCOME) and isinstance(value, (int, float)) and value >= 0.005
    }
    return [f"{name} {shares[name]:.0%}" for name in sorted(shares, key=lambda n: -shares[n])]


def _finite(entry: dict[str, Any]) -> dict[str, Any]:
    """JSON has no NaN: a figure that does not exist is null."""
    return {
        key: None if isinstance(value, float) and not math.isfinite(value) else value
        for key, value in entry.items()
    }

"""The guard of a GRPO run: a line when it begins to go wrong, and a file of such lines."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from anomalyr1.config import GuardConfig
from anomalyr1.run_folder import WARNINGS
from anomalyr1.storage import read_jsonl, write_jsonl
from anomalyr1.training.collapse import Fault
from anomalyr1.training.remedies import warning
from anomalyr1.training.watch import COMPANY, Watch


class GuardCallback(TrainerCallback):  # type: ignore[misc]
    """Prints a warning at the step at which a fault is noticed, and keeps it in `warnings.jsonl`.

    A fault that follows from one that stands is kept, not printed. On resume, what an earlier start
    has printed is not printed again, and what the run does not come to again is taken out of the
    file. Only the first process speaks; a run without a fault has no file.
    """

    def __init__(self, run_dir: Path, guard: GuardConfig, console: Console | None = None) -> None:
        self.path = run_dir / WARNINGS
        self.guard = guard
        self.console = console or Console()
        self._watch = Watch(guard, groups=1)
        self._lines: list[dict[str, Any]] = []
        self._earlier: list[dict[str, Any]] = []  # of an earlier start

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Look through what the checkpoint has logged."""
        if not state.is_world_process_zero:
            return
        if state.log_history and self.path.exists():
            earlier = read_jsonl(self.path, "warnings of a run")
            self._earlier = [line for line in earlier if {"step", "kind", "text"} <= line.keys()]
        self._watch = Watch(self.guard, groups_a_step(args))
        for row in state.log_history:
            self._look(row, args)
        self._write(state.global_step)

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, Any] | None = None,
        **_: Any,
    ) -> None:
        """Look at what was logged."""
        if not state.is_world_process_zero or not logs:
            return
        if self._look({**logs, "step": state.global_step}, args):
            self._write(state.global_step)

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Forget what an earlier start said of steps that went otherwise now."""
        if state.is_world_process_zero and self._earlier:
            self._earlier = []
            self._write(state.global_step)

    def _look(self, row: Mapping[str, Any], args: TrainingArguments) -> list[Fault]:
        faults = self._watch.see(row)
        for fault in faults:
            text = self._said(fault)
            if text is None and fault.follows is None:
                self.console.print(
                    f"warning: {warning(fault, args)}",
                    style="yellow",
                    markup=False,
                    highlight=False,
                    soft_wrap=True,
                )
            self._lines.append(
                {
                    "step": fault.step,
                    "since": fault.since,
                    "kind": fault.kind,
                    "key": fault.key,
                    "follows": fault.follows,
                    "text": text or warning(fault, args),
                }
            )
        return faults

    def _said(self, fault: Fault) -> str | None:
        """What an earlier start said of a fault; on a GPU the same may come a few steps off."""
        near = COMPANY * self._watch.window
        for line in self._earlier:
            same = line["kind"] == fault.kind and line.get("follows") == fault.follows
            if same and abs(line["step"] - fault.step) <= near:
                return str(line["text"])
        return None

    def _write(self, step: int) -> None:
        lines = self._lines + [line for line in self._earlier if line["step"] > step]
        if lines:
            write_jsonl(self.path, lines)
        else:
            self.path.unlink(missing_ok=True)


def groups_a_step(arguments: Any) -> float:
    """Groups of completions that are sampled, in all processes, for an optimiser step.

    Args:
        arguments: TRL's.
    """
    completions = (
        arguments.train_batch_size * arguments.world_size * arguments.gradient_accumulation_steps
    )
    return float(completions / arguments.num_generations / arguments.num_iterations)

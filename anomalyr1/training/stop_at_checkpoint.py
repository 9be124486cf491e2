"""A training that is asked to stop does so behind a checkpoint."""

from __future__ import annotations

from typing import Any

import torch
from accelerate import PartialState
from accelerate.utils import reduce
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from anomalyr1.stopping import Wish


class StopAtCheckpoint(TrainerCallback):  # type: ignore[misc]
    """Has a checkpoint written once somebody wants to stop, and raises behind it what they asked.

    All processes stop at the same step, whichever of them heard it first. transformers' own
    callback for this (`enable_jit_checkpoint`) hears SIGTERM alone, lets each process decide for
    itself, and writes in the middle of a rollout.

    Args:
        wish: of this process.
    """

    def __init__(self, wish: Wish) -> None:
        self.wish = wish
        self.stopping = False

    def on_optimizer_step(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Ask for a checkpoint before the step ends, when `RolloutBoundary` may hold it back."""
        if not self.stopping:
            asked = torch.tensor(float(self.wish.stop is not None), device=args.device)
            self.stopping = bool(reduce(asked, "sum") > 0)
            control.should_save = self.stopping

    def on_save(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Leave, once every process has written its part.

        Raises:
            KeyboardInterrupt: what was asked.
        """
        if self.stopping:
            PartialState().wait_for_everyone()
            raise self.wish.stop or KeyboardInterrupt

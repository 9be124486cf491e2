"""Completions kept for replay: each with what came along, and the rewards as they were given."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from accelerate.utils import gather_object
from torch import Tensor, nn
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from anomalyr1.rewards.luggage import of_batch
from anomalyr1.rewards.reading import completion_text
from anomalyr1.run_folder import completions_file
from anomalyr1.storage import write_jsonl


class Remembered:
    """A reward in TRL's form that remembers the values it gave last, before they are rounded."""

    def __init__(self, term: Any) -> None:
        self.term = term
        self.__name__: str = getattr(term, "__name__", type(term).__name__)
        self.last: list[float | None] = []

    @classmethod
    def of(cls, term: Any) -> Any:
        """The reward, remembered where it is a plain callable; models are left alone."""
        return term if isinstance(term, (str, nn.Module)) or not callable(term) else cls(term)

    def __call__(self, **columns: Any) -> list[float | None]:
        """Score a batch."""
        self.last = list(self.term(**columns))
        return self.last

    @staticmethod
    def rewards(
        terms: Sequence[Any], names: Sequence[str], rounded: Tensor
    ) -> dict[str, list[float | None]]:
        """What each term gave, None where it does not apply; from the tensor where not remembered.

        Args:
            terms: the rewards, remembered or not.
            names: of the terms.
            rounded: (B, terms) float32, NaN where a term does not apply.
        """
        return {
            name: term.last
            if isinstance(term, Remembered)
            else [None if value != value else value for value in column.tolist()]
            for term, name, column in zip(terms, names, rounded.unbind(1), strict=True)
        }


def kept_completions(
    inputs: Sequence[Mapping[str, Any]],
    completions: Sequence[Any],
    completion_ids: Sequence[Sequence[int]],
    *,
    rewards: Mapping[str, Sequence[float | None]],
    said: Mapping[str, Sequence[Any]],
) -> list[dict[str, Any]]:
    """One record a completion with all of its luggage, JSON as it is.

    `reward replay` scores a record by the rewards it was made with, and gets each value again, to
    the last bit: rewards are kept, and boxes carried, in float64.

    Args:
        inputs: the row of each completion.
        completions: as TRL hands them to rewards.
        completion_ids: their tokens.
        rewards: term -> value of each completion.
        said: what the rewards logged of each completion (`log_extra`).
    """
    columns = {**of_batch(inputs, completion_ids), **said}
    return [
        {
            "completion": completion_text(completion),
            **{name: values[index] for name, values in columns.items()},
            "rewards": {name: values[index] for name, values in rewards.items()},
        }
        for index, completion in enumerate(completions)
    ]


class KeepCompletions(TrainerCallback):  # type: ignore[misc]
    """Writes the rollout in use at the first step and every so many steps, for `reward replay`.

    Which steps these are follows from their numbers, so that a run that goes on writes the files it
    would have written. A rollout that serves several steps is written at the first of them that is
    due, and then no more.

    Args:
        run_dir: the run folder.
        every: steps between two files.
        hand_over: gives this process's records of the rollout, once; None afterwards.
    """

    def __init__(
        self, run_dir: Path, every: int, hand_over: Callable[[], list[dict[str, Any]] | None]
    ) -> None:
        self.run_dir, self.every, self.hand_over = run_dir, every, hand_over

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Write the file of a step, of the records of all processes."""
        step = state.global_step
        due = step == 1 or step % self.every == 0
        if not due or (own := self.hand_over()) is None:
            return
        records = gather_object(own)
        if state.is_world_process_zero:
            rows = [{"step": step, **record} for record in records]
            write_jsonl(self.run_dir / completions_file(step), rows)

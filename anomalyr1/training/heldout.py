"""Scoring held-out questions during training: when, the best checkpoint, the early stop."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from transformers import (
    EarlyStoppingCallback,
    ProcessorMixin,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)

from anomalyr1.config import Config
from anomalyr1.data.leakage import same_files
from anomalyr1.data.limited import evenly
from anomalyr1.data.mmad import choose_references
from anomalyr1.errors import InputError, listed
from anomalyr1.policy.family import Family
from anomalyr1.rows import Row, build_rows, open_benchmark
from anomalyr1.schema import Sample
from anomalyr1.training.checkpoints import stopped_early, without_better
from anomalyr1.training.feed import Used


def with_heldout(
    section: str, given: Mapping[str, Any], config: Config, *, metric: str
) -> dict[str, Any]:
    """The trainer's section with what `data.heldout` implies, where the section does not say.

    Held-out questions are scored whenever a checkpoint is saved, and training ends with the
    checkpoint that did best. Scored more often, a new best is saved at once.

    Args:
        section: its name, for errors.
        given: its keys.
        config: the whole config.
        metric: decides which checkpoint is best; a loss is better when lower.

    Raises:
        InputError: held-out questions that are never scored.
    """
    if config.data.heldout is None:
        return dict(given)
    if given.get("eval_strategy") == "no":
        raise InputError(
            f"expected held-out questions to be scored, found {section}.eval_strategy=no beside "
            "data.heldout; leave one of the two out"
        )
    implied = {
        "eval_strategy": "steps",
        "eval_steps": given.get("save_steps", 50),
        "save_steps": given.get("eval_steps", 50),
        "per_device_eval_batch_size": given.get("per_device_train_batch_size", 8),
        "load_best_model_at_end": True,
        "metric_for_best_model": metric,
        "greater_is_better": not str(given.get("metric_for_best_model", metric)).endswith("loss"),
    }
    return {**implied, **given}


def early_stop(config: Config, console: Console) -> list[TrainerCallback]:
    """The callback that ends training after so many evaluations without a better one."""
    if config.early_stop_patience is None:
        return []
    return [EarlyStop(config.early_stop_patience, console=console)]


class EarlyStop(EarlyStoppingCallback):  # type: ignore[misc]
    """Transformers' callback, which says that it stops, behind a checkpoint that knows it.

    A run that goes on counts on from its checkpoint; transformers would begin to count anew.

    Args:
        patience: evaluations in a row without a better one.
        console: where it is said.
    """

    def __init__(self, patience: int, *, console: Console) -> None:
        super().__init__(early_stopping_patience=patience)
        self.console = console

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Take over the count of the checkpoint; the trainer wants a place to write it to."""
        super().on_train_begin(args, state, control)
        kept = state.stateful_callbacks.setdefault(type(self).__name__, self.state())
        self.early_stopping_patience_counter = without_better(kept)

    def on_evaluate(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Count, and stop once it is enough."""
        super().on_evaluate(args, state, control, **kwargs)
        if self.early_stopping_patience_counter >= self.early_stopping_patience:
            control.should_save = True
            if state.is_world_process_zero:
                told = stopped_early(self.early_stopping_patience_counter)
                self.console.print(f"step {state.global_step}: {told}")


def heldout_rows(
    config: Config, processor: ProcessorMixin, family: Family, used: Used
) -> list[Row] | None:
    """The rows scored during training, spread evenly over the held-out benchmark; None without.

    Args:
        config: its `data` section names them.
        processor: of the policy.
        family: likewise.
        used: what is trained on.

    Raises:
        InputError: the held-out benchmark cannot be used, or shares images with what is trained on.
    """
    data = config.data
    if data.heldout is None:
        return None
    samples = heldout_samples(config, used)
    rows = build_rows(samples, config.prompt, processor, family, question_types=data.question_types)
    return evenly(rows, data.heldout_limit)


def heldout_samples(config: Config, used: Used) -> list[Sample]:
    """The images of `data.heldout`, none of which is trained on, be it as a reference.

    Raises:
        InputError: there is no such benchmark, images are missing, or some are trained on: the same
            bytes, under whatever name.
    """
    data = config.data
    _, samples = open_benchmark(
        data.heldout,
        "data.heldout",
        config.prompt,
        root=data.root,
        shuffle=data.shuffle_options,
    )
    shown = (file for _, part in used for sample in part for file in _files(sample, config))
    shared = same_files((sample.path for sample in samples), shown)
    if shared:
        named = [f"{asked} is {seen}" if asked != seen else str(asked) for asked, seen in shared]
        raise InputError(
            f"expected data.heldout to hold no image that is trained on, found {len(shared)} of "
            f"its {len(samples)} in the training set: {listed(named, 3)}; name another benchmark, "
            "or divide this one with `anomalyr1 data split`"
        )
    return samples


def _files(sample: Sample, config: Config) -> Iterator[Path]:
    """The image and the references that training shows."""
    prompt = config.prompt
    for key in (sample.image, *choose_references(sample, prompt.references, prompt.reference_kind)):
        yield sample.root / key

"""An interrupted run goes on exactly: the weights, the order of the rows, the count of tokens.

Three things keep a stock trainer from that. Qwen2.5-VL's modules are named otherwise in memory
(`model.language_model...`) than in a saved checkpoint (`model...`), and transformers puts a
checkpoint back with `load_state_dict(strict=False)`: no name matches, nothing is loaded, and the
run goes on from the weights it first started with, without a word. And TRL's sampler draws a new
order each epoch from one generator, which starts over in a resumed process; its SFT trainer counts
tokens from none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from transformers import (
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)
from trl.trainer.utils import RepeatSampler


def load_weights(model: Any, checkpoint: str) -> None:
    """Copy the weights saved at `checkpoint` into `model`, by the names of the model in memory.

    Raises:
        RuntimeError: a weight is missing or has another shape.
    """
    widest = max((p.dtype for p in model.parameters()), key=lambda dtype: dtype.itemsize)
    saved = type(model).from_pretrained(checkpoint, dtype=widest, use_safetensors=True)
    model.load_state_dict(saved.state_dict())


class EpochSampler(RepeatSampler):  # type: ignore[misc]
    """TRL's sampler, its order a function of seed and epoch.

    Args:
        epoch: the one that is to be drawn.
        images: row numbers by the image they are about, which then come one after the other: images
            in the order in which TRL's shuffle first comes to one of their rows. None leaves rows
            single.
        questions: rows of an image an epoch, drawn anew each time; where it has fewer, they come
            round again. None is all of them, once.

    >>> sampler = EpochSampler("abcd", mini_repeat_count=1, seed=0, epoch=lambda: 1)
    >>> list(sampler) == list(sampler)
    True
    """

    shuffle: bool
    num_samples: int

    def __init__(
        self,
        *args: Any,
        epoch: Callable[[], int],
        images: Sequence[Sequence[int]] | None = None,
        questions: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self.epoch, self.images, self.questions = epoch, images, questions
        self.rows = self.num_samples
        if images is not None and questions is not None:
            self.num_samples = len(images) * questions

    def __iter__(self) -> Iterator[int]:
        """Row numbers of this epoch."""
        if self.shuffle:
            # The first epoch is in the order that TRL gives it.
            self.generator = torch.Generator().manual_seed((self.seed or 0) + self.epoch())
        if self.images is None:
            yield from super().__iter__()
            return
        order = self._by_image(self.images)
        shuffle, self.shuffle = self.shuffle, False
        places = list(super().__iter__())
        self.shuffle = shuffle
        yield from (order[place] for place in places)

    def _by_image(self, images: Sequence[Sequence[int]]) -> list[int]:
        rows = self._drawn(self.rows)
        image_of = {row: number for number, image in enumerate(images) for row in image}
        drawn = dict.fromkeys(image_of[row] for row in rows)
        return [row for number in drawn for row in self._asked(images[number])]

    def _asked(self, image: Sequence[int]) -> Sequence[int]:
        if self.questions is None:
            return image
        places = self._drawn(len(image))
        return [image[places[number % len(image)]] for number in range(self.questions)]

    def _drawn(self, count: int) -> list[int]:
        if not self.shuffle:
            return list(range(count))
        found: list[int] = torch.randperm(count, generator=self.generator).tolist()
        return found


def epoch_sampler(
    stock: RepeatSampler,
    epoch: Callable[[], int],
    images: Sequence[Sequence[int]] | None = None,
    questions: int | None = None,
) -> EpochSampler:
    """TRL's sampler of the same rows, the same after a resumption in a later epoch."""
    return EpochSampler(
        stock.data_source,
        stock.mini_repeat_count,
        stock.batch_size,
        stock.repeat_count,
        stock.shuffle,
        stock.seed,
        epoch=epoch,
        images=images,
        questions=questions,
    )


def backward_passes(steps: int, epoch: int, accumulated: int) -> int:
    """Backward passes behind so many optimiser steps; the last step of an epoch may have fewer.

    Args:
        steps: from the start of the run.
        epoch: backward passes of an epoch.
        accumulated: backward passes of any other step.

    >>> [backward_passes(steps, epoch=3, accumulated=2) for steps in range(5)]
    [0, 2, 3, 5, 6]
    """
    epochs, within = divmod(steps, -(-epoch // accumulated))
    return epochs * epoch + within * accumulated


class RolloutBoundary(TrainerCallback):  # type: ignore[misc]
    """Checkpoints and evaluations only where a rollout has been used up.

    With `num_iterations` or `steps_per_generation` one rollout serves several steps. It is not
    saved, so a run that stopped between them would have to sample it anew: a checkpoint asked for
    there is written at the next boundary. What is scored waits with it, or the weights that did
    best would be none that were saved.

    Args:
        rollout: backward passes that one rollout serves.
        passes: optimiser steps -> backward passes behind them.
    """

    def __init__(self, rollout: int, passes: Callable[[int], int]) -> None:
        self.rollout, self.passes = rollout, passes
        self.save = self.evaluation = False

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Hold a save and an evaluation back, or make up for them."""
        self.save = self.save or control.should_save
        self.evaluation = self.evaluation or control.should_evaluate
        whole = self.passes(state.global_step) % self.rollout == 0
        due = whole or state.global_step >= state.max_steps
        control.should_save, control.should_evaluate = due and self.save, due and self.evaluation
        if due:
            self.save = self.evaluation = False


class TokensGoOn(TrainerCallback):  # type: ignore[misc]
    """The tokens that SFT has seen are counted on in a resumed run.

    They go into the checkpoint as GRPO's do; where transformers counts there itself it is left
    alone.

    Args:
        trainer: TRL's, which has the count.
    """

    def __init__(self, trainer: Any) -> None:
        self.trainer = trainer

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Take up the count of the checkpoint."""
        if args.include_num_input_tokens_seen == "no":
            self.trainer._total_train_tokens = state.num_input_tokens_seen

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Hand it to the checkpoint that may follow."""
        if args.include_num_input_tokens_seen == "no":
            state.num_input_tokens_seen = self.trainer._total_train_tokens

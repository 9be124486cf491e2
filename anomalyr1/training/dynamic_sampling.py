"""Groups with zero variance: dropped from the loss, or sampled anew.

Such a group has no advantage, yet it counts in the mean that the loss is: with half of the groups
flat, the others move the policy half as far.

- `drop` masks its completions, so that the loss is the mean over the other groups alone:
  L = sum over kept rows / #kept, or / #kept tokens where the loss type counts tokens.
- `resample` first replaces it by another question's group that varies, in at most `max_rounds`
  rounds, then drops what is still flat.

Source: DAPO's dynamic sampling (arXiv 2503.14476, section 3.2, equation 11), which samples further
questions until the batch is full of groups that vary; here the rounds are bounded.

A process replaces groups among its own rows; where groups lie across processes, slot by slot. How
many rows a round samples follows from the rewards of all processes, so all of them sample equally
often and equally much. The logs of a step speak of all that was sampled; what came of it is under
`signal/`.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from trl import GRPOTrainer

from anomalyr1.config import SignalConfig
from anomalyr1.errors import InputError
from anomalyr1.shared_prefix.micro_batches import take_rows

# TRL's losses that divide by the number of rows; the others divide by that of unmasked tokens.
ROW_MEANS = ("grpo", "sapo", "dr_grpo", "luspo")


@dataclass(frozen=True)
class Rollout:
    """Completions that were sampled and scored.

    Attributes:
        batch: this process's B rows, as TRL's trainer makes them.
        flat: (groups,) over all processes, True where a group has zero variance.
        records: of this process's rows, what is kept of each.
    """

    batch: dict[str, Any]
    flat: Tensor
    records: list[dict[str, Any]]


Sample = Callable[[list[dict[str, Any]]], Rollout]


def refuse_entropy_bonus(trainer: GRPOTrainer, signal: SignalConfig) -> None:
    """TRL takes the entropy bonus's mean over unmasked tokens, the loss's over all rows.

    Raises:
        InputError: dropped rows would leave one of the two means.
    """
    averages_rows = trainer.loss_type in ROW_MEANS
    if signal.zero_variance != "keep" and trainer._entropy_bonus_enabled and averages_rows:
        raise InputError(
            f"expected a loss that counts tokens (dapo) beside an entropy bonus and "
            f"signal.zero_variance={signal.zero_variance}, found grpo.loss_type="
            f"{trainer.loss_type}; choose another loss, or keep"
        )


def refuse_own_mean(trainer: GRPOTrainer, signal: SignalConfig) -> None:
    """Bnpo divides each micro-batch by its own tokens: dropped ones change no other's share.

    Raises:
        InputError: a step is of several micro-batches, of one process or more.
    """
    passes = trainer.args.gradient_accumulation_steps * trainer.accelerator.num_processes
    if signal.zero_variance != "keep" and trainer.loss_type == "bnpo" and passes > 1:
        raise InputError(
            "expected a loss whose mean is over all of a step (dapo, grpo) beside "
            f"signal.zero_variance={signal.zero_variance}, found grpo.loss_type=bnpo, which "
            f"divides each of the {passes} micro-batches of a step by its own tokens, so that "
            "dropped groups move nothing further; set grpo.loss_type=dapo"
        )


def act_on_zero_variance(
    trainer: GRPOTrainer, signal: SignalConfig, rollout: Rollout, sample: Sample
) -> Rollout:
    """Replace and drop the groups with zero variance, as the section says.

    Args:
        trainer: whose rollout it is.
        signal: the section.
        rollout: as it was sampled.
        sample: samples and scores further rows; called by all processes alike.
    """
    before = int(rollout.flat.sum())
    rounds = 0
    while signal.zero_variance == "resample" and rounds < signal.max_rounds and rollout.flat.any():
        rollout = _replace(trainer, rollout, sample, rounds)
        rounds += 1
    flat = rollout.flat
    metrics = trainer._metrics["train"]
    metrics["signal/zero_variance"].append(flat.float().mean().item())
    metrics["signal/replaced"].append((before - int(flat.sum())) / len(flat))
    metrics["signal/rounds"].append(rounds)
    return Rollout(_drop(trainer, rollout), flat, rollout.records)


def other_questions(trainer: GRPOTrainer, count: int, number: int) -> list[dict[str, Any]]:
    """Rows of the training data, the same on every process and after a resumption.

    Args:
        trainer: whose data they are of.
        count: how many; each at most once while there are enough.
        number: of the round, from 0.
    """
    step = trainer._step % trainer.args.gradient_accumulation_steps
    seed = f"{trainer.args.seed} {trainer.state.global_step} {step} {number}"
    drawn = random.Random(seed)
    everything = range(len(trainer.train_dataset))
    chosen = drawn.sample(everything, min(count, len(everything)))
    chosen += drawn.choices(everything, k=count - len(chosen))
    return [trainer.train_dataset[index] for index in chosen]


def scaled_loss(loss: Tensor, batch: dict[str, Any]) -> Tensor:
    """TRL's loss; where it is a mean over rows, over those that were not dropped."""
    return loss * batch["loss_scale"] if "loss_scale" in batch else loss


def _drop(trainer: GRPOTrainer, rollout: Rollout) -> dict[str, Any]:
    """Mask the flat groups and correct what the loss is divided by."""
    batch, flat, local = rollout.batch, rollout.flat, len(rollout.records)
    start = trainer.accelerator.process_index * local
    kept = (~flat).repeat_interleave(trainer.num_generations)[start : start + local]
    mask = batch["completion_mask"] * kept[:, None].to(batch["completion_mask"])
    counted = mask if "tool_mask" not in batch else mask * batch["tool_mask"]
    items = trainer.accelerator.gather(counted.sum()).sum()
    dropped = {**batch, "completion_mask": mask, "num_items_in_batch": items}
    if trainer.loss_type in ROW_MEANS:
        scale = len(flat) / max(1, int((~flat).sum()))
        dropped["loss_scale"] = torch.tensor(scale, device=mask.device)
    return dropped


def _replace(trainer: GRPOTrainer, rollout: Rollout, sample: Sample, number: int) -> Rollout:
    """One more round: sample other questions and put groups that vary in flat ones' place."""
    size, processes = trainer.num_generations, trainer.accelerator.num_processes
    flat, local = rollout.flat, len(rollout.records)
    across = bool(local % size)  # groups lie across processes
    if across:
        asked, slots = len(flat), [list(range(len(flat)))]
    else:
        slots = torch.arange(len(flat)).view(processes, -1).tolist()
        asked = max(sum(bool(flat[slot]) for slot in own) for own in slots) * processes
    rows = asked * size // processes
    start = trainer.accelerator.process_index * rows
    questions = other_questions(trainer, asked, number)
    fresh = sample([questions[row // size] for row in range(start, start + rows)])
    pairs = _pairs(flat, fresh.flat, slots, aligned=across)
    if not pairs:
        return rollout
    own_start = trainer.accelerator.process_index * local
    picks = [(0, row) for row in range(local)]
    still = flat.clone()
    for old, new in pairs:
        still[old] = False
        for member in range(size):
            row = old * size + member - own_start
            if 0 <= row < local:
                picks[row] = (1, new * size + member - start)
    batch = take_rows([rollout.batch, fresh.batch], picks, trainer._tokenizer.pad_token_id)
    return Rollout(batch, still, _picked([rollout.records, fresh.records], picks))


def _picked(
    records: Sequence[list[dict[str, Any]]], picks: Sequence[tuple[int, int]]
) -> list[dict[str, Any]]:
    return [records[which][row] for which, row in picks]


def _pairs(
    flat: Tensor, fresh_flat: Tensor, slots: list[list[int]], *, aligned: bool
) -> list[tuple[int, int]]:
    """Which fresh group takes which flat group's place; the same on every process.

    Args:
        flat: (groups,) of the batch.
        fresh_flat: (fresh groups,) of the round, process after process.
        slots: the groups of each process.
        aligned: a group is replaced only by the fresh one of its own number.

    >>> one = torch.tensor([True, False, True, True])
    >>> _pairs(one, torch.tensor([False, True, False, True]), [[0, 1], [2, 3]], aligned=False)
    [(0, 0), (2, 2)]
    """
    if aligned:
        return [(i, i) for i in range(len(flat)) if flat[i] and not fresh_flat[i]]
    found: list[tuple[int, int]] = []
    each = len(fresh_flat) // len(slots)
    for process, own in enumerate(slots):
        wanted = [slot for slot in own if flat[slot]]
        offered = [n for n in range(process * each, (process + 1) * each) if not fresh_flat[n]]
        found += zip(wanted, offered, strict=False)
    return found

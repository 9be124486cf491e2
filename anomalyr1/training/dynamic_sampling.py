"""Groups in which every completion earns the same: dropped from the loss, or sampled anew."""

from __future__ import annotations

import random
from typing import Any, Literal

import torch
from torch import Tensor

from anomalyr1.errors import InputError
from anomalyr1.shared_prefix.micro_batches import take_rows
from anomalyr1.training.difficulty import DifficultyTrainer
from anomalyr1.training.groups import flat_groups

# TRL's losses that divide by the number of rows; the others divide by that of unmasked tokens.
ROW_MEANS = ("grpo", "sapo", "dr_grpo", "luspo")


class DynamicSamplingTrainer(DifficultyTrainer):
    """Overrides the step that samples and scores a batch, to act on zero-variance groups.

    Such a group has no advantage, yet it counts in the mean that the loss is: with half of the
    groups flat, the others move the policy half as far.

    - `drop` masks its completions, so that the loss is the mean over the other groups alone:
      L = sum over kept rows / #kept, or / #kept tokens where the loss type counts tokens.
    - `resample` first replaces it by another question's group that varies, in at most `max_rounds`
      rounds, then drops what is still flat.

    Source: DAPO's dynamic sampling (arXiv 2503.14476, section 3.2, equation 11), which samples
    further questions until the batch is full of groups that vary; here the rounds are bounded.

    A process replaces groups among its own rows; where groups lie across processes, slot by slot.
    How many rows a round samples follows from the rewards of all processes, so all of them sample
    equally often and equally much. The logs of a step speak of all that was sampled; what came of
    it is under `signal/`.
    """

    def __init__(
        self,
        *args: Any,
        zero_variance: Literal["keep", "drop", "resample"] = "keep",
        max_rounds: int = 2,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self.zero_variance = zero_variance
        self.max_rounds = max_rounds
        if zero_variance != "keep" and self._entropy_bonus_enabled and self._averages_rows:
            raise InputError(
                f"expected a loss that counts tokens (bnpo, dapo) beside an entropy bonus and "
                f"signal.zero_variance={zero_variance}, found grpo.loss_type={self.loss_type}"
            )

    @property
    def _averages_rows(self) -> bool:
        return self.loss_type in ROW_MEANS

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        """A sampled and scored batch; (B, C) completions of flat groups are masked or replaced."""
        output: dict[str, Any] = super()._generate_and_score_completions(inputs)
        if self.zero_variance == "keep" or not self.model.training:
            return output
        processes, local = self.accelerator.num_processes, len(inputs)
        flat = flat_groups(self, local * processes)
        before = int(flat.sum())
        rounds = 0
        while self.zero_variance == "resample" and rounds < self.max_rounds and flat.any():
            output, flat = self._replace(output, flat, local, rounds)
            rounds += 1
        metrics = self._metrics["train"]
        metrics["signal/zero_variance"].append(flat.float().mean().item())
        metrics["signal/replaced"].append((before - int(flat.sum())) / len(flat))
        metrics["signal/rounds"].append(rounds)
        return self._drop(output, flat, local)

    def _drop(self, output: dict[str, Any], flat: Tensor, local: int) -> dict[str, Any]:
        """Mask the flat groups and correct what the loss is divided by."""
        start = self.accelerator.process_index * local
        kept = (~flat).repeat_interleave(self.num_generations)[start : start + local]
        mask = output["completion_mask"] * kept[:, None].to(output["completion_mask"])
        output["completion_mask"] = mask
        counted = mask if "tool_mask" not in output else mask * output["tool_mask"]
        output["num_items_in_batch"] = self.accelerator.gather(counted.sum()).sum()
        if self._averages_rows:
            scale = len(flat) / max(1, int((~flat).sum()))
            output["loss_scale"] = torch.tensor(scale, device=mask.device)
        return output

    def _replace(
        self, output: dict[str, Any], flat: Tensor, local: int, number: int
    ) -> tuple[dict[str, Any], Tensor]:
        """One more round: sample other questions and put groups that vary in flat ones' place.

        Args:
            output: the batch so far; B = `local` rows.
            flat: (groups,) over all processes.
            local: rows of each process.
            number: of the round, from 0.

        Returns:
            The batch, and which of its groups are still flat.
        """
        size, processes = self.num_generations, self.accelerator.num_processes
        if local % size:  # groups lie across processes
            asked, slots = len(flat), [list(range(len(flat)))]
        else:
            slots = torch.arange(len(flat)).view(processes, -1).tolist()
            asked = max(sum(bool(flat[slot]) for slot in own) for own in slots) * processes
        rows = asked * size // processes
        start = self.accelerator.process_index * rows
        questions = self._other_questions(asked, number)
        mine = [questions[row // size] for row in range(start, start + rows)]
        fresh: dict[str, Any] = super()._generate_and_score_completions(mine)
        fresh_flat = flat_groups(self, asked * size)
        pairs = _pairs(flat, fresh_flat, slots, aligned=bool(local % size))
        own_start = self.accelerator.process_index * local
        picks = [(0, row) for row in range(local)]
        still = flat.clone()
        for old, new in pairs:
            still[old] = False
            for member in range(size):
                row = old * size + member - own_start
                if 0 <= row < local:
                    picks[row] = (1, new * size + member - start)
        if not pairs:
            return output, flat
        return take_rows([output, fresh], picks, self._tokenizer.pad_token_id), still

    def _other_questions(self, count: int, number: int) -> list[dict[str, Any]]:
        """Rows of the training data, the same on every process and after a resumption."""
        step = self._step % self.args.gradient_accumulation_steps
        seed = f"{self.args.seed} {self.state.global_step} {step} {number}"
        drawn = random.Random(seed)
        everything = range(len(self.train_dataset))
        chosen = drawn.sample(everything, min(count, len(everything)))
        chosen += drawn.choices(everything, k=count - len(chosen))
        return [self.train_dataset[index] for index in chosen]

    def _compute_loss(self, model: Any, inputs: dict[str, Any]) -> Tensor:
        """TRL's loss; where it is a mean over rows, over those that were not dropped."""
        loss: Tensor = super()._compute_loss(model, inputs)
        return loss * inputs["loss_scale"] if "loss_scale" in inputs else loss


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

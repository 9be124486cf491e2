"""GRPO advantages weighted by how hard the question is."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor

from anomalyr1.errors import InputError
from anomalyr1.training.groups import term_rewards
from anomalyr1.training.sharing import SharedPrefixTrainer

TERM = "accuracy"


class DifficultyTrainer(SharedPrefixTrainer):
    """Overrides the step that gives a batch its advantages, to weight them by group.

    Equation: A'_i = w A_i with w = 1 + d where 0 < d < 1, else 1, and d = #wrong / G the share of
    a group's completions whose answer earns no `accuracy`. A hard question that was solved at
    least once counts up to twice as much as an easy one; without any right answer there is nothing
    to emphasise, and the weight is 1. Completions without gold (accuracy None) are left out of d.
    Source: EMIT (arXiv 2507.21619), advantage reweighting, as in its released trainer
    (github.com/guanwei49/EMIT, `grpo_Trainer.py`).
    """

    def __init__(
        self, *args: Any, difficulty: Literal["none", "emit"] = "none", **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        if difficulty == "emit" and TERM not in self.reward_func_names:
            raise InputError(
                f"expected a reward with the term {TERM} for signal.difficulty=emit, found "
                f"{', '.join(self.reward_func_names)}; set reward.weights.{TERM} or "
                "signal.difficulty=none"
            )
        self.difficulty = difficulty

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        """A sampled and scored batch, its advantages (B,) weighted."""
        output: dict[str, Any] = super()._generate_and_score_completions(inputs)
        if self.difficulty == "none" or not self.model.training:
            return output
        local = len(inputs)
        rows = local * self.accelerator.num_processes
        weights = emit_weights(term_rewards(self, rows)[TERM])
        per_row = weights.repeat_interleave(self.num_generations)
        recorded = list(self._logs["advantages"])
        self._logs["advantages"].clear()
        self._logs["advantages"].extend(
            recorded[:-rows]
            + [a * w for a, w in zip(recorded[-rows:], per_row.tolist(), strict=True)]
        )
        self._metrics["train"]["signal/difficulty_weight"].append(weights.mean().item())
        start = self.accelerator.process_index * local
        mine = per_row[start : start + local].to(output["advantages"])
        output["advantages"] = output["advantages"] * mine
        return output


def emit_weights(accuracy: Tensor) -> Tensor:
    """EMIT's weight of each group.

    Args:
        accuracy: (groups, G) rewards, NaN where there is no gold.

    Returns:
        (groups,) weights in [1, 2).

    >>> emit_weights(torch.tensor([[1.0, 0.0, 0.0, 0.0], [1.0, 1.0, 1.0, 1.0]])).tolist()
    [1.75, 1.0]
    """
    known = ~accuracy.isnan()
    wrong = ((accuracy <= 0) & known).sum(1) / known.sum(1).clamp(min=1)
    return 1 + torch.where(wrong < 1, wrong, torch.zeros_like(wrong))

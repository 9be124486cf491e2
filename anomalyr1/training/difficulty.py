"""GRPO advantages weighted by how hard the question is."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from anomalyr1.errors import InputError

TERM = "accuracy"


def require_accuracy(terms: Sequence[str]) -> None:
    """Difficulty is the share of wrong answers, which one term tells.

    Raises:
        InputError: the reward has no such term.
    """
    if TERM not in terms:
        raise InputError(
            f"expected a reward with the term {TERM} for signal.difficulty=emit, found "
            f"{', '.join(terms)}; set reward.weights.{TERM} or signal.difficulty=none"
        )


def emit_weights(accuracy: Tensor) -> Tensor:
    """EMIT's weight of each group.

    Equation: A'_i = w A_i with w = 1 + d where 0 < d < 1, else 1, and d = #wrong / G the share of
    a group's completions whose answer earns no `accuracy`. A hard question that was solved at
    least once counts up to twice as much as an easy one; without any right answer there is nothing
    to emphasise, and the weight is 1. Completions without gold (accuracy None) are left out of d.
    Source: EMIT (arXiv 2507.21619), advantage reweighting, as in its released trainer
    (github.com/guanwei49/EMIT, `grpo_Trainer.py`).

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

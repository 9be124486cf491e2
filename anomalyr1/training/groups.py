"""Groups of completions: their rewards, and which of them have zero variance."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from anomalyr1.rewards.variance import TOLERANCE


def by_group(rewards: Tensor, size: int) -> Tensor:
    """Rewards of one term as (groups, G).

    >>> by_group(torch.tensor([1.0, 0.0, 0.0, 0.0]), 2).tolist()
    [[1.0, 0.0], [0.0, 0.0]]
    """
    return rewards.view(-1, size)


def zero_variance(values: Tensor) -> Tensor:
    """True for each row of (groups, G) whose values are all equal, NaN left out.

    >>> zero_variance(torch.tensor([[1.0, 1.0, float("nan")], [0.0, 1.0, 1.0]])).tolist()
    [True, False]
    """
    highest = values.nan_to_num(nan=-torch.inf).amax(1)
    lowest = values.nan_to_num(nan=torch.inf).amin(1)
    return highest - lowest <= TOLERANCE


def zero_variance_groups(
    rewards: Tensor,
    weights: Tensor,
    size: int,
    aggregation: Literal["sum_then_normalize", "normalize_then_sum"] = "sum_then_normalize",
) -> Tensor:
    """True for each group in which no completion is better than another, so that none is learned.

    Args:
        rewards: (B, terms), NaN where a term does not apply; a group's completions stand together.
        weights: (terms,) of the terms.
        size: G, completions a group.
        aggregation: TRL's `multi_objective_aggregation`. Normalised first, terms cannot cancel.

    Returns:
        (B / G,) bool.

    >>> rewards = torch.tensor([[1.0, -1.0], [0.0, 0.0]])
    >>> zero_variance_groups(rewards, torch.ones(2), size=2).tolist()
    [True]
    """
    weighted = rewards * weights.to(rewards.device)
    if aggregation == "normalize_then_sum":
        return torch.stack(
            [zero_variance(by_group(term, size)) for term in weighted.unbind(1)]
        ).all(0)
    totals = weighted.nansum(1).masked_fill(weighted.isnan().all(1), torch.nan)
    return zero_variance(by_group(totals, size))

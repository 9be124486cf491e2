"""Groups of a batch that was sampled and scored."""

from __future__ import annotations

import torch
from torch import Tensor
from trl import GRPOTrainer

# Rewards closer than this are equal: the rounding of a weighted sum of a few terms.
TOLERANCE = 1e-6


def term_rewards(trainer: GRPOTrainer, rows: int) -> dict[str, Tensor]:
    """Each term's rewards of the batch scored last, by group: (rows / G, G), NaN where None.

    They are read from the trainer's own record of its last completions, which every process holds
    for all of them.

    Args:
        trainer: between two rollouts.
        rows: completions of that batch over all processes.
    """
    recorded = trainer._logs["rewards"]
    size = trainer.num_generations
    return {
        name: torch.tensor(list(recorded[name])[-rows:]).view(-1, size)
        for name in trainer.reward_func_names
    }


def flat_groups(trainer: GRPOTrainer, rows: int) -> Tensor:
    """True for each group of the batch scored last in which no completion is better than another.

    Returns:
        (rows / G,) bool over all processes, in their order.
    """
    terms = torch.stack(list(term_rewards(trainer, rows).values()))  # (terms, groups, G)
    weighted = terms * trainer.reward_weights.cpu()[:, None, None]
    if trainer.multi_objective_aggregation == "normalize_then_sum":
        return torch.stack([is_flat(term) for term in weighted]).all(0)
    totals = weighted.nansum(0).masked_fill(weighted.isnan().all(0), torch.nan)
    return is_flat(totals)


def is_flat(values: Tensor) -> Tensor:
    """True for each row of (groups, G) whose values are all equal, NaN left out.

    >>> is_flat(torch.tensor([[1.0, 1.0, float("nan")], [0.0, 1.0, 1.0]])).tolist()
    [True, False]
    """
    highest = values.nan_to_num(nan=-torch.inf).amax(1)
    lowest = values.nan_to_num(nan=torch.inf).amin(1)
    return highest - lowest <= TOLERANCE

"""How far the sampler's log-probabilities are from the trainer's, in TRL's metrics.

| metric | meaning |
|-|-|
| `sampling/sampling_logp_difference/mean` | mean over tokens of the absolute difference, in nats |
| `sampling/sampling_logp_difference/max` | the largest one |
| `sampling/masked_sequences` | share of completions that the correction masks, in part or whole |

TRL logs the first two where it corrects for the difference; here they are logged without, too. Two
engines differ by rounding; what is more is a fault of weights, images or kernels, and `guard`
warns of it (training/collapse.py).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from anomalyr1.training.collapse import DIFFERENCE

MASKED = "sampling/masked_sequences"
_PROMPT_FIELDS = ("pixel_values", "image_grid_thw", "num_images", "mm_token_type_ids")


def log_sampling_gap(trainer: Any, batch: dict[str, Any]) -> None:
    """Add what TRL does not log of a rollout that vLLM sampled.

    Args:
        trainer: whose rollout it is.
        batch: as `GRPOTrainer._generate_and_score_completions` gave it.
    """
    if batch.get("sampling_per_token_logps") is None:  # sampled by transformers
        return
    metrics = trainer._metrics["train" if trainer.model.training else "eval"]
    ratio, mask = batch.get("importance_sampling_ratio"), batch["completion_mask"]
    if ratio is not None:
        share = masked_sequences(ratio, mask).float().mean()
        metrics[MASKED].append(trainer.accelerator.gather(share).mean().item())
    else:
        mean, largest = gap(_trainers_own(trainer, batch), batch["sampling_per_token_logps"], mask)
        gathered = trainer.accelerator.gather(torch.stack([mean, largest])).view(-1, 2)
        metrics[f"{DIFFERENCE}/mean"].append(gathered[:, 0].mean().item())
        metrics[f"{DIFFERENCE}/max"].append(gathered[:, 1].max().item())


def gap(ours: Tensor, sampled: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and largest absolute difference, both scalars; NaN is a token that vLLM gives no value.

    Args:
        ours: log-probabilities (B, C).
        sampled: those of the sampler (B, C).
        mask: (B, C), 1 on tokens.

    >>> [float(x) for x in gap(torch.tensor([[-1.0, -2.0]]), torch.tensor([[-1.5, 9.0]]),
    ...                        torch.tensor([[1, 0]]))]
    [0.5, 0.5]
    """
    difference = (ours - sampled).abs()
    difference = difference[mask.bool() & ~difference.isnan()]
    if not difference.numel():
        return ours.new_zeros(()), ours.new_zeros(())
    return difference.mean(), difference.max()


def masked_sequences(ratio: Tensor, mask: Tensor) -> Tensor:
    """(B,) True where the correction masks a completion, or tokens of it.

    Args:
        ratio: importance ratios, (B, 1) or (B, C); a masked one is 0.
        mask: (B, C), 1 on tokens.

    >>> masked_sequences(torch.tensor([[0.0], [1.0]]), torch.ones(2, 3)).tolist()
    [True, False]
    >>> masked_sequences(torch.tensor([[1.0, 0.0], [1.0, 0.0]]),
    ...                  torch.tensor([[1, 1], [1, 0]])).tolist()
    [True, False]
    """
    return ((ratio == 0) & mask.bool()).any(1)


def _trainers_own(trainer: Any, batch: dict[str, Any]) -> Tensor:
    """Log-probabilities (B, C) that the trainer gives the completions."""
    width = batch["completion_ids"].size(1)
    fields = {name: batch[name] for name in _PROMPT_FIELDS if batch.get(name) is not None}
    with torch.no_grad():
        logps, *_ = trainer._get_per_token_logps_and_entropies(
            trainer.model,
            torch.cat([batch["prompt_ids"], batch["completion_ids"]], 1),
            torch.cat([batch["prompt_mask"], batch["completion_mask"]], 1),
            width,
            **fields,
        )
    own: Tensor = logps
    return own

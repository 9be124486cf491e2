"""Completions drawn from a policy, each row from a seed of its own.

A draw from softmax(x / T) is the argmax of x / T + g, g Gumbel noise (Gumbel 1954; the "Gumbel-max
trick"), so that greedy decoding of noisy logits samples. The noise of a row comes from its seed
alone: a completion is the same in any batch, beyond rounding, and after any resumption.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from transformers import LogitsProcessor


class SeededDraw(LogitsProcessor):  # type: ignore[misc]
    """Makes greedy decoding of a batch sample.

    Args:
        seeds: one a row.
        temperature: above 0.
    """

    def __init__(self, seeds: Sequence[int], temperature: float) -> None:
        self.seeds = tuple(seeds)
        self.temperature = temperature
        self._generators: list[torch.Generator] = []

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """(R, vocabulary) logits, with noise; called once a token."""
        if not self._generators:
            self._generators = [
                torch.Generator(scores.device).manual_seed(seed) for seed in self.seeds
            ]
        noise = torch.empty_like(scores, dtype=torch.float32)
        for row, generator in zip(noise, self._generators, strict=True):
            row.exponential_(generator=generator)
        return scores.float() / self.temperature - noise.log()

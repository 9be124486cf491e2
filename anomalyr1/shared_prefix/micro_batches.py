"""Rows taken out of several micro-batches of a rollout, padded anew."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from anomalyr1.shared_prefix.vision import RowImages

_PROMPT = ("prompt_ids", "prompt_mask")
_COMPLETION = (
    "completion_ids",
    "completion_mask",
    "tool_mask",
    "old_per_token_logps",
    "ref_per_token_logps",
    "sampling_per_token_logps",
    "importance_sampling_ratio",
)
_BOTH = ("mm_token_type_ids", "token_type_ids")
_IMAGES = ("pixel_values", "image_grid_thw", "num_images")


def take_rows(
    batches: Sequence[dict[str, Any]], picks: Sequence[tuple[int, int]], pad_id: int
) -> dict[str, Any]:
    """A batch whose i-th row is row `picks[i][1]` of `batches[picks[i][0]]`, padded anew.

    Args:
        batches: what `GRPOTrainer._generate_and_score_completions` gave, with the same keys.
            Prompts are padded on the left, completions on the right.
        picks: (batch, row) pairs.
        pad_id: the token that fills both.

    Raises:
        NotImplementedError: the batches hold an input that neither Qwen2.5-VL nor Qwen3-VL has.

    >>> batches = [{"completion_ids": torch.tensor([[5]])},
    ...            {"completion_ids": torch.tensor([[6, 7]])}]
    >>> take_rows(batches, [(1, 0), (0, 0)], pad_id=0)["completion_ids"].tolist()
    [[6, 7], [5, 0]]
    """
    taken: dict[str, Any] = {}
    for name, value in batches[0].items():
        if name in _IMAGES[:2]:
            continue
        if value is None or (isinstance(value, Tensor) and value.ndim == 0):
            taken[name] = value
            continue
        rows = [batches[batch][name][row] for batch, row in picks]
        if name == "advantages":
            taken[name] = torch.stack(rows)
        elif name == "num_images":
            taken[name] = rows
        elif name in _PROMPT:
            taken[name] = _pad(rows, pad_id if name == "prompt_ids" else 0, left=True)
        elif name in _COMPLETION:
            taken[name] = _pad(rows, pad_id if name == "completion_ids" else 0)
        elif name in _BOTH:
            widths = [batch["prompt_ids"].size(1) for batch in batches]
            prompts = [row[: widths[b]] for row, (b, _) in zip(rows, picks, strict=True)]
            completions = [row[widths[b] :] for row, (b, _) in zip(rows, picks, strict=True)]
            taken[name] = torch.cat([_pad(prompts, 0, left=True), _pad(completions, 0)], 1)
        else:
            raise NotImplementedError(f"rows cannot be taken from {name}")
    if batches[0].get("pixel_values") is not None:
        parts = [RowImages.of_batch(batch) for batch in batches]
        images = [part for part in parts if part is not None]
        joined = RowImages(
            [images[batch].pixels[row] for batch, row in picks],
            [images[batch].grids[row] for batch, row in picks],
        )
        taken.update(joined.batch(range(len(picks))))
    return taken


def _pad(rows: Sequence[Tensor], value: float, *, left: bool = False) -> Tensor:
    width = max(len(row) for row in rows)
    padded = rows[0].new_full((len(rows), width), value)
    for index, row in enumerate(rows):
        padded[index, width - len(row) if left else 0 :][: len(row)] = row
    return padded

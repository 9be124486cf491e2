"""Completions of one prompt in one micro-batch, so that their prompt can be shared."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from anomalyr1.shared_prefix.micro_batches import take_rows
from anomalyr1.shared_prefix.prefixes import Prompt, families_of, group_equal
from anomalyr1.shared_prefix.vision import RowImages


def regroup(
    batches: Sequence[dict[str, Any]], per_update: int, pad_id: int, *, by_image: bool = False
) -> list[dict[str, Any]]:
    """Micro-batches with the rows of each optimiser step sorted by prompt.

    TRL shuffles the completions of a rollout before it cuts them into micro-batches, which tears
    groups apart. Gradients add up over the micro-batches of a step, so which of them a row is in
    changes nothing (beyond rounding) but the cost; rows never move to another step. Loss type
    `bnpo` divides by the tokens of a micro-batch, which TRL's shuffle leaves to chance too. What
    ranks tokens within a micro-batch, or averages over it, is the caller's to look out for.

    Args:
        batches: the micro-batches of one rollout.
        per_update: micro-batches an optimiser step takes.
        pad_id: token that fills short rows.
        by_image: prompts that share their images stand one after the other too.
    """
    if per_update == 1 or len(batches) % per_update:
        return list(batches)
    regrouped = []
    for start in range(0, len(batches), per_update):
        regrouped += _sorted(batches[start : start + per_update], pad_id, by_image)
    return regrouped


def _sorted(batches: Sequence[dict[str, Any]], pad_id: int, by_image: bool) -> list[dict[str, Any]]:
    rows = [(b, row) for b, batch in enumerate(batches) for row in range(len(batch["prompt_ids"]))]
    prompts = [prompt for batch in batches for prompt in Prompt.of_batch(_prompts(batch))]
    images = None
    if batches[0].get("pixel_values") is not None:
        split = [RowImages.of_batch(batch) for batch in batches]
        held = [part for part in split if part is not None]
        images = RowImages(
            [row for part in held for row in part.pixels],
            [row for part in held for row in part.grids],
        )
    groups = group_equal(prompts, images)
    if by_image:
        families = families_of(groups, prompts, images)
        groups = [groups[number] for family in families for number in family]
    order = [rows[index] for group in groups for index in group]
    size = len(rows) // len(batches)
    return [
        take_rows(batches, order[start : start + size], pad_id)
        for start in range(0, len(order), size)
    ]


def _prompts(batch: dict[str, Any]) -> dict[str, Any]:
    kinds, width = batch.get("mm_token_type_ids"), batch["prompt_ids"].size(1)
    return {
        "input_ids": batch["prompt_ids"],
        "attention_mask": batch["prompt_mask"],
        **({} if kinds is None else {"mm_token_type_ids": kinds[:, :width]}),
    }

"""Sampling from prompts that begin alike: each distinct beginning is prefilled once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from anomalyr1.shared_prefix.prefill import prefill
from anomalyr1.shared_prefix.prefixes import Prompt, common_prefix, left_padded
from anomalyr1.shared_prefix.vision import RowImages

# Options of `generate` that bring a cache or an order of rows of their own, and what leaves it be.
_OWN_WAYS: dict[str, tuple[Any, ...]] = {
    "cache_implementation": (),
    "use_cache": (True,),
    "num_beams": (1,),
    "num_return_sequences": (1,),
    "prompt_lookup_num_tokens": (),
    "assistant_early_exit": (),
}


def generation_obstacle(model: Any, options: Mapping[str, Any]) -> str | None:
    """Why `generate` under these options cannot go on from a shared cache, or None.

    Args:
        model: its own generation config holds where the options are silent.
        options: of `generate`; a `generation_config` may be among them.
    """
    configs = (options.get("generation_config"), model.generation_config)
    for name, plain in _OWN_WAYS.items():
        values = (options.get(name), *(getattr(config, name, None) for config in configs))
        value = next((value for value in values if value is not None), None)
        if value is not None and value not in plain:
            return f"sampling has {name}={value}"
    return None


def generate_shared(
    model: Any,
    prompts: Sequence[Prompt],
    images: RowImages | None,
    groups: Sequence[Sequence[int]],
    **options: Any,
) -> Tensor:
    """`model.generate` for prompts of which several share a beginning.

    Args:
        model: one that `sharing_obstacle` has nothing against, adapters or not.
        prompts: B rows.
        images: of the rows, or None.
        groups: rows that begin alike, their images included; every row once.
        options: of `generate`, to which `generation_obstacle` has no objection.

    Returns:
        (B, C) tokens that follow.
    """
    if min(common_prefix([prompts[row].ids for row in group]) for group in groups) == 0:
        # A prompt of one token, or rows that begin differently.
        settings = options.get("generation_config") or model.generation_config
        whole = left_padded(prompts, settings.pad_token_id or 0)
        seen = {} if images is None else images.batch(range(len(prompts)))
        followed: Tensor = model.generate(**whole, **seen, **options)
        return followed[:, whole["input_ids"].size(1) :]
    return prefill(model, prompts, images, groups).generate(**options)


def completions_of(tokens: Tensor, eos_ids: Sequence[int]) -> list[list[int]]:
    """The tokens of each row up to its first end-of-sequence token, which is kept.

    >>> completions_of(torch.tensor([[5, 9, 0], [5, 6, 7]]), eos_ids=[9])
    [[5, 9], [5, 6, 7]]
    """
    ends = torch.isin(tokens, torch.tensor(eos_ids, device=tokens.device))
    first = torch.where(ends.any(1), ends.int().argmax(1) + 1, tokens.size(1))
    return [row[:end].tolist() for row, end in zip(tokens, first.tolist(), strict=True)]

"""Greedy decoding of many prompts, in batches."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from PIL import Image

from anomalyr1.policy.cache import repeat_with_room
from anomalyr1.policy.images_once import prepared_once
from anomalyr1.policy.load import Policy
from anomalyr1.policy.vision import RowImages, backbone_of


@torch.inference_mode()
def generate(
    policy: Policy,
    conversations: Sequence[list[dict[str, Any]]],
    images: Sequence[Sequence[Image.Image]],
    *,
    max_new_tokens: int,
    sample: bool = False,
    temperature: float = 1.0,
) -> list[str]:
    """Complete a batch of conversations; greedy unless `sample`.

    Prompts are padded on the left, so the batch a prompt is in does not change its completion
    (beyond rounding).

    Args:
        policy: model in evaluation mode and its processor.
        conversations: what `prompts.build_messages` gave.
        images: the images of each conversation, in placeholder order.
        max_new_tokens: completion budget.
        sample: draw from the distribution instead of its mode.
        temperature: of the draw.

    Returns:
        The completions as text, special tokens removed.
    """
    processor: Any = policy.processor
    texts = [
        processor.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        for messages in conversations
    ]
    flat = [list(group) for group in images]
    with prepared_once(processor.image_processor):
        inputs = processor(
            text=texts,
            images=flat if any(flat) else None,
            padding=True,
            return_tensors="pt",
            add_special_tokens=False,
        ).to(policy.model.device)
    drawing = {"temperature": temperature, "top_k": 0, "top_p": 1.0} if sample else {}
    output = policy.model.generate(
        **inputs,
        max_new_tokens=max_new_tokens,
        do_sample=sample,
        **drawing,
    )
    completions = output[:, inputs["input_ids"].shape[1] :]
    decoded: list[str] = processor.batch_decode(completions, skip_special_tokens=True)
    return decoded


def generate_shared(
    model: Any,
    groups: Sequence[Sequence[int]],
    inputs: dict[str, torch.Tensor],
    images: RowImages | None,
    **options: Any,
) -> torch.Tensor:
    """`model.generate` for rows of which several share a prompt: each prompt is prefilled once.

    The cache of the prefill is cut by one token, because `generate` wants the last prompt token
    uncached, and repeated for the rows of each group.

    Args:
        model: a Qwen2.5-VL, with or without adapters.
        groups: row numbers with equal prompts.
        inputs: `input_ids`, `attention_mask`, `mm_token_type_ids` of all rows (B, P), left-padded.
        images: the rows' images, or None.
        options: of `generate`.

    Returns:
        (B, P + C) tokens, as `generate` gives.
    """
    backbone = backbone_of(model)
    firsts = [group[0] for group in groups]
    owner = torch.empty(len(inputs["input_ids"]), dtype=torch.long)
    for number, group in enumerate(groups):
        owner[list(group)] = number
    owner = owner.to(inputs["input_ids"].device)
    vision = {} if images is None else images.batch(firsts)
    backbone.rope_deltas = None
    prefill = model(
        **{name: value[firsts] for name, value in inputs.items()},
        **vision,
        use_cache=True,
        logits_to_keep=1,
    )
    cache = prefill.past_key_values
    cache.crop(-1)
    repeat_with_room(cache, owner, room=_new_tokens(options) + 1)
    if backbone.rope_deltas is not None:
        backbone.rope_deltas = backbone.rope_deltas[owner]
    output: torch.Tensor = model.generate(**inputs, past_key_values=cache, **options)
    backbone.rope_deltas = None
    return output


def _new_tokens(options: dict[str, Any]) -> int:
    """How many tokens `generate` may add under these options."""
    given = options.get("max_new_tokens")
    if given is None and "generation_config" in options:
        given = options["generation_config"].max_new_tokens
    return 0 if given is None else int(given)

"""Greedy decoding of many prompts, in batches."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from PIL import Image

from anomalyr1.policy.load import Policy


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

"""Completions of many prompts, in batches; what prompts have in common is computed once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from PIL import Image

from anomalyr1.policy.load import Policy
from anomalyr1.shared_prefix.attention import sharing_obstacle
from anomalyr1.shared_prefix.images_once import prepared_once
from anomalyr1.shared_prefix.prefixes import Prompt, group_by_images
from anomalyr1.shared_prefix.rollout import completions_of, generate_shared, generation_obstacle
from anomalyr1.shared_prefix.vision import RowImages


class Completion(NamedTuple):
    """A completion as text, special tokens removed, and its tokens, the one that ends it included.

    The tokens are those that training counts: what follows the end is padding.
    """

    text: str
    ids: tuple[int, ...]


def generate(
    policy: Policy,
    conversations: Sequence[list[dict[str, Any]]],
    images: Sequence[Sequence[Image.Image]],
    **options: Any,
) -> list[str]:
    """The texts of `complete`."""
    return [completion.text for completion in complete(policy, conversations, images, **options)]


@torch.inference_mode()
def complete(
    policy: Policy,
    conversations: Sequence[list[dict[str, Any]]],
    images: Sequence[Sequence[Image.Image]],
    *,
    max_new_tokens: int,
    sample: bool = False,
    temperature: float = 1.0,
    share: bool = True,
) -> list[Completion]:
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
        share: what conversations about the same images have in common is computed once, where the
            model is prepared for it (`policy.load.share_prefixes`).
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
    options = {"max_new_tokens": max_new_tokens, "do_sample": sample, **drawing}
    obstacle = policy.family.unshared or sharing_obstacle(policy.model)
    obstacle = obstacle or generation_obstacle(policy.model, options)
    if share and obstacle is None:
        prompts = Prompt.of_batch(inputs)
        counts = [len(group) for group in flat]
        row_images = RowImages.split(
            inputs.get("pixel_values"), inputs.get("image_grid_thw"), counts
        )
        groups = group_by_images(prompts, row_images)
        completions = generate_shared(policy.model, prompts, row_images, groups, **options)
    else:
        output = policy.model.generate(**inputs, **options)
        completions = output[:, inputs["input_ids"].shape[1] :]
    texts = processor.batch_decode(completions, skip_special_tokens=True)
    ends = policy.model.generation_config.eos_token_id
    kept = completions_of(completions, [ends] if isinstance(ends, int) else ends or [])
    return [Completion(text, tuple(ids)) for text, ids in zip(texts, kept, strict=True)]

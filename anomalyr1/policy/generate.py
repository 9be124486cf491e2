"""Completions of many prompts, in batches; what prompts have in common is computed once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from PIL import Image
from transformers import LogitsProcessorList, TextStreamer

from anomalyr1.policy.load import Policy
from anomalyr1.policy.prepared import Asked, prepare_conversations
from anomalyr1.policy.seeded_draw import SeededDraw
from anomalyr1.shared_prefix.rollout import completions_of, generation_obstacle


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


def complete(
    policy: Policy,
    conversations: Sequence[list[dict[str, Any]]],
    images: Sequence[Sequence[Image.Image]],
    *,
    max_new_tokens: int,
    sample: bool = False,
    temperature: float = 1.0,
    share: bool = True,
    settings: Mapping[str, Any] | None = None,
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
            model is prepared for it (`shared_prefix.attention.prepare`).
        settings: further options of transformers' `generate`, which hold where they differ.
    """
    share = share and generation_obstacle(policy.model, settings or {}) is None
    asked = prepare_conversations(policy, conversations, images, share=share)
    return complete_asked(
        asked,
        max_new_tokens=max_new_tokens,
        sample=sample,
        temperature=temperature,
        settings=settings,
    )


@torch.inference_mode()
def complete_asked(
    asked: Asked,
    rows: Sequence[int] | None = None,
    *,
    max_new_tokens: int,
    sample: bool = False,
    temperature: float = 1.0,
    on_text: Callable[[str], None] | None = None,
    said: Sequence[str] | None = None,
    seeds: Sequence[int] | None = None,
    settings: Mapping[str, Any] | None = None,
) -> list[Completion]:
    """`complete` for some of the conversations of a prepared batch.

    Args:
        asked: the batch.
        rows: of its conversations, one may come more than once; None for all.
        max_new_tokens: completion budget.
        sample: draw from the distribution instead of its mode.
        temperature: of the draw.
        on_text: called with each piece of text as it is written; for one row alone.
        said: what the policy's turn in each row begins with, which is no part of the completion.
        seeds: draw each row's completion from its own seed at `temperature`, whatever the batch;
            without `sample`.
        settings: further options of transformers' `generate`, which hold where they differ.
    """
    rows = list(range(asked.size)) if rows is None else list(rows)
    if not rows:
        return []
    processor: Any = asked.policy.processor
    drawing = {"temperature": temperature, "top_k": 0, "top_p": 1.0} if sample else {}
    # A checkpoint's own penalty (Qwen2.5-VL's is 1.05) would make greedy something else, and count
    # the tokens of prompt and padding as said before.
    plain = {"do_sample": sample, "repetition_penalty": 1.0}
    options: dict[str, Any] = {"max_new_tokens": max_new_tokens, **plain, **drawing}
    options |= settings or {}
    if seeds is not None:
        options["logits_processor"] = LogitsProcessorList([SeededDraw(seeds, temperature)])
    if on_text is not None:
        options["streamer"] = _Told(processor.tokenizer, on_text)
    before = (
        processor.tokenizer(list(said), add_special_tokens=False)["input_ids"] if said else None
    )
    tokens = asked.generate(rows, before or [()] * len(rows), options)
    texts = processor.batch_decode(tokens, skip_special_tokens=True)
    ends = asked.policy.model.generation_config.eos_token_id
    kept = completions_of(tokens, [ends] if isinstance(ends, int) else ends or [])
    return [Completion(text, tuple(ids)) for text, ids in zip(texts, kept, strict=True)]


class _Told(TextStreamer):  # type: ignore[misc]
    """Hands over text as whole words are written."""

    def __init__(self, tokenizer: Any, tell: Callable[[str], None]) -> None:
        super().__init__(tokenizer, skip_prompt=True, skip_special_tokens=True)
        self._tell = tell

    def on_finalized_text(self, text: str, stream_end: bool = False) -> None:
        """Called by the base class."""
        if text:
            self._tell(text)

"""A batch of conversations made ready for a policy once, to be answered and weighed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from anomalyr1.policy.load import Policy
from anomalyr1.shared_prefix.attention import sharing_obstacle
from anomalyr1.shared_prefix.images_once import fingerprint, prepared_once
from anomalyr1.shared_prefix.prefill import KeptPrefix, Prefilled, keep, prefill
from anomalyr1.shared_prefix.prefixes import Prompt, common_prefix, group_by_images, left_padded
from anomalyr1.shared_prefix.rollout import generation_obstacle
from anomalyr1.shared_prefix.vision import RowImages

Messages = list[dict[str, Any]]


@dataclass
class KeptReferences:
    """How the prompts of a product begin, reference images and all, kept from batch to batch.

    The oldest in use is let go where there are more than `most`: of the 3B policy, one reference of
    480,000 pixels holds about 23 MB in bfloat16.
    """

    most: int = 8
    _held: dict[tuple[str, tuple[bytes, ...]], KeptPrefix] = field(default_factory=dict)

    def of(self, policy: Policy, head: str, images: Sequence[Image.Image]) -> KeptPrefix:
        """The beginning that reads `head`, which ends on the placeholder of the last image."""
        key = head, tuple(fingerprint(image) for image in images)
        held = self._held.pop(key, None)
        if held is None:
            inputs = _processed(policy, [head], [list(images)])
            shown = RowImages.split(inputs["pixel_values"], inputs["image_grid_thw"], [len(images)])
            held = keep(policy.model, Prompt.of_batch(inputs)[0], shown)
        self._held[key] = held
        while len(self._held) > self.most:
            del self._held[next(iter(self._held))]
        return held


@dataclass
class Asked:
    """B conversations as tokens and pixels.

    Attributes:
        policy: that is asked.
        prompts: the tokens of each.
        images: of each, those of a kept beginning left out; None without any.
        share: whether what they have in common is computed once.
        kept: how all of them begin, computed before.
    """

    policy: Policy
    prompts: list[Prompt]
    images: RowImages | None
    share: bool
    kept: KeptPrefix | None = None
    _prefilled: Prefilled | None = None

    @property
    def size(self) -> int:
        """Conversations."""
        return len(self.prompts)

    def add(self, alike: Sequence[int], conversations: Sequence[Messages]) -> list[int]:
        """Take in conversations that differ from some of these behind their last image alone.

        Their images are neither prepared nor held again. Nothing may have been answered yet.

        Args:
            alike: for each the place of the one that begins as it does.
            conversations: what `prompts.build_messages` gave.

        Returns:
            Their places.
        """
        assert self._prefilled is None, "beginnings are computed for all conversations at once"
        processor: Any = self.policy.processor
        first = self.size
        for place, messages in zip(alike, conversations, strict=True):
            text = processor.apply_chat_template(
                messages, tokenize=False, add_generation_prompt=True
            )
            # Text behind a placeholder is tokenized by itself: that is a special token.
            after = text.rpartition(processor.image_token)[2]
            ids = processor.tokenizer(after, add_special_tokens=False)["input_ids"]
            prompt = self.prompts[place]
            begun = prompt.cut(0, prompt.illustrated)
            self.prompts.append(begun.then(prompt.ids.new_tensor(ids)))
            if self.images is not None:
                self.images.pixels.append(self.images.pixels[place])
                self.images.grids.append(self.images.grids[place])
        return list(range(first, self.size))

    def generate(
        self, rows: Sequence[int], said: Sequence[Sequence[int]], options: dict[str, Any]
    ) -> Tensor:
        """(R, C) tokens that follow some of the conversations and what was said in them.

        `generate` has these options. A conversation may come more than once.
        """
        prefilled = self._beginnings()
        if prefilled is not None:
            return prefilled.generate(rows, said, **options)
        inputs = self._whole(rows, said)
        output: Tensor = self.policy.model.generate(**inputs, **options)
        return output[:, inputs["input_ids"].size(1) :]

    def logits_after(self, rows: Sequence[int], said: Sequence[Sequence[int]]) -> Tensor:
        """(R, vocabulary) logits of the token after a conversation and what was said in it."""
        prefilled = self._beginnings()
        if prefilled is not None:
            return prefilled.logits_after(rows, said)
        inputs = self._whole(rows, said)
        output = self.policy.model(**inputs, use_cache=False, logits_to_keep=1)
        logits: Tensor = output.logits[:, -1]
        return logits

    def _beginnings(self) -> Prefilled | None:
        """What the conversations share, computed when it is first wanted; None where nothing is."""
        if self._prefilled is None and self.share:
            groups = group_by_images(self.prompts, self.images)
            if all(common_prefix([self.prompts[row].ids for row in group]) for group in groups):
                self._prefilled = prefill(
                    self.policy.model, self.prompts, self.images, groups, self.kept
                )
        return self._prefilled

    def _whole(self, rows: Sequence[int], said: Sequence[Sequence[int]]) -> dict[str, Tensor]:
        """Inputs of a model that shares nothing."""
        followed = [
            self.prompts[row].then(self.prompts[row].ids.new_tensor(list(tokens)).long())
            for row, tokens in zip(rows, said, strict=True)
        ]
        inputs = left_padded(followed, self.policy.processor.tokenizer.pad_token_id or 0)
        return {**inputs, **({} if self.images is None else self.images.batch(rows))}


@torch.inference_mode()
def prepare_conversations(
    policy: Policy,
    conversations: Sequence[Messages],
    images: Sequence[Sequence[Image.Image]],
    *,
    share: bool = True,
    references: int = 0,
    kept: KeptReferences | None = None,
) -> Asked:
    """Make conversations ready to be answered; nothing is computed of them yet.

    Args:
        policy: model in evaluation mode and its processor.
        conversations: what `prompts.build_messages` gave.
        images: the images of each conversation, in placeholder order.
        share: what conversations about the same images have in common is computed once, where the
            model is prepared for it (`shared_prefix.attention.prepare`).
        references: how many images all conversations begin with alike.
        kept: where the beginning up to the last of these is kept, for batches to come.
    """
    processor: Any = policy.processor
    texts = [
        processor.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        for messages in conversations
    ]
    shown = [list(group) for group in images]
    obstacle = sharing_obstacle(policy.model)
    share = share and (obstacle or generation_obstacle(policy.model, {})) is None
    beginning = None
    if share and kept is not None and references:
        # Placeholders are special tokens: text on both sides of one is tokenized by itself.
        mark = processor.image_token
        parts = texts[0].split(mark)[:references]
        head = mark.join([*parts, ""])
        if all(text.startswith(head) for text in texts):
            beginning = kept.of(policy, head, shown[0][:references])
            texts = [text.removeprefix(head) for text in texts]
            shown = [group[references:] for group in shown]
    inputs = _processed(policy, texts, shown)
    prompts = Prompt.of_batch(inputs)
    if beginning is not None:
        prompts = [beginning.prompt.then(prompt.ids, prompt.kinds) for prompt in prompts]
    counts = [len(group) for group in shown]
    row_images = RowImages.split(inputs.get("pixel_values"), inputs.get("image_grid_thw"), counts)
    return Asked(policy, prompts, row_images, share, beginning)


def _processed(
    policy: Policy, texts: Sequence[str], images: Sequence[Sequence[Image.Image]]
) -> Any:
    """What the processor makes of them, padded, on the device of the policy."""
    processor: Any = policy.processor
    with prepared_once(processor.image_processor):
        return processor(
            text=list(texts),
            images=[list(group) for group in images] if any(images) else None,
            padding=True,
            return_tensors="pt",
            add_special_tokens=False,
        ).to(policy.model.device)

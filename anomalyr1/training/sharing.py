"""GRPOTrainer on shared prefixes: the rollout and every log-probability pass."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import numpy as np
import torch
from torch import Tensor
from trl import GRPOTrainer
from trl.models import unwrap_model_for_generation
from trl.trainer.utils import pad

from anomalyr1.policy.generate import generate_shared
from anomalyr1.policy.images_once import prepared_once, see_once
from anomalyr1.policy.vision import RowImages, backbone_of
from anomalyr1.training.regrouping import regroup
from anomalyr1.training.shared_prefix import Packed, group_rows, pack, unpack
from anomalyr1.training.split_attention import NAME

# Attention kernels of transformers that take a mask of any shape.
MASKED_KERNELS = ("sdpa", "eager")


class SharedPrefixTrainer(GRPOTrainer):  # type: ignore[misc]
    """Overrides TRL's two passes over prompts, and what they are fed; everything else is TRL's.

    The rollout and the log-probabilities run on one copy of a prompt. For that the completions of a
    prompt stay in one micro-batch, and each image is prepared and seen once.

    Where a prefix cannot be shared (another model class, FlashAttention-2, which takes no mask) it
    falls back to stock TRL and says so in one line.
    """

    # Tokens of one chunk in the passes without gradients (old and reference log-probabilities).
    chunk_tokens = 32768
    _buffered_inputs: Any

    def __init__(self, *args: Any, shared_prefix: bool = True, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        obstacle = sharing_obstacle(self.model) if shared_prefix else None
        if obstacle and self.accelerator.is_main_process:
            print(f"shared prefix: off, {obstacle}; prompts are computed once a completion")
        self.shared_prefix = shared_prefix and obstacle is None
        if self.shared_prefix:
            models = [self.model]
            if self.ref_model is not None:
                models.append(self.accelerator.unwrap_model(self.ref_model))
            for held in models:
                see_once(backbone_of(held).visual)
                _split(held)

    def _prepare_inputs(self, generation_batch: Any) -> dict[str, Any]:
        """The next micro-batch; the completions of a prompt are kept together."""
        before = self._buffered_inputs
        inputs: dict[str, Any] = super()._prepare_inputs(generation_batch)
        if not self.shared_prefix or not self.model.training or self._buffered_inputs is before:
            return inputs
        self._buffered_inputs = regroup(
            self._buffered_inputs,
            self.args.gradient_accumulation_steps,
            self._tokenizer.pad_token_id,
        )
        batch: dict[str, Any] = self._buffered_inputs[self._step % self.args.steps_per_generation]
        return batch

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        """Sample and score; each image is prepared once for all of its completions."""
        once = self.shared_prefix and self._is_vlm
        with prepared_once(self.processing_class.image_processor) if once else nullcontext():
            batch: dict[str, Any] = super()._generate_and_score_completions(inputs)
        return batch

    def _get_per_token_logps_and_entropies(
        self,
        model: Any,
        input_ids: Tensor,
        attention_mask: Tensor,
        logits_to_keep: int,
        batch_size: int | None = None,
        compute_entropy: bool = False,
        compute_aux_loss: bool = False,
        **vision: Any,
    ) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """Log-probabilities and entropies (B, C) of the completions, one prompt copy a group."""
        if not self.shared_prefix or compute_aux_loss:
            stock: tuple[Tensor, Tensor | None, Tensor | None] = (
                super()._get_per_token_logps_and_entropies(
                    model,
                    input_ids,
                    attention_mask,
                    logits_to_keep,
                    batch_size=batch_size,
                    compute_entropy=compute_entropy,
                    compute_aux_loss=compute_aux_loss,
                    **vision,
                )
            )
            return stock
        rows, width = len(input_ids), logits_to_keep
        images = RowImages.split(
            vision.get("pixel_values"), vision.get("image_grid_thw"), vision.get("num_images")
        )
        groups = group_rows(
            input_ids[:, :-width], attention_mask[:, :-width], images.pixels if images else None
        )
        logps = entropies = None
        for chunk in self._chunks(groups, attention_mask):
            packed, inputs = self._pack(
                model, chunk, input_ids, attention_mask, width, vision, images
            )
            with self.accelerator.autocast():
                output = model(**inputs, labels=packed.labels, fused_lm_head=True, use_cache=False)
            # The value at position t is that of token t + 1; move it onto the token it speaks of.
            shifted = torch.nn.functional.pad(output.log_probs, (1, 0))
            part = unpack(packed, shifted, rows, width)
            logps = part if logps is None else logps + part
            if compute_entropy:
                shifted = torch.nn.functional.pad(output.entropy, (1, 0))
                part = unpack(packed, shifted, rows, width)
                entropies = part if entropies is None else entropies + part
        assert logps is not None
        return logps, entropies, None

    def _chunks(self, groups: list[list[int]], attention_mask: Tensor) -> list[list[list[int]]]:
        """All groups at once where gradients flow (one forward a backward), else by budget."""
        if torch.is_grad_enabled():
            return [groups]
        lengths = attention_mask.sum(1).tolist()
        chunks: list[list[list[int]]] = [[]]
        filled = 0
        for group in groups:
            tokens = sum(lengths[row] for row in group)
            if chunks[-1] and filled + tokens > self.chunk_tokens:
                chunks.append([])
                filled = 0
            chunks[-1].append(group)
            filled += tokens
        return chunks

    def _pack(
        self,
        model: Any,
        groups: list[list[int]],
        input_ids: Tensor,
        attention_mask: Tensor,
        width: int,
        vision: dict[str, Any],
        images: RowImages | None,
    ) -> tuple[Packed, dict[str, Any]]:
        types = vision.get("mm_token_type_ids")
        if types is None:
            types = torch.zeros_like(input_ids)
        backbone = backbone_of(self.accelerator.unwrap_model(model))
        prompts, kinds, positions = [], [], []
        for group in groups:
            row = group[0]
            keep = attention_mask[row, :-width].bool()
            prompt, kind = input_ids[row, :-width][keep], types[row, :-width][keep]
            position, _ = backbone.get_rope_index(
                prompt[None],
                mm_token_type_ids=kind[None],
                image_grid_thw=images.grids[row] if images and len(images.grids[row]) else None,
            )
            prompts.append(prompt)
            kinds.append(kind)
            positions.append(position[:, 0])
        packed = pack(
            groups,
            prompts,
            kinds,
            positions,
            input_ids[:, -width:],
            attention_mask[:, -width:],
            self._tokenizer.pad_token_id,
        )
        inputs: dict[str, Any] = {
            "input_ids": packed.input_ids,
            **_who_sees_whom(backbone, packed),
            "position_ids": packed.position_ids,
            "mm_token_type_ids": packed.mm_token_type_ids,
        }
        if images:
            inputs.update(images.batch([group[0] for group in groups]))
        return packed, inputs

    def _generate_single_turn(
        self,
        prompt_ids: list[list[int]],
        images: list[Any] | None,
        multimodal_fields: dict[str, Any],
        num_generations: int,
        has_tool_images: bool = False,
    ) -> tuple[list[list[int]], Any]:
        """Sample completions; each distinct prompt is run through the model once."""
        if not self.shared_prefix or self.use_vllm or self.use_transformers_continuous_batching:
            stock: tuple[list[list[int]], Any] = super()._generate_single_turn(
                prompt_ids, images, multimodal_fields, num_generations, has_tool_images
            )
            return stock
        device = self.accelerator.device
        tensors = [torch.tensor(ids, device=device) for ids in prompt_ids]
        pad_id = self._tokenizer.pad_token_id
        ids = pad(tensors, padding_value=pad_id, padding_side="left")
        mask = pad([torch.ones_like(t) for t in tensors], padding_value=0, padding_side="left")
        kinds = multimodal_fields.get("mm_token_type_ids")
        types = torch.zeros_like(ids)
        if kinds is not None:
            types = pad(
                [torch.as_tensor(kind, device=device) for kind in kinds],
                padding_value=0,
                padding_side="left",
            )
        row_images = RowImages.split(
            _on_device(multimodal_fields.get("pixel_values"), device),
            _on_device(multimodal_fields.get("image_grid_thw"), device),
            None if images is None else [len(group or ()) for group in images],
        )
        groups = group_rows(ids, mask, row_images.pixels if row_images else None)
        with (
            unwrap_model_for_generation(
                self.model_wrapped,
                self.accelerator,
                gather_deepspeed3_params=self.args.ds3_gather_for_generation,
                generation_kwargs=self.generation_kwargs,
                gradient_checkpointing_kwargs=self.args.gradient_checkpointing_kwargs,
            ) as model,
            torch.no_grad(),
            self._dist.summon_full_params(self.model_wrapped, recurse=False),
        ):
            output = generate_shared(
                model,
                groups,
                {"input_ids": ids, "attention_mask": mask, "mm_token_type_ids": types},
                row_images,
                generation_config=self.generation_config,
            )
        completions = output[:, ids.size(1) :].cpu()
        ends = torch.isin(completions, torch.tensor(self.eos_token_ids))
        first = torch.where(ends.any(1), ends.int().argmax(1) + 1, completions.size(1))
        kept = [row[:end].tolist() for row, end in zip(completions, first.tolist(), strict=True)]
        return kept, None


def sharing_obstacle(model: Any) -> str | None:
    """Why this model cannot share prefixes, or None when it can."""
    try:
        backbone = backbone_of(model)
    except TypeError:
        return f"{type(model).__name__} is not a Qwen2.5-VL"
    kernel = backbone.config._attn_implementation
    if kernel not in MASKED_KERNELS:
        return f"the {kernel} kernel takes no block mask (policy.attention=sdpa does)"
    return None


def _who_sees_whom(backbone: Any, packed: Packed) -> dict[str, Any]:
    """The layout for split attention, or a mask of all tokens by all tokens for eager."""
    if backbone.language_model.config._attn_implementation == NAME:
        return {"attention_mask": {"full_attention": None}, "layout": packed.layout}
    mask = packed.attention_mask()
    floor = torch.finfo(torch.float32).min
    return {"attention_mask": torch.zeros(mask.shape, device=mask.device).masked_fill(~mask, floor)}


def _split(model: Any) -> None:
    """Let the language model of a policy attend by groups where it would use SDPA."""
    config = backbone_of(model).language_model.config
    if config._attn_implementation == "sdpa":
        config._attn_implementation = NAME


def _on_device(values: Any, device: torch.device) -> Tensor | None:
    """The processor hands over a tensor or a list of arrays."""
    if values is None:
        return None
    return (
        values.to(device)
        if isinstance(values, Tensor)
        else torch.as_tensor(np.array(values)).to(device)
    )

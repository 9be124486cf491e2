"""GRPOTrainer on shared prefixes: the rollout and every log-probability pass."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import numpy as np
import torch
from torch import Tensor
from trl import GRPOTrainer
from trl.extras.profiling import profiling_context
from trl.models import unwrap_model_for_generation

from anomalyr1.policy.load import share_prefixes
from anomalyr1.shared_prefix.attention import prepare, shares_attention
from anomalyr1.shared_prefix.flex_attention import flex_obstacle, pairs_of
from anomalyr1.shared_prefix.images_once import prepared_once
from anomalyr1.shared_prefix.packing import Packed, block_mask, chunked, pack, unpack
from anomalyr1.shared_prefix.prefixes import Prompt, group_equal
from anomalyr1.shared_prefix.regrouping import regroup
from anomalyr1.shared_prefix.rollout import generate_shared, generation_obstacle
from anomalyr1.shared_prefix.vision import RowImages, backbone_of, spare_frozen_tower


class SharedPrefixTrainer(GRPOTrainer):  # type: ignore[misc]
    """Overrides TRL's two passes over prompts, and what they are fed; everything else is TRL's.

    The rollout and the log-probabilities run on one copy of a prompt. For that the completions of a
    prompt stay in one micro-batch, and each image is prepared and seen once.

    Where a prefix cannot be shared (another model class, FlashAttention-2, which takes no mask) it
    falls back to stock TRL and says so in one line.
    """

    # Tokens of one chunk in the passes without gradients (old and reference log-probabilities).
    chunk_tokens = 8192
    _buffered_inputs: Any

    def __init__(
        self, *args: Any, shared_prefix: bool = True, flex: bool = False, **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        spare_frozen_tower(self.model)
        obstacle = share_prefixes(self.model) if shared_prefix else None
        self.shared_prefix = shared_prefix and obstacle is None
        self._say(obstacle, "prompts are computed once a completion", "off")
        self.shared_rollout = self.regroups = False
        if self.shared_prefix:
            obstacle = self._regrouping_obstacle()
            self.regroups = obstacle is None
            if self.args.gradient_accumulation_steps > 1:
                self._say(obstacle, "completions stay where TRL's shuffle puts them")
            if self.ref_model is not None:
                prepare(self.accelerator.unwrap_model(self.ref_model))
            obstacle = self._rollout_obstacle()
            self.shared_rollout = obstacle is None
            self._say(obstacle, "rollouts are sampled as TRL does")
        obstacle = self._flex_obstacle() if flex else None
        self.flex = flex and obstacle is None
        self._say(obstacle, "SDPA takes over", "off", what="FlexAttention")

    def _say(
        self,
        obstacle: str | None,
        consequence: str,
        how: str = "in part",
        what: str = "shared prefix",
    ) -> None:
        if obstacle and self.accelerator.is_main_process:
            print(f"{what}: {how}, {obstacle}; {consequence}")

    def _flex_obstacle(self) -> str | None:
        """Why packed groups are left to SDPA though FlexAttention was asked for."""
        if not self.shared_prefix or not shares_attention(self.model):
            return "there are no packed groups without shared prefixes"
        config = backbone_of(self.model).language_model.config
        half = {"bf16": torch.bfloat16, "fp16": torch.float16}
        dtype = half.get(self.accelerator.mixed_precision, self.model.dtype)
        return flex_obstacle(config, self.accelerator.device, dtype)

    def _rollout_obstacle(self) -> str | None:
        """Why sampling goes TRL's way though log-probabilities share their prompts."""
        if self.use_vllm:
            return "vLLM samples, with a prefix cache of its own"
        if self.use_transformers_continuous_batching:
            return "transformers batches continuously"
        return generation_obstacle(self.model, self.generation_kwargs)

    def _regrouping_obstacle(self) -> str | None:
        """Why it matters which micro-batch of a step a completion is in."""
        if self.top_entropy_quantile < 1.0:
            return "grpo.top_entropy_quantile ranks tokens within a micro-batch"
        if self._entropy_bonus_enabled:
            return "the entropy bonus is a mean over a micro-batch"
        return None

    def _prepare_inputs(self, generation_batch: Any) -> dict[str, Any]:
        """The next micro-batch; the completions of a prompt are kept together."""
        before = self._buffered_inputs
        inputs: dict[str, Any] = super()._prepare_inputs(generation_batch)
        fresh = self._buffered_inputs is not before
        if not self.regroups or not self.model.training or not fresh:
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
        width = logits_to_keep
        images = RowImages.split(
            vision.get("pixel_values"), vision.get("image_grid_thw"), vision.get("num_images")
        )
        types = vision.get("mm_token_type_ids")
        of_prompts = {
            "input_ids": input_ids[:, :-width],
            "attention_mask": attention_mask[:, :-width],
            **({} if types is None else {"mm_token_type_ids": types[:, :-width]}),
        }
        prompts = Prompt.of_batch(of_prompts)
        completion_ids, completion_mask = input_ids[:, -width:], attention_mask[:, -width:]
        groups = group_equal(prompts, images)
        logps = entropies = None
        # One forward pass a backward pass: chunks only where no gradients flow.
        budget = None if torch.is_grad_enabled() else self.chunk_tokens
        for chunk, spare in self._in_step(chunked(groups, prompts, completion_mask, budget)):
            packed, inputs = self._pack(
                model, chunk, prompts, images, completion_ids, completion_mask
            )
            with self.accelerator.autocast():
                output = model(**inputs, labels=packed.labels, fused_lm_head=True, use_cache=False)
            if spare:
                continue  # computed because another process has a chunk more
            part = unpack(packed, _shifted(output.log_probs), len(input_ids), width)
            logps = part if logps is None else logps + part
            if compute_entropy:
                part = unpack(packed, _shifted(output.entropy), len(input_ids), width)
                entropies = part if entropies is None else entropies + part
        assert logps is not None
        return logps, entropies, None

    def _in_step(self, chunks: list[list[list[int]]]) -> list[tuple[list[list[int]], bool]]:
        """The chunks, each with False; the last again with True until all processes have as many.

        Where weights are split over the processes a forward pass is theirs together, so that one
        which made fewer passes would leave the others waiting.
        """
        own = [(chunk, False) for chunk in chunks]
        if torch.is_grad_enabled() or self.accelerator.num_processes == 1:
            return own
        count = torch.tensor([len(chunks)], device=self.accelerator.device)
        most = int(self.accelerator.gather(count).max())
        return own + [(chunks[-1], True)] * (most - len(chunks))

    def _pack(
        self,
        model: Any,
        groups: list[list[int]],
        prompts: list[Prompt],
        images: RowImages | None,
        completion_ids: Tensor,
        completion_mask: Tensor,
    ) -> tuple[Packed, dict[str, Any]]:
        """The groups as one sequence, and what the model is called with."""
        backbone = backbone_of(self.accelerator.unwrap_model(model))
        firsts = [group[0] for group in groups]
        positions = []
        for row in firsts:
            grid = images.grids[row] if images and len(images.grids[row]) else None
            position, _ = backbone.get_rope_index(
                prompts[row].ids[None],
                mm_token_type_ids=prompts[row].kinds[None],
                image_grid_thw=grid,
            )
            positions.append(position[:, 0])
        packed = pack(
            groups, [prompts[row] for row in firsts], positions, completion_ids, completion_mask
        )
        if shares_attention(backbone):
            who: dict[str, Any] = {
                "attention_mask": {"full_attention": None},
                "layout": packed.layout,
            }
            if self.flex:
                who["pairs"] = pairs_of(packed.layout)
        else:
            unseen = ~block_mask(packed.layout)
            bias = torch.zeros(unseen.shape, device=unseen.device)
            who = {"attention_mask": bias.masked_fill(unseen, torch.finfo(torch.float32).min)}
        inputs = {
            "input_ids": packed.input_ids,
            "position_ids": packed.position_ids,
            "mm_token_type_ids": packed.mm_token_type_ids,
            **who,
            **(images.batch(firsts) if images else {}),
        }
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
        if not self.shared_rollout or has_tool_images:
            stock: tuple[list[list[int]], Any] = super()._generate_single_turn(
                prompt_ids, images, multimodal_fields, num_generations, has_tool_images
            )
            return stock
        device = self.accelerator.device
        ids = [torch.tensor(row, device=device) for row in prompt_ids]
        kinds = multimodal_fields.get("mm_token_type_ids")
        if kinds is None:
            kinds = [[0] * len(row) for row in prompt_ids]
        prompts = [
            Prompt(row, torch.as_tensor(kind, device=device))
            for row, kind in zip(ids, kinds, strict=True)
        ]
        row_images = RowImages.split(
            _on_device(multimodal_fields.get("pixel_values"), device),
            _on_device(multimodal_fields.get("image_grid_thw"), device),
            None if images is None else [len(group or ()) for group in images],
        )
        groups = group_equal(prompts, row_images)
        with (
            profiling_context(self, "transformers.generate"),
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
            completions = generate_shared(
                model, prompts, row_images, groups, generation_config=self.generation_config
            ).cpu()
        ends = torch.isin(completions, torch.tensor(self.eos_token_ids))
        first = torch.where(ends.any(1), ends.int().argmax(1) + 1, completions.size(1))
        kept = [row[:end].tolist() for row, end in zip(completions, first.tolist(), strict=True)]
        return kept, None


def _shifted(values: Tensor) -> Tensor:
    """The value at position t is that of token t + 1; move it onto the token it speaks of."""
    return torch.nn.functional.pad(values, (1, 0))


def _on_device(values: Any, device: torch.device) -> Tensor | None:
    """The processor hands over a tensor or a list of arrays."""
    if values is None:
        return None
    return (
        values.to(device)
        if isinstance(values, Tensor)
        else torch.as_tensor(np.array(values)).to(device)
    )

"""Shared prefixes in TRL's trainer: what shares them, why the rest does not, and both passes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from accelerate.utils import is_peft_model
from torch import Tensor
from transformers.integrations import is_deepspeed_zero3_enabled
from trl import GRPOTrainer
from trl.extras.profiling import profiling_context
from trl.models import unwrap_model_for_generation

from anomalyr1.shared_prefix.attention import prepare, shares_attention
from anomalyr1.shared_prefix.flex_attention import flex_obstacle
from anomalyr1.shared_prefix.logprobs import shared_logps
from anomalyr1.shared_prefix.packing import Packed
from anomalyr1.shared_prefix.prefixes import Prompt, cheapest_beginnings, group_equal
from anomalyr1.shared_prefix.rollout import generate_shared, generation_obstacle
from anomalyr1.shared_prefix.trained_rows import pack_rows
from anomalyr1.shared_prefix.vision import RowImages, backbone_of
from anomalyr1.terminal import notes


@dataclass
class Sharing:
    """What is computed once for all that share it.

    Attributes:
        logps: prompts, in the log-probability passes.
        rollout: prompts, in the rollout.
        regroups: the completions of a prompt are brought into one micro-batch.
        flex: FlexAttention serves packed groups.
        chunk_completions: tokens of completions computed at once; None is no limit.
        by_image: different prompts share their images.
    """

    logps: bool = False
    rollout: bool = False
    regroups: bool = False
    flex: bool = False
    chunk_completions: int | None = None
    by_image: bool = False


def set_up_sharing(
    trainer: GRPOTrainer, *, wanted: bool, flex: bool, chunk_completions: int | None = None
) -> Sharing:
    """Prepare the trainer's models and find out what can be shared; each obstacle is one line.

    Where a prefix cannot be shared (another model class, FlashAttention-2, which takes no mask)
    stock TRL does the work.

    Args:
        trainer: with its model, before training.
        wanted: share prefixes at all.
        flex: let FlexAttention serve packed groups, where it can.
        chunk_completions: tokens of completions computed at once, where there may be a limit.
    """

    def say(obstacle: str | None, consequence: str, how: str = "in part", what: str = "") -> bool:
        if obstacle and trainer.accelerator.is_main_process:
            notes().print(f"{what or 'shared prefix'}: {how}, {obstacle}; {consequence}")
        return obstacle is None

    sharing = Sharing()
    obstacle = prepare(trainer.model) if wanted else None
    shares = say(obstacle, "prompts are computed once a completion", "off")
    if wanted and shares:
        sharing.logps = True
        obstacle = _regrouping_obstacle(trainer)
        sharing.regroups = obstacle is None
        if trainer.args.gradient_accumulation_steps > 1:
            say(obstacle, "completions stay where TRL's shuffle puts them")
        if trainer.ref_model is not None:
            prepare(trainer.accelerator.unwrap_model(trainer.ref_model))
        sharing.rollout = say(_rollout_obstacle(trainer), "rollouts are sampled as TRL does")
    if flex:
        obstacle = _flex_obstacle(trainer, sharing)
        sharing.flex = say(obstacle, "SDPA takes over", "off", "FlexAttention")
    if chunk_completions and sharing.logps:
        obstacle = _chunking_obstacle(trainer)
        if say(obstacle, "all completions are computed at once", "off", "chunks of completions"):
            sharing.chunk_completions = chunk_completions
    return sharing


def shares_rows(trainer: Any) -> bool:
    """Prepare the model of a supervised training; what keeps it from sharing is one line."""
    obstacle = prepare(trainer.model)
    if obstacle and trainer.accelerator.is_main_process:
        notes().print(f"shared prefix: off, {obstacle}; images are computed once a question")
    return obstacle is None


def sample_shared(
    trainer: Any,
    prompt_ids: Sequence[Sequence[int]],
    images: Sequence[Any] | None,
    fields: Mapping[str, Any],
) -> Tensor:
    """Completions (B, C) of the trainer's policy; each distinct prompt is run through it once.

    Args:
        trainer: whose policy and sampling settings these are.
        prompt_ids: of B rows, unpadded.
        images: of each row; None without any.
        fields: what the processor made of the rows besides.
    """
    device = trainer.accelerator.device
    prompts = Prompt.of_rows(prompt_ids, fields.get("mm_token_type_ids"), device)
    counts = None if images is None else [len(group or ()) for group in images]
    row_images = RowImages.of_fields(fields, counts, device)
    with (
        profiling_context(trainer, "transformers.generate"),
        unwrap_model_for_generation(
            trainer.model_wrapped,
            trainer.accelerator,
            gather_deepspeed3_params=trainer.args.ds3_gather_for_generation,
            generation_kwargs=trainer.generation_kwargs,
            gradient_checkpointing_kwargs=trainer.args.gradient_checkpointing_kwargs,
        ) as model,
        torch.no_grad(),
        trainer._dist.summon_full_params(trainer.model_wrapped, recurse=False),
        _cast_once(trainer),
    ):
        alike = cheapest_beginnings if trainer.sharing.by_image else group_equal
        groups = alike(prompts, row_images)
        settings = trainer.generation_config
        return generate_shared(model, prompts, row_images, groups, generation_config=settings)


def _cast_once(trainer: Any) -> AbstractContextManager[Any]:
    """Autocast around a whole rollout instead of each of its passes alone.

    Where the outermost autocast is left, the 16-bit copies of weights that learn in float32 are let
    go: each token would make those of the whole model anew. Adapters are decoded without autocast
    (`prefill.decoder_of`), and FSDP casts by itself.
    """
    own = is_peft_model(trainer.model) or trainer.is_fsdp_enabled
    casting: AbstractContextManager[Any] = trainer.accelerator.autocast()
    return nullcontext() if own else casting


def score_shared(
    trainer: Any,
    model: Any,
    input_ids: Tensor,
    attention_mask: Tensor,
    width: int,
    entropy: bool,
    vision: Mapping[str, Any],
) -> tuple[Tensor, Tensor | None]:
    """Log-probabilities and entropies (B, C) of the completions, one prompt copy a group.

    Args:
        trainer: whose pass it is.
        model: as the trainer holds it, wrapped or not.
        input_ids: (B, P + C).
        attention_mask: (B, P + C), 1 on tokens.
        width: C.
        entropy: compute entropies too.
        vision: pixels, grids, images a row and token types, as TRL hands them over.
    """
    types = vision.get("mm_token_type_ids")
    of_prompts = {
        "input_ids": input_ids[:, :-width],
        "attention_mask": attention_mask[:, :-width],
        **({} if types is None else {"mm_token_type_ids": types[:, :-width]}),
    }
    learns = torch.is_grad_enabled()
    return shared_logps(
        model,
        Prompt.of_batch(of_prompts),
        RowImages.of_batch(vision),
        input_ids[:, -width:],
        attention_mask[:, -width:],
        score=partial(_fused_score, entropy=entropy),
        backbone=backbone_of(trainer.accelerator.unwrap_model(model)),
        # One forward pass a backward pass: chunks only where no gradients flow.
        budget=None if learns else trainer.chunk_tokens,
        passes=None if learns else partial(_most_passes, trainer.accelerator),
        flex=trainer.sharing.flex,
        chunk_tokens=trainer.sharing.chunk_completions,
        by_image=trainer.sharing.by_image,
        autocast=trainer.accelerator.autocast,
    )


def rows_packed(trainer: Any, model: Any) -> Callable[..., Any]:
    """The model as TRL's supervised loss calls it, with rows about the same images packed.

    What is not asked of the fused head, which sums over labels, goes through as it is.

    Args:
        trainer: whose model it is.
        model: as the trainer holds it, wrapped or not, prepared.
    """
    backbone = backbone_of(trainer.accelerator.unwrap_model(model))

    def call(**inputs: Any) -> Any:
        if not inputs.get("fused_lm_head"):
            return model(**inputs)
        _, packed = pack_rows(backbone, inputs)
        return model(**packed, fused_lm_head=True, use_cache=False)

    return call


def _most_passes(accelerator: Any, own: int) -> int:
    """Where weights are split over the processes, a pass is theirs together: all make it."""
    if accelerator.num_processes == 1:
        return own
    return int(accelerator.gather(torch.tensor([own], device=accelerator.device)).max())


def _fused_score(
    model: Any, inputs: dict[str, Any], packed: Packed, *, entropy: bool
) -> tuple[Tensor, Tensor | None]:
    """TRL's head that computes no logits; it gives at t what is said of token t + 1."""
    output = model(**inputs, labels=packed.labels, fused_lm_head=True, use_cache=False)
    pad = torch.nn.functional.pad
    return pad(output.log_probs, (1, 0)), pad(output.entropy, (1, 0)) if entropy else None


def _flex_obstacle(trainer: Any, sharing: Sharing) -> str | None:
    """Why packed groups are left to SDPA though FlexAttention was asked for."""
    if not sharing.logps or not shares_attention(trainer.model):
        return "there are no packed groups without shared prefixes"
    config = backbone_of(trainer.model).language_model.config
    half = {"bf16": torch.bfloat16, "fp16": torch.float16}
    dtype = half.get(trainer.accelerator.mixed_precision, trainer.model.dtype)
    return flex_obstacle(config, trainer.accelerator.device, dtype)


def _chunking_obstacle(trainer: Any) -> str | None:
    """Why all completions of a micro-batch are computed at once though chunks were asked for."""
    if not shares_attention(trainer.model):
        return "the eager kernel attends by a mask of all tokens"
    if trainer.is_fsdp_enabled or is_deepspeed_zero3_enabled():
        return "processes that hold a part of the weights each would need equally many"
    given = trainer.args.gradient_checkpointing_kwargs or {}
    if trainer.args.gradient_checkpointing and given.get("use_reentrant"):
        return "reentrant checkpointing gives the keys and values of a prompt no gradient"
    return None


def _rollout_obstacle(trainer: Any) -> str | None:
    """Why sampling goes TRL's way though log-probabilities share their prompts."""
    if trainer.use_vllm:
        return "vLLM samples, with a prefix cache of its own"
    if trainer.use_transformers_continuous_batching:
        return "transformers batches continuously"
    return generation_obstacle(trainer.model, trainer.generation_kwargs)


def _regrouping_obstacle(trainer: Any) -> str | None:
    """Why it matters which micro-batch of a step a completion is in."""
    if trainer.top_entropy_quantile < 1.0:
        return "grpo.top_entropy_quantile ranks tokens within a micro-batch"
    if trainer._entropy_bonus_enabled:
        return "the entropy bonus is a mean over a micro-batch"
    return None

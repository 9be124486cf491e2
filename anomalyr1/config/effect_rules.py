"""The table of keys that have an effect only where another one is as they need it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

from anomalyr1.published_prompts import WITHOUT_REASONING


@dataclasses.dataclass(frozen=True)
class Need:
    """What another key has to be: in words that follow its name, and as a test of its value."""

    words: str
    holds: Callable[[Any], bool]


@dataclasses.dataclass(frozen=True)
class Rule:
    """Keys that have an effect only where another is as they need it.

    Attributes:
        keys: by their dotted names, `*` in front for those of `grpo` and of `sft`.
        other: what they depend on; TERMS stands for the terms of the reward.
        need: what that has to be.
        only: the one value that depends on it; None where every value does.
        always: refuse a default that was written down, too.
        or_other: does as well as `other`, where that is null.
    """

    keys: tuple[str, ...]
    other: str
    need: Need
    only: Any = None
    always: bool = False
    or_other: str | None = None

    @property
    def others(self) -> tuple[str, ...]:
        """`other`, and what does as well."""
        return (self.other,) if self.or_other is None else (self.other, self.or_other)


def _one_of(*values: str) -> Need:
    return Need(f" one of {', '.join(values)}", lambda value: str(value) in values)


def _other_than(*values: str) -> Need:
    return Need(f" other than {', '.join(values)}", lambda value: str(value) not in values)


def _is(wanted: bool) -> Need:
    return Need(f"={str(wanted).lower()}", lambda value: bool(value) is wanted)


def _term(name: str) -> Need:
    return Need(f" with {name}", lambda terms: name in terms)


TERMS = "a reward"
_SET = Need(" to be set", lambda value: value is not None)
_ABOVE_0 = Need(" above 0", lambda value: value is not None and value > 0)
_CLIPPED = ("grpo", "bnpo", "dr_grpo", "dapo", "luspo")
_HUB = ("model_id", "token", "strategy", "private_repo", "always_push", "revision")
_SAMS = ("sam2", "sam2-transformers", "sam3-transformers")
_SERVER = (
    *("url", "server", "model", "images", "concurrency", "timeout", "retries", "backoff"),
    *("key_variable", "body"),
)
_COLOCATED = ("gpu_memory_utilization", "tensor_parallel_size", "enable_sleep_mode", "model_impl")
_IOU = ("similarity", "threshold", "label_aware")

RULES = (
    # The schedule, saving and logging: transformers.
    Rule(
        ("*.warmup_steps",),
        "*.lr_scheduler_type",
        _other_than("constant", "reduce_lr_on_plateau", "greedy"),
    ),
    Rule(
        ("*.adam_beta1", "*.adam_beta2"),
        "*.optim",
        _other_than("sgd", "adafactor", "adagrad", "rmsprop"),
    ),
    Rule(("*.save_steps",), "*.save_strategy", _one_of("steps")),
    Rule(("*.save_total_limit",), "*.save_strategy", _other_than("no")),
    Rule(("*.logging_steps",), "*.logging_strategy", _one_of("steps")),
    Rule(tuple(f"*.hub_{key}" for key in _HUB), "*.push_to_hub", _is(True)),
    Rule(("*.gradient_checkpointing_kwargs",), "*.gradient_checkpointing", _other_than("False")),
    Rule(("*.dataloader_persistent_workers",), "*.dataloader_num_workers", _ABOVE_0),
    # Held-out questions.
    Rule(
        (
            "data.heldout_limit",
            "early_stop_patience",
            "*.eval_strategy",
            "*.eval_steps",
            "*.eval_delay",
            "*.eval_on_start",
            "*.per_device_eval_batch_size",
            "*.load_best_model_at_end",
            "*.metric_for_best_model",
            "*.greater_is_better",
            "grpo.num_generations_eval",
            "sft.eval_packing",
        ),
        "data.heldout",
        _SET,
    ),
    # A mixture names its own.
    Rule(("data.root",), "data.benchmark", _SET, or_other="data.heldout"),
    Rule(("sft.packing_strategy",), "sft.packing", _is(True)),
    # The objective and the rollout: TRL's GRPOTrainer._compute_loss and its generation_config.
    Rule(("grpo.epsilon", "grpo.delta"), "grpo.loss_type", _one_of(*_CLIPPED)),
    Rule(("grpo.epsilon_high",), "grpo.loss_type", _one_of(*_CLIPPED, "cispo")),
    Rule(
        ("grpo.sapo_temperature_neg", "grpo.sapo_temperature_pos"),
        "grpo.loss_type",
        _one_of("sapo"),
    ),
    Rule(
        tuple(f"grpo.vespo_{key}" for key in ("k_pos", "k_neg", "lambda_pos", "lambda_neg")),
        "grpo.loss_type",
        _one_of("vespo"),
    ),
    Rule(("grpo.sync_ref_model", "grpo.use_bias_correction_kl", "guard.kl"), "grpo.beta", _ABOVE_0),
    Rule(
        ("grpo.ref_model_mixup_alpha", "grpo.ref_model_sync_steps"),
        "grpo.sync_ref_model",
        _is(True),
    ),
    Rule(
        tuple(f"grpo.entropy_{key}" for key in ("coef_min", "coef_max", "coef_delta", "target")),
        "grpo.use_adaptive_entropy",
        _is(True),
    ),
    Rule(
        ("grpo.top_k", "grpo.top_p", "grpo.min_p"),
        "grpo.generation_kwargs",
        Need(" without do_sample=false", lambda given: (given or {}).get("do_sample", True)),
    ),
    Rule(("grpo.vllm_*",), "grpo.use_vllm", _is(True), always=True),
    Rule(("sampler.engine", "guard.sampler"), "grpo.use_vllm", _is(True)),
    Rule(
        ("sampler.engine", *(f"grpo.vllm_{key}" for key in _COLOCATED)),
        "grpo.vllm_mode",
        _one_of("colocate"),
    ),
    Rule(
        ("grpo.vllm_server_*", "grpo.vllm_group_port"),
        "grpo.vllm_mode",
        _one_of("server"),
    ),
    Rule(
        tuple(f"grpo.vllm_importance_sampling_{key}" for key in ("mode", "clip_max", "clip_min")),
        "grpo.vllm_importance_sampling_correction",
        _is(True),
    ),
    Rule(
        (
            "grpo.num_completions_to_print",
            "grpo.log_unique_prompts",
            "grpo.log_completions_hub_repo",
            "grpo.log_multimodal",
        ),
        "grpo.log_completions",
        _is(True),
    ),
    # Our own sections.
    Rule(("signal.max_rounds",), "signal.zero_variance", _one_of("resample")),
    Rule(("reward.table",), TERMS, _term("consistency")),
    Rule(tuple(f"reward.iou.{key}" for key in _IOU), TERMS, _term("iou")),
    Rule(
        ("reward.iou.size_gamma", "reward.iou.size_scale"), "reward.iou.similarity", _one_of("siou")
    ),
    Rule(("reward.length.max_tokens", "reward.length.soft_tokens"), TERMS, _term("length")),
    Rule(("reward.repetition.ngram", "reward.repetition.max_penalty"), TERMS, _term("repetition")),
    Rule(("prompt.knowledge_tokens",), "prompt.domain_knowledge", _SET),
    Rule(("policy.learning_rates.vision",), "policy.freeze_vision", _is(False)),
    Rule(("policy.learning_rates.projector",), "policy.freeze_projector", _is(False)),
    Rule(("policy.attention",), "policy.shared_prefix", _is(True), only="flex_attention"),
    Rule(("data.images_per_rollout",), "data.group_by_image", _is(True)),
    Rule(("data.augment.keep",), "data.augment.crop", Need(" below 1", lambda crop: crop < 1)),
    Rule(("segmentation.checkpoint",), "segmentation.kind", _one_of(*_SAMS)),
    Rule(("segmentation.model_config",), "segmentation.kind", _one_of("sam2")),
    Rule(("segmentation.jitter",), "segmentation.kind", _other_than("none")),
    Rule(("segmentation.jitter_draws",), "segmentation.jitter", _SET),
    Rule(("eval.stratified",), "eval.limit", _SET),
    Rule(("eval.votes",), "eval.temperature", _ABOVE_0),
    Rule(("data.contradictory",), "prompt.template", _other_than("iad_r1", *WITHOUT_REASONING)),
    # IAD-R1 shows no options; these two protocols ask for no reasoning that could be given.
    Rule(
        ("eval.consistency.shifted", "eval.consistency.reworded"),
        "prompt.template",
        _other_than("iad_r1"),
    ),
    Rule(
        ("eval.consistency.asked_again",),
        "prompt.template",
        _other_than("iad_r1", *WITHOUT_REASONING),
    ),
    Rule(tuple(f"eval.backend.{key}" for key in _SERVER), "eval.backend.kind", _one_of("openai")),
    Rule(("eval.backend.engine",), "eval.backend.kind", _one_of("vllm")),
)

"""What a config asks of vLLM: its engine's arguments, and what is refused before work starts."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import torch
from trl import GRPOConfig

from anomalyr1.config import Config
from anomalyr1.errors import InputError
from anomalyr1.policy.vllm_options import engine_options, import_vllm, refuse_head_size

_ASKED = "grpo.use_vllm=true"

# Arguments of vLLM's engine that other keys decide.
_DECIDED_BY = {
    "model": "policy.path",
    "tokenizer": "policy.path",
    "revision": "policy.revision",
    "tokenizer_revision": "policy.revision",
    "dtype": "policy.dtype and grpo.bf16 (or fp16)",
    "seed": "seed",
    "trust_remote_code": "nothing; remote code is never run",
    "mm_processor_kwargs": "policy.min_pixels and policy.max_pixels",
    "limit_mm_per_prompt": "prompt.references",
    "max_model_len": "grpo.vllm_max_model_length",
    "tensor_parallel_size": "grpo.vllm_tensor_parallel_size",
    "gpu_memory_utilization": "grpo.vllm_gpu_memory_utilization",
    "enable_sleep_mode": "grpo.vllm_enable_sleep_mode",
    "model_impl": "grpo.vllm_model_impl",
    "logprobs_mode": "the correction for the sampler, which needs those of what is sampled from",
    "distributed_executor_backend": "the launcher",
}


def refuse_vllm(config: Config, arguments: GRPOConfig) -> None:
    """What vLLM cannot do here, all that can be known before a policy is loaded.

    Args:
        config: of the run.
        arguments: TRL's.

    Raises:
        InputError: vLLM is not installed, or a key asks for what it cannot do.
    """
    if not arguments.use_vllm:
        return
    refuse_keys(config, arguments)
    vllm = import_vllm(_ASKED, "leave grpo.use_vllm out")
    known = inspect.signature(vllm.SamplingParams).parameters
    strange = sorted(set(arguments.generation_kwargs or {}) - set(known))
    if strange:
        raise InputError(
            f"expected keys of vLLM's SamplingParams in grpo.generation_kwargs beside {_ASKED}, "
            f"found {', '.join(strange)}; correct them (greedy decoding is temperature: 0)"
        )
    if arguments.vllm_mode == "colocate":
        refuse_head_size(config.policy, "sample with transformers here (grpo.use_vllm=false)")


def refuse_keys(config: Config, arguments: GRPOConfig) -> None:
    """What the config alone, and the devices of this machine, rule out; vLLM is not needed.

    Raises:
        InputError: the first such key, with what it needs.
    """
    mode, on_cpu = arguments.vllm_mode, arguments.use_cpu or not torch.cuda.is_available()
    decided = sorted(_DECIDED_BY.keys() & config.sampler.engine.keys())
    if decided:
        by = "; ".join(f"{key} is decided by {_DECIDED_BY[key]}" for key in decided)
        raise InputError(
            f"expected sampler.engine without {', '.join(decided)}, found values for them ({by}); "
            "leave them out"
        )
    if mode == "server" and on_cpu:
        raise InputError(
            "expected a GPU for grpo.vllm_mode=server, found none: the weights go to the server "
            "from GPU to GPU; set grpo.vllm_mode=colocate"
        )
    if mode == "colocate" and arguments.vllm_enable_sleep_mode and on_cpu:
        raise InputError(
            "expected a GPU for grpo.vllm_enable_sleep_mode=true, found none; leave it out"
        )
    wanted, given = _longest(config, arguments), arguments.vllm_max_model_length
    if given is not None and given < wanted:
        raise InputError(
            f"expected grpo.vllm_max_model_length of at least {wanted} (prompt.max_prompt_tokens "
            f"{config.prompt.max_prompt_tokens} and grpo.max_completion_length "
            f"{arguments.max_completion_length}), found {given}; raise it or leave it out"
        )
    split = arguments.vllm_tensor_parallel_size
    if mode == "colocate" and arguments.world_size % split:
        raise InputError(
            f"expected grpo.vllm_tensor_parallel_size to divide the {arguments.world_size} "
            f"processes, found {split}; change it"
        )


def sampler_options(
    config: Config, arguments: GRPOConfig, dtype: torch.dtype
) -> dict[str, Any] | None:
    """Arguments of vLLM's engine, beside those that TRL gives it; None where vLLM does not sample.

    Args:
        config: of the run.
        arguments: TRL's.
        dtype: of the policy's weights.
    """
    if not arguments.use_vllm:
        return None
    process = arguments.process_index // arguments.vllm_tensor_parallel_size
    options: Mapping[str, Any] = {
        **engine_options(
            config.policy,
            dtype=computed_in(arguments, dtype),
            images=config.prompt.references + 1,
        ),
        # Without it the longest the model could take has to fit.
        "max_model_len": arguments.vllm_max_model_length or _longest(config, arguments),
        # An engine in this process seeds the generators it shares with it, TRL by the process only.
        "seed": config.seed + process,
    }
    return {**options, **config.sampler.engine}


def computed_in(arguments: GRPOConfig, dtype: torch.dtype) -> str:
    """Name of the dtype in which the trainer computes log-probabilities.

    Args:
        arguments: TRL's; autocast decides where it is on.
        dtype: of the policy's weights.
    """
    mixed = "bfloat16" if arguments.bf16 else "float16" if arguments.fp16 else None
    return mixed or str(dtype).removeprefix("torch.")


def _longest(config: Config, arguments: GRPOConfig) -> int:
    """Tokens of a prompt and its completion at most."""
    return int(config.prompt.max_prompt_tokens + arguments.max_completion_length)

"""The numbers of the `grpo` section that decide how much memory a run takes."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, Literal

from trl import GRPOConfig

from anomalyr1.config import Config
from anomalyr1.errors import InputError
from anomalyr1.shared_prefix.attention import MASKED_KERNELS

Mixed = Literal["no", "bf16", "fp16"]


@dataclass(frozen=True)
class Settings:
    """What one process does, with TRL's defaults filled in.

    Attributes:
        rows: completions of one forward and backward pass (`per_device_train_batch_size`).
        generations: completions of a prompt, G.
        rollout_rows: completions sampled together, for `steps_per_generation` passes.
        update_rows: completions of one rollout whose groups are put together again before they are
            cut into passes (anomalyr1/shared_prefix/regrouping.py): those of one update.
        completion: tokens of a completion at most, C.
        accumulation: passes of one update.
        checkpointing: layers are computed again in the backward pass instead of kept.
        mixed: dtype of autocast, or of the weights under DeepSpeed and FSDP.
        beta: weight of the KL term; above 0 it needs a reference policy.
        optimizer: TRL's `optim`.
        samples_between: a rollout may come between the passes of an update, whose gradients wait.
        scores_old: log-probabilities are computed once more before the first pass.
        vllm: where vLLM samples; None samples with transformers.
        vllm_share: of a card that a colocated vLLM keeps.
        gathers: ZeRO-3 collects the whole policy to sample.
        cpu: no GPU is used.
    """

    rows: int
    generations: int
    rollout_rows: int
    update_rows: int
    completion: int
    accumulation: int
    checkpointing: bool
    mixed: Mixed
    beta: float
    optimizer: str
    samples_between: bool
    scores_old: bool
    vllm: str | None
    vllm_share: float
    gathers: bool
    cpu: bool

    @property
    def rollout_groups(self) -> int:
        """Prompts a process samples for at once."""
        return -(-self.rollout_rows // self.generations)


def read_settings(config: Config, processes: int, launcher_mixed: str = "no") -> Settings:
    """Settings of a config on so many processes.

    Args:
        config: its `grpo` section is read.
        processes: GPUs, or processes on a CPU.
        launcher_mixed: `mixed_precision` of the accelerate file.

    Raises:
        InputError: rows cannot be cut into whole groups, which TRL refuses as well.
    """
    given = {f.name: f.default for f in dataclasses.fields(GRPOConfig)} | config.grpo

    def key(name: str, otherwise: Any) -> Any:
        value = given.get(name)
        return otherwise if value is None or value is dataclasses.MISSING else value

    rows, size = int(key("per_device_train_batch_size", 8)), int(key("num_generations", 8))
    accumulation = int(key("gradient_accumulation_steps", 1))
    steps = int(key("steps_per_generation", accumulation))
    if key("generation_batch_size", 0):
        steps = max(1, int(key("generation_batch_size", 0)) // (rows * processes))
    if rows * steps * processes % size:
        raise InputError(
            f"expected per_device_train_batch_size x steps_per_generation x processes to be a "
            f"multiple of grpo.num_generations={size}, found {rows} x {steps} x {processes}; "
            "change one of them"
        )
    vllm = str(key("vllm_mode", "colocate")) if key("use_vllm", False) else None
    optimizer = key("optim", "adamw_torch_fused")
    every = steps * int(key("num_iterations", 1))
    # What `training.sharing` leaves where TRL's shuffle puts it.
    torn = (
        float(key("top_entropy_quantile", 1.0)) < 1
        or float(key("entropy_coef", 0.0)) != 0
        or bool(key("use_adaptive_entropy", False))
    )
    return Settings(
        rows=rows,
        generations=size,
        rollout_rows=rows * steps,
        update_rows=rows * (accumulation if steps % accumulation == 0 and not torn else 1),
        completion=int(key("max_completion_length", 256)),
        accumulation=accumulation,
        checkpointing=bool(key("gradient_checkpointing", True)),
        mixed=_mixed(given, launcher_mixed),
        beta=float(key("beta", 0.0)),
        optimizer=str(getattr(optimizer, "value", optimizer)),
        samples_between=every % accumulation != 0,
        scores_old=accumulation % every != 0 or vllm is not None,
        vllm=vllm,
        vllm_share=float(key("vllm_gpu_memory_utilization", 0.3)) if vllm == "colocate" else 0.0,
        gathers=bool(key("ds3_gather_for_generation", True)),
        cpu=bool(key("use_cpu", False)),
    )


def shares_prefix(config: Config) -> bool:
    """Whether the trainer will compute a prompt once for all of its completions."""
    return config.policy.shared_prefix and config.policy.kernel in MASKED_KERNELS


def chunk_of_completions(config: Config, splits_weights: bool) -> int | None:
    """Tokens of completions computed at once, where the trainer will keep to that.

    Args:
        config: the run.
        splits_weights: no process holds all weights, which `training.sharing` leaves unchunked.
    """
    able = shares_prefix(config) and config.policy.kernel != "eager" and not splits_weights
    return config.policy.chunk_completions if able else None


def _mixed(given: dict[str, Any], launcher: str) -> Mixed:
    if given.get("fp16"):
        return "fp16"
    # TRL's default: bfloat16 unless fp16 was asked for.
    if given.get("bf16") is None or given["bf16"]:
        return "bf16"
    return "bf16" if launcher == "bf16" else "fp16" if launcher == "fp16" else "no"

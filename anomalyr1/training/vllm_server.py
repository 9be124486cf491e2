"""A vLLM server that samples for `train`: started with what the config asks of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from anomalyr1.errors import InputError

_CAPS = ("shortest_edge", "longest_edge")


def require_server(info: Mapping[str, Any], options: Mapping[str, Any]) -> None:
    """A server is held against the arguments an engine in this process would be given.

    Args:
        info: its `/server_info`, as TRL reads it: vLLM's whole config as JSON. What an answer does
            not tell passes.
        options: arguments of vLLM's engine.

    Raises:
        InputError: it computes in another dtype, has other pixel caps, or is too short; all of it
            at once, with the options of `vllm serve` that put it right.
    """
    model = info.get("model_config") or {}
    wrong = []
    dtype = str(model.get("dtype", options["dtype"])).removeprefix("torch.")
    if dtype != options["dtype"]:
        wrong.append((f"dtype {dtype}", f"--dtype {options['dtype']}"))
    longest, wanted = model.get("max_model_len"), options["max_model_len"]
    if longest is not None and longest < wanted:
        wrong.append((f"a context of {longest}", f"--max-model-len {wanted}"))
    multimodal = model.get("multimodal_config") or {}
    given = multimodal.get("mm_processor_kwargs", model.get("mm_processor_kwargs")) or {}
    caps = [(given.get("size") or {}).get(cap) for cap in _CAPS]
    asked = [options["mm_processor_kwargs"]["size"][cap] for cap in _CAPS]
    if ("multimodal_config" in model or "mm_processor_kwargs" in model) and caps != asked:
        wrong.append((f"pixel caps {caps[0]} and {caps[1]}", server_caps(*asked)))
    if wrong:
        raise InputError(
            f"expected a vLLM server that sees and computes as the trainer does, found "
            f"{', '.join(found for found, _ in wrong)}; start it with "
            f"{' '.join(option for _, option in wrong)}"
        )


def server_caps(shortest: int, longest: int) -> str:
    """The option of `vllm serve` for pixel caps.

    >>> print(server_caps(3136, 480000))
    --mm-processor-kwargs '{"size": {"shortest_edge": 3136, "longest_edge": 480000}}'
    """
    size = f'{{"shortest_edge": {shortest}, "longest_edge": {longest}}}'
    return f"--mm-processor-kwargs '{{\"size\": {size}}}'"

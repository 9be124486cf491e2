"""The `sampler:` section: what vLLM is told where it samples for `train`."""

from __future__ import annotations

from dataclasses import field

from anomalyr1.config.section import Verbatim, section


@section
class SamplerConfig:
    """VLLM beside the trainer (`grpo.use_vllm=true`, `grpo.vllm_mode=colocate`).

    Attributes:
        engine: further arguments of vLLM's engine, verbatim.
    """

    engine: Verbatim = field(default_factory=dict)

"""Whether an estimate fits a card."""

from __future__ import annotations

from typing import Literal

from anomalyr1.planning.settings import Settings

GIB = 2**30
# Memory of common cards, GiB: RTX 3090/4090 and L4, A100 40 GB, A100 80 GB and H100.
CARDS = (24, 40, 80)
# The caching allocator cannot use everything: blocks are rounded up and fragments remain.
USABLE = 0.9

Fit = Literal["yes", "tight", "no"]


def fit(peak: int, card: int, settings: Settings) -> Fit:
    """Whether `peak` bytes fit a card of `card` GiB, beside a colocated vLLM if there is one.

    `tight` is within the card but not within the share that is usable in practice.
    """
    room = card * GIB * (1 - settings.vllm_share)
    if peak <= room * USABLE:
        return "yes"
    return "tight" if peak <= room else "no"

"""FlexAttention over packed groups: one kernel for all of them, which skips pairs nobody needs.

`packed_attention` copies a prompt's keys for every segment and keeps the copies for the backward
pass; this kernel reads them where they are. It is compiled when it first runs, and torch has its
backward pass on GPUs alone (`torch.nn.attention.flex_attention`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention.flex_attention import BlockMask, create_block_mask, flex_attention

from anomalyr1.shared_prefix.packed_attention import (
    Siblings,
    lineage,
    packed_attention,
    segments,
)

# Share of the largest number by which the kernels may differ on the trial, in any dtype.
_TOLERANCE = 0.03


def pairs_of(layout: Sequence[Siblings], asked: int = 0) -> BlockMask:
    """Which pairs of a packed sequence are computed, in blocks of 128 x 128; one for all layers.

    Args:
        layout: of all tokens.
        asked: the first one that looks at others.
    """
    own, last = lineage(layout)

    def sees(_batch: Tensor, _head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        place = query + asked
        behind = (own[key] <= own[place]) & (own[place] <= last[key])
        return behind & (key <= place)

    size = layout[-1].end
    return create_block_mask(sees, None, None, size - asked, size, device=own.device)


def flex_packed_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    pairs: BlockMask,
    *,
    scaling: float | None = None,
    kernel: Callable[..., Any] | None = None,
) -> Tensor:
    """As `packed_attention`, without dropout.

    Args:
        query: (1, heads, L, width).
        key: (1, key heads, L, width).
        value: as `key`.
        pairs: of the layout.
        scaling: of the scores.
        kernel: called as `flex_attention` is; None is that, compiled.

    Returns:
        (1, L, heads, width).
    """
    # Autocast leaves this kernel alone: rotated in float32, queries and keys would not fit values.
    query, key = query.to(value.dtype), key.to(value.dtype)
    attended: Tensor = (kernel or _compiled())(
        query,
        key,
        value,
        block_mask=pairs,
        scale=scaling,
        enable_gqa=query.size(1) != key.size(1),
    )
    return attended.transpose(1, 2)


def flex_obstacle(config: Any, device: torch.device, dtype: torch.dtype) -> str | None:
    """Why FlexAttention cannot serve this language model, or None once it was seen to.

    Args:
        config: of the language model.
        device: where it trains.
        dtype: of its activations.
    """
    if device.type == "cpu":
        return "torch has no backward pass of it on a CPU"
    if config.attention_dropout:
        return "it knows no attention dropout"
    try:
        difference = _try(config, device, dtype)
    except Exception as error:  # whatever a compiler raises is the answer
        return str(error).strip().split("\n")[0] or type(error).__name__
    if not difference <= _TOLERANCE:
        return f"its numbers differ from SDPA's by {difference:.2g} of their scale"
    return None


def _try(config: Any, device: torch.device, dtype: torch.dtype) -> float:
    """Largest difference from `packed_attention`, in outputs and gradients of two small groups."""
    layout = [*segments(150, [30, 70], device), *segments(40, [9], device, start=250)]
    heads, key_heads = config.num_attention_heads, config.num_key_value_heads
    width = getattr(config, "head_dim", None) or config.hidden_size // heads
    generator = torch.Generator().manual_seed(0)
    query, key, value = tensors = [
        torch.randn(1, count, layout[-1].end, width, generator=generator)
        .to(device, dtype)
        .requires_grad_()
        for count in (heads, key_heads, key_heads)
    ]
    ours = flex_packed_attention(query, key, value, pairs_of(layout))
    theirs = packed_attention(query, key, value, layout)
    weights = torch.randn(ours.shape, generator=generator).to(device, dtype)
    found = [ours, *torch.autograd.grad(ours, tensors, weights)]
    expected = [theirs, *torch.autograd.grad(theirs, tensors, weights)]
    shares = [
        (one - other).abs().max() / other.abs().max()
        for one, other in zip(found, expected, strict=True)
    ]
    return torch.stack(shares).max().item()  # not a number where one of them is none


@cache
def _compiled() -> Callable[..., Any]:
    """One compilation for sequences of every length."""
    compiled: Callable[..., Any] = torch.compile(flex_attention, dynamic=True)
    return compiled

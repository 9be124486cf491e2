"""Attention over a packed group, without a mask of all tokens by all tokens.

A packed sequence is a prompt followed by segments that see the prompt and themselves (see
shared_prefix.py). One SDPA call over it computes every pair and throws most of them away. Here the
prompt attends to itself causally, and each segment, as a row of its own, to the prompt and itself:
P^2 / 2 + G S (P + S) pairs instead of (P + G S)^2. The numbers are the same.

The function is registered with transformers under `NAME`; without a layout it is plain SDPA, so a
model that carries the name behaves as before everywhere else.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface
from transformers.integrations.sdpa_attention import repeat_kv, sdpa_attention_forward
from transformers.masking_utils import AttentionMaskInterface, sdpa_mask

NAME = "anomalyr1_split"


@dataclass(frozen=True)
class Segments:
    """Where the segments of one packed sequence lie; G of them, the longest of S tokens.

    Attributes:
        prompt: tokens before the first segment.
        index: (G, S) positions in the sequence; short rows repeat their first token.
        order: (N,) places in the flattened (G, S) of the segments' own tokens, in sequence order.
        mask: (S, prompt + S) bool, True where a segment's token sees prompt and segment.
    """

    prompt: int
    index: Tensor
    order: Tensor
    mask: Tensor


def segments(prompt: int, lengths: Sequence[int], device: torch.device) -> Segments:
    """The layout of a sequence whose segments of these lengths follow the prompt.

    >>> segments(2, [1, 2], torch.device("cpu")).index.tolist()
    [[2, 2], [3, 4]]
    """
    size = max(lengths)
    length = torch.tensor(lengths, device=device)
    start = prompt + length.cumsum(0) - length
    step = torch.arange(size, device=device)
    valid = step < length[:, None]
    index = start[:, None] + torch.where(valid, step, torch.zeros_like(step))
    own = torch.ones(size, size, dtype=torch.bool, device=device).tril()
    mask = torch.cat([own.new_ones(size, prompt), own], 1)
    return Segments(prompt, index, valid.flatten().nonzero()[:, 0], mask)


def split_attention(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    layout: Sequence[Segments] | None = None,
    attend: Callable[..., Tensor] = scaled_dot_product_attention,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """Attention of packed groups; plain SDPA without a layout.

    Args:
        module: the attention layer.
        query: (U, heads, L, width).
        key: (U, key heads, L, width).
        value: as `key`.
        attention_mask: of plain SDPA.
        dropout: share of attention weights dropped.
        scaling: of the scores.
        layout: one entry a sequence.
        attend: the kernel.
        kwargs: of plain SDPA.

    Returns:
        (U, L, heads, width) and None, as transformers expects; zero on padding.
    """
    if layout is None:
        plain: tuple[Tensor, None] = sdpa_attention_forward(
            module, query, key, value, attention_mask, dropout=dropout, scaling=scaling, **kwargs
        )
        return plain
    repeats = module.num_key_value_groups
    options = {"dropout_p": dropout, "scale": scaling}
    rows = []
    for u, part in enumerate(layout):
        p = part.prompt
        q, k, v = query[u], key[u], value[u]  # (heads, L, width)
        head = attend(
            q[None, :, :p],
            repeat_kv(k[None, :, :p], repeats),
            repeat_kv(v[None, :, :p], repeats),
            is_causal=True,
            **options,
        )
        own_q, own_k, own_v = (x[:, part.index].transpose(0, 1) for x in (q, k, v))
        count, heads, size, width = own_q.shape
        # The query heads of one key head are further queries to it: keys are not repeated for them.
        tail = attend(
            own_q.reshape(count, heads // repeats, repeats * size, width),
            torch.cat([k[None, :, :p].expand(count, -1, -1, -1), own_k], 2),
            torch.cat([v[None, :, :p].expand(count, -1, -1, -1), own_v], 2),
            attn_mask=part.mask.repeat(repeats, 1),
            **options,
        ).reshape(count, heads, size, width)
        own = tail.transpose(1, 2).flatten(0, 1)[part.order]
        row = torch.cat([head[0].transpose(0, 1), own])
        rows.append(torch.nn.functional.pad(row, (0, 0, 0, 0, 0, q.size(1) - len(row))))
    return torch.stack(rows), None


AttentionInterface.register(NAME, split_attention)
AttentionMaskInterface.register(NAME, sdpa_mask)

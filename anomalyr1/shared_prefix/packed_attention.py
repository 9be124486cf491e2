"""Attention over packed groups, without a mask of all tokens by all tokens.

A packed sequence holds groups one after the other; a group is a prompt followed by segments that
see the prompt and themselves (shared_prefix/packing.py). One SDPA call over it computes every pair
and throws most of them away. Here each prompt attends to itself causally, and each segment, as a
row of its own, to its prompt and itself: P^2 / 2 + G S (P + S) pairs a group instead of the square
of all tokens. The numbers are the same.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from transformers.integrations.sdpa_attention import repeat_kv


@dataclass(frozen=True)
class Segments:
    """Where one group lies in a packed sequence: G segments, the longest of S tokens.

    Attributes:
        start: place of the prompt's first token.
        prompt: tokens before the first segment.
        index: (G, S) places of the segments' tokens; short rows repeat their first token.
        order: (N,) places in the flattened (G, S) of the segments' own tokens, in sequence order.
        mask: (S, prompt + S) bool, True where a segment's token sees prompt and segment.
    """

    start: int
    prompt: int
    index: Tensor
    order: Tensor
    mask: Tensor

    @property
    def end(self) -> int:
        """Place after the last segment."""
        return self.start + self.prompt + len(self.order)


def segments(prompt: int, lengths: Sequence[int], device: torch.device, start: int = 0) -> Segments:
    """The layout of a group at `start` whose segments of these lengths follow the prompt.

    >>> segments(2, [1, 2], torch.device("cpu"), start=10).index.tolist()
    [[12, 12], [13, 14]]
    """
    size = max(lengths)
    length = torch.tensor(lengths, device=device)
    first = start + prompt + length.cumsum(0) - length
    step = torch.arange(size, device=device)
    valid = step < length[:, None]
    index = first[:, None] + torch.where(valid, step, torch.zeros_like(step))
    own = torch.ones(size, size, dtype=torch.bool, device=device).tril()
    mask = torch.cat([own.new_ones(size, prompt), own], 1)
    return Segments(start, prompt, index, valid.flatten().nonzero()[:, 0], mask)


def membership(layout: Sequence[Segments]) -> tuple[Tensor, Tensor]:
    """The group and the segment of each of L tokens, both (L,); a prompt is segment 0 of its group.

    >>> [row.tolist() for row in membership([segments(1, [1, 2], torch.device("cpu"))])]
    [[0, 0, 0, 0], [0, 1, 2, 2]]
    """
    group = torch.zeros(layout[-1].end, dtype=torch.long, device=layout[0].index.device)
    segment = torch.zeros_like(group)
    for number, part in enumerate(layout):
        group[part.start : part.end] = number
        which = torch.arange(1, len(part.index) + 1, device=group.device)[:, None]
        segment.scatter_(0, part.index.flatten(), which.expand_as(part.index).flatten())
    return group, segment


def packed_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    layout: Sequence[Segments],
    *,
    dropout: float = 0.0,
    scaling: float | None = None,
    attend: Callable[..., Tensor] = scaled_dot_product_attention,
) -> Tensor:
    """Attention of one packed sequence of L tokens.

    Args:
        query: (1, heads, L, width).
        key: (1, key heads, L, width).
        value: as `key`.
        layout: the groups, in sequence order, without gaps.
        dropout: share of attention weights dropped.
        scaling: of the scores.
        attend: the kernel, called as `scaled_dot_product_attention` is.

    Returns:
        (1, L, heads, width), as transformers expects.
    """
    repeats = query.size(1) // key.size(1)
    options: dict[str, Any] = {"dropout_p": dropout, "scale": scaling}
    parts = []
    for group in layout:
        prompt = slice(group.start, group.start + group.prompt)
        if group.prompt:
            head = attend(
                query[:, :, prompt],
                repeat_kv(key[:, :, prompt], repeats),
                repeat_kv(value[:, :, prompt], repeats),
                is_causal=True,
                **options,
            )
            parts.append(head[0].transpose(0, 1))
        own_q, own_k, own_v = (x[0, :, group.index].transpose(0, 1) for x in (query, key, value))
        count, heads, size, width = own_q.shape
        # The query heads of one key head are further queries to it: keys are not repeated for them.
        tail = attend(
            own_q.reshape(count, heads // repeats, repeats * size, width),
            torch.cat([key[:, :, prompt].expand(count, -1, -1, -1), own_k], 2),
            torch.cat([value[:, :, prompt].expand(count, -1, -1, -1), own_v], 2),
            attn_mask=group.mask.repeat(repeats, 1),
            **options,
        ).reshape(count, heads, size, width)
        parts.append(tail.transpose(1, 2).flatten(0, 1)[group.order])
    return torch.cat(parts)[None]

"""Attention over packed trees, without a mask of all tokens by all tokens.

A packed sequence holds trees of tokens (shared_prefix/packing.py): a stretch of tokens that several
go on from, those that go on from it, and so forth. One SDPA call over all of it computes every pair
and throws most of them away. Here a stretch that nothing stands before attends to itself causally,
and siblings, as rows of their own, to what they share and each to itself: P^2 / 2 + G S (P + S)
pairs for a prompt and G segments instead of the square of all tokens. The numbers are the same.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from transformers.integrations.sdpa_attention import repeat_kv


@dataclass(frozen=True)
class Siblings:
    """Where G stretches lie that see the same tokens before them, the longest of S tokens.

    Attributes:
        start: place of the first one's first token; they stand one after the other.
        seen: (first place, place after the last) of each stretch that all of them see.
        index: (G, S) places of their tokens; short rows repeat their first token.
        order: (N,) places in the flattened (G, S) of their own tokens, in sequence order.
        mask: (S, seen + S) bool, True where a token sees what is before it; None for one stretch
            that nothing stands before: it is causal.
    """

    start: int
    seen: tuple[tuple[int, int], ...]
    index: Tensor
    order: Tensor
    mask: Tensor | None

    @property
    def end(self) -> int:
        """Place after the last token."""
        return self.start + len(self.order)

    def to(self, device: torch.device) -> Siblings:
        """On another device."""
        mask = None if self.mask is None else self.mask.to(device)
        return replace(self, index=self.index.to(device), order=self.order.to(device), mask=mask)


def siblings(
    lengths: Sequence[int],
    device: torch.device,
    start: int = 0,
    seen: Sequence[tuple[int, int]] = (),
) -> Siblings:
    """The layout of stretches of these lengths at `start`, behind the stretches they see.

    >>> siblings([1, 2], torch.device("cpu"), start=12, seen=[(10, 12)]).index.tolist()
    [[12, 12], [13, 14]]
    """
    size = max(lengths)
    length = torch.tensor(lengths, device=device)
    first = start + length.cumsum(0) - length
    step = torch.arange(size, device=device)
    valid = step < length[:, None]
    index = first[:, None] + torch.where(valid, step, torch.zeros_like(step))
    seen = tuple(part for part in seen if part[0] < part[1])
    mask = None
    if seen or len(lengths) > 1:
        own = torch.ones(size, size, dtype=torch.bool, device=device).tril()
        before = sum(end - begin for begin, end in seen)
        mask = torch.cat([own.new_ones(size, before), own], 1)
    return Siblings(start, seen, index, valid.flatten().nonzero()[:, 0], mask)


def segments(
    prompt: int, lengths: Sequence[int], device: torch.device, start: int = 0
) -> list[Siblings]:
    """The layout of one prompt at `start` and of the segments of these lengths that follow it.

    >>> [part.start for part in segments(2, [1, 2], torch.device("cpu"), start=10)]
    [10, 12]
    """
    end = start + prompt
    root = [siblings([prompt], device, start)] if prompt else []
    return [*root, siblings(lengths, device, end, [(start, end)])]


def lineage(layout: Sequence[Siblings]) -> tuple[Tensor, Tensor]:
    """Which stretch each of L tokens belongs to, and which ones go on from it.

    Stretches are numbered so that all that go on from one, at once or further down, come next.

    Args:
        layout: of L tokens, what is seen before those that see it.

    Returns:
        (L,) the number of each token's own stretch, and (L,) the last one that goes on from it. A
        token sees those before it whose range, from the first to the second, holds its number.

    >>> [row.tolist() for row in lineage(segments(1, [1, 2], torch.device("cpu")))]
    [[0, 1, 2, 2], [2, 1, 2, 2]]
    """
    found: list[tuple[int, int]] = []  # place of the first token, number of tokens
    known: dict[int, int] = {}  # the first place of a stretch -> where it is found
    following: dict[int | None, list[int]] = {}  # a stretch, or none -> those that go on from it
    for part in layout:
        parent = known[part.seen[-1][0]] if part.seen else None
        places = [*part.index[:, 0].tolist(), part.end]
        for first, end in pairwise(places):
            known[first] = len(found)
            following.setdefault(parent, []).append(len(found))
            found.append((first, end - first))
    bounds = [(0, 0)] * len(found)
    number = 0

    def count(stretch: int) -> None:
        nonlocal number
        own, number = number, number + 1
        for further in following.get(stretch, ()):
            count(further)
        bounds[stretch] = own, number - 1

    for root in following[None]:
        count(root)
    device = layout[0].index.device
    lengths = torch.tensor([length for _, length in found], device=device)
    each = torch.tensor(bounds, device=device).repeat_interleave(lengths, 0)
    return each[:, 0].contiguous(), each[:, 1].contiguous()


def packed_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    layout: Sequence[Siblings],
    *,
    dropout: float = 0.0,
    scaling: float | None = None,
    attend: Callable[..., Tensor] = scaled_dot_product_attention,
) -> Tensor:
    """Attention of one packed sequence of L tokens, of which the last N are asked.

    Args:
        query: (1, heads, N, width).
        key: (1, key heads, L, width).
        value: as `key`.
        layout: of the N tokens, in sequence order, without gaps.
        dropout: share of attention weights dropped.
        scaling: of the scores.
        attend: the kernel, called as `scaled_dot_product_attention` is.

    Returns:
        (1, N, heads, width), as transformers expects.
    """
    repeats = query.size(1) // key.size(1)
    options: dict[str, Any] = {"dropout_p": dropout, "scale": scaling}
    before = key.size(2) - query.size(2)
    parts = []
    for part in layout:
        if part.mask is None:
            asked, own = (slice(part.start - at, part.end - at) for at in (before, 0))
            alone = attend(
                query[:, :, asked],
                repeat_kv(key[:, :, own], repeats),
                repeat_kv(value[:, :, own], repeats),
                is_causal=True,
                **options,
            )
            parts.append(alone[0].transpose(0, 1))
            continue
        own_q = query[0, :, part.index - before].transpose(0, 1)
        count, heads, size, width = own_q.shape
        # The query heads of one key head are further queries to it: keys are not repeated for them.
        rows = attend(
            own_q.reshape(count, heads // repeats, repeats * size, width),
            _seen_and_own(key, part),
            _seen_and_own(value, part),
            attn_mask=part.mask.repeat(repeats, 1),
            **options,
        ).reshape(count, heads, size, width)
        parts.append(rows.transpose(1, 2).flatten(0, 1)[part.order])
    return torch.cat(parts)[None]


def _seen_and_own(states: Tensor, part: Siblings) -> Tensor:
    """(1, heads, L, width) -> (G, heads, seen + S, width)."""
    own = states[0, :, part.index].transpose(0, 1)
    seen = [states[:, :, begin:end].expand(len(own), -1, -1, -1) for begin, end in part.seen]
    return torch.cat([*seen, own], 2)

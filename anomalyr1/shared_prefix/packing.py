"""One copy of a prompt for all of its completions: packing, block mask, M-RoPE positions.

A group of G completions shares its prompt (images and all). Stock GRPO runs G x (P + C) tokens
through the model for every log-probability pass. Here a group is

    prompt without its last token | last token, completion 1 | last token, completion 2 | ...

of P - 1 + sum(1 + C_g) tokens, and the groups of a pass stand one after the other in one sequence.
A token sees its own group's prompt and its own segment before it, and its position is what it would
be had it followed the prompt alone, so every number is that of the stock pass. The prompt's last
token is repeated because it predicts a different first token in each segment. No padding is
computed at all.

Prefix sharing for GRPO is described by Prefix Grouper (arXiv 2506.05433) for text; here the images
and their three-dimensional positions are part of the prefix.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from anomalyr1.shared_prefix.packed_attention import Segments, membership, segments
from anomalyr1.shared_prefix.prefixes import Prompt


@dataclass(frozen=True)
class Packed:
    """Groups of completions as one sequence of L tokens.

    Attributes:
        input_ids: (1, L) tokens.
        mm_token_type_ids: (1, L), 1 on image tokens.
        position_ids: (3, 1, L) M-RoPE positions (time, height, width).
        layout: for each group, where its prompt and its segments lie.
        labels: (1, L), the token itself on completions, -100 elsewhere.
        source: (N, 2) for every completion token: place in L, and flat index into (B, C).
    """

    input_ids: Tensor
    mm_token_type_ids: Tensor
    position_ids: Tensor
    layout: list[Segments]
    labels: Tensor
    source: Tensor


def chunked(
    groups: Sequence[list[int]],
    prompts: Sequence[Prompt],
    completion_mask: Tensor,
    budget: int | None,
) -> list[list[list[int]]]:
    """Whole groups together, in order, as long as their packed tokens stay within the budget.

    Args:
        groups: row numbers of each group.
        prompts: of each row.
        completion_mask: (B, C), 1 on tokens.
        budget: tokens of a chunk, exceeded by a group that is larger alone; None is no limit.
    """
    if budget is None:
        return [list(groups)]
    lengths = completion_mask.sum(1).tolist()
    chunks: list[list[list[int]]] = [[]]
    filled = 0
    for group in groups:
        tokens = len(prompts[group[0]].ids) + sum(1 + lengths[row] for row in group)
        if chunks[-1] and filled + tokens > budget:
            chunks.append([])
            filled = 0
        chunks[-1].append(group)
        filled += tokens
    return chunks


def pack(
    groups: Sequence[Sequence[int]],
    prompts: Sequence[Prompt],
    prompt_positions: Sequence[Tensor],
    completion_ids: Tensor,
    completion_mask: Tensor,
) -> Packed:
    """Lay out the groups of a pass.

    Args:
        groups: row numbers of each group.
        prompts: of each group.
        prompt_positions: per group, the prompt's M-RoPE positions (3, P_u).
        completion_ids: (B, C), right-padded.
        completion_mask: (B, C), 1 on tokens.
    """
    device = completion_ids.device
    width = completion_ids.size(1)
    lengths = completion_mask.sum(1).tolist()
    ids, kinds, positions, labels, source, layout = [], [], [], [], [], []
    at = 0
    for group, prompt, places in zip(groups, prompts, prompt_positions, strict=True):
        body = len(prompt.ids) - 1
        layout.append(segments(body, [1 + lengths[row] for row in group], device, start=at))
        ids.append(prompt.ids[:-1])
        kinds.append(prompt.kinds[:-1])
        positions.append(places[:, :-1])
        labels.append(torch.full_like(prompt.ids[:-1], -100))
        at += body
        # The last prompt token is text, so its three positions agree and completions count on.
        following = places.max() + 1
        for row in group:
            length = lengths[row]
            tokens, step = completion_ids[row, :length], torch.arange(length, device=device)
            ids += [prompt.ids[-1:], tokens]
            kinds.append(torch.zeros(1 + length, dtype=torch.long, device=device))
            positions += [places[:, -1:], (following + step).expand(3, -1)]
            labels += [torch.full_like(prompt.ids[-1:], -100), tokens]
            source.append(torch.stack([at + 1 + step, row * width + step], 1))
            at += 1 + length
    return Packed(
        torch.cat(ids)[None],
        torch.cat(kinds)[None],
        torch.cat(positions, 1)[:, None],
        layout,
        torch.cat(labels)[None],
        torch.cat(source),
    )


def block_mask(layout: Sequence[Segments]) -> Tensor:
    """Who sees whom: earlier tokens of one's own segment, and of one's own prompt.

    Args:
        layout: of L tokens.

    Returns:
        (1, 1, L, L) bool, True where a query (third axis) sees a key (fourth).

    >>> block_mask([segments(1, [1, 1], torch.device("cpu"))])[0, 0].int().tolist()
    [[1, 0, 0], [1, 1, 0], [1, 0, 1]]
    """
    group, segment = membership(layout)
    same_group = group[:, None] == group
    sees = same_group & ((segment[:, None] == segment) | (segment == 0))
    return sees.tril()[None, None]


def unpack(packed: Packed, values: Tensor, rows: int, width: int) -> Tensor:
    """Per-token values back in stock order: (1, L) -> (rows, width), 0 on padding."""
    place, target = packed.source.unbind(1)
    flat = values.new_zeros(rows * width)
    flat = flat.index_put((target,), values[0, place])
    return flat.view(rows, width)

"""One copy of a prompt for all of its completions: packing, block mask, M-RoPE positions.

A group of G completions shares its prompt (images and all). Stock GRPO runs G x (P + C) tokens
through the model for every log-probability pass. Here a group is one sequence,

    prompt without its last token | last token, completion 1 | last token, completion 2 | ...

of P - 1 + sum(1 + C_g) tokens. A token sees the prompt and its own segment before it, and its
position is what it would be had it followed the prompt alone, so every number is that of the stock
pass. The prompt's last token is repeated because it predicts a different first token in each
segment. Padding of completions is not computed at all.

Prefix sharing for GRPO is described by Prefix Grouper (arXiv 2506.05433) for text; here the images
and their three-dimensional positions are part of the prefix.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from anomalyr1.training.split_attention import Segments, segments


@dataclass(frozen=True)
class Packed:
    """Groups of completions as a batch of sequences, right-padded to L tokens; U groups.

    Attributes:
        input_ids: (U, L) tokens.
        mm_token_type_ids: (U, L), 1 on image tokens.
        position_ids: (3, U, L) M-RoPE positions (time, height, width).
        segment: (U, L) -1 on the prompt, g >= 0 on completion g, below -1 on padding.
        layout: where each sequence's prompt ends and its segments lie.
        labels: (U, L), the token itself on completions, -100 elsewhere.
        source: (N, 3) for every completion token: group, position in L, and flat index into (B, C).
    """

    input_ids: Tensor
    mm_token_type_ids: Tensor
    position_ids: Tensor
    segment: Tensor
    layout: list[Segments]
    labels: Tensor
    source: Tensor

    def attention_mask(self) -> Tensor:
        """(U, 1, L, L) bool, True where a query (third axis) sees a key (fourth)."""
        return block_mask(self.segment)


def group_rows(
    prompt_ids: Tensor,
    prompt_mask: Tensor,
    pixel_values: Sequence[Tensor] | None = None,
) -> list[list[int]]:
    """Rows with the same prompt tokens and the same pixels, in order of first appearance.

    Args:
        prompt_ids: (B, P), padded anywhere.
        prompt_mask: (B, P), 1 on tokens.
        pixel_values: per row, the patches of its images.
    """
    groups: dict[bytes, list[list[int]]] = {}
    ids, mask = prompt_ids.cpu(), prompt_mask.bool().cpu()
    for row in range(len(ids)):
        candidates = groups.setdefault(ids[row][mask[row]].numpy().tobytes(), [])
        for group in candidates:
            if pixel_values is None or torch.equal(pixel_values[group[0]], pixel_values[row]):
                group.append(row)
                break
        else:
            candidates.append([row])
    return sorted((group for found in groups.values() for group in found), key=lambda g: g[0])


def pack(
    groups: Sequence[Sequence[int]],
    prompts: Sequence[Tensor],
    prompt_types: Sequence[Tensor],
    prompt_positions: Sequence[Tensor],
    completion_ids: Tensor,
    completion_mask: Tensor,
    pad_id: int,
) -> Packed:
    """Lay out each group as one sequence.

    Args:
        groups: row numbers of each group.
        prompts: per group, the prompt's tokens (P_u,), without padding.
        prompt_types: per group, `mm_token_type_ids` of the prompt (P_u,).
        prompt_positions: per group, the prompt's M-RoPE positions (3, P_u).
        completion_ids: (B, C), right-padded.
        completion_mask: (B, C), 1 on tokens.
        pad_id: token that fills the right end.
    """
    device = completion_ids.device
    width = completion_ids.size(1)
    lengths = completion_mask.sum(1).tolist()
    totals = [
        len(prompt) - 1 + sum(1 + lengths[row] for row in group)
        for prompt, group in zip(prompts, groups, strict=True)
    ]
    size, count = max(totals), len(groups)
    input_ids = torch.full((count, size), pad_id, dtype=torch.long, device=device)
    types = torch.zeros((count, size), dtype=torch.long, device=device)
    positions = torch.zeros((3, count, size), dtype=torch.long, device=device)
    labels = torch.full((count, size), -100, dtype=torch.long, device=device)
    # -1 is the prompt, g >= 0 the g-th completion, -2 - i padding that sees only itself.
    segment = -2 - torch.arange(size, device=device).repeat(count, 1)
    source = []
    for u, group in enumerate(groups):
        at = len(prompts[u]) - 1
        input_ids[u, :at] = prompts[u][:-1]
        types[u, :at] = prompt_types[u][:-1]
        positions[:, u, :at] = prompt_positions[u][:, :-1]
        segment[u, :at] = -1
        # The last prompt token is text, so its three positions agree and completions count on.
        last = prompt_positions[u][:, -1:]
        following = prompt_positions[u].max() + 1
        for g, row in enumerate(group):
            length = lengths[row]
            tokens = completion_ids[row, :length]
            end = at + 1 + length
            input_ids[u, at] = prompts[u][-1]
            positions[:, u, at : at + 1] = last
            input_ids[u, at + 1 : end] = tokens
            labels[u, at + 1 : end] = tokens
            positions[:, u, at + 1 : end] = following + torch.arange(length, device=device)
            segment[u, at:end] = g
            index = torch.arange(length, device=device)
            source.append(
                torch.stack([torch.full_like(index, u), at + 1 + index, row * width + index], 1)
            )
            at = end
    layout = [
        segments(len(prompt) - 1, [1 + lengths[row] for row in group], device)
        for prompt, group in zip(prompts, groups, strict=True)
    ]
    return Packed(
        input_ids, types, positions, segment, layout, labels, torch.cat(source).contiguous()
    )


def block_mask(segment: Tensor) -> Tensor:
    """Who sees whom: earlier tokens of the prompt (-1) and of one's own segment.

    Args:
        segment: (U, L); -1 prompt, g >= 0 completion g, below -1 padding (one value a token).

    Returns:
        (U, 1, L, L) bool.

    >>> block_mask(torch.tensor([[-1, 0, 1]]))[0, 0].int().tolist()
    [[1, 0, 0], [1, 1, 0], [1, 0, 1]]
    """
    size = segment.size(1)
    causal = torch.ones(size, size, dtype=torch.bool, device=segment.device).tril()
    query, key = segment[:, :, None], segment[:, None, :]
    sees = (query == key) | ((key == -1) & (query >= -1))
    return (sees & causal)[:, None]


def unpack(packed: Packed, values: Tensor, rows: int, width: int) -> Tensor:
    """Per-token values back in stock order: (U, L) -> (rows, width), 0 on padding."""
    group, position, target = packed.source.unbind(1)
    flat = values.new_zeros(rows * width)
    return flat.index_put((target,), values[group, position]).view(rows, width)

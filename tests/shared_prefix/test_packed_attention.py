"""Attention over packed groups is attention under the block mask, worked out head by head."""

from __future__ import annotations

import torch

from anomalyr1.shared_prefix.packed_attention import packed_attention, segments
from anomalyr1.shared_prefix.packing import block_mask

CPU = torch.device("cpu")


def test_it_is_masked_attention():
    generator = torch.Generator().manual_seed(0)
    # Two groups: a prompt of five tokens with three segments, one of three with one.
    layout = [*segments(5, [2, 1, 3], CPU), *segments(3, [4], CPU, start=11)]
    size = layout[-1].end
    query = torch.randn(1, 4, size, 8, generator=generator)
    key, value = (torch.randn(1, 2, size, 8, generator=generator) for _ in range(2))
    ours = packed_attention(query, key, value, layout)
    mask = block_mask(layout)[0, 0]
    for head in range(4):
        scores = query[0, head] @ key[0, head // 2].T / 8**0.5
        expected = scores.masked_fill(~mask, -torch.inf).softmax(-1) @ value[0, head // 2]
        torch.testing.assert_close(ours[0, :, head], expected, rtol=1e-5, atol=1e-5)


def test_a_prompt_of_one_token_is_all_segments():
    # Its only token is the last of the prompt, which stands in front of every segment.
    states = torch.randn(1, 2, 5, 8, generator=torch.Generator().manual_seed(1))
    layout = [*segments(0, [2, 3], CPU)]
    ours = packed_attention(states, states, states, layout)
    for start, end in ((0, 2), (2, 5)):
        own = states[:, :, start:end]
        alone = torch.nn.functional.scaled_dot_product_attention(own, own, own, is_causal=True)
        torch.testing.assert_close(ours[:, start:end], alone.transpose(1, 2))

"""A cache that holds prefixes once attends as the stock cache that holds them once a row."""

from __future__ import annotations

from contextlib import nullcontext

import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention
from transformers.cache_utils import DynamicCache

from anomalyr1.shared_prefix.cache import SharedCache

HEADS, KEY_HEADS, WIDTH, PREFIX = 4, 2, 8, 5
CASES = {
    "in order": ([[0, 1], [2, 3]], [5, 5], [2, 2, 2, 2]),
    "torn, of unequal size": ([[0, 3, 2], [1]], [5, 5], [2, 2, 2, 2]),
    "prefixes of unequal length": ([[0, 1], [2, 3]], [5, 3], [2, 2, 2, 2]),
    "rows of unequal length": ([[0, 1], [2, 3]], [5, 5], [2, 1, 2, 1]),
    "all at once": ([[2, 0, 1], [3]], [4, 5], [1, 2, 2, 1]),
}


@pytest.mark.parametrize("name", CASES)
def test_it_attends_like_the_stock_cache(name):
    groups, prefix_lengths, own_lengths = CASES[name]
    generator = torch.Generator().manual_seed(0)

    def states(rows, heads, count):
        return torch.randn(rows, heads, count, WIDTH, generator=generator)

    owner = torch.tensor([next(u for u, g in enumerate(groups) if row in g) for row in range(4)])
    prefix_mask = left_padded(prefix_lengths, PREFIX)
    prefill = DynamicCache()
    prefill.update(states(2, KEY_HEADS, PREFIX), states(2, KEY_HEADS, PREFIX), 0)
    stock = DynamicCache()
    stock.update(*(x[owner] for x in (prefill.layers[0].keys, prefill.layers[0].values)), 0)
    # Room for three tokens, so that it has to grow on the way.
    ours = SharedCache(prefill, prefix_mask, groups, room=3)
    mask = torch.cat([prefix_mask[owner], left_padded(own_lengths, 2)], 1)
    for count in (2, 1, 1, 1):
        query = states(4, HEADS, count)
        key, value = states(4, KEY_HEADS, count), states(4, KEY_HEADS, count)
        if count == 1:
            mask = torch.cat([mask, torch.ones(4, 1, dtype=torch.long)], 1)
        ours.look_at(mask, count)
        attended = ours.attend(0, query, *ours.update(key, value, 0), None)
        all_keys, all_values = stock.update(key, value, 0)
        assert ours.get_seq_length() == stock.get_seq_length() == mask.size(1)
        total = mask.size(1)
        causal = torch.ones(count, total, dtype=torch.bool).tril(total - count)
        seen = causal & mask.bool()[:, None, None]
        expected = scaled_dot_product_attention(
            query, all_keys, all_values, attn_mask=seen, enable_gqa=True
        ).transpose(1, 2)
        # What stands on padding is never read, whatever it is.
        real = mask[:, -count:].bool()
        torch.testing.assert_close(attended[real], expected[real])


def test_under_autocast_it_holds_what_attention_multiplies():
    """Keys leave M-RoPE in float32, values in bfloat16: what is held is what would be cast."""
    generator = torch.Generator().manual_seed(0)
    prefill = DynamicCache()
    keys, values = torch.randn(2, 1, KEY_HEADS, PREFIX, WIDTH, generator=generator)
    prefill.update(keys, values.bfloat16(), 0)
    query = torch.randn(2, HEADS, 1, WIDTH, generator=generator)
    key, value = torch.randn(2, 2, KEY_HEADS, 1, WIDTH, generator=generator)
    casting = torch.autocast("cpu", torch.bfloat16)
    results = []
    for within in (True, False):  # autocast is there when the cache is made, or later alone
        with casting if within else nullcontext():
            cache = SharedCache(prefill, torch.ones(1, PREFIX), [[0, 1]], room=1)
        with casting:
            cache.look_at(None, 1)
            own = cache.update(key, value.bfloat16(), 0)
            results.append(cache.attend(0, query, *own, None))
        kind = torch.bfloat16 if within else torch.float32
        assert {part.dtype for part in (*own, cache.layers[0].prefix_keys)} == {kind}
    assert torch.equal(*results)


def test_without_a_mask_nothing_is_padding():
    generator = torch.Generator().manual_seed(0)
    prefill = DynamicCache()
    prefill.update(*torch.randn(2, 1, KEY_HEADS, PREFIX, WIDTH, generator=generator), 0)
    query = torch.randn(2, HEADS, 1, WIDTH, generator=generator)
    own = torch.randn(2, 2, KEY_HEADS, 1, WIDTH, generator=generator)
    results = []
    for mask in (None, torch.ones(2, PREFIX + 1, dtype=torch.long)):
        cache = SharedCache(prefill, torch.ones(1, PREFIX), [[0, 1]], room=1)
        cache.look_at(mask, 1)
        results.append(cache.attend(0, query, *cache.update(*own, 0), None))
    assert torch.equal(*results)


def left_padded(lengths: list[int], width: int) -> torch.Tensor:
    return (torch.arange(width) >= width - torch.tensor(lengths)[:, None]).long()

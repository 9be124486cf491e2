"""The cache with room holds what the stock cache holds."""

from __future__ import annotations

import torch
from transformers.cache_utils import DynamicCache

from anomalyr1.policy.cache import repeat_with_room


def test_it_grows_like_the_stock_cache_within_and_beyond_its_room():
    torch.manual_seed(0)
    stock, ours = DynamicCache(), DynamicCache()
    prefill = torch.randn(2, 2, 3, 5, 4)  # keys and values, two prompts of five tokens
    for layer in range(2):
        for cache in (stock, ours):
            cache.update(prefill[0] + layer, prefill[1] + layer, layer)
    rows = torch.tensor([0, 0, 1])
    stock.batch_select_indices(rows)
    repeat_with_room(ours, rows, room=2)
    for count in (1, 1, 1, 70, 1):
        states = torch.randn(2, 3, 3, count, 4)
        for layer in range(2):
            a = stock.update(states[0], states[1], layer)
            b = ours.update(states[0], states[1], layer)
            assert torch.equal(a[0], b[0]) and torch.equal(a[1], b[1])
        assert stock.get_seq_length() == ours.get_seq_length()

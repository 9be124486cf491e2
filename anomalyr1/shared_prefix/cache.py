"""A key-value cache that holds a prefix once for all rows that go on from it.

In a rollout G rows follow one prompt, in an evaluation the questions of an image follow its tokens.
The stock cache would hold the prefix once a row, read it once a row for every token, and copy all
of its past to add one. Here a row keeps its own tokens alone, with room for those to come.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from transformers.cache_utils import Cache, DynamicLayer


class SharedLayer(DynamicLayer):  # type: ignore[misc]
    """One layer: the prefixes, and the tokens each row has added.

    Args:
        prefix: filled by a prefill of U prefixes, (U, key heads, P, width).
        rows: B rows that go on from them.
        room: tokens that may follow; beyond them the layer grows.
    """

    is_croppable = False

    def __init__(self, prefix: DynamicLayer, rows: int, room: int) -> None:
        super().__init__()
        self.lazy_initialization(prefix.keys, prefix.values)
        kind = _computed_in(prefix.keys)
        self.prefix_keys, self.prefix_values = prefix.keys.to(kind), prefix.values.to(kind)
        heads, _, width = prefix.keys.shape[1:]
        self._filled = 0
        self._keys = prefix.keys.new_empty(rows, heads, room, width, dtype=kind)
        self._values = torch.empty_like(self._keys)
        self._show()

    def update(
        self, key_states: Tensor, value_states: Tensor, *args: object, **kwargs: object
    ) -> tuple[Tensor, Tensor]:
        """Add (B, key heads, n, width) keys and values; returns the rows' own so far."""
        end = self._filled + key_states.shape[-2]
        lacking = end - self._keys.shape[-2]
        if lacking > 0:
            wider = (0, 0, 0, max(64, lacking))
            self._keys = torch.nn.functional.pad(self._keys, wider)
            self._values = torch.nn.functional.pad(self._values, wider)
        self._keys[:, :, self._filled : end] = key_states
        self._values[:, :, self._filled : end] = value_states
        self._filled = end
        self._show()
        return self.keys, self.values

    def get_seq_length(self) -> int:
        """Tokens a row has seen, those of its prefix and its padding included."""
        return int(self.prefix_keys.size(-2)) + self._filled

    def _refuse(self, *_: object, **__: object) -> None:
        raise NotImplementedError("a shared cache neither forgets tokens nor changes its rows")

    reset = crop = reorder_cache = batch_repeat_interleave = batch_select_indices = _refuse

    def _show(self) -> None:
        self.keys = self._keys[:, :, : self._filled]
        self.values = self._values[:, :, : self._filled]


class SharedCache(Cache):  # type: ignore[misc]
    """The cache of B rows that go on from U prefixes.

    Args:
        prefill: the cache of the prefixes.
        prefix_mask: (U, P), 1 on tokens; the prefixes are padded on the left.
        groups: for each prefix its rows; every row of 0 .. B-1 once.
        room: tokens that may follow.
    """

    def __init__(
        self, prefill: Cache, prefix_mask: Tensor, groups: Sequence[Sequence[int]], room: int
    ) -> None:
        rows = sum(len(group) for group in groups)
        super().__init__(layers=[SharedLayer(layer, rows, room) for layer in prefill.layers])
        device = prefix_mask.device
        size = max(len(group) for group in groups)
        padded = [[*group, *[group[0]] * (size - len(group))] for group in groups]
        place = [0] * rows
        for number, group in enumerate(groups):
            for index, row in enumerate(group):
                place[row] = number * size + index
        self._shape = (len(groups), size)
        # Groups of one size whose rows stand together need no gathering.
        self._in_order = place == list(range(rows)) and len(groups) * size == rows
        self._members = torch.tensor(padded, device=device).flatten()
        self._place = torch.tensor(place, device=device)
        self._prefix_bias = None if bool(prefix_mask.all()) else _bias(prefix_mask.bool())
        self._own_bias: Tensor | None = None
        self._prefix_length = prefix_mask.size(1)
        self._suffix_padded: bool | None = None

    def look_at(self, attention_mask: Tensor | None, queries: int) -> None:
        """Take in who is padding before the layers of a forward pass run.

        Args:
            attention_mask: (B, P + own tokens), 1 on tokens, the coming ones included; None where
                nothing is padding.
            queries: how many are coming.
        """
        own = None if attention_mask is None else attention_mask[:, self._prefix_length :].bool()
        if self._suffix_padded is None:  # the first pass brings what the prompts do not share
            self._suffix_padded = own is not None and not bool(own.all())
        self._own_bias = None
        if queries > 1 or self._suffix_padded:
            earlier = self.get_seq_length() - self._prefix_length
            seen = torch.ones(
                1, queries, earlier + queries, dtype=torch.bool, device=self._place.device
            ).tril(earlier)
            self._own_bias = _bias(seen if own is None else seen & own[:, None])

    def attend(
        self, layer: int, query: Tensor, key: Tensor, value: Tensor, scaling: float | None
    ) -> Tensor:
        """Attention of each row to its prefix and its own tokens, in the precision of eager's.

        Args:
            layer: number of the layer.
            query: (B, heads, n, width).
            key: (B, key heads, m, width), the rows' own.
            value: as `key`.
            scaling: of the scores; one over the root of the width by default.

        Returns:
            (B, n, heads, width).
        """
        held: Any = self.layers[layer]
        rows, heads, count, width = query.shape
        key_heads = key.size(1)
        repeats = heads // key_heads
        scale = width**-0.5 if scaling is None else scaling
        # The query heads of one key head, and the rows of one prefix, are further queries to it.
        query = query.to(key.dtype).reshape(rows, key_heads, repeats * count, width)
        common = self._grouped(query) @ held.prefix_keys.mT
        if self._prefix_bias is not None:
            common = common + self._prefix_bias
        own = query @ key.mT
        if self._own_bias is not None:
            own = own + self._own_bias.repeat(1, 1, repeats, 1)
        scores = torch.cat([common, self._grouped(own)], -1).float() * scale
        weights = scores.softmax(-1).to(value.dtype)
        end = common.size(-1)
        output = self._ungrouped(weights[..., :end] @ held.prefix_values)
        output = output + self._ungrouped(weights[..., end:]) @ value
        return output.reshape(rows, heads, count, width).transpose(1, 2)

    def _grouped(self, states: Tensor) -> Tensor:
        """(B, key heads, q, ...) -> (U, key heads, R q, ...), R rows a prefix."""
        if not self._in_order:
            states = states[self._members]
        return states.reshape(*self._shape, *states.shape[1:]).transpose(1, 2).flatten(2, 3)

    def _ungrouped(self, states: Tensor) -> Tensor:
        """Back again."""
        prefixes, key_heads, queries = states.shape[:3]
        size = self._shape[1]
        apart = states.view(prefixes, key_heads, size, queries // size, -1)
        apart = apart.transpose(1, 2).flatten(0, 1)
        return apart if self._in_order else apart[self._place]


def _computed_in(states: Tensor) -> torch.dtype:
    """What attention multiplies such states in: autocast would cast them anew for every token."""
    device = states.device.type
    return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else states.dtype


def _bias(seen: Tensor) -> Tensor:
    """(rows, keys) or (rows, queries, keys) bool -> what is added to scores, heads broadcast."""
    if seen.dim() == 2:
        seen = seen[:, None]
    floor = torch.finfo(torch.float32).min / 2
    return torch.zeros(seen.shape, device=seen.device).masked_fill(~seen, floor)[:, None]

"""A key-value cache with room for what is still to come."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from transformers.cache_utils import DynamicCache, DynamicLayer


class RoomyLayer(DynamicLayer):  # type: ignore[misc]
    """One layer's cache that writes new tokens into memory it already holds.

    The stock layer copies all of its past for every new token.

    Args:
        layer: filled by a prefill, (U, heads, P, width).
        rows: (B,) the row of `layer` that each row of the rollout goes on from.
        room: tokens that may follow; beyond them the layer grows as the stock one does.
    """

    def __init__(self, layer: DynamicLayer, rows: Tensor, room: int) -> None:
        super().__init__()
        self.lazy_initialization(layer.keys, layer.values)
        self._filled = layer.keys.shape[-2]
        self._keys = _with_room(layer.keys, rows, room)
        self._values = _with_room(layer.values, rows, room)
        self._show()

    def update(
        self, key_states: Tensor, value_states: Tensor, *args: object, **kwargs: object
    ) -> tuple[Tensor, Tensor]:
        """Add (B, heads, n, width) keys and values; returns all so far."""
        end = self._filled + key_states.shape[-2]
        if end > self._keys.shape[-2]:
            room = max(64, key_states.shape[-2])
            everyone = torch.arange(len(self._keys), device=self._keys.device)
            self._keys = _with_room(self.keys, everyone, room)
            self._values = _with_room(self.values, everyone, room)
        self._keys[:, :, self._filled : end] = key_states
        self._values[:, :, self._filled : end] = value_states
        self._filled = end
        self._show()
        return self.keys, self.values

    def _show(self) -> None:
        self.keys = self._keys[:, :, : self._filled]
        self.values = self._values[:, :, : self._filled]


def repeat_with_room(cache: DynamicCache, rows: Tensor, room: int) -> None:
    """Give each row of a rollout the cache of its prompt, with room for its completion, in place.

    Args:
        cache: of a prefill, one row a prompt.
        rows: (B,) the prompt of each row.
        room: tokens to come.
    """
    layers: Sequence[DynamicLayer] = cache.layers
    cache.layers = [RoomyLayer(layer, rows, room) for layer in layers]


def _with_room(states: Tensor, rows: Tensor, room: int) -> Tensor:
    heads, length, width = states.shape[1:]
    wide = states.new_empty(len(rows), heads, length + room, width)
    wide[:, :, :length] = states[rows]
    return wide

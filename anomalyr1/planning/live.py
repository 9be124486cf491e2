"""Bytes of tensors alive, at every moment: the number a GPU's allocator would have to serve."""

from __future__ import annotations

import weakref
from typing import Any

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map_only
from torch.utils.weak import WeakIdKeyDictionary


class LiveBytes(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the storages that operations make, from their birth until nobody holds them.

    It works on real and on fake tensors alike and does not see what a kernel allocates for itself.
    Unlike the resident memory of a process it knows neither caches nor pages never touched.

    Attributes:
        now: bytes alive that were made while counting.
        peak: the most there were at once.

    >>> import torch
    >>> with LiveBytes() as live:
    ...     twice = torch.zeros(256) * 2
    >>> live.now, live.peak
    (1024, 2048)
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.now = 0
        self.peak = 0
        self._known: Any = WeakIdKeyDictionary()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run the operation and count the storages it made."""
        # A storage that is first met as an input was made before the count, or elsewhere.
        tree_map_only(Tensor, self._ignore, (args, kwargs))
        outcome = func(*args, **(kwargs or {}))
        tree_map_only(Tensor, self._count, outcome)
        return outcome

    def restart_peak(self) -> None:
        """Forget the peak so far."""
        self.peak = self.now

    def _ignore(self, tensor: Tensor) -> None:
        self._known[tensor.untyped_storage()] = True

    def _count(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        if storage in self._known:
            return
        self._known[storage] = True
        size = storage.nbytes()
        self.now += size
        self.peak = max(self.peak, self.now)
        weakref.finalize(storage, self._forget, size)

    def _forget(self, size: int) -> None:
        self.now -= size


def nbytes(tensor: Tensor) -> int:
    """Bytes of a tensor's elements.

    >>> import torch
    >>> nbytes(torch.zeros(3, 2, dtype=torch.bfloat16))
    12
    """
    return tensor.numel() * tensor.element_size()

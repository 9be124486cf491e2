"""Forward passes in float32 whatever the weights are kept in, one layer at a time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn


@contextmanager
def computed_in_float32(model: nn.Module) -> Iterator[None]:
    """Inside, every layer of `model` computes in float32; its weights are the same values as ever.

    Activations of 8 or 11 bits differ from one CPU to the next, and over a deep model by more than
    the weights do. A layer is widened when its turn comes and has its own tensors back right after
    it, so that the memory needed above the model's own is that of its largest layer.

    Args:
        model: floating-point weights of any dtype; float32 ones are left alone.
    """
    narrow: dict[nn.Parameter, torch.Tensor] = {}

    def widen(
        layer: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        for weight in layer.parameters(recurse=False):
            narrow[weight] = weight.data
            weight.data = weight.data.float()
        return tuple(map(_float, args)), {name: _float(value) for name, value in kwargs.items()}

    def restore(layer: nn.Module, *_: Any) -> None:
        for weight in layer.parameters(recurse=False):
            weight.data = narrow.pop(weight)

    hooks = []
    for layer in model.modules():
        if any(weight.dtype != torch.float32 for weight in layer.parameters(recurse=False)):
            hooks.append(layer.register_forward_pre_hook(widen, with_kwargs=True))
            hooks.append(layer.register_forward_hook(restore))
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
        for weight, data in narrow.items():  # of a layer that failed
            weight.data = data


def _float(value: Any) -> Any:
    return value.float() if torch.is_tensor(value) and value.is_floating_point() else value

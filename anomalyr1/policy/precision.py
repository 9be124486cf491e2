"""What is done in float32 whatever the weights are kept in: learning, and passes on request."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn


def learn_in_float32(model: nn.Module, *, autocast: bool) -> dict[nn.Parameter, torch.dtype]:
    """Widen the weights that learn to float32, in place.

    bfloat16 keeps 8 bits: an optimiser's step of 1e-6 lies below half the distance from most
    weights to the next, and is rounded away. What is frozen stays as narrow as it is, if autocast
    computes with both; without it the whole model is widened, for layers take one dtype.

    Args:
        model: with its frozen parts frozen, on any device.
        autocast: passes run under it.

    Returns:
        The weights that were widened, and the dtype that each was loaded in; empty where all that
        learns is in float32 already.
    """
    weights = [p for p in model.parameters() if p.is_floating_point() and p.itemsize < 4]
    learning = [p for p in weights if p.requires_grad]
    widened = {p: p.dtype for p in (learning if autocast or not learning else weights)}
    for weight in widened:
        weight.data = weight.data.float()
    return widened


def narrow_again(widened: dict[nn.Parameter, torch.dtype]) -> None:
    """Round weights to the dtype that they were loaded in, in place, once they are to be saved."""
    for weight, dtype in widened.items():
        weight.data = weight.data.to(dtype)


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

"""The policy as far as memory needs to know it, built once for all estimates of a run."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch

from anomalyr1.config import PolicyConfig
from anomalyr1.planning.architecture import Architecture, Count, count_parameters, meta_model
from anomalyr1.planning.head import Head
from anomalyr1.planning.tape import Layers


@dataclass(frozen=True)
class Weight:
    """Parameters of one dtype."""

    number: int
    itemsize: int
    trained: bool


@dataclass(frozen=True)
class Skeleton:
    """A policy without weights.

    Attributes:
        parameters: by part.
        weights: by dtype and by whether they are trained.
        largest_layer: parameters of the largest layer; FSDP gathers a layer as one.
        outside_layers: parameters of all that is in no layer, gathered as one as well.
        layers: one layer of each kind, to be traced.
        head: the language model's head.
    """

    parameters: dict[str, Count]
    weights: tuple[Weight, ...]
    largest_layer: int
    outside_layers: int
    layers: Layers
    head: Head


_BUILT: dict[str, Skeleton] = {}


def build_skeleton(
    architecture: Architecture,
    policy: PolicyConfig,
    *,
    dtype: torch.dtype,
    upcast_trained: bool,
    autocast: torch.dtype | None,
    cuda: bool,
    **options: Any,
) -> Skeleton:
    """The skeleton of a policy; the same arguments give the same one.

    Args:
        architecture: of the policy.
        policy: what is frozen, the adapter, the attention kernel.
        dtype: of the weights as they are loaded.
        upcast_trained: what learns is in float32.
        cuda: plan for CUDA's kernels.
        autocast: dtype of autocast, or None.
        options: of `Layers`.
    """
    seen = replace(policy, min_pixels=1, max_pixels=1, shared_prefix=True)
    held = {**options, "dtype": dtype, "upcast_trained": upcast_trained, "cuda": cuda}
    held["autocast"] = autocast
    key = repr((architecture.config.to_json_string(), architecture.adapter, seen, held))
    if key not in _BUILT:
        model = meta_model(
            architecture,
            policy,
            dtype=dtype,
            upcast_trained=upcast_trained,
            autocast=autocast is not None,
        )
        layers = Layers(architecture, policy, **held)
        largest, outside = layer_sizes(model)
        _BUILT[key] = Skeleton(
            parameters=count_parameters(model),
            weights=tuple(weights_of(model)),
            largest_layer=largest,
            outside_layers=outside,
            layers=layers,
            head=_head(model, layers, cuda=cuda),
        )
    return _BUILT[key]


def weights_of(model: torch.nn.Module) -> list[Weight]:
    """The parameters of a model by dtype and by whether they are trained."""
    sums: dict[tuple[int, bool], int] = {}
    for parameter in model.parameters():
        key = (parameter.element_size(), parameter.requires_grad)
        sums[key] = sums.get(key, 0) + parameter.numel()
    return [Weight(number, size, trained) for (size, trained), number in sums.items()]


def layer_sizes(model: torch.nn.Module) -> tuple[int, int]:
    """Parameters of the largest layer, and of all that is in no layer."""
    layers: dict[str, int] = {}
    rest = 0
    for name, parameter in model.named_parameters():
        head, separator, tail = name.partition(".layers.")
        if not separator:
            head, separator, tail = name.partition(".blocks.")
        if separator:
            layer = f"{head}{separator}{tail.partition('.')[0]}"
            layers[layer] = layers.get(layer, 0) + parameter.numel()
        else:
            rest += parameter.numel()
    return max(layers.values()), rest


def _head(model: torch.nn.Module, layers: Layers, *, cuda: bool) -> Head:
    named = dict(model.named_parameters())
    weights = [w for name, w in named.items() if "lm_head" in name or "embed_tokens" in name]
    return Head(
        hidden=layers.text.hidden_size,
        vocabulary=layers.text.vocab_size,
        hidden_bytes=layers.dtype.itemsize,
        tile_bytes=(layers.autocast or layers.dtype).itemsize,
        weight_bytes=weights[-1].element_size(),
        trained=weights[-1].requires_grad,
        cuda=cuda,
    )

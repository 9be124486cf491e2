"""The bytes alive while a module runs forward and backward."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from anomalyr1.planning.live import LiveBytes, nbytes


@dataclass(frozen=True)
class Tape:
    """Bytes of one stage of the model, its weights and finished gradients left out.

    Attributes:
        forward: the most alive while it runs, its input and output included.
        kept: alive from then until its backward pass, its input included where it is needed.
        backward: the most alive in its backward pass, `kept` included.
        gradients: of its trained weights; part of `backward` only where they are made there.
    """

    forward: int
    kept: int
    backward: int
    gradients: int


def trace(
    module: torch.nn.Module,
    call: Callable[[Tensor], Tensor],
    seed: Tensor,
    shape: tuple[int, ...],
    backward: bool,
    *,
    autocast: torch.dtype | None,
    held: bool,
) -> Tape:
    """Run a stage on fake tensors and count.

    Args:
        module: whose weights are used.
        call: runs it on hidden states.
        seed: one value, from which the hidden states are made; it says whether they want gradients.
            A leaf would live as long as the graph; the output of an operation goes when it may.
        shape: of the hidden states.
        backward: with its backward pass.
        autocast: dtype of autocast, or None.
        held: earlier passes left gradients to add to.
    """
    trained = [p for p in module.parameters() if p.requires_grad and backward]
    for parameter in trained:
        parameter.grad = torch.zeros_like(parameter) if held else None
    casting: Any = contextlib.nullcontext()
    if autocast is not None:
        casting = torch.autocast("cpu", dtype=autocast)
    with LiveBytes() as live:
        with torch.set_grad_enabled(backward):
            hidden = seed.expand(*shape).clone()
            with casting:
                output = call(hidden)
        forward = live.peak
        if not output.requires_grad:
            return Tape(forward, 0, 0, 0)
        incoming = torch.zeros_like(output)
        edge = torch.autograd.graph.get_gradient_edge(output)
        del hidden, output
        kept = live.now - nbytes(incoming)
        live.restart_peak()
        torch.autograd.backward((edge,), (incoming,))
    for parameter in trained:
        parameter.grad = None
    return Tape(forward, kept, live.peak, sum(nbytes(p) for p in trained))

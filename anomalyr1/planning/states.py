"""What a process holds whatever the batch: weights, gradients, optimiser state, reference."""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction

from anomalyr1.errors import unknown
from anomalyr1.planning.settings import Settings
from anomalyr1.planning.sharding import Sharding
from anomalyr1.planning.skeleton import Skeleton, Weight

FLOAT32 = 4
# Bytes of optimiser state for each trained weight, by the optimiser's name in transformers.
# AdamW's two moments have the dtype of the weight unless the name says otherwise.
_AS_WEIGHTS = ("adamw_torch", "adamw_torch_fused")
_EIGHT_BIT = ("adamw_bnb_8bit", "adamw_8bit", "paged_adamw_8bit", "adamw_torch_8bit")
# Adafactor keeps sums of rows and columns, next to nothing.
_SMALL = ("sgd", "adafactor")


@dataclass(frozen=True)
class States:
    """Bytes of one process, on its GPU unless said otherwise.

    Attributes:
        weights: the share it holds.
        gathered: weights of others it borrows while it computes.
        gathered_rollout: the same while it samples.
        gradients: its share.
        buckets: gradients on their way to other processes.
        optimizer: moments, and float32 copies of the weights where they are trained in 16 bits.
        reference: the reference policy.
        step: on top while the optimiser steps.
        host: of the above, moved to the host's memory.
    """

    weights: int
    gathered: int
    gathered_rollout: int
    gradients: int
    buckets: int
    optimizer: int
    reference: int
    step: int
    host: int = 0


def hold(skeleton: Skeleton, sharding: Sharding, settings: Settings, *, reference: int) -> States:
    """Bytes of the states of one process.

    Args:
        skeleton: the policy.
        sharding: who holds what.
        settings: optimiser, mixed precision.
        reference: bytes of a whole reference policy, 0 where none is needed.

    Raises:
        InputError: what the optimiser keeps is not known.
    """
    held = list(skeleton.weights)
    whole, trained, gradients = _sums(held)
    share = Fraction(1, sharding.processes)
    if sharding.deepspeed:
        bucket = sharding.reduce_bucket
        if bucket is None:
            bucket = skeleton.layers.text.hidden_size**2
        bucket *= 2 if sharding.double_bucket else 1
        states = _deepspeed(held, sharding, settings, bucket, reference)
    elif sharding.kind == "FSDP":
        # accelerate holds trained weights in float32 where mixed precision is on.
        size = FLOAT32 if settings.mixed != "no" else max(w.itemsize for w in held)
        kept = sum(w.number * (size if w.trained else w.itemsize) for w in held)
        # The layer in use and the one fetched ahead, beside what is outside of layers.
        unit = max(w.itemsize for w in held)
        gathered = (2 * skeleton.largest_layer + skeleton.outside_layers) * unit
        states = States(
            weights=int(kept * share),
            gathered=gathered if sharding.reshard else whole,
            gathered_rollout=gathered,
            gradients=int(trained * size * share),
            buckets=skeleton.largest_layer * unit,
            optimizer=int(_moments(settings.optimizer, trained, trained * size) * share),
            reference=int(reference * share),
            step=0,
        )
    else:
        states = States(
            weights=whole,
            gathered=0,
            gathered_rollout=0,
            gradients=gradients,
            # DistributedDataParallel reduces copies (gradient_as_bucket_view=False).
            buckets=gradients if sharding.kind == "DDP" else 0,
            optimizer=_moments(settings.optimizer, trained, gradients),
            reference=reference,
            step=0,
        )
    return _offload(states, sharding)


def _deepspeed(
    held: list[Weight],
    sharding: Sharding,
    settings: Settings,
    bucket: int,
    reference: int,
) -> States:
    whole, trained, gradients = _sums(held)
    share = Fraction(1, sharding.processes)
    third = sharding.kind == "ZeRO-3"
    size = max(w.itemsize for w in held)
    live = min(sum(w.number for w in held), sharding.max_live) * size if third else 0
    masters = trained * FLOAT32
    moments = _moments(settings.optimizer, trained, trained * FLOAT32)
    return States(
        weights=int(whole * share) if third else whole,
        gathered=live,
        gathered_rollout=(whole if settings.gathers else live) if third else 0,
        gradients=gradients if sharding.kind == "ZeRO-1" else int(gradients * share),
        buckets=bucket * size,
        optimizer=int((masters + moments) * share),
        # A reference policy is split only where the policy's weights are (trl.models.utils).
        reference=int(reference * share) if third else reference,
        # Gradients are turned to float32 for the step.
        step=int(trained * FLOAT32 * share),
    )


def _sums(held: list[Weight]) -> tuple[int, int, int]:
    """Bytes of all weights, number of the trained ones, bytes of their gradients."""
    whole = sum(w.number * w.itemsize for w in held)
    trained = sum(w.number for w in held if w.trained)
    return whole, trained, sum(w.number * w.itemsize for w in held if w.trained)


def _moments(optimizer: str, trained: int, held: int) -> int:
    """Bytes of the optimiser's state for so many weights that take `held` bytes."""
    if optimizer not in (*_AS_WEIGHTS, *_EIGHT_BIT, *_SMALL):
        raise unknown(
            "an optimiser that plan knows (grpo.optim)",
            optimizer,
            (*_AS_WEIGHTS, *_EIGHT_BIT, *_SMALL),
        )
    if optimizer in _SMALL:
        return 0
    return 2 * trained if optimizer in _EIGHT_BIT else 2 * held


def _offload(states: States, sharding: Sharding) -> States:
    """Move to the host what the file says.

    Gradients follow the optimiser, and the reference policy is loaded under the same file.
    """
    host = 0
    if sharding.offload_optimizer:
        host += states.optimizer + states.gradients + states.step
        states = replace(states, optimizer=0, gradients=0, step=0)
    if sharding.offload_weights:
        host += states.weights + states.reference
        states = replace(states, weights=0, reference=0)
    return replace(states, host=host)

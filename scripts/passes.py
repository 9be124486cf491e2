"""Log-probabilities and rollouts of both sides, with the same head on both, for bench_passes.py."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from random_policies import Batch
from torch.utils.checkpoint import checkpoint

from anomalyr1.shared_prefix import generate_shared, group_equal, shared_logps
from anomalyr1.shared_prefix.packing import Packed
from anomalyr1.shared_prefix.vision import backbone_of

# Places whose logits are held at once; at 151936 words and float32 a tile is 0.6 GB.
TILE = 1024
SIDES = ("stock", "shared", "flex")


def log_probabilities(side: str, model: Any, batch: Batch, mixed: bool) -> torch.Tensor:
    """(B, C) log-probabilities of the completions, 0 on padding.

    Args:
        side: one of `SIDES`; for all but `stock` the model is prepared.
        model: adapters or not.
        batch: of B rows.
        mixed: under bfloat16 autocast, as training is.
    """
    if side == "stock":
        with _autocast(batch, mixed):
            return _stock(model, batch)
    return shared_logps(
        model,
        batch.prompts,
        batch.images,
        batch.ids,
        batch.mask,
        score=_score,
        flex=side == "flex",
        autocast=lambda: _autocast(batch, mixed),
    )[0]


def with_gradients(
    side: str, model: Any, batch: Batch, *, mixed: bool
) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """Log-probabilities, and the gradient of each weight that learns."""
    model.zero_grad()
    logps = log_probabilities(side, model, batch, mixed)
    signs = torch.arange(len(logps), device=logps.device)[:, None] % 2 * 2 - 1
    (logps * signs).sum().backward()
    named = model.named_parameters()
    gradients = {name: p.grad for name, p in named if p.grad is not None}
    model.zero_grad(set_to_none=True)
    return logps.detach(), gradients


def distance(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> float:
    """Length of the difference of two gradients over the length of the second."""
    apart = sum(float((a[name].float() - b[name].float()).square().sum()) for name in b)
    return (apart / sum(float(g.float().square().sum()) for g in b.values())) ** 0.5


def rollout(side: str, model: Any, batch: Batch, tokens: int) -> torch.Tensor:
    """(B, tokens) greedy completions."""
    options = {"max_new_tokens": tokens, "min_new_tokens": tokens, "do_sample": False}
    with torch.no_grad():
        if side == "stock":
            whole = batch.whole()
            found: torch.Tensor = model.generate(**whole, **options)
            return found[:, whole["input_ids"].size(1) :]
        groups = group_equal(batch.prompts, batch.images)
        return generate_shared(model, batch.prompts, batch.images, groups, **options)


def _stock(model: Any, batch: Batch) -> torch.Tensor:
    inputs = batch.whole()
    prompt, width = inputs["input_ids"].size(1), batch.ids.size(1)
    pad = torch.nn.functional.pad
    hidden = backbone_of(model)(
        **{
            **inputs,
            "input_ids": torch.cat([inputs["input_ids"], batch.ids], 1),
            "attention_mask": torch.cat([inputs["attention_mask"], batch.mask], 1),
            "mm_token_type_ids": pad(inputs["mm_token_type_ids"], (0, width)),
        },
        use_cache=False,
    ).last_hidden_state[:, prompt - 1 : -1]
    place = batch.mask.bool()
    found = _head(model, hidden[place], batch.ids[place])
    return found.new_zeros(place.shape).masked_scatter(place, found)


def _score(model: Any, inputs: dict[str, Any], packed: Packed) -> tuple[torch.Tensor, None]:
    hidden = backbone_of(model)(**inputs, use_cache=False).last_hidden_state[0]
    place = packed.source[:, 0]
    found = _head(model, hidden[place - 1], packed.input_ids[0, place])
    at_places = found.new_zeros(packed.input_ids.shape)
    return at_places.index_put((torch.zeros_like(place), place), found), None


def _head(model: Any, hidden: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Log-probabilities (N,) of targets, tile by tile, computed again in the backward pass."""
    project = model.get_output_embeddings()

    def tile(states: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
        logits = project(states).float()
        return logits.gather(1, wanted[:, None])[:, 0] - logits.logsumexp(1)

    pairs = zip(hidden.split(TILE), targets.split(TILE), strict=True)
    return torch.cat([checkpoint(tile, *pair, use_reentrant=False) for pair in pairs])


def _autocast(batch: Batch, mixed: bool) -> AbstractContextManager[Any]:
    kind = batch.ids.device.type
    return torch.autocast(kind, torch.bfloat16) if mixed else nullcontext()

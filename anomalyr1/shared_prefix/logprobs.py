"""Log-probabilities of completions with one copy of each prompt: a function of a model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor

from anomalyr1.shared_prefix.attention import shares_attention, unmasked
from anomalyr1.shared_prefix.flex_attention import pairs_of
from anomalyr1.shared_prefix.packing import Packed, block_mask, chunked, pack, unpack
from anomalyr1.shared_prefix.prefixes import Prompt, beginning, families_of, group_equal
from anomalyr1.shared_prefix.trunk import Chunk
from anomalyr1.shared_prefix.vision import RowImages, backbone_of

# (model, model inputs, packed groups) -> log-probabilities and entropies of tokens, (1, L) each.
Score = Callable[[Any, dict[str, Any], Packed], tuple[Tensor, Tensor | None]]


def shared_logps(
    model: Any,
    prompts: Sequence[Prompt],
    images: RowImages | None,
    completion_ids: Tensor,
    completion_mask: Tensor,
    *,
    score: Score,
    backbone: Any = None,
    budget: int | None = None,
    passes: Callable[[int], int] | None = None,
    flex: bool = False,
    chunk_tokens: int | None = None,
    by_image: bool = False,
    autocast: Callable[[], AbstractContextManager[Any]] = nullcontext,
) -> tuple[Tensor, Tensor | None]:
    """Log-probabilities of B completions, each group of equal prompts computed behind one copy.

    The numbers and their gradients are those of B rows of prompt and completion.

    Args:
        model: one that `attention.prepare` has prepared, adapters and wrappers or not.
        prompts: of the B rows.
        images: of the B rows, or None.
        completion_ids: (B, C), right-padded.
        completion_mask: (B, C), 1 on tokens.
        score: runs the model and reads the tokens' numbers off it; `plain_score` where the model
            has no head of its own for that.
        backbone: the vision-language model inside `model`, where wrappers hide it.
        budget: tokens of a forward pass; None runs all groups in one, as a backward pass needs.
        passes: how many forward passes to make, given the number needed here: where processes hold
            a part of the weights each, all make equally many. None makes those needed.
        flex: attend by FlexAttention.
        chunk_tokens: of completions that are computed at once behind their prompts; more are
            computed in chunks, and again in the backward pass, in the memory of one of them. Not
            with the eager kernel. None computes all at once.
        by_image: compute what different prompts share once too: system text and images.
        autocast: entered around each forward pass.

    Returns:
        (B, C) log-probabilities and entropies, 0 on padding; None where `score` gives no entropy.
    """
    backbone = backbone_of(model) if backbone is None else backbone
    groups = group_equal(prompts, images)
    chunks = chunked(groups, prompts, completion_mask, budget)
    needed = len(chunks)
    count = needed if passes is None else passes(needed)
    logps: Tensor | None = None
    entropies: Tensor | None = None
    for number, chunk in enumerate([*chunks, *[chunks[-1]] * (count - needed)]):
        packed, inputs = pack_inputs(
            backbone,
            chunk,
            prompts,
            images,
            completion_ids,
            completion_mask,
            flex=flex,
            chunk_tokens=chunk_tokens,
            by_image=by_image,
        )
        with autocast():
            found, entropy = score(model, inputs, packed)
        if number >= needed:
            continue  # computed because another process has a chunk more
        part = unpack(packed, found, *completion_ids.shape)
        logps = part if logps is None else logps + part
        if entropy is not None:
            part = unpack(packed, entropy, *completion_ids.shape)
            entropies = part if entropies is None else entropies + part
    assert logps is not None
    return logps, entropies


def plain_score(temperature: float = 1.0, *, entropy: bool = False) -> Score:
    """A `Score` of any transformers model: its own logits, at the places that predict a token.

    Args:
        temperature: the logits are divided by it.
        entropy: compute entropies too.
    """

    def score(model: Any, inputs: dict[str, Any], packed: Packed) -> tuple[Tensor, Tensor | None]:
        place = packed.source[:, 0]
        output = model(**inputs, logits_to_keep=place - 1, use_cache=False)
        logps = (output.logits[0].float() / temperature).log_softmax(-1)  # (N, vocabulary)
        own = logps.gather(1, packed.input_ids[0, place, None])[:, 0]
        at_places = logps.new_zeros(packed.input_ids.shape)
        spread = -(logps.exp() * logps).sum(1) if entropy else None
        row = torch.zeros_like(place)
        return (
            at_places.index_put((row, place), own),
            None if spread is None else at_places.index_put((row, place), spread),
        )

    return score


def pack_inputs(
    backbone: Any,
    groups: Sequence[Sequence[int]],
    prompts: Sequence[Prompt],
    images: RowImages | None,
    completion_ids: Tensor,
    completion_mask: Tensor,
    *,
    flex: bool = False,
    chunk_tokens: int | None = None,
    by_image: bool = False,
) -> tuple[Packed, dict[str, Any]]:
    """The groups as one sequence, and what the model is called with.

    Args:
        backbone: the part of the model that knows positions (`vision.backbone_of`).
        groups: row numbers of each group.
        prompts: of each of the B rows.
        images: of the rows, or None.
        completion_ids: (B, C), right-padded.
        completion_mask: (B, C), 1 on tokens.
        flex: hand over the pairs that FlexAttention computes.
        chunk_tokens: of completions that are computed at once; None is no limit.
        by_image: share between prompts what they have in common.
    """
    firsts = [group[0] for group in groups]
    positions = []
    for row in firsts:
        grid = images.grids[row] if images and len(images.grids[row]) else None
        position, _ = backbone.get_rope_index(
            prompts[row].ids[None],
            mm_token_type_ids=prompts[row].kinds[None],
            image_grid_thw=grid,
        )
        positions.append(position[:, 0])
    asked = [prompts[row] for row in firsts]
    families: list[list[int]] | None = None
    shown: Sequence[int] = range(len(groups))
    if by_image:
        families = families_of(groups, prompts, images)
        shown = [n for f in families for n in (f[:1] if beginning([asked[k] for k in f]) else f)]
    packed = pack(
        groups,
        asked,
        positions,
        completion_ids,
        completion_mask,
        chunk_tokens if shares_attention(backbone) else None,
        families,
    )
    roots = [firsts[number] for number in shown]
    return packed, model_inputs(backbone, packed, images, roots, flex=flex)


def model_inputs(
    backbone: Any,
    packed: Packed,
    images: RowImages | None,
    firsts: Sequence[int],
    *,
    flex: bool = False,
) -> dict[str, Any]:
    """What a model is called with for a packed sequence.

    Args:
        backbone: the part of it that knows positions (`vision.backbone_of`).
        packed: the sequence.
        images: of the rows, or None.
        firsts: the row of each tree whose images stand in it.
        flex: hand over the pairs that FlexAttention computes.
    """
    return {
        "input_ids": packed.input_ids,
        "position_ids": packed.position_ids,
        "mm_token_type_ids": packed.mm_token_type_ids,
        **_who_sees_whom(backbone, packed, flex),
        **(images.batch(firsts) if images else {}),
    }


def _who_sees_whom(backbone: Any, packed: Packed, flex: bool) -> dict[str, Any]:
    """The layout for our kernel, a mask of all tokens by all tokens for eager's."""
    if not shares_attention(backbone):
        unseen = ~block_mask(packed.layout)
        bias = torch.zeros(unseen.shape, device=unseen.device)
        return {"attention_mask": bias.masked_fill(unseen, torch.finfo(torch.float32).min)}
    trunk = packed.layout
    who: dict[str, Any] = {"attention_mask": unmasked(packed.input_ids.device), "layout": trunk}
    if flex:
        who["pairs"] = pairs_of(trunk)
    if packed.chunks:
        who["chunks"] = [
            Chunk(part, pairs_of([*trunk, *part], trunk[-1].end) if flex else None)
            for part in packed.chunks
        ]
    return who

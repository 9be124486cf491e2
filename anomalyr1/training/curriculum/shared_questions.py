"""The language side over all questions of some images: what an image's questions share, once.

The questions of an image begin with the same text and the same images, which are the longer part of
each row the larger the images are. The numbers are those of rows of their own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from anomalyr1.shared_prefix.attention import NAME, unmasked
from anomalyr1.shared_prefix.packing import Packed
from anomalyr1.shared_prefix.prefixes import Prompt
from anomalyr1.shared_prefix.trained_rows import lay_out_rows
from anomalyr1.training.curriculum.asking import Rows


@dataclass(frozen=True)
class Reading:
    """Rows that are computed at once.

    Attributes:
        packed: as one sequence.
        images: numbers of the images whose tokens stand in it, in order.
    """

    packed: Packed
    images: tuple[int, ...]


def readings(model: Any, rows: Rows, cells: int, tokens: int) -> list[Reading]:
    """Rows about images in as few sequences as fit.

    Args:
        model: knows image tokens and positions.
        rows: those that show the same images stand together.
        cells: merged tokens along a side of every image.
        tokens: of a sequence, exceeded by an image whose questions are longer alone.
    """
    backbone, mark = model.model, model.config.image_token_id
    whole = Prompt.of_batch(
        {
            "input_ids": rows.ids,
            "attention_mask": rows.mask,
            "mm_token_type_ids": (rows.ids == mark).long(),
        }
    )
    labels = [own[kept] for own, kept in zip(rows.labels, rows.mask.bool(), strict=True)]
    side = cells * backbone.visual.spatial_merge_size
    grids = [torch.tensor([[1, side, side]]).repeat(len(shown), 1) for shown in rows.images]
    groups = [list(found) for _, found in groupby(range(len(whole)), key=rows.images.__getitem__)]
    parts: list[list[list[int]]] = [[]]
    filled = 0
    for group in groups:
        length = sum(len(whole[row].ids) - whole[row].illustrated for row in group)
        length += whole[group[0]].illustrated
        if parts[-1] and filled + length > tokens:
            parts.append([])
            filled = 0
        parts[-1].append(group)
        filled += length
    found = []
    for part in parts:
        packed, firsts = lay_out_rows(backbone, whole, labels, part, grids)
        found.append(Reading(packed, tuple(n for row in firsts for n in rows.images[row])))
    return found


def answered(model: Any, reading: Reading, tokens: Tensor, total: int) -> Tensor:
    """Cross-entropy of the completions' tokens, summed and divided by `total`.

    Args:
        model: a Qwen2.5-VL; its head is asked at those tokens alone.
        reading: on any device.
        tokens: (images, cells, width) of all images by number, on the model's device.
        total: of the step's completions.
    """
    packed = reading.packed.to(tokens.device)
    language = model.model.language_model
    embedded = language.get_input_embeddings()(packed.input_ids)
    at = packed.mm_token_type_ids.bool()[..., None].expand_as(embedded)
    told = tokens[list(reading.images)].flatten(0, 1).to(embedded.dtype)
    before, language.config._attn_implementation = language.config._attn_implementation, NAME
    try:
        output = language(
            inputs_embeds=embedded.masked_scatter(at, told),
            position_ids=packed.position_ids,
            attention_mask=unmasked(tokens.device),
            layout=packed.layout,
            use_cache=False,
        )
    finally:
        language.config._attn_implementation = before
    place = packed.source[:, 0]
    logits = model.lm_head(output[0][0, place - 1]).float()
    loss = cross_entropy(logits, packed.labels[0, place], reduction="sum")
    return loss / total


def asked_for(readings: Sequence[Reading]) -> int:
    """How many tokens have a label."""
    return sum(len(reading.packed.source) for reading in readings)

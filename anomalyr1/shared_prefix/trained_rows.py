"""Rows with their completions, those about the same images behind one copy of them.

Supervised fine-tuning shows an image once for each question about it. Here the rows of a batch that
begin alike, images included, are one tree: what they share | question 1, answer 1 | question 2,
answer 2 | ... Rows that share nothing stand alone, without padding.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from anomalyr1.shared_prefix.logprobs import model_inputs
from anomalyr1.shared_prefix.packing import IGNORED, Packed, Stretch, WholeRow, lay_out
from anomalyr1.shared_prefix.prefixes import Prompt, common_prefix, group_by_images
from anomalyr1.shared_prefix.vision import RowImages


def pack_rows(
    backbone: Any, inputs: Mapping[str, Any], *, flex: bool = False
) -> tuple[Packed, dict[str, Any]]:
    """The rows of a batch as one sequence, and what the model is called with.

    Every label is predicted from what it would be predicted from in a row of its own, so that a
    sum over labels, and its gradient, is that of the batch.

    Args:
        backbone: the part of a model prepared by `attention.prepare` that knows positions.
        inputs: of the stock model: `input_ids`, `attention_mask` and `labels` (B, T), where there
            are images `mm_token_type_ids` (B, T), `pixel_values` and `image_grid_thw`. A label of
            `IGNORED` is none.
        flex: hand over the pairs that FlexAttention computes.

    Raises:
        ValueError: the image tokens of the rows are not those of the images.
    """
    rows = Prompt.of_batch(inputs)
    mask = inputs["attention_mask"].bool()
    labels = [row[own] for row, own in zip(inputs["labels"], mask, strict=True)]
    grids = inputs.get("image_grid_thw")
    counts = None
    if grids is not None:
        counts = images_of(rows, grids, backbone.visual.spatial_merge_size)
    images = RowImages.split(inputs.get("pixel_values"), grids, counts)
    grids_of = None if images is None else images.grids
    packed, firsts = lay_out_rows(backbone, rows, labels, group_by_images(rows, images), grids_of)
    given = model_inputs(backbone, packed, images, firsts, flex=flex)
    return packed, {**given, "labels": packed.labels}


def lay_out_rows(
    backbone: Any,
    rows: Sequence[Prompt],
    labels: Sequence[Tensor],
    groups: Sequence[list[int]],
    grids: Sequence[Tensor] | None,
) -> tuple[Packed, list[int]]:
    """Rows as one sequence, those of a group behind what they share.

    Args:
        backbone: the part of a model that knows positions.
        rows: without padding.
        labels: of each row, `IGNORED` where there is none.
        groups: numbers of the rows that show the same images.
        grids: of each row, (images, 3) frames, rows and columns of patches; None without images.

    Returns:
        The sequence, and the row of each tree whose images stand in it.
    """
    trees: list[Stretch] = []
    wholes: dict[int, WholeRow] = {}
    for group in groups:
        for tree in _trees(group, rows, labels):
            trees.append(tree)
            grid = grids[tree.row] if grids is not None and len(grids[tree.row]) else None
            position, _ = backbone.get_rope_index(
                rows[tree.row].ids[None],
                mm_token_type_ids=rows[tree.row].kinds[None],
                image_grid_thw=grid,
            )
            ends = [end.row for end in tree.then] or [tree.row]
            for row in ends:
                own = _positions(position[:, 0], tree.end, len(rows[row].ids))
                target = torch.zeros_like(labels[row])
                wholes[row] = WholeRow(rows[row].ids, rows[row].kinds, own, labels[row], target)
    return lay_out(trees, wholes), [tree.row for tree in trees]


def images_of(rows: Sequence[Prompt], grids: Tensor, merge: int) -> list[int]:
    """How many of the images of a batch each row shows, told from its image tokens.

    Args:
        rows: in the order of their images.
        grids: (images, 3) frames, rows and columns of patches.
        merge: side of the square of patches that is one token.

    Raises:
        ValueError: the image tokens of the rows are not those of the images.

    >>> rows = [Prompt(torch.zeros(n), torch.ones(n)) for n in (5, 0, 4)]
    >>> images_of(rows, torch.tensor([[1, 2, 2], [1, 4, 4], [1, 4, 4]]), merge=2)
    [2, 0, 1]
    """
    sizes = (grids.prod(1) // merge**2).tolist()
    counts, at = [], 0
    for row in rows:
        begun, left = at, int(row.kinds.count_nonzero())
        while left > 0 and at < len(sizes):
            left -= sizes[at]
            at += 1
        counts.append(at - begun)
        if left:
            at = -1
            break
    if at != len(sizes):
        raise ValueError("expected the image tokens of the rows to be those of the images")
    return counts


def _trees(group: list[int], rows: Sequence[Prompt], labels: Sequence[Tensor]) -> list[Stretch]:
    """One tree of rows that begin alike; where what they share predicts a label, one a row."""
    alone = [Stretch(row, 0, len(rows[row].ids)) for row in group]
    if len(group) == 1:
        return alone
    # The token before a label predicts it, and so belongs to the row's own.
    shared = min(_first_label(labels[row]) - 1 for row in group)
    shared = min(shared, common_prefix([rows[row].ids for row in group]))
    if shared <= 0 or shared < max(rows[row].illustrated for row in group):
        return alone
    ends = tuple(Stretch(row, shared, len(rows[row].ids)) for row in group)
    return [Stretch(group[0], 0, shared, ends)]


def _first_label(labels: Tensor) -> int:
    """Its place; that after the last token without one."""
    places = (labels != IGNORED).nonzero()
    return int(places[0]) if len(places) else len(labels)


def _positions(of_first: Tensor, shared: int, length: int) -> Tensor:
    """Positions (3, T) of a row whose tokens behind the shared ones are text."""
    own = of_first[:, :shared]
    coming = own.max() + 1 + torch.arange(length - shared, device=own.device)
    return torch.cat([own, coming.expand(3, -1)], 1)

"""One copy of what rows share: packing of trees, block mask, M-RoPE positions.

A group of G completions shares its prompt (images and all). Stock GRPO runs G x (P + C) tokens
through the model for every log-probability pass. Here a group is

    prompt without its last token | last token, completion 1 | last token, completion 2 | ...

of P - 1 + sum(1 + C_g) tokens. A token sees its own group's prompt and its own segment before it,
and its position is what it would be had it followed the prompt alone, so every number is that of
the stock pass. The prompt's last token is repeated because it predicts a different first token in
each segment. No padding is computed at all.

In general rows make trees: a stretch of tokens, the stretches that go on from it, and so forth down
to the end of each row. All trees of a pass stand in one sequence, what is seen before those that
see it and the ends of the rows last.

Prefix sharing for GRPO is described by Prefix Grouper (arXiv 2506.05433) for text; here the images
and their three-dimensional positions are part of the prefix.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from anomalyr1.shared_prefix.packed_attention import Siblings, lineage, siblings
from anomalyr1.shared_prefix.prefixes import Prompt, beginning

# First place and place after the last, of all stretches that something goes on from.
Path = tuple[tuple[int, int], ...]
# The label of a token whose probability nobody asks for.
IGNORED = -100


@dataclass(frozen=True)
class WholeRow:
    """A row as it would stand alone, T tokens without padding.

    Attributes:
        ids: (T,).
        kinds: (T,) `mm_token_type_ids`, 1 on image tokens.
        positions: (3, T) M-RoPE positions (time, height, width).
        labels: (T,), the token itself where its probability is asked for, else `IGNORED`.
        targets: (T,) flat index into the caller's batch, for those tokens.
    """

    ids: Tensor
    kinds: Tensor
    positions: Tensor
    labels: Tensor
    targets: Tensor


@dataclass(frozen=True)
class Stretch:
    """Tokens `start` to before `end` of a row, and what goes on from them; nothing at a row's end.

    What goes on are ends of rows all of it, or none of it.
    """

    row: int
    start: int
    end: int
    then: tuple[Stretch, ...] = ()


# Siblings, and what they see.
Family = tuple[Path, tuple[Stretch, ...]]


@dataclass(frozen=True)
class Packed:
    """Trees as one sequence of L tokens.

    Attributes:
        input_ids: (1, L) tokens.
        mm_token_type_ids: (1, L), 1 on image tokens.
        position_ids: (3, 1, L) M-RoPE positions (time, height, width).
        layout: where the stretches lie.
        labels: (1, L), the token itself where its probability is asked for, else `IGNORED`.
        source: (N, 2) for every labelled token: place in L, and flat index into the caller's batch.
        chunks: the ends of rows in parts of their own, each in the places that it would have right
            behind what comes before the first of them; empty where `layout` holds them too.
    """

    input_ids: Tensor
    mm_token_type_ids: Tensor
    position_ids: Tensor
    layout: list[Siblings]
    labels: Tensor
    source: Tensor
    chunks: list[list[Siblings]] = field(default_factory=list)

    def to(self, device: torch.device) -> Packed:
        """On another device."""
        return Packed(
            self.input_ids.to(device),
            self.mm_token_type_ids.to(device),
            self.position_ids.to(device),
            [part.to(device) for part in self.layout],
            self.labels.to(device),
            self.source.to(device),
            [[part.to(device) for part in chunk] for chunk in self.chunks],
        )


def chunked(
    groups: Sequence[list[int]],
    prompts: Sequence[Prompt],
    completion_mask: Tensor,
    budget: int | None,
) -> list[list[list[int]]]:
    """Whole groups together, in order, as long as their packed tokens stay within the budget.

    Args:
        groups: row numbers of each group.
        prompts: of each row.
        completion_mask: (B, C), 1 on tokens.
        budget: tokens of a chunk, exceeded by a group that is larger alone; None is no limit.
    """
    if budget is None:
        return [list(groups)]
    lengths = completion_mask.sum(1).tolist()
    chunks: list[list[list[int]]] = [[]]
    filled = 0
    for group in groups:
        tokens = len(prompts[group[0]].ids) + sum(1 + lengths[row] for row in group)
        if chunks[-1] and filled + tokens > budget:
            chunks.append([])
            filled = 0
        chunks[-1].append(group)
        filled += tokens
    return chunks


def pack(
    groups: Sequence[Sequence[int]],
    prompts: Sequence[Prompt],
    prompt_positions: Sequence[Tensor],
    completion_ids: Tensor,
    completion_mask: Tensor,
    chunk_tokens: int | None = None,
    families: Sequence[Sequence[int]] | None = None,
) -> Packed:
    """Lay out the groups of a pass.

    Args:
        groups: row numbers of each group.
        prompts: of each group.
        prompt_positions: per group, the prompt's M-RoPE positions (3, P_u).
        completion_ids: (B, C), right-padded.
        completion_mask: (B, C), 1 on tokens.
        chunk_tokens: of completions that are computed at once; None is no limit.
        families: numbers of groups whose prompts share their images; every group once. None shares
            nothing between groups.
    """
    width = completion_ids.size(1)
    lengths = completion_mask.sum(1).tolist()
    rows: dict[int, WholeRow] = {}
    of_prompts = []
    for group, prompt, places in zip(groups, prompts, prompt_positions, strict=True):
        shared = len(prompt.ids) - 1
        for row in group:
            tokens = completion_ids[row, : lengths[row]]
            rows[row] = followed(prompt, places, tokens, row * width)
        ends = tuple(Stretch(row, shared, shared + 1 + lengths[row]) for row in group)
        of_prompts.append(Stretch(group[0], 0, shared, ends))
    trees = []
    for family in [[number] for number in range(len(groups))] if families is None else families:
        members = [of_prompts[number] for number in family]
        begun = beginning([prompts[number] for number in family])
        if begun:
            told = tuple(replace(member, start=begun) for member in members)
            members = [Stretch(members[0].row, 0, begun, told)]
        trees += members
    return lay_out(trees, rows, chunk_tokens)


def followed(prompt: Prompt, positions: Tensor, tokens: Tensor, target: int) -> WholeRow:
    """The row of a prompt and of text after it whose probabilities are asked for.

    Args:
        prompt: P tokens, the last of them text.
        positions: (3, P) of the prompt.
        tokens: (C,) that follow.
        target: flat index of the first of them.
    """
    step = torch.arange(len(tokens), device=tokens.device)
    none = torch.full_like(prompt.ids, IGNORED)
    # The last prompt token is text, so its three positions agree and what follows counts on.
    coming = (positions.max() + 1 + step).expand(3, -1)
    whole = prompt.then(tokens)
    return WholeRow(
        whole.ids,
        whole.kinds,
        torch.cat([positions, coming], 1),
        torch.cat([none, tokens]),
        torch.cat([none, target + step]),
    )


def lay_out(
    trees: Sequence[Stretch], rows: Mapping[int, WholeRow], chunk_tokens: int | None = None
) -> Packed:
    """Trees of stretches as one sequence.

    Args:
        trees: their roots; a root may be empty.
        rows: that the stretches are cut from.
        chunk_tokens: of a chunk of ends of rows, exceeded by an end that is longer alone; None
            makes no chunks, nor does it where all ends fit or nothing stands before them.
    """
    device = rows[trees[0].row].ids.device
    order: list[Stretch] = []

    def placed(families: Iterable[Family], at: int) -> Iterator[Siblings]:
        for seen, family in families:
            lengths = [stretch.end - stretch.start for stretch in family]
            if any(lengths):
                yield siblings(lengths, device, at, seen)
            order.extend(family)
            at += sum(lengths)

    inner, ends, at = _families(trees)
    layout = list(placed(inner, 0))
    chunks = [list(placed(part, at)) for part in _cut(ends, chunk_tokens if at else None)]
    if len(chunks) == 1:  # behind the rest, it stands where it would stand in any case
        layout += chunks.pop()
    parts = [(rows[stretch.row], slice(stretch.start, stretch.end)) for stretch in order]
    labels = torch.cat([row.labels[part] for row, part in parts])
    targets = torch.cat([row.targets[part] for row, part in parts])
    asked = (labels != IGNORED).nonzero()[:, 0]
    return Packed(
        torch.cat([row.ids[part] for row, part in parts])[None],
        torch.cat([row.kinds[part] for row, part in parts])[None],
        torch.cat([row.positions[:, part] for row, part in parts], 1)[:, None],
        layout,
        labels[None],
        torch.stack([asked, targets[asked]], 1),
        chunks,
    )


def _families(trees: Sequence[Stretch]) -> tuple[list[Family], list[Family], int]:
    """Stretches that others go on from, ends of rows, and how many tokens the former are.

    Siblings stand together behind the places of all that they see, which are worked out here.
    """
    inner: list[Family] = [((), (tree,)) for tree in trees]
    ends: list[Family] = []
    at = 0
    for seen, family in inner:  # grows as it goes
        for stretch in family:
            end = at + stretch.end - stretch.start
            if stretch.then:
                grown = any(further.then for further in stretch.then)
                (inner if grown else ends).append(((*seen, (at, end)), stretch.then))
            at = end
    return inner, ends, at


def _cut(ends: Sequence[Family], budget: int | None) -> list[list[Family]]:
    """Ends of rows in parts of so many tokens, in order; all in one where they fit."""
    total = sum(end.end - end.start for _, family in ends for end in family)
    if not ends or budget is None or total <= budget:
        return [list(ends)] if ends else []
    parts: list[list[Family]] = [[]]
    filled = 0
    for seen, family in ends:
        held: list[Stretch] = []
        for end in family:
            tokens = end.end - end.start
            if filled and filled + tokens > budget:
                parts[-1] += [(seen, tuple(held))] if held else []
                parts.append([])
                held, filled = [], 0
            held.append(end)
            filled += tokens
        parts[-1].append((seen, tuple(held)))
    return parts


def block_mask(layout: Sequence[Siblings]) -> Tensor:
    """Who sees whom: earlier tokens of one's own stretch, and all of those it goes on from.

    Args:
        layout: of L tokens.

    Returns:
        (1, 1, L, L) bool, True where a query (third axis) sees a key (fourth).

    >>> from anomalyr1.shared_prefix.packed_attention import segments
    >>> block_mask(segments(1, [1, 1], torch.device("cpu")))[0, 0].int().tolist()
    [[1, 0, 0], [1, 1, 0], [1, 0, 1]]
    """
    own, last = lineage(layout)
    sees = (own <= own[:, None]) & (own[:, None] <= last)
    return sees.tril()[None, None]


def unpack(packed: Packed, values: Tensor, rows: int, width: int) -> Tensor:
    """Per-token values back in stock order: (1, L) -> (rows, width), 0 on padding."""
    place, target = packed.source.unbind(1)
    flat = values.new_zeros(rows * width)
    flat = flat.index_put((target,), values[0, place])
    return flat.view(rows, width)

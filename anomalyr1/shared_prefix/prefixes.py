"""Prompts of a batch, which of them begin alike, and for how long."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from anomalyr1.shared_prefix.vision import RowImages


@dataclass(frozen=True)
class Prompt:
    """The tokens of one prompt, without padding.

    Attributes:
        ids: (P,).
        kinds: (P,) `mm_token_type_ids`, 1 on image tokens.
    """

    ids: Tensor
    kinds: Tensor

    @classmethod
    def of_batch(cls, inputs: Mapping[str, Tensor]) -> list[Prompt]:
        """Each row of a padded batch; without `mm_token_type_ids` all tokens are text."""
        kinds = inputs.get("mm_token_type_ids")
        prompts = []
        for row, mask in enumerate(inputs["attention_mask"].bool()):
            ids = inputs["input_ids"][row][mask]
            prompts.append(cls(ids, torch.zeros_like(ids) if kinds is None else kinds[row][mask]))
        return prompts

    @classmethod
    def of_rows(
        cls,
        ids: Sequence[Sequence[int]],
        kinds: Sequence[Any] | None,
        device: torch.device,
    ) -> list[Prompt]:
        """Each row of unpadded tokens; without `kinds` all tokens are text."""
        rows = [torch.tensor(row, device=device) for row in ids]
        if kinds is None:
            return [cls(row, torch.zeros_like(row)) for row in rows]
        return [
            cls(row, torch.as_tensor(kind, device=device))
            for row, kind in zip(rows, kinds, strict=True)
        ]

    def then(self, ids: Tensor, kinds: Tensor | None = None) -> Prompt:
        """It and the tokens that follow; without `kinds` they are text."""
        kinds = torch.zeros_like(ids) if kinds is None else kinds
        return Prompt(torch.cat([self.ids, ids]), torch.cat([self.kinds, kinds]))

    def cut(self, start: int, end: int | None) -> Prompt:
        """Its tokens from `start` to before `end`."""
        return Prompt(self.ids[start:end], self.kinds[start:end])

    @property
    def illustrated(self) -> int:
        """Tokens up to the end of the last image; 0 without images."""
        places = self.kinds.nonzero()
        return int(places[-1]) + 1 if len(places) else 0


def group_equal(prompts: Sequence[Prompt], images: RowImages | None) -> list[list[int]]:
    """Rows with the same tokens and the same pixels, in order of first appearance."""
    return _grouped(prompts, images, lambda prompt: prompt.ids)


def group_by_images(prompts: Sequence[Prompt], images: RowImages | None) -> list[list[int]]:
    """Rows that are the same up to the end of their last image; rows without one as `group_equal`.

    The questions of one image are such rows, where the template asks after it shows.
    """
    return _grouped(prompts, images, lambda prompt: prompt.ids[: prompt.illustrated or None])


def families_of(
    groups: Sequence[Sequence[int]], prompts: Sequence[Prompt], images: RowImages | None
) -> list[list[int]]:
    """Numbers of groups that are the same up to the end of their last image.

    Args:
        groups: row numbers of each group; its rows have one prompt.
        prompts: of the rows.
        images: of the rows, or None.
    """
    firsts = [group[0] for group in groups]
    asked = [prompts[row] for row in firsts]
    return group_by_images(asked, None if images is None else images.rows(firsts))


def cheapest_beginnings(prompts: Sequence[Prompt], images: RowImages | None) -> list[list[int]]:
    """Rows that begin alike: those of a prompt, or of an image where that makes fewer tokens.

    What follows a beginning is computed once a row, so that few rows behind a large image share
    that, and many rows of a long question share the prompt.
    """
    groups = group_equal(prompts, images)
    found: list[list[int]] = []
    for family in families_of(groups, prompts, images):
        members = [groups[number] for number in family]
        rows = [row for member in members for row in member]
        shared = common_prefix([prompts[row].ids for row in rows])
        together = shared + sum(len(prompts[row].ids) - shared for row in rows)
        apart = sum(len(prompts[member[0]].ids) for member in members)
        found += [rows] if len(members) > 1 and together < apart else members
    return found


def common_prefix(rows: Sequence[Tensor]) -> int:
    """Leading tokens that are the same in all rows, short of the last token of the shortest.

    >>> common_prefix([torch.tensor([1, 2, 3, 4]), torch.tensor([1, 2, 5])])
    2
    >>> common_prefix([torch.tensor([1, 2, 3]), torch.tensor([1, 2, 3])])
    2
    """
    length = min(len(row) for row in rows) - 1
    stacked = torch.stack([row[:length] for row in rows])
    alike = (stacked == stacked[0]).all(0)
    return int(alike.long().cumprod(0).sum())


def beginning(prompts: Sequence[Prompt]) -> int:
    """How many tokens different prompts share, their images included; 0 where not all of those.

    Of each at least two are left: one that is its own, and the last, which its completions repeat.
    """
    if len(prompts) < 2:
        return 0
    shared = common_prefix([prompt.ids[:-1] for prompt in prompts])
    return shared if shared >= max(prompt.illustrated for prompt in prompts) else 0


def left_padded(prompts: Sequence[Prompt], pad_id: int) -> dict[str, Tensor]:
    """Prompts as inputs of a model, padded on the left."""
    size = max(len(prompt.ids) for prompt in prompts)
    ids = prompts[0].ids.new_full((len(prompts), size), pad_id)
    kinds, mask = torch.zeros_like(ids), torch.zeros_like(ids)
    for row, prompt in enumerate(prompts):
        start = size - len(prompt.ids)
        ids[row, start:], kinds[row, start:], mask[row, start:] = prompt.ids, prompt.kinds, 1
    return {"input_ids": ids, "attention_mask": mask, "mm_token_type_ids": kinds}


def _grouped(
    prompts: Sequence[Prompt], images: RowImages | None, what: Callable[[Prompt], Tensor]
) -> list[list[int]]:
    groups: dict[bytes, list[list[int]]] = {}
    for row, prompt in enumerate(prompts):
        candidates = groups.setdefault(what(prompt).cpu().numpy().tobytes(), [])
        for group in candidates:
            if images is None or images.same(group[0], row):
                group.append(row)
                break
        else:
            candidates.append([row])
    return sorted((group for found in groups.values() for group in found), key=lambda g: g[0])

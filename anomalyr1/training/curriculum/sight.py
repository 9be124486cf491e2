"""Sight: what is in the image becomes readable at the tokens that the language side reads.

A policy that starts from nothing learns to write long before it learns to look: the language loss
rewards wording at every token and sight at very few. The vision tower and the patch merger are
therefore taught by themselves first, with linear heads on each merged token. What a defect's own
tokens say (kind, corners) is learned fast, but language reads it only where it stands at every
token: the heads ask for both. Real checkpoints do not need it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from anomalyr1.schema import Sample

# A cell is taught to a defect when the box covers this share of the cell, or the cell this share
# of the box.
COVERED = 0.25


@dataclass(frozen=True)
class Names:
    """Defects and products by number; number 0 of the defects is none.

    Attributes:
        kinds: of defects.
        products: of images.
    """

    kinds: tuple[str, ...] = ()
    products: tuple[str, ...] = ()

    def and_of(self, samples: Iterable[Sample]) -> Names:
        """These and those of some samples, which come after."""
        samples = list(samples)
        kinds = {box.label or "" for sample in samples for box in sample.boxes or ()}
        products = {sample.category for sample in samples}
        return Names(
            self.kinds + tuple(sorted(kinds - set(self.kinds))),
            self.products + tuple(sorted(products - set(self.products))),
        )


@dataclass(frozen=True)
class Facts:
    """What is known of some images, as targets of the heads.

    Attributes:
        kinds: (images,) number of the defect, 0 for none.
        corners: (images, 4) of its box as shares of the frame.
        products: (images,) number of the product.
    """

    kinds: Tensor
    corners: Tensor
    products: Tensor

    @classmethod
    def of(cls, samples: Sequence[Sample], side: int, names: Names) -> Facts:
        """Of square images with at most one defect each, `side` pixels wide."""
        kinds, corners = torch.zeros(len(samples), dtype=torch.long), torch.zeros(len(samples), 4)
        for number, sample in enumerate(samples):
            for box in sample.boxes or ():
                kinds[number] = 1 + names.kinds.index(box.label or "")
                corners[number] = torch.tensor(box.xyxy) / side
        products = torch.tensor([names.products.index(sample.category) for sample in samples])
        return cls(kinds, corners, products)

    def rows(self, chosen: Tensor) -> Facts:
        """Those of some of the images."""
        return Facts(self.kinds[chosen], self.corners[chosen], self.products[chosen])

    def to(self, device: torch.device) -> Facts:
        """On another device."""
        return Facts(self.kinds.to(device), self.corners.to(device), self.products.to(device))


class Heads(nn.Module):
    """Linear heads on merged tokens; thrown away when the policy is made."""

    def __init__(self, width: int, names: Names) -> None:
        super().__init__()
        self.names = names
        self.kind_here = nn.Linear(width, len(names.kinds) + 1)
        self.corners_here = nn.Linear(width, 4)
        self.kind = nn.Linear(width, len(names.kinds) + 1)
        self.ninth = nn.Linear(width, 10)
        self.corners = nn.Linear(width, 4)
        self.product = nn.Linear(width, len(names.products))

    @torch.no_grad()
    def knowing(self, names: Names) -> Heads:
        """The same heads, which know further names too; nothing is said of those yet.

        Args:
            names: these heads' own, and others after them.
        """
        grown = Heads(self.corners.in_features, names).to(self.corners.weight.device)
        for own, new in zip(self.children(), grown.children(), strict=True):
            for mine, other in zip(own.parameters(), new.parameters(), strict=True):
                other.zero_()
                other[: len(mine)] = mine
        return grown

    def losses(self, tokens: Tensor, facts: Facts, everywhere: float = 1.0) -> dict[str, Tensor]:
        """One loss a fact.

        Args:
            tokens: (images, cells, width) merged tokens, the cells of a square row by row.
            facts: of these images.
            everywhere: weight of what each token is to say of the whole image.
        """
        images, cells, _ = tokens.shape
        covered = covered_cells(facts.corners, cells) & (facts.kinds > 0)[:, None]
        kinds_here = torch.where(covered, facts.kinds[:, None], 0)
        found = {
            "kind here": cross_entropy(self.kind_here(tokens).flatten(0, 1), kinds_here.flatten()),
            "corners here": _mean(
                (self.corners_here(tokens) - facts.corners[:, None]).abs(), covered
            ),
            "product": 0.2
            * cross_entropy(
                self.product(tokens).flatten(0, 1), facts.products.repeat_interleave(cells)
            ),
        }
        if everywhere:
            flat = tokens.flatten(0, 1)
            x, y = facts.corners[:, [0, 2]].mean(1), facts.corners[:, [1, 3]].mean(1)
            ninth = 1 + (3 * y).long().clamp(0, 2) * 3 + (3 * x).long().clamp(0, 2)
            ninth = torch.where(facts.kinds > 0, ninth, 0)
            defective = (facts.kinds > 0)[:, None].expand(images, cells)
            found |= {
                "kind": everywhere
                * cross_entropy(self.kind(flat), facts.kinds.repeat_interleave(cells)),
                "ninth": everywhere
                * cross_entropy(self.ninth(flat), ninth.repeat_interleave(cells)),
                "corners": everywhere
                * 4
                * _mean((self.corners(tokens) - facts.corners[:, None]).abs(), defective),
            }
        return found

    @torch.no_grad()
    def figures(self, tokens: Tensor, facts: Facts, everywhere: bool) -> dict[str, float]:
        """How well the heads read these images: shares of them, and corner errors as shares.

        Args:
            tokens: as in `losses`.
            facts: as in `losses`.
            everywhere: whether the heads that speak of the whole image were taught.
        """
        covered = covered_cells(facts.corners, tokens.size(1)) & (facts.kinds > 0)[:, None]
        found = self.kind_here(tokens).argmax(-1)
        product = self.product(tokens).softmax(-1).mean(1).argmax(-1)
        error = (self.corners_here(tokens) - facts.corners[:, None]).abs()
        figures = {
            "kind here": share(found[covered], facts.kinds[:, None].expand_as(found)[covered]),
            "corners here": error[covered].mean().item(),
            "product": share(product, facts.products),
        }
        if everywhere:
            kind = self.kind(tokens).softmax(-1).mean(1).argmax(-1)
            error = (self.corners(tokens).mean(1) - facts.corners).abs()
            figures |= {
                "kind": share(kind, facts.kinds),
                "corners": error[facts.kinds > 0].mean().item(),
            }
        return figures


def share(found: Tensor, wanted: Tensor) -> float:
    """Of what was asked, how much was found; both of one shape."""
    return (found == wanted).float().mean().item()


def covered_cells(corners: Tensor, cells: int) -> Tensor:
    """(images, cells): `covered_grid` of squares, row by row."""
    side = round(cells**0.5)
    return covered_grid(corners, side, side).flatten(1)


def covered_grid(corners: Tensor, rows: int, columns: int) -> Tensor:
    """Which cells a box covers, or is covered by, in good part.

    Args:
        corners: (boxes, 4), x1, y1, x2, y2 as shares of the frame.
        rows: of the grid.
        columns: of the grid.

    Returns:
        (boxes, rows, columns).
    """

    def shared(start: Tensor, end: Tensor, count: int) -> Tensor:  # (boxes, count) along one axis
        low = torch.arange(count, device=corners.device) / count
        high = low + 1 / count
        return (torch.minimum(end[:, None], high) - torch.maximum(start[:, None], low)).clamp(min=0)

    common = (
        shared(corners[:, 1], corners[:, 3], rows)[:, :, None]
        * shared(corners[:, 0], corners[:, 2], columns)[:, None, :]
    )
    area = ((corners[:, 2] - corners[:, 0]) * (corners[:, 3] - corners[:, 1]))[:, None, None]
    cell = 1 / (rows * columns)
    return ((common >= COVERED * cell) | (common >= COVERED * area)) & (common > 0)


def turned(pixels: Tensor, corners: Tensor, turn: int) -> tuple[Tensor, Tensor]:
    """One of the eight ways to lay a square: `turn` % 4 quarter turns, mirrored from 4 on.

    Args:
        pixels: (images, side, side, 3).
        corners: (images, 4) as shares of the side.
        turn: 0 to 7.
    """
    if turn >= 4:
        pixels = pixels.flip(2)
        corners = torch.stack(
            [1 - corners[:, 2], corners[:, 1], 1 - corners[:, 0], corners[:, 3]], 1
        )
    for _ in range(turn % 4):  # counter-clockwise: (x, y) becomes (y, 1 - x)
        pixels = pixels.transpose(1, 2).flip(1)
        corners = torch.stack(
            [corners[:, 1], 1 - corners[:, 2], corners[:, 3], 1 - corners[:, 0]], 1
        )
    return pixels, corners


def _mean(values: Tensor, chosen: Tensor) -> Tensor:
    """Mean over the chosen tokens; 0 where there is none. values (images, cells, n)."""
    weights = chosen.to(values.dtype)[..., None]
    return (values * weights).sum() / (weights.sum() * values.size(-1)).clamp(min=1)

"""Which stratum a box counts in, once boxes are matched: one matching serves all strata.

As in COCO's evaluation, a matched box counts where its gold box does, and a false alarm where it
belongs by itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from anomalyr1.metrics.boxes import ImageBoxes

NONE = -1  # of no stratum; of no gold box


@dataclass(frozen=True, slots=True)
class BoxGroups:
    """The strata of the boxes of a set of images, image after image.

    Attributes:
        names: of the strata.
        gold: (gold,) of each gold box the place of its stratum in `names`, `NONE` of none.
        own: (predicted,) of each predicted box the same, should it be a false alarm; None where
            false alarms are of no stratum, so that only what is found can be counted.
    """

    names: tuple[str, ...]
    gold: NDArray[np.int64]
    own: NDArray[np.int64] | None

    def counted(
        self, gold_of: NDArray[np.int64], among: slice | NDArray[np.int64] = slice(None)
    ) -> NDArray[np.int64]:
        """The stratum in which each predicted box counts.

        Args:
            gold_of: (..., n) the gold box each is matched to, `NONE` of a false alarm.
            among: (n,) which of the predicted boxes these are; all of them by default.

        Returns:
            (..., n).

        >>> groups = BoxGroups(("small", "large"), np.array([0, 1]), np.array([1, 1, 0]))
        >>> groups.counted(np.array([0, NONE, NONE])).tolist()
        [0, 1, 0]
        """
        own = np.full(gold_of.shape[-1], NONE) if self.own is None else self.own[among]
        of_gold = np.append(self.gold, NONE)[gold_of]  # NONE takes what is appended
        return np.where(gold_of == NONE, own, of_gold)

    def sums(self, strata: NDArray[np.int64]) -> NDArray[np.int64]:
        """How many boxes count in each of `names`: (names,)."""
        return np.bincount(strata[strata != NONE], minlength=len(self.names))


def box_groups(
    names: Sequence[str], gold: Sequence[str | None], own: Sequence[str | None] | None
) -> BoxGroups:
    """Strata by their names; a name that is not among `names` is none."""
    places: dict[str | None, int] = {name: place for place, name in enumerate(names)}

    def coded(found: Sequence[str | None]) -> NDArray[np.int64]:
        return np.array([places.get(name, NONE) for name in found], dtype=np.int64)

    return BoxGroups(tuple(names), coded(gold), None if own is None else coded(own))


def image_groups(images: Sequence[ImageBoxes], names: Sequence[str]) -> BoxGroups:
    """Strata of whole images: all boxes of an image are in the one that is named for it."""
    return box_groups(
        sorted(set(names)),
        [name for image, name in zip(images, names, strict=True) for _ in image.gold],
        [name for image, name in zip(images, names, strict=True) for _ in image.predicted],
    )

"""Whether the cell that an answer names, the boxes and the mask speak of the same place.

Nothing here looks at what is right: a policy may point to one wrong place with one voice. A cell is
one of the 3x3 grid that MMAD's questions of place name.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anomalyr1.geometry import CELLS, touched_cells
from anomalyr1.metrics.bootstrap import RESAMPLES, ratio_intervals, ratios
from anomalyr1.metrics.detection import percent
from anomalyr1.metrics.rare_shares import wilson
from anomalyr1.schema import Box

PAIRS = ("answer_boxes", "answer_mask", "boxes_mask")


@dataclass(frozen=True, slots=True)
class Pointed:
    """What is said of the place on one image, as far as it is said.

    Attributes:
        size: (width, height) of the image.
        answered: the cell that the chosen option names; None without such an answer.
        boxes: in the image's pixels; none where none are stated.
        mask_cell: the cell with most of the mask; None without a mask, or with an empty one.
    """

    size: tuple[int, int]
    answered: str | None
    boxes: tuple[Box, ...]
    mask_cell: str | None = None


def agreed(images: Sequence[Pointed]) -> NDArray[np.float64]:
    """Whether each of `PAIRS` agrees on each image: (images, pairs); NaN where one says nothing.

    `answer_boxes`: a box touches the cell that was answered. `answer_mask`: most of the mask lies
    in it. `boxes_mask`: a box touches the cell with most of the mask.
    """
    found = np.full((len(images), len(PAIRS)), np.nan)
    for row, image in enumerate(images):
        cells = touched_cells(image.boxes, *image.size)
        if image.answered and cells:
            found[row, 0] = image.answered in cells
        if image.answered and image.mask_cell:
            found[row, 1] = image.answered == image.mask_cell
        if image.mask_cell and cells:
            found[row, 2] = image.mask_cell in cells
    return found


def agreement(found: NDArray[np.float64], resamples: int = RESAMPLES) -> dict[str, Any]:
    """Shares of images on which two of them agree, of those where both say something.

    Args:
        found: of `agreed`.
        resamples: bootstrap resamples.

    Returns:
        Of each of `PAIRS` `percent` (None where nothing was compared), `images` and its 95 %
        `interval` by image.
    """
    parts = _parts(found)
    return _shares(parts, ratio_intervals(parts, resamples))


def agreement_in_part(found: NDArray[np.float64]) -> dict[str, Any]:
    """`agreement`, its intervals Wilson's of the images, which need no draws.

    >>> some = agreement_in_part(np.array([[1.0, np.nan, 0.0], [1.0, np.nan, 1.0]]))["boxes_mask"]
    >>> some["percent"], some["images"], [round(end, 1) for end in some["interval"]]
    (50.0, 2, [9.5, 90.5])
    """
    parts = _parts(found)
    sums = parts.sum(axis=0)
    ends = wilson(ratios(sums), sums[:, 1])
    return _shares(
        parts,
        [
            (float(low), float(high)) if images > 1 else None
            for images, (low, high) in zip(sums[:, 1], ends.T, strict=True)
        ],
    )


def _parts(found: NDArray[np.float64]) -> NDArray[np.float64]:
    """(images, pairs, 2): agrees, and was compared."""
    return np.stack([np.nan_to_num(found), ~np.isnan(found)], -1)


def _shares(
    parts: NDArray[np.float64], ends: Sequence[tuple[float, float] | None]
) -> dict[str, Any]:
    return {
        name: {"percent": percent(int(agree), int(images)), "images": int(images), "interval": both}
        for name, (agree, images), both in zip(PAIRS, parts.sum(axis=0), ends, strict=True)
    }


def mask_cell(mask: NDArray[np.bool_]) -> str | None:
    """The cell with most of a mask's pixels, the first of equals; None of an empty mask.

    A pixel belongs to the cell that its centre lies in.

    >>> mask_cell(np.arange(9).reshape(3, 3) == 2), mask_cell(np.zeros((3, 3), dtype=bool))
    ('top right', None)
    """
    height, width = mask.shape
    rows, columns = (
        np.minimum(2, (3 * (np.arange(side) + 0.5) / side).astype(int)) for side in (height, width)
    )
    of_rows = np.stack([mask[rows == row].sum(axis=0) for row in range(3)])
    counts = np.stack([of_rows[:, columns == column].sum(axis=1) for column in range(3)], -1)
    return CELLS[int(counts.argmax())] if counts.any() else None

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
from anomalyr1.metrics.bootstrap import RESAMPLES, ratio_interval
from anomalyr1.metrics.detection import percent
from anomalyr1.schema import Box


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


def agreement(images: Sequence[Pointed], resamples: int = RESAMPLES) -> dict[str, Any]:
    """Shares of images on which two of them agree, of those where both say something.

    Returns:
        `answer_boxes`: a box touches the cell that was answered. `answer_mask`: most of the mask
        lies in it. `boxes_mask`: a box touches the cell with most of the mask. Each with `percent`
        (None where nothing was compared), `images` and its 95 % `interval` by image.
    """
    said = [(image, touched_cells(image.boxes, *image.size)) for image in images]
    pairs = {
        "answer_boxes": [
            image.answered in cells for image, cells in said if image.answered and cells
        ],
        "answer_mask": [
            image.answered == image.mask_cell
            for image, _ in said
            if image.answered and image.mask_cell
        ],
        "boxes_mask": [
            image.mask_cell in cells for image, cells in said if image.mask_cell and cells
        ],
    }
    return {
        name: {
            "percent": percent(sum(agree), len(agree)),
            "images": len(agree),
            "interval": ratio_interval(
                np.stack([np.array(agree, dtype=float), np.ones(len(agree))], -1), resamples
            ),
        }
        for name, agree in pairs.items()
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

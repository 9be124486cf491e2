"""From boxes to one binary mask: the interface, the choice by name, and the box itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from anomalyr1.errors import unknown
from anomalyr1.geometry import pixel_boxes
from anomalyr1.schema import Box

SEGMENTERS = ("box", "grabcut", "sam2")


class Segmenter(Protocol):
    """Turns boxes into one mask, the union over the boxes.

    Attributes:
        name: one of `SEGMENTERS`; masks are filed under it.
        settings: everything else that the masks depend on, as a short text.
    """

    name: str
    settings: str

    def segment(self, image: NDArray[np.uint8], boxes: Sequence[Box]) -> NDArray[np.bool_]:
        """Segment what the boxes enclose.

        Args:
            image: (height, width, 3) RGB.
            boxes: in pixels of `image`; degenerate boxes are passed over.

        Returns:
            (height, width), all False without boxes.
        """
        ...


class BoxFill:
    """The filled boxes: what a segmenter has to beat."""

    name = "box"
    settings = "filled"

    def segment(self, image: NDArray[np.uint8], boxes: Sequence[Box]) -> NDArray[np.bool_]:
        """Fill the boxes."""
        return fill_boxes(boxes, image.shape[1], image.shape[0])


def load_segmenter(
    name: str, checkpoint: str | None = None, config: str | None = None, device: str | None = None
) -> Segmenter:
    """The segmenter of that name.

    Args:
        name: `box`, `grabcut` or `sam2`.
        checkpoint: SAM2 weights, a local file or a hub id; only for `sam2`.
        config: SAM2 model config, where the checkpoint's name does not tell it.
        device: torch device; None takes CUDA where there is one.

    Raises:
        InputError: there is no such segmenter, or SAM2 or its checkpoint is missing.
    """
    if name == "box":
        return BoxFill()
    if name == "grabcut":
        from anomalyr1.segmentation.grabcut import GrabCut

        return GrabCut()
    if name == "sam2":
        from anomalyr1.segmentation.sam2 import load_sam2

        return load_sam2(checkpoint, config, device)
    raise unknown("a segmenter", name, SEGMENTERS)


def fill_boxes(boxes: Sequence[Box], width: int, height: int) -> NDArray[np.bool_]:
    """The union of the boxes as a mask of shape (height, width).

    >>> fill_boxes([Box(1, 0, 3, 1)], 4, 2).astype(int).tolist()
    [[0, 1, 1, 0], [0, 0, 0, 0]]
    """
    mask = np.zeros((height, width), dtype=np.bool_)
    for x1, y1, x2, y2 in pixel_boxes(boxes, width, height):
        mask[y1:y2, x1:x2] = True
    return mask

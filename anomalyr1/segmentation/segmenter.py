"""From boxes to binary masks: the interface, the choice by name, and the box itself."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from anomalyr1.errors import InputError, one_line, unknown
from anomalyr1.geometry import pixel_boxes
from anomalyr1.schema import Box
from anomalyr1.segmentation.names import PUBLISHED, SEGMENTERS

Mask: TypeAlias = NDArray[np.bool_]  # (height, width)


class Segmenter(Protocol):
    """Turns each box into a mask.

    Attributes:
        name: one of `SEGMENTERS`; masks are filed under it.
        settings: everything else that the masks depend on, as a short text.
    """

    name: str
    settings: str

    def masks(self, image: NDArray[np.uint8], boxes: Sequence[Box]) -> Iterator[Mask]:
        """What each box encloses, in the order of the boxes.

        Args:
            image: (height, width, 3) RGB.
            boxes: in pixels of `image`; one without a pixel in the image has a mask without any.
        """
        ...


class BoxFill:
    """The filled boxes: what a segmenter has to beat."""

    name = "box"
    settings = "filled"

    def masks(self, image: NDArray[np.uint8], boxes: Sequence[Box]) -> Iterator[Mask]:
        """Fill each box."""
        return (fill_boxes([box], image.shape[1], image.shape[0]) for box in boxes)


def segment(segmenter: Segmenter, image: NDArray[np.uint8], boxes: Sequence[Box]) -> Mask:
    """The union of what the boxes enclose, (height, width); all False without boxes."""
    return united(segmenter.masks(image, boxes), image.shape[1], image.shape[0])


def united(masks: Iterable[Mask], width: int, height: int) -> Mask:
    """The union of masks, (height, width).

    >>> united([np.array([[True, False]]), np.array([[False, False]])], 2, 1).tolist()
    [[True, False]]
    """
    union = np.zeros((height, width), dtype=np.bool_)
    for mask in masks:
        union |= mask
    return union


def load_segmenter(
    name: str, checkpoint: str | None = None, config: str | None = None, device: str | None = None
) -> Segmenter:
    """The segmenter of that name.

    Args:
        name: one of `SEGMENTERS`.
        checkpoint: weights of a SAM, a local file or folder or a hub id; None for the `PUBLISHED`.
        config: model config of `sam2`, where a file's name does not tell it.
        device: torch device; None takes CUDA where there is one.

    Raises:
        InputError: there is no such segmenter, or its package or weights are missing.
    """
    if name not in SEGMENTERS:
        raise unknown("a segmenter", name, SEGMENTERS)
    if name == "box":
        return BoxFill()
    weights = checkpoint or PUBLISHED.get(name)
    try:
        return _loaded(name, weights, config, device)
    except ImportError as error:
        raise InputError(
            f"expected the package of segmenter {name}, found none that loads "
            f"({one_line(error)}); install it, or choose another segmenter"
        ) from None


def _loaded(name: str, weights: str | None, config: str | None, device: str | None) -> Segmenter:
    if weights is None:
        from anomalyr1.segmentation.grabcut import GrabCut

        return GrabCut()
    if name == "sam2":
        from anomalyr1.segmentation.sam2 import load_sam2

        return load_sam2(weights, config, device)
    from anomalyr1.segmentation.transformers_sam import load_transformers_sam

    return load_transformers_sam(name, weights, device)


def fill_boxes(boxes: Sequence[Box], width: int, height: int) -> Mask:
    """The union of the boxes as a mask of shape (height, width).

    >>> fill_boxes([Box(1, 0, 3, 1)], 4, 2).astype(int).tolist()
    [[0, 1, 1, 0], [0, 0, 0, 0]]
    """
    mask = np.zeros((height, width), dtype=np.bool_)
    for x1, y1, x2, y2 in pixel_boxes(boxes, width, height):
        mask[y1:y2, x1:x2] = True
    return mask

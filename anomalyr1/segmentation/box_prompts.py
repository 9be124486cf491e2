"""Boxes as prompts to a model that segments: in chunks, and only those that have a pixel."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anomalyr1.geometry import pixel_boxes
from anomalyr1.schema import Box
from anomalyr1.segmentation.segmenter import Mask

_BOXES_AT_ONCE = 64

# (image, corners (boxes, 4) in whole pixels) -> (height, width) of each box, above 0 in its mask
Ask = Callable[[NDArray[np.uint8], NDArray[np.float32]], Iterable[NDArray[Any]]]


def prompted(
    image: NDArray[np.uint8], boxes: Sequence[Box], ask: Ask, at_once: int = _BOXES_AT_ONCE
) -> Iterator[Mask]:
    """The mask of each box; see `Segmenter.masks`.

    Args:
        image: (height, width, 3) RGB.
        boxes: in pixels of `image`; one without a pixel in it is not asked about.
        ask: the model; never called without a box.
        at_once: most boxes of a call.
    """
    height, width = image.shape[:2]
    for start in range(0, len(boxes), at_once):
        corners = [pixel_boxes([box], width, height) for box in boxes[start : start + at_once]]
        prompts = [inside[0] for inside in corners if inside]
        found = iter(ask(image, np.array(prompts, dtype=np.float32)) if prompts else ())
        for one in corners:
            yield np.asarray(next(found) > 0) if one else np.zeros((height, width), np.bool_)

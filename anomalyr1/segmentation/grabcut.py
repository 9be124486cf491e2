"""Masks from boxes without any weights: GrabCut (Rother et al., SIGGRAPH 2004) on each box."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from anomalyr1.geometry import pixel_boxes
from anomalyr1.schema import Box
from anomalyr1.segmentation.segmenter import Mask

_ITERATIONS = 3
_CONTEXT = 0.5  # background shown around a box, as a share of its longer side
_MIN_CONTEXT = 8  # pixels
_MAX_SIDE = 256  # pixels; a longer window is segmented at a smaller scale
_MIN_SHARE = 0.25  # of a box; GrabCut that keeps less has lost the object
_SEED = 0


class GrabCut:
    """GrabCut of every box in a window around it; deterministic.

    Where GrabCut finds next to no foreground (faint defects vanish under its smoothness term), or
    a box leaves no background to learn from, the filled box is the answer: the policy did point
    there.
    """

    name = "grabcut"
    settings = (
        f"iterations={_ITERATIONS} context={_CONTEXT} max_side={_MAX_SIDE} min_share={_MIN_SHARE}"
    )

    def masks(self, image: NDArray[np.uint8], boxes: Sequence[Box]) -> Iterator[Mask]:
        """The foreground of each; see `Segmenter.masks`."""
        return (_foreground_of(image, box) for box in boxes)


def _foreground_of(image: NDArray[np.uint8], box: Box) -> Mask:
    height, width = image.shape[:2]
    mask = np.zeros((height, width), dtype=np.bool_)
    for x1, y1, x2, y2 in pixel_boxes([box], width, height):
        margin = max(_MIN_CONTEXT, round(_CONTEXT * max(x2 - x1, y2 - y1)))
        left, top = max(0, x1 - margin), max(0, y1 - margin)
        window = image[top : y2 + margin, left : x2 + margin]
        inside = np.zeros(window.shape[:2], dtype=np.bool_)
        inside[y1 - top : y2 - top, x1 - left : x2 - left] = True
        mask[top : y2 + margin, left : x2 + margin] = _foreground(window, inside)
    return mask


def _foreground(window: NDArray[np.uint8], inside: Mask) -> Mask:
    """Foreground within `inside`, (height, width) like the window; `inside` itself on failure."""
    scale = min(1.0, _MAX_SIDE / max(inside.shape))
    size = (max(1, round(inside.shape[1] * scale)), max(1, round(inside.shape[0] * scale)))
    small = cv2.resize(window, size, interpolation=cv2.INTER_AREA)
    probable = cv2.resize(inside.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST) > 0
    if probable.all() or not probable.any():
        return inside
    labels = np.where(probable, cv2.GC_PR_FGD, cv2.GC_BGD).astype(np.uint8)
    cv2.setRNGSeed(_SEED)  # its colour clusters start at random
    models = np.zeros((1, 65)), np.zeros((1, 65))
    try:
        cv2.grabCut(small, labels, None, *models, _ITERATIONS, cv2.GC_INIT_WITH_MASK)
    except cv2.error:  # one flat colour leaves its colour model singular
        return inside
    found = (labels == cv2.GC_FGD) | (labels == cv2.GC_PR_FGD)
    large = cv2.resize(found.astype(np.uint8), inside.shape[::-1], interpolation=cv2.INTER_NEAREST)
    foreground = (large > 0) & inside
    return foreground if foreground.sum() >= _MIN_SHARE * inside.sum() else inside

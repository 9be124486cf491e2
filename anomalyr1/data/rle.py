"""Masks as COCO run-length codes: the compact form in masks/*.jsonl and of annotated regions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask


def encode_mask(mask: NDArray[np.bool_]) -> dict[str, Any]:
    """A (height, width) mask as `{"size": [height, width], "counts": text}`.

    >>> encode_mask(np.array([[True, False]]))
    {'size': [1, 2], 'counts': '011'}
    """
    code = coco_mask.encode(np.asfortranarray(mask, dtype=np.uint8))
    return {"size": [int(side) for side in code["size"]], "counts": code["counts"].decode("ascii")}


def rle_iou(codes: Sequence[dict[str, Any]], code: dict[str, Any]) -> list[float]:
    """IoU of each of some masks with one, read off their run lengths; 0 where both are empty.

    >>> both, left = (encode_mask(np.array([row])) for row in ([True, True], [True, False]))
    >>> rle_iou([both, left], left)
    [0.5, 1.0]
    """
    found = coco_mask.iou(list(codes), [code], [0])
    return [float(value) for value in np.asarray(found).reshape(-1)]


def decode_mask(code: dict[str, Any]) -> NDArray[np.bool_]:
    """The (height, width) mask of a run-length code."""
    return np.asarray(coco_mask.decode(code), dtype=np.bool_)

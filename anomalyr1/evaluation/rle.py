"""A line of masks/*.jsonl, and its masks as COCO run-length codes."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask
from pydantic import BaseModel, Field, StrictInt, StrictStr


class RunLengths(BaseModel):
    """A mask: `size` is [height, width], `counts` COCO's compressed run lengths."""

    size: Annotated[list[Annotated[StrictInt, Field(ge=1)]], Field(min_length=2, max_length=2)]
    counts: StrictStr


class MaskLine(BaseModel):
    """What a line says of an image: masks from predicted and gold boxes, and what they should be.

    `key` is all that the line depends on apart from the pixels.
    """

    image: StrictStr
    key: dict[str, Any]
    masks: dict[Literal["predicted", "gold", "whole"], RunLengths | None] = Field(min_length=3)
    target: RunLengths | None
    target_from: Literal["mask", "boxes", "normal"] | None


def encode_mask(mask: NDArray[np.bool_]) -> dict[str, Any]:
    """A (height, width) mask as `{"size": [height, width], "counts": text}`.

    >>> encode_mask(np.array([[True, False]]))
    {'size': [1, 2], 'counts': '011'}
    """
    code = coco_mask.encode(np.asfortranarray(mask, dtype=np.uint8))
    return {"size": [int(side) for side in code["size"]], "counts": code["counts"].decode("ascii")}


def decode_mask(code: dict[str, Any]) -> NDArray[np.bool_]:
    """The (height, width) mask of a run-length code."""
    return np.asarray(coco_mask.decode(code), dtype=np.bool_)

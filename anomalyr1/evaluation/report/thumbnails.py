"""Small pictures as data URIs: photographs as JPEG, masks as transparent PNG."""

from __future__ import annotations

import base64
import io
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from anomalyr1.data.images import open_image
from anomalyr1.errors import InputError

MAX_SIDE = 480
_QUALITY = 82


def photograph(root: Path, key: str, max_side: int = MAX_SIDE) -> str | None:
    """The image as a data URI, its longer side at most `max_side`; None where it cannot be read.

    Nothing outside `root` is opened, whatever `key` says.
    """
    path = root / key
    if not path.resolve().is_relative_to(root.resolve()):
        return None
    try:
        image = open_image(path)
    except InputError:
        return None
    image.thumbnail((max_side, max_side), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=_QUALITY, optimize=True)
    return _data_uri("jpeg", buffer)


def mask_layer(
    mask: NDArray[np.bool_],
    colour: tuple[int, int, int, int],
    outline: bool = False,
    max_side: int = MAX_SIDE,
) -> str:
    """A (height, width) mask in one RGBA colour on a transparent ground, filled or as outline."""
    scale = min(1.0, max_side / max(mask.shape))
    size = (max(1, round(mask.shape[1] * scale)), max(1, round(mask.shape[0] * scale)))
    # a thin defect must not fall between the pixels of the smaller picture
    small = cv2.resize(mask.astype(np.float32), size, interpolation=cv2.INTER_AREA) > 0.25
    if outline:
        width = 1 + 2 * max(1, round(max(size) / 240))
        padded = np.pad(small.astype(np.uint8), width)
        inner = cv2.erode(padded, np.ones((width, width), np.uint8))[width:-width, width:-width]
        small = small & (inner == 0)
    picture = Image.fromarray(small.astype(np.uint8), "P")
    picture.putpalette([0, 0, 0, *colour[:3]])
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", transparency=bytes([0, colour[3]]), bits=1, optimize=True)
    return _data_uri("png", buffer)


def _data_uri(kind: str, buffer: io.BytesIO) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"

"""Images with more than eight bits a channel, brought to eight without losing what they show.

The rule that was used is named, so that a manifest can say what was done to which files.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from anomalyr1.errors import InputError

_COLOUR = ("RGB", "RGBA", "LA")
_DEPTHS = (10, 12, 14, 16)  # of cameras, in files of 16 bits or more


def is_deep(image: Image.Image) -> bool:
    """True for an open (not yet loaded) image that PIL would not give in eight bits, or would cut.

    PIL keeps the upper eight of sixteen bits in colour files: of twelve bits in sixteen, four.
    """
    return image.mode in ("I", "F") or image.mode.startswith("I;16") or _deep_colour(image)


def read_deep(image: Image.Image, source: Path | bytes) -> tuple[Image.Image, str]:
    """The image in eight bits, and the rule by which.

    Args:
        image: loaded.
        source: its file, by path or content.

    Raises:
        InputError: a value is not a number, or the colours cannot be read.
    """
    name = "the bytes given" if isinstance(source, bytes) else source
    if image.mode in _COLOUR:  # loaded by now, so that its tiles no longer say how deep it is
        if isinstance(source, bytes):
            pixels = cv2.imdecode(np.frombuffer(source, np.uint8), cv2.IMREAD_UNCHANGED)
        else:
            pixels = cv2.imread(str(source), cv2.IMREAD_UNCHANGED)
        if pixels is None:
            raise InputError(
                f"expected 16-bit colours at {name}, found one that does not decode; save it anew"
            )
        if pixels.ndim == 3:
            pixels = pixels[..., 2::-1]  # BGR or BGRA to RGB
    else:
        pixels = np.asarray(image)
    if not np.isfinite(pixels).all():
        raise InputError(
            f"expected grey levels at {name}, found values that are no numbers; replace it"
        )
    eight, rule = to_eight_bits(pixels)
    return Image.fromarray(eight), rule


def to_eight_bits(pixels: NDArray[Any]) -> tuple[NDArray[np.uint8], str]:
    """Grey levels in 0 to 255, and the rule in words.

    The range is that of the smallest camera that gives such values (8, 10, 12, 14 or 16 bits);
    fractions of one are taken times 255; anything else is stretched from its least to its largest
    value.

    >>> to_eight_bits(np.array([[0, 2048, 4095]]))
    (array([[  0, 128, 255]], dtype=uint8), '12 bits to 8')
    """
    values = pixels.astype(np.float64)
    low, high = float(values.min(initial=0.0)), float(values.max(initial=0.0))
    if low >= 0 and pixels.dtype.kind == "f" and high <= 1:
        return np.rint(values * 255).astype(np.uint8), "0 .. 1 to 0 .. 255"
    if low >= 0 and high <= 255:
        return values.astype(np.uint8), "values up to 255 as they are"
    if low >= 0:
        for bits in _DEPTHS:
            if high < 2**bits:
                return (values / 2 ** (bits - 8)).astype(np.uint8), f"{bits} bits to 8"
    low = float(values.min())
    return (
        np.rint((values - low) * (255 / (high - low or 1.0))).astype(np.uint8),
        "least .. largest value to 0 .. 255",
    )


def _deep_colour(image: Image.Image) -> bool:
    tiles = getattr(image, "tile", ())
    return image.mode in _COLOUR and any(";16" in str(tile) for tile in tiles)

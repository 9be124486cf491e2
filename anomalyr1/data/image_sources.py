"""An image in whatever form a program has it: a path, a file's bytes, an array, a PIL image."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from anomalyr1.data.grey_levels import to_eight_bits
from anomalyr1.data.image_files import opened_image
from anomalyr1.data.images import decoded, not_an_image, open_image
from anomalyr1.errors import InputError

ImageSource: TypeAlias = "Path | str | bytes | NDArray[Any] | Image.Image"


def read_image(source: ImageSource) -> Image.Image:
    """The image in RGB of 8 bits, upright.

    A file is read as `images.open_image` reads it, whether its path or its bytes are given: turned
    as its EXIF says, CMYK and palettes converted, deep levels brought to 8 bits, of an animation
    the first frame, and a decompression bomb refused. An array is (height, width) grey or (height,
    width, 3 or 4) RGB or RGBA, of 8 bits or deeper levels.

    Raises:
        InputError: it is no image.

    >>> read_image(np.full((2, 3), 4095, np.uint16)).getpixel((0, 0))
    (255, 255, 255)
    """
    if isinstance(source, str | Path):
        return open_image(Path(source))
    if isinstance(source, np.ndarray):
        return _of_array(source)
    name = "the bytes given" if isinstance(source, bytes) else "the image given"
    try:
        if isinstance(source, Image.Image):
            return decoded(source, b"")[0]
        with opened_image(io.BytesIO(source)) as opened:
            return decoded(opened, source)[0]
    except InputError:
        raise
    except Exception as error:  # as in `images`
        raise not_an_image(name, error) from None


def source_name(source: ImageSource) -> str | None:
    """What to call it: the path as given; None for what has none."""
    if isinstance(source, str | Path):
        return str(source)
    found = getattr(source, "filename", None)
    return str(found) if found else None


def _of_array(pixels: NDArray[Any]) -> Image.Image:
    if pixels.ndim == 3 and pixels.shape[2] == 1:
        pixels = pixels[..., 0]
    fits = pixels.ndim == 2 or (pixels.ndim == 3 and pixels.shape[2] in (3, 4))
    if not fits or not pixels.size or pixels.dtype.kind not in "uif":
        raise InputError(
            "expected an array (height, width) or (height, width, 3 or 4) of numbers, found "
            f"{pixels.dtype} of shape {pixels.shape}; convert it first"
        )
    if not np.isfinite(pixels).all():
        raise InputError(
            "expected an array of finite numbers, found some that are none; replace them"
        )
    if pixels.dtype != np.uint8:
        pixels, _ = to_eight_bits(pixels)
    return Image.fromarray(np.ascontiguousarray(pixels)).convert("RGB")

"""Which pixels of a mask file are marked, whatever form the file has.

What the pixels of a file do not tell is refused, never guessed: a mask read the wrong way round
makes the sound part of a product its defect.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from anomalyr1.errors import InputError

Mask = NDArray[np.bool_]  # (height, width)

_LOSSY = ("JPEG", "MPO", "WEBP")


def marked_pixels(image: Image.Image, form: str | None, path: Path) -> Mask:
    """The marked pixels of a loaded mask image.

    Transparent pixels are ground, and so is black. A palette is read by its index: 0 is ground.
    Label numbers mark by their value, however small. What JPEG or WebP has blurred is cut at half.

    Args:
        image: in the mode that the file has.
        form: the file's format as PIL names it.
        path: for errors.

    Raises:
        InputError: the pixels can be read two ways.
    """
    if image.mode in ("P", "PA"):
        return _by_index(image, path)
    if "A" in image.mode or "a" in image.mode:
        return _with_alpha(image, path)
    if image.mode in ("1", "L", "I", "F") or image.mode.startswith("I;16"):
        values = np.asarray(image)
        if not np.isfinite(values).all():
            raise _ambiguous(path, "values that are no numbers", "write 0 for ground")
    else:
        values = np.asarray(image.convert("RGB")).max(axis=2)
    if form in _LOSSY:
        return _blurred(values, path)
    return np.asarray(values != 0)


def looks_inverted(mask: Mask) -> bool:
    """True when all along its edge the mask is marked, and something inside is not."""
    edge = (mask[0], mask[-1], mask[:, 0], mask[:, -1])
    return min(mask.shape) > 2 and all(side.all() for side in edge) and not bool(mask.all())


def _by_index(image: Image.Image, path: Path) -> Mask:
    if image.mode == "PA" or "transparency" in image.info:
        return _with_alpha(image, path)
    index = np.asarray(image)
    palette = np.asarray(image.getpalette("RGB") or [0, 0, 0]).reshape(-1, 3)
    used = [i for i in np.unique(index).tolist() if i < len(palette)]
    if palette[0].any() and any(i and not palette[i].any() for i in used):
        raise _ambiguous(
            path,
            "a palette whose index 0 is coloured and another index black",
            "save it with a ground of black at index 0",
        )
    return np.asarray(index != 0)


def _with_alpha(image: Image.Image, path: Path) -> Mask:
    pixels = np.asarray(image.convert("RGBA"))
    opaque, coloured = pixels[..., 3] > 0, pixels[..., :3].max(axis=2) > 0
    if opaque.all():
        return np.asarray(coloured)
    marks = opaque & coloured
    if opaque.any() and not marks.any():
        found = "black pixels on transparent ones, either of which may be the ground"
        raise _ambiguous(path, found, "paint the defect white")
    if not opaque.any() and coloured.any() and not coloured.all():
        found = "colours that are transparent everywhere"
        raise _ambiguous(path, found, "save it without transparency")
    return np.asarray(marks)


def _blurred(values: NDArray[np.generic], path: Path) -> Mask:
    levels = values.astype(np.int64)
    if levels.max(initial=0) <= 8:  # what the compression makes of black
        return np.zeros(levels.shape, np.bool_)
    sure, between = levels >= 192, (levels >= 64) & (levels < 192)
    if between.sum() > sure.sum():
        raise _ambiguous(
            path,
            f"levels up to {levels.max()} in a lossy file, where numbers do not survive",
            "save the mask as PNG",
        )
    return np.asarray(levels >= 128)


def _ambiguous(path: Path, found: str, do: str) -> InputError:
    return InputError(f"expected a mask that reads one way at {path}, found {found}; {do}")

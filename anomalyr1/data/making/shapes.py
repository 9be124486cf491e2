"""Annotated regions (polygons, run lengths) and the masks they draw: the one place for both.

Coordinates are continuous, in pixels of the image: the pixel (0, 0) covers [0, 1) x [0, 1). A pixel
belongs to a polygon when its centre does (pycocotools' rule), so the bounds of a polygon with whole
corners are the bounds of its mask. Run lengths are COCO's: column after column, off before on.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from pycocotools import mask as coco_mask

from anomalyr1.data.images import Mask
from anomalyr1.data.rle import decode_mask, encode_mask
from anomalyr1.errors import InputError
from anomalyr1.schema import Box


@dataclass(frozen=True, slots=True)
class Shape:
    """One region of an image.

    Attributes:
        label: type of the defect; None where the source names none.
        rings: polygons, united; each x1, y1, x2, y2, ... in pixels.
        code: compressed COCO run lengths over the whole image, None for polygons.
        size: (width, height) that `code` is for.
    """

    label: str | None = None
    rings: tuple[tuple[float, ...], ...] = ()
    code: str | None = None
    size: tuple[int, int] | None = None


def polygon(points: Sequence[float], label: str | None, where: str) -> Shape:
    """A polygon of flat x, y, x, y, ... numbers.

    Raises:
        InputError: fewer than three corners, or half a corner.
    """
    if len(points) < 6 or len(points) % 2:
        raise InputError(
            f"expected a polygon of three corners or more at {where}, found {len(points)} numbers; "
            "mend the annotation"
        )
    return Shape(label, (tuple(float(value) for value in points),))


def from_counts(
    counts: str | Sequence[int], size: tuple[int, int], label: str | None, where: str
) -> Shape:
    """COCO run lengths: a list of lengths (off, on, off, ...) or the compressed text.

    Args:
        counts: the lengths.
        size: (width, height).
        label: type of the defect.
        where: how an error names the annotation.

    Raises:
        InputError: the lengths do not add up to the image.
    """
    width, height = size
    if isinstance(counts, str):
        lengths = _lengths(counts, where)
    else:
        lengths = [int(value) for value in counts]
    if min(lengths, default=0) < 0 or sum(lengths) != width * height:
        raise InputError(
            f"expected run lengths of {width} x {height} pixels at {where}, found lengths that sum "
            f"to {sum(lengths)}; mend the annotation"
        )
    if isinstance(counts, str):
        return Shape(label, code=counts, size=size)
    code = coco_mask.frPyObjects({"counts": lengths, "size": [height, width]}, height, width)
    return Shape(label, code=code["counts"].decode("ascii"), size=size)


def from_runs(runs: Sequence[int], size: tuple[int, int], label: str | None, where: str) -> Shape:
    """Pairs of start and length, column after column, the first pixel being 1 (Kaggle's form).

    Raises:
        InputError: half a pair, runs that overlap or go back, or leave the image.
    """
    width, height = size
    starts, lengths = list(runs[::2]), list(runs[1::2])
    if len(starts) != len(lengths) or not starts:
        raise InputError(
            f"expected pairs of start and length at {where}, found {len(runs)} numbers; mend it"
        )
    counts, end = [], 0
    for start, length in zip(starts, lengths, strict=True):
        if start - 1 < end or length < 1 or start - 1 + length > width * height:
            raise InputError(
                f"expected rising runs inside {width} x {height} pixels at {where}, found the run "
                f"{start} {length}; mend it, or check the order (columns) and the image's size"
            )
        counts += [start - 1 - end, length]
        end = start - 1 + length
    return from_counts([*counts, width * height - end], size, label, where)


def from_mask(mask: Mask, label: str | None) -> Shape:
    """A region given as pixels (height, width)."""
    height, width = mask.shape
    return Shape(label, code=encode_mask(mask)["counts"], size=(width, height))


def draw(shapes: Iterable[Shape], size: tuple[int, int]) -> Mask:
    """The union of shapes as a mask (height, width).

    A shape too thin to hold the centre of a pixel marks the pixel under its middle, so that no
    annotated region disappears. Parts outside the image are cut off.

    Raises:
        InputError: run lengths are for an image of another size.

    >>> draw([Shape("dent", ((1.0, 0.0, 3.0, 0.0, 3.0, 2.0, 1.0, 2.0),))], (4, 2)).astype(int)
    array([[0, 1, 1, 0],
           [0, 1, 1, 0]])
    """
    width, height = size
    mask = np.zeros((height, width), bool)
    for shape in shapes:
        mask |= _pixels(shape, size)
    return mask


def bounds(shape: Shape) -> Box:
    """The box around a shape, x2 and y2 exclusive; without area where the shape marks nothing."""
    if shape.code is not None:
        assert shape.size is not None
        width, height = shape.size
        x, y, w, h = (
            float(value)
            for value in coco_mask.toBbox({"size": [height, width], "counts": shape.code})
        )
        return Box(x, y, x + w, y + h, shape.label)
    xs = [value for ring in shape.rings for value in ring[::2]]
    ys = [value for ring in shape.rings for value in ring[1::2]]
    return Box(min(xs), min(ys), max(xs), max(ys), shape.label)


def _pixels(shape: Shape, size: tuple[int, int]) -> Mask:
    width, height = size
    if shape.code is not None:
        if shape.size != size:
            raise InputError(
                f"expected run lengths of {width} x {height} pixels, found them for "
                f"{' x '.join(map(str, shape.size or ()))}; mend the annotation"
            )
        return decode_mask({"size": [height, width], "counts": shape.code})
    rings = [list(ring) for ring in shape.rings]
    pixels: Mask = decode_mask(coco_mask.merge(coco_mask.frPyObjects(rings, height, width)))
    if not pixels.any():
        box = bounds(shape)
        x, y = (box.x1 + box.x2) / 2, (box.y1 + box.y2) / 2
        if 0 <= x <= width and 0 <= y <= height:
            pixels[min(int(y), height - 1), min(int(x), width - 1)] = True
    return pixels


def _lengths(text: str, where: str) -> list[int]:
    """The run lengths of COCO's compressed text: five bits a character, differences from the third.

    pycocotools reads past the end of a damaged text, so it is decoded here before it may.
    """
    lengths: list[int] = []
    value, shift = 0, 0
    for character in text:
        bits = ord(character) - 48
        if not 0 <= bits < 64 or shift > 50:
            raise InputError(f"expected COCO run lengths at {where}, found {text[:40]!r}; mend it")
        value |= (bits & 0x1F) << shift
        shift += 5
        if bits & 0x20:
            continue
        if bits & 0x10:
            value -= 1 << shift
        if len(lengths) > 2:
            value += lengths[-2]
        lengths.append(value)
        value, shift = 0, 0
    if shift:
        raise InputError(f"expected COCO run lengths at {where}, found half of them; mend it")
    return lengths

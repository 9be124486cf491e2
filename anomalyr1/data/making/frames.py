"""Boxes and regions brought into the frame of the upright image, or refused.

A source may state the size its boxes are in. An image turned by EXIF has two frames, as stored and
upright; annotations may be in either.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial

import cv2
import numpy as np

from anomalyr1.data.making.shapes import Shape, draw, from_mask
from anomalyr1.data.making.sources.item import Item
from anomalyr1.errors import InputError
from anomalyr1.geometry import EXIF_TURNS
from anomalyr1.schema import Box

OUTSIDE = 1.0  # pixels that a box may leave its image by: the rounding of other tools

Size = tuple[int, int]  # width, height
Point = Callable[[float, float], tuple[float, float]]


@dataclass(frozen=True, slots=True)
class Framed:
    """An item in the frame of its image, and what was done for it."""

    item: Item
    clipped: int = 0
    turned: bool = False
    unsure: bool = False
    rescaled: bool = False


def to_image_frame(item: Item, size: Size, orientation: int, rescale: bool) -> Framed:
    """The item with its boxes and shapes in pixels of the upright image, none outside.

    Args:
        item: as its source has it.
        size: of the upright image.
        orientation: EXIF's, 1 where there is none.
        rescale: scale from a declared size of the same shape.

    Raises:
        InputError: the declared size is not the image's, or a box leaves it by more than a pixel.
    """
    stored = size[::-1] if orientation >= 5 else size
    turned = rescaled = False
    if item.declared is not None and item.declared != size:
        if item.declared == stored:
            upright = EXIF_TURNS[orientation]
            item, turned = _moved(item, stored, size, partial(upright.point, size=stored)), True
        else:
            item, rescaled = _scaled(item, size, rescale), True
    unsure = orientation != 1 and stored == size and bool(item.boxes or item.shapes)
    boxes, clipped = item.boxes, 0
    if boxes is not None:
        inside = tuple(_inside(box, size, item) for box in boxes)
        clipped = sum(a != b for a, b in zip(boxes, inside, strict=True))
        boxes = inside
    for shape in item.shapes:
        for ring in shape.rings:
            _inside(
                Box(min(ring[::2]), min(ring[1::2]), max(ring[::2]), max(ring[1::2])), size, item
            )
    return Framed(replace(item, boxes=boxes), clipped, turned, unsure, rescaled)


def frame_remarks(framed: Iterable[Framed]) -> list[str]:
    """Lines for the user about what was done to boxes."""
    seen = list(framed)
    clipped = sum(one.clipped for one in seen)
    lines = {
        f"{clipped} boxes left their image by up to a pixel and were clipped": clipped,
        "{} images turned by EXIF have boxes as stored; they were turned too": sum(
            one.turned for one in seen
        ),
        "{} images turned by EXIF have boxes that could be as stored or upright; taken as "
        "upright": sum(one.unsure for one in seen),
        "{} images have boxes in another size and were rescaled": sum(one.rescaled for one in seen),
    }
    return [line.format(number) for line, number in lines.items() if number]


def _inside(box: Box, size: Size, item: Item) -> Box:
    width, height = size
    out = max(-box.x1, -box.y1, box.x2 - width, box.y2 - height)
    inner = Box(
        min(max(box.x1, 0), width),
        min(max(box.y1, 0), height),
        min(max(box.x2, 0), width),
        min(max(box.y2, 0), height),
        box.label,
    )
    if not out <= OUTSIDE or not inner.area > 0:
        raise InputError(
            f"expected boxes inside the {width} x {height} pixels of {item.file}, "
            f"found {list(box.xyxy)}; mend the annotation"
        )
    return box if out <= 0 else inner


def _scaled(item: Item, size: Size, rescale: bool) -> Item:
    assert item.declared is not None
    (dw, dh), (width, height) = item.declared, size
    same_shape = dw * height == dh * width
    if not (same_shape and rescale):
        do = "mend the annotation"
        if same_shape:
            do = "give --set rescale=true to scale the boxes, as the shape is the same"
        raise InputError(
            f"expected {item.file} to have the {dw} x {dh} pixels that its annotation declares, "
            f"found {width} x {height}; {do}"
        )
    return _moved(item, (dw, dh), size, lambda x, y: (x * width / dw, y * height / dh))


def _moved(item: Item, before: Size, after: Size, point: Point) -> Item:
    return replace(
        item,
        boxes=None if item.boxes is None else tuple(_box(box, point) for box in item.boxes),
        shapes=tuple(_shape(shape, before, after, point) for shape in item.shapes),
    )


def _box(box: Box, point: Point) -> Box:
    (xa, ya), (xb, yb) = point(box.x1, box.y1), point(box.x2, box.y2)
    return Box(min(xa, xb), min(ya, yb), max(xa, xb), max(ya, yb), box.label)


def _shape(shape: Shape, before: Size, after: Size, point: Point) -> Shape:
    if shape.code is None:
        rings = []
        for ring in shape.rings:
            corners = (point(x, y) for x, y in zip(ring[::2], ring[1::2], strict=True))
            rings.append(tuple(value for corner in corners for value in corner))
        return replace(shape, rings=tuple(rings))
    # Pixels: each of the new image's is looked up where its centre was.
    old = draw([shape], before)
    ends = [point(0, 0), point(before[0], before[1]), point(before[0], 0)]
    source = np.array([[0, 0], before, [before[0], 0]], np.float32)
    matrix = cv2.getAffineTransform(np.array(ends, np.float32), source)
    xs, ys = np.meshgrid(np.arange(after[0]) + 0.5, np.arange(after[1]) + 0.5)
    places = matrix @ np.stack([xs.ravel(), ys.ravel(), np.ones(xs.size)])
    columns = np.clip(places[0].astype(int), 0, before[0] - 1)
    rows = np.clip(places[1].astype(int), 0, before[1] - 1)
    return from_mask(old[rows, columns].reshape(after[::-1]), shape.label)

"""What one file says: opened, fingerprinted, its mask read, its boxes held against it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from anomalyr1.data.fingerprint import Fingerprint, file_sha256, fingerprint_of
from anomalyr1.data.images import (
    LEVELS,
    ORIENTATION,
    BoxOptions,
    Mask,
    boxes_from_mask,
    open_image,
    read_mask,
)
from anomalyr1.data.making.frames import Framed, frame_remarks, to_image_frame
from anomalyr1.data.making.shapes import draw
from anomalyr1.data.making.sources.item import Item
from anomalyr1.data.mask_marks import looks_inverted
from anomalyr1.errors import InputError
from anomalyr1.schema import Box


@dataclass(frozen=True, slots=True)
class Examined:
    """An item whose files are known to be good.

    Attributes:
        item: with boxes and shapes in pixels of the upright image; its mask is None where the
            mask marks nothing.
        size: (width, height) of the upright image.
        print: fingerprint of the image.
        levels: rule by which more than eight bits became eight, in the file or in what it was made
            of; None where they were eight.
        framed: what was done to the boxes.
        empty_mask: the mask of a defective image marks nothing.
        full_mask: it marks every pixel.
    """

    item: Item
    size: tuple[int, int]
    print: Fingerprint
    levels: str | None
    framed: Framed
    empty_mask: bool = False
    full_mask: bool = False


def examine(item: Item, options: BoxOptions, rescale: bool = False) -> Examined:
    """Open the files of an item.

    Raises:
        InputError: one cannot be used.
    """
    image = open_image(item.file)
    print_ = fingerprint_of(image, file_sha256(item.file))
    framed = to_image_frame(item, image.size, int(image.info[ORIENTATION]), rescale)
    found, empty, full = framed.item, False, False
    pixels = own_mask(item, image.size)
    if pixels is not None:
        empty, full = not pixels.any(), bool(pixels.all())
        label = item.defects[0] if len(item.defects) == 1 else None
        if empty:
            found = replace(found, mask=None)
        elif found.boxes is None:
            found = replace(found, boxes=boxes_from_mask(pixels, options, label))
    elif found.shapes and found.boxes is None:
        found = replace(found, boxes=tuple(_boxes_of_shapes(found, image.size, options)))
    if item.normal:
        found = replace(found, mask=None, boxes=())
    empty = empty and not item.normal
    levels = item.levels or image.info.get(LEVELS)
    return Examined(found, image.size, print_, levels, framed, empty, full)


def own_mask(item: Item, size: tuple[int, int]) -> Mask | None:
    """The mask file of an item, held against its image and its label; None without one.

    Args:
        item: as its source has it.
        size: (width, height) of the upright image.

    Raises:
        InputError: it has another size, contradicts the label, or can be read two ways.
    """
    if item.mask is None:
        return None
    pixels, (width, height) = read_mask(item.mask), size
    if pixels.shape != (height, width):
        raise InputError(
            f"expected a mask of {width} x {height} pixels like {item.file}, "
            f"found {pixels.shape[1]} x {pixels.shape[0]} in {item.mask}; bring its own mask"
        )
    if item.normal and pixels.any():
        raise InputError(
            f"expected an empty mask for {item.file}, whose label is normal, found "
            f"{int(pixels.sum())} marked pixels in {item.mask}; correct one of the two"
        )
    if looks_inverted(pixels):
        raise InputError(
            f"expected a mask that reads one way at {item.mask}, found marks all along its "
            "edge and ground inside; if the ground is white, invert it"
        )
    return pixels


def remarks(examined: Iterable[Examined]) -> list[str]:
    """Lines for the user about what was done to boxes and found in masks."""
    seen = list(examined)
    lines = {
        "{} masks of defective images mark nothing and are not used": sum(
            e.empty_mask for e in seen
        ),
        "{} masks mark every pixel, so they say nothing about the place": sum(
            e.full_mask for e in seen
        ),
        "{} images are of more than 8 bits a channel; the manifest says how they are read": sum(
            e.levels is not None for e in seen
        ),
    }
    said = [line.format(number) for line, number in lines.items() if number]
    return [*frame_remarks(e.framed for e in seen), *said]


def _boxes_of_shapes(item: Item, size: tuple[int, int], options: BoxOptions) -> Iterator[Box]:
    """Boxes of the components of each label's regions."""
    for label in dict.fromkeys(shape.label for shape in item.shapes):
        own = [shape for shape in item.shapes if shape.label == label]
        yield from boxes_from_mask(np.asarray(draw(own, size)), options, label)

"""Images on which all that their own template does not show is painted bright.

Where images have an aligned template (a board and its golden sample), subtracting it is what
optical inspection begins with. Painted, the difference is in the image itself, for a policy whose
vision tower is too small to find it by looking from one image to the other.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from anomalyr1.data.fault_lists import refusal
from anomalyr1.data.making.redrawn import canvas, redrawn
from anomalyr1.data.making.sources.item import Item, Source
from anomalyr1.data.making.synthetic.scene import Canvas
from anomalyr1.errors import InputError

LEAST = 0.3
"""Difference in any channel, of the full scale, from which a pixel counts."""
OPENING = 3
"""Side in pixels of the square that a difference must hold: edges shifted by two pixels do not."""
DIM = (0.25, 0.5)
"""What black and white become: both leave room for the paint, and for colour by position."""
PAINT = 0.95


def require_templates(items: Iterable[Item]) -> None:
    """Refuse images that `differing` has nothing to hold against; asked before any is cut.

    Raises:
        InputError: images have no reference of their own.
    """
    alone = [str(item.file) for item in items if not (item.reference or item.references)]
    if alone:
        raise refusal(
            "expected an aligned reference for each image, found {} image{s} without one; leave "
            "out --differences:",
            alone,
        )


@contextmanager
def differing(source: Source, wanted: bool, out: Path) -> Iterator[Source]:
    """The source with painted copies of its images; as it is where that is not wanted.

    Images are painted where they differ from the first of their own references; references are
    only dimmed, as the rest of an image is. Files last as long as the block.

    Args:
        source: what a reader found; `require_templates` has nothing against it.
        wanted: whether to.
        out: the folder that the benchmark is for, already there.

    Raises:
        InputError: images have a reference of another size, or cannot be read.
    """
    if not wanted:
        yield source
        return
    templates = {item.file: item.references[0] for item in source.items if not item.reference}
    with redrawn(source, partial(_painted, templates), out) as painted:
        yield painted


def _painted(templates: dict[Path, Path], image: Canvas, file: Path) -> Canvas:
    dim = DIM[0] + (DIM[1] - DIM[0]) * image
    if file in templates:
        dim[differs(image, canvas(templates[file]), file)] = PAINT
    return np.asarray(dim, np.float32)


def differs(image: Canvas, template: Canvas, file: Path) -> NDArray[np.bool_]:
    """Where an image is not as its template, (height, width) of bool.

    Raises:
        InputError: they have different sizes.
    """
    if image.shape != template.shape:
        raise InputError(
            f"{file}: expected a template of its size, {_size(image)}, found {_size(template)}; "
            "leave out --differences"
        )
    far = (np.abs(image - template).max(-1) > LEAST).astype(np.uint8)
    opened = cv2.morphologyEx(far, cv2.MORPH_OPEN, np.ones((OPENING, OPENING), np.uint8))
    return np.asarray(opened, bool)


def _size(image: Canvas) -> str:
    height, width = image.shape[:2]
    return f"{width} x {height}"

"""Boxes and their frames: image <-> a policy's frame, turns, IoU, one-to-one matching, cells."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from operator import attrgetter
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from anomalyr1.schema import Box

# What a policy counts the corners of a box in: pixels of the image as its processor resized it, or
# thousandths of each side of the image.
BoxUnit = Literal["pixels", "thousandths"]

# The image processors of Qwen's families refuse an image whose sides differ by a larger factor.
LARGEST_ASPECT_RATIO = 200

_FARTHEST = 1e150  # of a corner from the origin: areas, and sums of some, stay finite
_READING_ORDER = attrgetter("y1", "x1")


@dataclass(frozen=True, slots=True)
class Frame:
    """An image of `width` x `height` pixels, whose boxes a policy states in another frame.

    That frame, the model frame, is `model_width` x `model_height`: for Qwen2.5-VL the pixels of the
    image as its processor resized it (each side rounded to a multiple of 28 by itself, so that each
    axis has a scale of its own), for Qwen3-VL 1000 x 1000 whatever the image's size.
    """

    width: int
    height: int
    model_width: int
    model_height: int

    @classmethod
    def spoken(cls, size: tuple[int, int], resized: tuple[int, int], unit: BoxUnit) -> Frame:
        """The frame of an image of `size` (width, height) that the processor makes `resized`.

        >>> Frame.spoken((200, 100), (196, 112), "pixels")
        Frame(width=200, height=100, model_width=196, model_height=112)
        >>> Frame.spoken((200, 100), (196, 112), "thousandths")
        Frame(width=200, height=100, model_width=1000, model_height=1000)
        """
        return cls(*size, *(resized if unit == "pixels" else (1000, 1000)))

    @property
    def model_size(self) -> tuple[int, int]:
        """(width, height) of the model frame."""
        return self.model_width, self.model_height

    def to_model(self, box: Box) -> Box:
        """Original-image pixels -> model frame, not clamped.

        >>> Frame(200, 100, 400, 50).to_model(Box(100, 50, 200, 100)).xyxy
        (200.0, 25.0, 400.0, 50.0)
        """
        sx, sy = self.model_width / self.width, self.model_height / self.height
        return Box(box.x1 * sx, box.y1 * sy, box.x2 * sx, box.y2 * sy, box.label)

    def to_original(self, box: Box) -> Box:
        """Model frame -> original-image pixels, clamped to the image."""
        sx, sy = self.width / self.model_width, self.height / self.model_height
        return clamp(
            Box(box.x1 * sx, box.y1 * sy, box.x2 * sx, box.y2 * sy, box.label),
            self.width,
            self.height,
        )


class Turn(NamedTuple):
    """What is done to an image: transposed first, then mirrored left-right, then upside down.

    The eight values are all the ways to lay a rectangle onto an upright frame.
    """

    transposed: bool = False
    mirrored: bool = False
    upside_down: bool = False

    def size(self, size: tuple[int, int]) -> tuple[int, int]:
        """(width, height) of the turned image."""
        return size[::-1] if self.transposed else size

    def point(self, x: float, y: float, size: tuple[int, int]) -> tuple[float, float]:
        """Where a point of the image of `size` (width, height) is in the turned one.

        >>> Turn(True, True, False).point(0, 0, (40, 20))  # a quarter to the right
        (20, 0)
        """
        width, height = self.size(size)
        x, y = (y, x) if self.transposed else (x, y)
        return (width - x if self.mirrored else x), (height - y if self.upside_down else y)

    def box(self, box: Box, size: tuple[int, int]) -> Box:
        """The same box in the turned image."""
        xa, ya = self.point(box.x1, box.y1, size)
        xb, yb = self.point(box.x2, box.y2, size)
        return Box(min(xa, xb), min(ya, yb), max(xa, xb), max(ya, yb), box.label)


UNTURNED = Turn()
WHOLE = Box(0.0, 0.0, 1.0, 1.0)


@dataclass(frozen=True, slots=True)
class View:
    """What is shown of an image: a part of it, scaled up to the whole image's size, then turned.

    `part` is in shares of width and height, so that it is the same place of an image of any size.
    """

    part: Box = WHOLE
    turn: Turn = UNTURNED

    def corners(self, size: tuple[int, int]) -> Box:
        """The part in pixels of an image of `size` (width, height)."""
        (width, height), part = size, self.part
        return Box(part.x1 * width, part.y1 * height, part.x2 * width, part.y2 * height)

    def box(self, box: Box, size: tuple[int, int]) -> Box:
        """A box of the image where it is in the view, cut to what is shown.

        >>> right_half = Box(0.5, 0.0, 1.0, 1.0)
        >>> View(right_half, Turn(mirrored=True)).box(Box(40, 0, 50, 10), (80, 40)).xyxy
        (60.0, 0.0, 80.0, 10.0)
        """
        (width, height), part = size, self.corners(size)
        sx, sy = width / (part.x2 - part.x1), height / (part.y2 - part.y1)
        x1, y1, x2, y2 = box.xyxy
        scaled = Box(
            (x1 - part.x1) * sx,
            (y1 - part.y1) * sy,
            (x2 - part.x1) * sx,
            (y2 - part.y1) * sy,
            box.label,
        )
        return self.turn.box(clamp(scaled, width, height), size)

    def boxes(self, boxes: Sequence[Box], size: tuple[int, int]) -> tuple[Box, ...]:
        """Boxes of the image where they are in the view; reading order stays reading order."""
        seen = [self.box(box, size) for box in boxes]
        if list(boxes) == sorted(boxes, key=_READING_ORDER):
            seen.sort(key=_READING_ORDER)
        return tuple(seen)

    def kept(self, box: Box, size: tuple[int, int]) -> float:
        """The share of a box's area that the part shows; 1 of a box without an area."""
        return self.box(box, size).area * self.part.area / box.area if box.area else 1.0


# EXIF orientation -> what brings the stored image upright.
EXIF_TURNS = {
    2: Turn(mirrored=True),
    3: Turn(mirrored=True, upside_down=True),
    4: Turn(upside_down=True),
    5: Turn(transposed=True),
    6: Turn(transposed=True, mirrored=True),
    7: Turn(transposed=True, mirrored=True, upside_down=True),
    8: Turn(transposed=True, upside_down=True),
}


def too_extreme(width: int, height: int) -> bool:
    """Whether the image processors of Qwen's families refuse an image of this shape.

    >>> too_extreme(4000, 20), too_extreme(20, 4001)
    (False, True)
    """
    return max(width, height) > LARGEST_ASPECT_RATIO * min(width, height)


def clamp(box: Box, width: float, height: float) -> Box:
    """Cut a box to [0, width] x [0, height].

    >>> clamp(Box(-5, 10, 50, 500), 40, 100).xyxy
    (0.0, 10.0, 40.0, 100.0)
    """
    return Box(
        min(max(0.0, float(box.x1)), float(width)),
        min(max(0.0, float(box.y1)), float(height)),
        min(max(0.0, float(box.x2)), float(width)),
        min(max(0.0, float(box.y2)), float(height)),
        box.label,
    )


def pixel_boxes(boxes: Sequence[Box], width: int, height: int) -> list[tuple[int, int, int, int]]:
    """Whole-pixel corners inside the image, at least one pixel wide and high.

    Boxes without an area inside the image are left out.

    >>> pixel_boxes([Box(0.2, 0.4, 2.6, 0.6), Box(5, 5, 5, 9), Box(8, 0, 9, 9)], 8, 8)
    [(0, 0, 3, 1)]
    """
    corners = []
    for box in boxes:
        inside = clamp(box, width, height)
        if inside.area <= 0:
            continue
        x1, y1 = min(round(inside.x1), width - 1), min(round(inside.y1), height - 1)
        corners.append((x1, y1, max(round(inside.x2), x1 + 1), max(round(inside.y2), y1 + 1)))
    return corners


def corner_array(boxes: Sequence[Box]) -> NDArray[np.float64]:
    """The corners of boxes, (len(boxes), 4), none so far out that an area would overflow.

    A policy may write 200 digits: a valid number, whose square is none.
    """
    corners = np.array([box.xyxy for box in boxes], dtype=np.float64).reshape(-1, 4)
    return np.clip(corners, -_FARTHEST, _FARTHEST)


def areas(corners: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of corners (..., 4), the areas (...); 0 for a degenerate box."""
    return np.asarray(np.clip(corners[..., 2:] - corners[..., :2], 0, None).prod(axis=-1))


def iou_matrix(first: Sequence[Box], second: Sequence[Box]) -> NDArray[np.float64]:
    """Intersection over union of every pair: (len(first), len(second)), 0 where both are empty.

    Not to be written to: the boxes of an image are compared several times in a row, and computed
    once.
    """
    return _iou_matrix(tuple(first), tuple(second))


@lru_cache(maxsize=8)
def _iou_matrix(first: tuple[Box, ...], second: tuple[Box, ...]) -> NDArray[np.float64]:
    a, b = corner_array(first), corner_array(second)
    low = np.maximum(a[:, None, :2], b[None, :, :2])
    high = np.minimum(a[:, None, 2:], b[None, :, 2:])
    intersection = areas(np.concatenate([low, high], axis=-1))
    union = areas(a)[:, None] + areas(b)[None] - intersection
    scores = np.zeros(union.shape, dtype=np.float64)
    np.divide(intersection, union, out=scores, where=union > 0)
    scores.setflags(write=False)
    return scores


def iou(first: Box, second: Box) -> float:
    """Intersection over union of two boxes.

    >>> iou(Box(0, 0, 2, 2), Box(1, 0, 3, 2))
    0.3333333333333333
    """
    return float(iou_matrix([first], [second])[0, 0])


def match_boxes(predicted: Sequence[Box], gold: Sequence[Box]) -> list[tuple[int, int, float]]:
    """One-to-one matching that maximises the summed IoU (Hungarian method).

    Returns (index in `predicted`, index in `gold`, IoU) for every pair that overlaps.
    """
    if not predicted or not gold:
        return []
    scores = iou_matrix(predicted, gold)
    rows, columns = linear_sum_assignment(scores, maximize=True)
    return [
        (int(r), int(c), float(scores[r, c]))
        for r, c in zip(rows, columns, strict=True)
        if scores[r, c] > 0
    ]


def set_iou(predicted: Sequence[Box], gold: Sequence[Box]) -> float:
    """Summed IoU of the matched pairs over max(#predicted, #gold); none and none is 1.

    >>> set_iou([], []), set_iou([Box(0, 0, 2, 2)], [])
    (1.0, 0.0)
    >>> set_iou([Box(0, 0, 2, 2), Box(9, 9, 10, 10)], [Box(0, 0, 2, 2)])
    0.5
    """
    if not predicted and not gold:
        return 1.0
    return sum(score for _, _, score in match_boxes(predicted, gold)) / max(
        len(predicted), len(gold)
    )


def grid_cell(box: Box, width: float, height: float) -> str:
    """The cell of a 3x3 grid that holds the box's centre, in words.

    >>> grid_cell(Box(0, 0, 10, 10), 100, 100), grid_cell(Box(40, 40, 60, 60), 100, 100)
    ('top left', 'center')
    """
    column = min(2, int(3 * (box.x1 + box.x2) / 2 / width))
    row = min(2, int(3 * (box.y1 + box.y2) / 2 / height))
    if row == 1 and column == 1:
        return "center"
    vertical = ("top", "", "bottom")[row]
    horizontal = ("left", "center", "right")[column]
    return f"{vertical} {horizontal}".strip() if row != 1 else horizontal


# The nine cells, row by row.
CELLS = tuple(
    grid_cell(Box(column, row, column + 1, row + 1), 3, 3)
    for row in range(3)
    for column in range(3)
)


def touched_cells(boxes: Iterable[Box], width: float, height: float) -> set[str]:
    """Cells of the 3x3 grid that share area with a box.

    >>> sorted(touched_cells([Box(0, 0, 40, 10)], 90, 90))
    ['top center', 'top left']
    """
    touched = set()
    for box in boxes:
        for index, name in enumerate(CELLS):
            row, column = divmod(index, 3)
            inside_x = box.x1 < (column + 1) * width / 3 and box.x2 > column * width / 3
            inside_y = box.y1 < (row + 1) * height / 3 and box.y2 > row * height / 3
            if inside_x and inside_y:
                touched.add(name)
    return touched

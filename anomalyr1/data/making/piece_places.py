"""Where pieces of an image are cut out: around its defects, and from where it has none."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from math import ceil, floor

from anomalyr1.schema import Box

Corners = tuple[int, int, int, int]
Worth = Callable[[Corners], bool]

_TRIES = 50  # places looked at for one piece


def around_defects(
    boxes: Sequence[Box],
    size: tuple[int, int],
    side: int,
    drawn: random.Random,
    worth: Worth = lambda place: True,
) -> list[Corners]:
    """Places of pieces that show each box whole once, as far as none cuts another box.

    Args:
        boxes: of an image.
        size: (width, height) of the image.
        side: of a piece.
        drawn: where they are drawn from.
        worth: says whether a place is worth showing.
    """
    (width, height), places = size, list[Corners]()
    wide, high = min(side, width), min(side, height)
    for box in boxes:
        left, right = max(0, ceil(box.x2) - wide), min(floor(box.x1), width - wide)
        top, bottom = max(0, ceil(box.y2) - high), min(floor(box.y1), height - high)
        fits = left <= right and top <= bottom
        if not fits or any(inside(box, place) for place in places):
            continue
        for _ in range(_TRIES):
            x, y = drawn.randint(left, right), drawn.randint(top, bottom)
            place = x, y, x + wide, y + high
            whole = all(inside(other, place) or apart(other, place) for other in boxes)
            if whole and worth(place):
                places.append(place)
                break
    return places


def clear_places(
    boxes: Sequence[Box],
    size: tuple[int, int],
    side: int,
    count: int,
    drawn: random.Random,
    worth: Worth = lambda place: True,
) -> list[Corners]:
    """Places of `count` pieces that touch no box; fewer where they are hard to find.

    Args:
        boxes: of an image.
        size: (width, height) of the image.
        side: of a piece.
        count: how many are wanted.
        drawn: where they are drawn from.
        worth: as above.
    """
    (width, height), places = size, list[Corners]()
    wide, high = min(side, width), min(side, height)
    for _ in range(_TRIES * count):
        if len(places) == count:
            break
        x, y = drawn.randint(0, width - wide), drawn.randint(0, height - high)
        place = x, y, x + wide, y + high
        if place not in places and all(apart(box, place) for box in boxes) and worth(place):
            places.append(place)
    return places


def inside(box: Box, place: Corners) -> bool:
    """Whether a piece shows the box whole."""
    x1, y1, x2, y2 = place
    return x1 <= box.x1 and y1 <= box.y1 and box.x2 <= x2 and box.y2 <= y2


def apart(box: Box, place: Corners) -> bool:
    """Whether a piece shows nothing of the box."""
    x1, y1, x2, y2 = place
    return box.x2 <= x1 or box.y2 <= y1 or box.x1 >= x2 or box.y1 >= y2

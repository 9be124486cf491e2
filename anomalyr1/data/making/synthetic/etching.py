"""A bare circuit board as inspection sees it: white copper on black, and what etching does wrong.

Drawn after the six defects of DeepPCB (Tang et al., arXiv 1902.06197): copper too little or too
much, at the edge of a trace or away from one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import cv2
import numpy as np
from numpy.typing import NDArray

from anomalyr1.data.making.questions import Fact
from anomalyr1.data.making.synthetic.scene import (
    Alpha,
    Canvas,
    Faults,
    Point,
    Scene,
    blob,
    box,
    ellipse,
    line,
    margin,
    plain,
    polygon,
)

Generator = np.random.Generator
Area = NDArray[np.bool_]  # (n, n)

SLACK = 0.045  # of the side, that a box leaves around what it marks, as DeepPCB's do


def bare_board(rng: Generator, n: int) -> Scene:
    """A few wide traces, planes and pads, close up; the edges are as ragged as a binary image's."""
    copper = np.zeros((n, n), np.float32)
    draw = (_traces, _traces, _plane, _pads)[int(rng.integers(4))]
    draw(rng, n, copper)
    if rng.random() < 0.5:
        _pads(rng, n, copper)
    if rng.random() < 0.25:  # the same with copper and gap in each other's place
        copper = 1 - copper
    copper = _binary(rng, copper)
    image = plain(n, (0.02, 0.02, 0.02)) + 0.96 * copper[..., None]
    colour = Fact(
        "Object Details", "Which colour is the copper shown in?", "white", ("green", "red", "blue")
    )
    return Scene(image, image, margin(n, 0.05), (copper,), (colour,), Faults(etch, 0.1, 0.09))


def etch(rng: Generator, scene: Scene, kind: str, image: Canvas) -> tuple[Canvas, Alpha]:
    """Copper where none belongs, or none where it belongs.

    Args:
        rng: decides place and shape.
        scene: of `bare_board`.
        kind: one of `ETCHED`.
        image: the picture so far.

    Returns:
        The picture, and what its box is to hold; nothing where this board has no place for it.
    """
    copper = scene.parts[0] > 0.5
    n = len(copper)
    changed = ETCHED[kind](rng, copper)
    fault = changed ^ copper
    marked = np.zeros((n, n), np.float32)
    if fault.any():
        reach = 2 * round(SLACK * n) + 1
        marked = cv2.dilate(fault.astype(np.float32), np.ones((reach, reach), np.float32))
    tone = np.where(changed, np.float32(0.98), np.float32(0.02))[..., None]
    return np.where(fault[..., None], tone, image), marked


def _traces(rng: Generator, n: int, copper: Alpha) -> None:
    """Parallel traces with a bend."""
    width = rng.uniform(0.07, 0.2) * n
    pitch = width * rng.uniform(1.6, 2.6)
    turn = rng.choice([0.0, np.pi / 2, np.pi / 4, -np.pi / 4]) + rng.normal(0, 0.06)
    bend = turn + rng.choice([0.0, 0.0, np.pi / 4, -np.pi / 4])
    middle = rng.uniform(0.25, 0.75, 2) * n
    for lane in range(-4, 5):
        across = lane * pitch
        at = middle + across * np.array((-np.sin(turn), np.cos(turn)))
        there = at - 2 * n * np.array((np.cos(turn), np.sin(turn)))
        back = at + 2 * n * np.array((np.cos(bend), np.sin(bend)))
        if rng.random() < 0.8:
            points = [tuple(map(float, p)) for p in (there, at, back)]
            line(n, points, width, copper)  # type: ignore[arg-type]


def _plane(rng: Generator, n: int, copper: Alpha) -> None:
    """Copper on one side of a broken edge."""
    turn = rng.uniform(0, 2 * np.pi)
    forth = np.array((np.cos(turn), np.sin(turn)))
    side = np.array((-forth[1], forth[0]))
    at = rng.uniform(0.25, 0.75, 2) * n
    knee = at + rng.uniform(-0.3, 0.3) * n * forth
    bent = forth * np.cos(0.7) + side * np.sin(0.7) * rng.choice([-1, 1])
    corners = (at - 3 * n * forth, knee, knee + 3 * n * bent, at + 4 * n * side)
    polygon(n, [(float(x), float(y)) for x, y in corners], copper)


def _pads(rng: Generator, n: int, copper: Alpha) -> None:
    """Round and square pads, drilled or not, each with a way out."""
    for _ in range(int(rng.integers(1, 4))):
        x, y = rng.uniform(0.05, 0.95, 2) * n
        radius = rng.uniform(0.09, 0.2) * n
        width = rng.uniform(0.35, 0.8) * radius
        turn = rng.integers(8) * np.pi / 4
        far = (x + 2 * n * np.cos(turn), y + 2 * n * np.sin(turn))
        clear = np.zeros((n, n), np.float32)
        ellipse(n, (x, y), 1.4 * radius, 1.4 * radius, onto=clear)
        copper[clear > 0.5] = 0
        line(n, [(x, y), far], width, copper)
        if rng.random() < 0.7:
            ellipse(n, (x, y), radius, radius, onto=copper)
        else:
            box(n, x - radius, y - radius, x + radius, y + radius, copper)
        if rng.random() < 0.6:
            copper[ellipse(n, (x, y), 0.45 * radius, 0.45 * radius) > 0.5] = 0


def _binary(rng: Generator, copper: Alpha) -> Alpha:
    """Black or white, with an edge that wanders by half a pixel or so."""
    n = len(copper)
    rough = cv2.GaussianBlur(rng.standard_normal((n, n)).astype(np.float32), (0, 0), 0.006 * n)
    soft = cv2.GaussianBlur(copper, (0, 0), 0.006 * n) + 0.12 * rough / (rough.std() + 1e-6)
    return np.asarray(cv2.medianBlur((soft > 0.5).astype(np.uint8), 3), np.float32)


def _inside(
    rng: Generator, area: Area, low: float, high: float, among: Area | None = None
) -> Point | None:
    """A place in the area so far from its edge, in shares of the side."""
    n = len(area)
    away = cv2.distanceTransform(area.astype(np.uint8), cv2.DIST_L2, 3)
    fits = (away >= low * n) & (away <= high * n)
    rows, columns = np.nonzero(fits if among is None else fits & among)
    kept = (np.minimum(rows, columns) > 0.08 * n) & (np.maximum(rows, columns) < 0.92 * n)
    rows, columns = rows[kept], columns[kept]
    if not len(rows):
        return None
    pick = int(rng.integers(len(rows)))
    return float(columns[pick]), float(rows[pick])


def _fleck(rng: Generator, n: int, at: Point, radius: float) -> Area:
    """A small irregular shape: a blob, or a short thick stroke."""
    if rng.random() < 0.5:
        return blob(rng, n, at, radius, 0.2) > 0.5
    turn, bow = rng.uniform(0, np.pi), rng.uniform(-0.5, 0.5) * radius
    along = np.array((np.cos(turn), np.sin(turn)))
    across = np.array((-along[1], along[0]))
    points = [at + 1.2 * radius * t * along + bow * (1 - t * t) * across for t in (-1, 0, 1)]
    return line(n, [(float(x), float(y)) for x, y in points], radius) > 0.5


def _island(rng: Generator, area: Area) -> Area:
    """Where in this area a fleck lies that reaches no edge of it."""
    n = len(area)
    radius = rng.uniform(0.03, 0.06) * n
    at = _inside(rng, area, 2 * radius / n, 1)
    return np.zeros_like(area) if at is None else _fleck(rng, n, at, radius) & area


def _bite(rng: Generator, area: Area) -> Area:
    """Where a fleck lies that the edge of this area cuts."""
    n = len(area)
    at = _inside(rng, area, 0, 0.012)
    if at is None:
        return np.zeros_like(area)
    return (blob(rng, n, at, rng.uniform(0.045, 0.08) * n, 0.15) > 0.5) & area


def _bridge(rng: Generator, area: Area) -> Area:
    """Where a stroke runs across this area the short way, from edge to edge, at a narrow place."""
    n = len(area)
    away = cv2.distanceTransform(area.astype(np.uint8), cv2.DIST_L2, 3)
    ridge = cv2.dilate(away, np.ones((5, 5), np.float32)) <= away + 0.5
    pieces = cv2.connectedComponents(area.astype(np.uint8))[0]
    for _ in range(8):
        at = _inside(rng, area, 0.02, 0.11, ridge)
        if at is None:
            break
        turns = np.arange(12) * np.pi / 12
        turn = min(turns, key=lambda angle: _across(area, at, angle)) + rng.normal(0, 0.2)
        half = 0.55 * _across(area, at, turn) + 0.02 * n
        bow = rng.normal(0, 0.2) * half
        ways = ((-half, 0.0), (0.0, bow), (half, 0.0))
        cos, sin = np.cos(turn), np.sin(turn)
        ends = [
            (float(at[0] + u * cos - v * sin), float(at[1] + u * sin + v * cos)) for u, v in ways
        ]
        stroke = (line(n, ends, rng.uniform(0.03, 0.07) * n) > 0.5) & area
        if cv2.connectedComponents((area & ~stroke).astype(np.uint8))[0] > pieces:
            return stroke
    return np.zeros_like(area)


def _across(area: Area, at: Point, turn: float) -> float:
    """How long the line through a place is before it leaves the area at both ends."""
    steps = np.arange(-len(area), len(area) + 1)
    x = np.clip(np.rint(at[0] + steps * np.cos(turn)), 0, len(area) - 1).astype(int)
    y = np.clip(np.rint(at[1] + steps * np.sin(turn)), 0, len(area) - 1).astype(int)
    out = np.flatnonzero(~area[y, x]) - len(area)
    before, after = out[out < 0], out[out > 0]
    return float(
        (after[0] if len(after) else len(area)) - (before[-1] if len(before) else -len(area))
    )


ETCHED: Mapping[str, Callable[[Generator, Area], Area]] = {
    "open": lambda rng, copper: copper & ~_bridge(rng, copper),
    "short": lambda rng, copper: copper | _bridge(rng, ~copper),
    "mousebite": lambda rng, copper: copper & ~_bite(rng, copper),
    "spur": lambda rng, copper: copper | _bite(rng, ~copper),
    "copper": lambda rng, copper: copper | _island(rng, ~copper),
    "pin-hole": lambda rng, copper: copper & ~_island(rng, copper),
}

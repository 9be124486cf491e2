"""A magnetic tile as inspection sees it: dark, ground along one way, and what firing does wrong.

Drawn after the five defects of the magnetic tiles of Huang et al. (IEEE CASE 2018). Fainter
than those of the other products, and some lie at the rim.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from anomalyr1.data.making.questions import Fact
from anomalyr1.data.making.synthetic.scene import (
    Alpha,
    Canvas,
    Faults,
    Scene,
    blob,
    blur,
    box,
    clouds,
    ellipse,
    line,
    noise,
    plain,
    polygon,
    shade,
)

Generator = np.random.Generator


def magnetic_tile(rng: Generator, n: int) -> Scene:
    """A dark grey surface with fine upright streaks and broad bright and dark stripes."""
    image = plain(n, 3 * (rng.uniform(0.16, 0.32),))
    broad = 0.16 * noise(rng, n, (2, 4)) + 0.10 * noise(rng, n, (2, 12))
    streaks = 0.09 * noise(rng, n, (6, n // 2)) + 0.06 * noise(rng, n, (n // 4, n // 2))
    image = shade(image, np.clip(broad + streaks + 0.07 * noise(rng, n, n), -0.8, 1.5))
    for side in (0, 1):  # the rim is bright, or falls off into the dark
        width = rng.uniform(0.01, 0.06) * n
        left = 0.0 if side == 0 else n - width
        edge = blur(box(n, left, 0, left + width, n), 0.01 * n)
        image = shade(
            image, rng.choice([-0.6, 0.4, 0.8]) * edge * (1 + 0.4 * noise(rng, n, (24, 2)))
        )
    way = Fact(
        "Object Details",
        "Along which way do the streaks of the surface run?",
        "upright",
        ("in circles", "in waves", "across"),
    )
    if rng.random() < 0.5:
        image = np.ascontiguousarray(image[::-1])
    return Scene(
        image, image, np.ones((n, n), np.float32), (), (way,), Faults(ground_fault, 0.02, 0.03)
    )


def blowhole(rng: Generator, n: int) -> tuple[Alpha, float]:
    """A small round dark pit, or several."""
    x, y = rng.uniform(0.1, 0.9, 2) * n
    alpha = np.zeros((n, n), np.float32)
    for _ in range(int(rng.integers(1, 4))):
        radius = rng.uniform(0.012, 0.03) * n
        ellipse(n, (x, y), radius, radius * rng.uniform(0.7, 1), rng.uniform(0, 180), alpha)
        x, y = x + rng.normal(0, 0.03) * n, y + rng.normal(0, 0.03) * n
    return blur(alpha, 0.002 * n), -rng.uniform(0.6, 0.9)


def fissure(rng: Generator, n: int) -> tuple[Alpha, float]:
    """A thin dark line that wanders in from an upper or lower rim."""
    x, y, heading = rng.uniform(0.1, 0.9) * n, 0.0, np.pi / 2 + rng.normal(0, 0.3)
    points = [(x, y)]
    for _ in range(int(rng.integers(4, 10))):
        heading += rng.normal(0, 0.3)
        x, y = x + 0.035 * n * np.cos(heading), y + 0.035 * n * np.sin(heading)
        points.append((float(x), float(y)))
    return _either_end(rng, line(n, points, rng.uniform(0.006, 0.012) * n)), -rng.uniform(0.5, 0.85)


def broken_rim(rng: Generator, n: int) -> tuple[Alpha, float]:
    """A piece that is gone at the rim, round or angular."""
    x = rng.uniform(0.05, 0.95) * n
    wide, deep = rng.uniform(0.06, 0.16) * n, rng.uniform(0.05, 0.14) * n
    if rng.random() < 0.5:
        alpha = ellipse(n, (x, 0), wide, deep)
    else:
        alpha = polygon(n, [(x - wide, -1), (x + rng.normal(0, 0.3) * wide, deep), (x + wide, -1)])
    alpha = _either_end(rng, alpha)
    return alpha if rng.random() < 0.6 else np.ascontiguousarray(alpha.T), -rng.uniform(0.3, 0.7)


def frayed_rim(rng: Generator, n: int) -> tuple[Alpha, float]:
    """A stretch of the rim that is worn smooth and dull."""
    at, long, deep = rng.uniform(0.15, 0.85) * n, rng.uniform(0.1, 0.3) * n, rng.uniform(0.05, 0.12)
    upper = box(n, at - long, 0, at + long, deep * n)
    alpha = np.clip(blur(upper, 0.02 * n) + 0.15 * clouds(rng, n, 8, 2) * upper, 0, 1)
    alpha = _either_end(rng, np.asarray(alpha, np.float32))
    return np.ascontiguousarray(alpha.T), rng.choice([-0.55, -0.4, 0.5])


def uneven_patch(rng: Generator, n: int) -> tuple[Alpha, float]:
    """A wide soft patch of another brightness."""
    x, y = rng.uniform(0.15, 0.85, 2) * n
    alpha = blur(blob(rng, n, (x, y), rng.uniform(0.14, 0.28) * n, 0.25), 0.02 * n)
    return alpha, rng.choice([-0.5, -0.4, 0.5, 0.7])


def ground_fault(rng: Generator, scene: Scene, kind: str, image: Canvas) -> tuple[Canvas, Alpha]:
    """A defect of a ground surface.

    Args:
        rng: decides place and shape.
        scene: of `magnetic_tile`.
        kind: one of `GROUND`.
        image: the picture so far.
    """
    alpha, tone = GROUND[kind](rng, len(image))
    return shade(image, np.asarray(tone * alpha, np.float32)), alpha


def _either_end(rng: Generator, alpha: Alpha) -> Alpha:
    """What was drawn at the upper end, there or at the lower end."""
    return np.ascontiguousarray(alpha[::-1]) if rng.random() < 0.5 else alpha


GROUND: Mapping[str, Callable[[Generator, int], tuple[Alpha, float]]] = {
    "blowhole": blowhole,
    "crack": fissure,
    "break": broken_rim,
    "fray": frayed_rim,
    "uneven": uneven_patch,
}

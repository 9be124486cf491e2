"""How a scene is lit and photographed: the position gradient, shadows, dust, sensor noise."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from anomalyr1.data.making.synthetic.scene import Canvas, clouds, ellipse, line, over, shade

Generator = np.random.Generator

GRADIENT = {"red_along_x": 0.30, "blue_along_y": 0.30, "floor": 0.07}
"""Red rises from left to right and blue from top to bottom: by these shares of the colour, plus
`floor` of the full scale, so that black shows it too. A vision tower with relative positions only
can read absolute position from it."""


def dust(rng: Generator, image: Canvas) -> Canvas:
    """Harmless specks and hairs, far smaller than any defect."""
    n = len(image)
    for tone in (0.15, 0.88):
        specks = np.zeros((n, n), np.float32)
        for _ in range(int(rng.integers(2, 7))):
            x, y = rng.uniform(0, n, 2)
            radius = rng.uniform(0.003, 0.008) * n
            ellipse(n, (x, y), radius, radius * rng.uniform(0.5, 1), rng.uniform(0, 180), specks)
        image = over(image, (tone, tone, tone), 0.55 * specks)
    hairs = np.zeros((n, n), np.float32)
    for _ in range(int(rng.integers(0, 3))):
        x, y = rng.uniform(0.05 * n, 0.95 * n, 2)
        bend = rng.uniform(-0.03, 0.03, 4) * n
        line(n, [(x, y), (x + bend[0], y + bend[1]), (x + bend[2], y + bend[3])], 1, hairs)
    image = over(image, (0.3, 0.3, 0.3), 0.4 * hairs)
    return image


def uneven_light(rng: Generator, image: Canvas) -> Canvas:
    """A soft shadow or highlight across the image."""
    n = len(image)
    y, x = np.mgrid[0:n, 0:n].astype(np.float32) / n - 0.5
    angle = rng.uniform(0, 2 * np.pi)
    along = x * np.cos(angle) + y * np.sin(angle) + 0.04 * clouds(rng, n, 2, 1)
    edge = 1 / (1 + np.exp(-(along - rng.uniform(-0.25, 0.25)) / rng.uniform(0.04, 0.12)))
    return shade(image, np.asarray(rng.choice([-0.28, -0.2, 0.16]) * edge, np.float32))


@dataclass(frozen=True)
class Camera:
    """How pictures are taken.

    Attributes:
        size: side of the square image, in pixels.
        bgr: red and blue are in each other's place, as where a camera's order of channels is read
            wrongly: products that a policy knows, as it does not know them.
    """

    size: int
    bgr: bool = False


def photograph(rng: Generator, image: Canvas, camera: Camera) -> NDArray[np.uint8]:
    """Exposure, gradient, reduction to the camera's pixels, sensor noise: an RGB picture."""
    size = camera.size
    image = image * rng.uniform(0.94, 1.06)
    image = cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA)
    image = coloured_by_position(image)
    image += 0.010 * rng.standard_normal(image.shape, np.float32)
    pixels = (np.clip(image, 0, 1) * 255 + 0.5).astype(np.uint8)
    return np.ascontiguousarray(pixels[..., ::-1]) if camera.bgr else pixels


def coloured_by_position(image: Canvas) -> Canvas:
    """`GRADIENT` laid over a picture of any size."""
    rows, columns = (np.linspace(-0.5, 0.5, n, dtype=np.float32) for n in image.shape[:2])
    floor = GRADIENT["floor"]
    red, blue = columns[None, :], rows[:, None]
    coloured = image.copy()
    coloured[..., 0] *= 1 + GRADIENT["red_along_x"] * red
    coloured[..., 0] += floor * (red + 0.5)
    coloured[..., 2] *= 1 + GRADIENT["blue_along_y"] * blue
    coloured[..., 2] += floor * (blue + 0.5)
    return coloured

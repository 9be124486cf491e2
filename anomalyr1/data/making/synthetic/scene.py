"""What a procedural product hands on, and the drawing it is made with.

Canvases are float32 of shape (n, n, 3), RGB in [0, 1]; alphas float32 of shape (n, n) in [0, 1].
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from anomalyr1.data.making.questions import Fact

Canvas = NDArray[np.float32]  # (n, n, 3)
Alpha = NDArray[np.float32]  # (n, n)
Color = tuple[float, float, float]
Point = tuple[float, float]

_SHIFT = 4  # sub-pixel bits of OpenCV's drawing functions


@dataclass(frozen=True, slots=True)
class Scene:
    """A normal product.

    `bare` is the picture without its parts, `parts` where each part is, `surface` where a defect
    may lie, `facts` what can be asked about the product, and `faults` what can go wrong with it
    where that is not what goes wrong with most products.
    """

    image: Canvas
    bare: Canvas
    surface: Alpha
    parts: tuple[Alpha, ...] = ()
    facts: tuple[Fact, ...] = ()
    faults: Faults | None = None


@dataclass(frozen=True, slots=True)
class Faults:
    """Defects of a product's own.

    Attributes:
        draw: random generator, scene, kind, picture so far -> the picture, and what the mask is
            made from.
        least_side: of a defect's box, as a share of the image's.
        least_contrast: mean change inside the mask, of a full scale of 1.
    """

    draw: Callable[[np.random.Generator, Scene, str, Canvas], tuple[Canvas, Alpha]]
    least_side: float
    least_contrast: float


def plain(n: int, color: Sequence[float]) -> Canvas:
    """A canvas of one colour."""
    return np.broadcast_to(np.asarray(color, np.float32), (n, n, 3)).copy()


def noise(rng: np.random.Generator, n: int, cells: int | tuple[int, int]) -> Alpha:
    """Smooth noise of unit variance with `cells` (rows, columns) random nodes across the canvas."""
    rows, columns = (cells, cells) if isinstance(cells, int) else cells
    nodes = rng.standard_normal((max(2, rows), max(2, columns))).astype(np.float32)
    field_ = cv2.resize(nodes, (n, n), interpolation=cv2.INTER_CUBIC)
    return np.asarray(field_ / (field_.std() + 1e-6), dtype=np.float32)


def clouds(rng: np.random.Generator, n: int, cells: int = 4, octaves: int = 4) -> Alpha:
    """Fractal noise of unit variance."""
    total = np.zeros((n, n), np.float32)
    for octave in range(octaves):
        total += noise(rng, n, cells * 2**octave) / 2**octave
    return np.asarray(total / (total.std() + 1e-6), dtype=np.float32)


def shade(canvas: Canvas, amount: Alpha) -> Canvas:
    """Multiply by 1 + amount."""
    return canvas * (1 + amount)[..., None]


def over(canvas: Canvas, paint: Canvas | Color, alpha: Alpha) -> Canvas:
    """Lay paint over a canvas; only the part that the alpha covers is touched."""
    result = canvas.copy()
    rows, columns = np.flatnonzero(alpha.any(axis=1)), np.flatnonzero(alpha.any(axis=0))
    if not len(rows):
        return result
    part = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    color = np.asarray(paint, np.float32)
    color = color[part] if color.ndim == 3 else color
    below = result[part]
    below += (color - below) * alpha[part][..., None]
    return result


def polygon(n: int, points: Sequence[Point], onto: Alpha | None = None) -> Alpha:
    """A filled polygon of (x, y) in canvas pixels; `onto` adds it to an alpha."""
    alpha = np.zeros((n, n), np.float32) if onto is None else onto
    cv2.fillPoly(alpha, [_fixed(points)], 1.0, cv2.LINE_AA, _SHIFT)
    return alpha


def line(n: int, points: Sequence[Point], width: float, onto: Alpha | None = None) -> Alpha:
    """A polyline."""
    alpha = np.zeros((n, n), np.float32) if onto is None else onto
    thickness = max(1, round(width))
    cv2.polylines(alpha, [_fixed(points)], False, 1.0, thickness, cv2.LINE_AA, _SHIFT)
    return alpha


def ellipse(
    n: int, at: Point, rx: float, ry: float, degrees: float = 0, onto: Alpha | None = None
) -> Alpha:
    """A filled ellipse."""
    alpha = np.zeros((n, n), np.float32) if onto is None else onto
    scale = 1 << _SHIFT
    centre = (round(at[0] * scale), round(at[1] * scale))
    axes = (round(rx * scale), round(ry * scale))
    cv2.ellipse(alpha, centre, axes, degrees, 0, 360, 1.0, -1, cv2.LINE_AA, _SHIFT)
    return alpha


def box(n: int, x1: float, y1: float, x2: float, y2: float, onto: Alpha | None = None) -> Alpha:
    """A filled rectangle."""
    return polygon(n, [(x1, y1), (x2, y1), (x2, y2), (x1, y2)], onto)


def blob(rng: np.random.Generator, n: int, at: Point, radius: float, rough: float) -> Alpha:
    """A closed shape whose radius wanders by a share `rough`."""
    turns = np.linspace(0, 2 * np.pi, 60, endpoint=False)
    reach = np.ones(60)
    for lobes in (2, 3, 5, 8):
        reach += (
            rough / lobes**0.5 * rng.uniform(0.3, 1) * np.sin(lobes * turns + rng.uniform(0, 7))
        )
    reach += 0.15 * rough * rng.standard_normal(60)
    x = at[0] + radius * reach * np.cos(turns)
    y = at[1] + radius * reach * np.sin(turns)
    return polygon(n, list(zip(x.tolist(), y.tolist(), strict=True)))


def blur(field_: Alpha, sigma: float) -> Alpha:
    """Gaussian blur."""
    return np.asarray(cv2.GaussianBlur(field_, (0, 0), max(sigma, 0.1)), dtype=np.float32)


def bevel(alpha: Alpha, sigma: float) -> Alpha:
    """Light from the top left on the rim of a raised shape: positive lit, negative in shade."""
    soft = blur(alpha, sigma)
    lit = cv2.Sobel(soft, cv2.CV_32F, 1, 0) + cv2.Sobel(soft, cv2.CV_32F, 0, 1)
    return np.asarray(lit / (np.abs(lit).max() + 1e-6), dtype=np.float32)


def drop_shadow(canvas: Canvas, alpha: Alpha, offset: float, strength: float = 0.4) -> Canvas:
    """Darken what lies to the lower right of a raised shape."""
    shift = np.array([[1, 0, offset], [0, 1, offset]], np.float32)
    moved = cv2.warpAffine(alpha, shift, alpha.shape[::-1])
    cast = np.clip(blur(moved, offset) - alpha, 0, 1)
    return shade(canvas, np.asarray(-strength * cast, dtype=np.float32))


def jitter(rng: np.random.Generator, color: Sequence[float], amount: float = 0.03) -> Color:
    """A colour near the given one."""
    r, g, b = np.clip(np.asarray(color) + rng.uniform(-amount, amount, 3), 0, 1).tolist()
    return (r, g, b)


def margin(n: int, share: float) -> Alpha:
    """The canvas without a border of `share` of its side."""
    return box(n, share * n, share * n, (1 - share) * n, (1 - share) * n)


def other_colors(colors: Mapping[str, Color], name: str) -> tuple[str, ...]:
    """The names of the other colours."""
    return tuple(other for other in colors if other != name)


def _fixed(points: Sequence[Point]) -> NDArray[np.int32]:
    return np.round(np.asarray(points, np.float64) * (1 << _SHIFT)).astype(np.int32)

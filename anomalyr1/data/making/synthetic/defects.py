"""Seven kinds of defects that most products share, each with the alpha that becomes its mask.

A defect's box is at least `MIN_SIDE` of the image on both sides, so that it stays visible when the
image is shown small.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from anomalyr1.data.images import Mask
from anomalyr1.data.making.synthetic.etching import ETCHED
from anomalyr1.data.making.synthetic.grinding import GROUND
from anomalyr1.data.making.synthetic.scene import (
    Alpha,
    Canvas,
    Faults,
    Point,
    Scene,
    bevel,
    blob,
    blur,
    clouds,
    drop_shadow,
    jitter,
    line,
    over,
    plain,
    shade,
)

Generator = np.random.Generator

MIN_SIDE = 0.12
MIN_CONTRAST = 0.09  # mean change inside the mask, of a full scale of 1
_TRIES = 25


def scratch(rng: Generator, image: Canvas, at: Point) -> tuple[Canvas, Alpha]:
    """A bright bent groove with a dark edge, and a finer one beside it."""
    n = len(image)
    angle = rng.choice([1, -1]) * rng.uniform(0.5, 1.07)
    length, bow = rng.uniform(0.22, 0.36) * n, rng.uniform(-0.04, 0.04) * n
    t = np.linspace(-0.5, 0.5, 12)
    along, across = t * length, bow * (1 - 4 * t**2)
    x = at[0] + along * np.cos(angle) - across * np.sin(angle)
    y = at[1] + along * np.sin(angle) + across * np.cos(angle)
    groove = line(n, list(zip(x, y, strict=True)), 0.022 * n)
    beside = line(n, list(zip(x[2:-3] + 0.03 * n, y[2:-3], strict=True)), 0.009 * n)
    alpha = np.asarray(np.maximum(groove, beside), np.float32)
    bright = image[alpha > 0.5].mean() < 0.66
    image = shade(image, -0.5 * blur(alpha, 0.008 * n))
    image = over(image, (0.95, 0.95, 0.93) if bright else (0.30, 0.29, 0.28), 0.92 * alpha)
    return image, alpha


def spot(rng: Generator, image: Canvas, at: Point) -> tuple[Canvas, Alpha]:
    """A crust of orange-red rust or paint."""
    n = len(image)
    alpha = blob(rng, n, at, rng.uniform(0.075, 0.10) * n, 0.07)
    body = alpha * (0.90 + 0.10 * np.clip(clouds(rng, n, 10, 2), -1, 1))
    rust = shade(plain(n, jitter(rng, (0.80, 0.34, 0.12), 0.05)), 0.10 * clouds(rng, n, 14, 2))
    image = drop_shadow(image, alpha, 0.006 * n, 0.25)
    image = over(image, rust, np.asarray(np.clip(body, 0, 1), np.float32))
    return shade(image, 0.16 * bevel(alpha, 0.012 * n) * alpha), alpha


def hole(rng: Generator, image: Canvas, at: Point) -> tuple[Canvas, Alpha]:
    """A black hole with a torn, lit rim."""
    n = len(image)
    alpha = blob(rng, n, at, rng.uniform(0.075, 0.11) * n, 0.10)
    rim = np.clip(blur(alpha, 0.012 * n) * 2, 0, 1) - alpha
    image = over(image, (0.92, 0.90, 0.86), 0.55 * np.clip(rim, 0, 1))
    image = over(image, (0.03, 0.03, 0.03), alpha)
    inner = np.clip(-bevel(blur(alpha, 0.01 * n), 0.015 * n), 0, 1) * alpha
    return over(image, (0.30, 0.29, 0.28), 0.6 * inner), alpha


def stain(rng: Generator, image: Canvas, at: Point) -> tuple[Canvas, Alpha]:
    """A wide, soft, translucent mark with a darker border."""
    n = len(image)
    radius = rng.uniform(0.13, 0.18) * n
    y, x = np.mgrid[0:n, 0:n].astype(np.float32)
    angle, squeeze = rng.uniform(0, np.pi), rng.uniform(0.7, 1.0)
    u = (x - at[0]) * np.cos(angle) + (y - at[1]) * np.sin(angle)
    v = -(x - at[0]) * np.sin(angle) + (y - at[1]) * np.cos(angle)
    distance = np.sqrt(u**2 + (v / squeeze) ** 2) / radius + 0.16 * clouds(rng, n, 5, 2)
    alpha = np.asarray(1 / (1 + np.exp((distance - 1) / 0.045)), dtype=np.float32)
    border = np.exp(-(((distance - 0.93) / 0.09) ** 2)) * alpha
    color = np.asarray(((0.50, 0.34, 0.10), (0.26, 0.24, 0.36))[int(rng.integers(2))], np.float32)
    wet = image * (0.35 + 0.55 * color) if image.mean() > 0.35 else image * 0.3 + 0.75 * color
    image = over(image, np.asarray(wet, np.float32), 0.88 * alpha)
    return shade(image, np.asarray(-0.30 * border, np.float32)), alpha


def crack(rng: Generator, image: Canvas, at: Point) -> tuple[Canvas, Alpha]:
    """A jagged dark line with branches."""
    n = len(image)
    heading = rng.choice([1, -1]) * rng.uniform(0.5, 1.07)
    length, steps = rng.uniform(0.26, 0.38) * n, 9
    start = np.asarray(at) - 0.5 * length * np.asarray((np.cos(heading), np.sin(heading)))
    main = _walk(rng, start, heading, length / steps, steps)
    alpha = line(n, main[: steps // 2 + 2], 0.020 * n)
    alpha = np.maximum(alpha, line(n, main[steps // 2 :], 0.014 * n))
    for joint in (3, 6):
        turned = heading + rng.choice([1, -1]) * rng.uniform(0.6, 1.1)
        branch = _walk(rng, np.asarray(main[joint]), turned, length / steps, 3)
        alpha = np.maximum(alpha, line(n, branch, 0.010 * n))
    image = shade(image, 0.30 * np.clip(blur(alpha, 0.01 * n) - alpha, 0, 1))
    return over(image, (0.04, 0.035, 0.03), 0.95 * alpha), alpha


def loose_thread(rng: Generator, image: Canvas, at: Point) -> tuple[Canvas, Alpha]:
    """A pale thread that curls above the surface."""
    n = len(image)
    t = np.linspace(0, 1, 30)
    radius, turn = rng.uniform(0.09, 0.13) * n, rng.uniform(0, 6.28)
    sweep = rng.uniform(4.4, 6.6)
    spiral = radius * (1 - 0.45 * t)
    x = at[0] + spiral * np.cos(turn + sweep * t)
    y = at[1] + spiral * np.sin(turn + sweep * t)
    alpha = line(n, list(zip(x, y, strict=True)), 0.020 * n)
    image = drop_shadow(image, alpha, 0.012 * n, 0.6)
    image = over(image, jitter(rng, (0.93, 0.90, 0.82), 0.03), alpha)
    return shade(image, 0.25 * bevel(alpha, 0.006 * n) * alpha), alpha


MISSING_PART = "missing_part"
DRAWN: Mapping[str, Callable[[Generator, Canvas, Point], tuple[Canvas, Alpha]]] = {
    "scratch": scratch,
    "spot": spot,
    "hole": hole,
    "stain": stain,
    "crack": crack,
    "loose_thread": loose_thread,
}
KINDS: Mapping[str, tuple[str, ...]] = {
    "brushed_metal": ("scratch", "spot", "hole", "stain", "crack", MISSING_PART),
    "woven_fabric": ("hole", "loose_thread", "spot", "stain"),
    "ceramic_tile": ("crack", "hole", "scratch", "spot", "stain"),
    "circuit_board": ("scratch", "spot", "hole", "stain", "crack", MISSING_PART),
    "capsule": ("spot", "hole", "stain", "crack", MISSING_PART),
    "printed_label": ("scratch", "spot", "hole", "stain", MISSING_PART),
    "printed_circuit_board": tuple(ETCHED),
    "magnetic_tile": tuple(GROUND),
}


def add_defect(rng: Generator, scene: Scene, kind: str, image: Canvas) -> tuple[Canvas, Mask]:
    """Put one defect on a picture of a scene.

    Args:
        rng: decides place and shape.
        scene: where parts are and where the surface is.
        kind: one of the product's `KINDS`.
        image: the picture so far (a scene's `image`, perhaps with another defect).

    Returns:
        The picture and the mask. A defect that lies off the surface, is too small or hardly shows
        is drawn again elsewhere. Where none of the tries is good enough, the most visible of those
        that lie on the surface and are large enough is kept; where there is none of them either,
        the first try, whose mask is empty when the scene had no place for the defect.
    """
    faults = scene.faults or Faults(_once, MIN_SIDE, MIN_CONTRAST)
    best: tuple[float, Canvas, Mask] | None = None
    for _ in range(_TRIES):
        changed, alpha = faults.draw(rng, scene, kind, image)
        mask = alpha > 0.35
        fits = _fits(scene, mask, kind, faults.least_side)
        contrast = _contrast(image, changed, mask) if fits else -1.0
        if best is None or contrast > best[0]:
            best = (contrast, changed, mask)
        if contrast >= faults.least_contrast:
            break
    assert best is not None
    return best[1], best[2]


def _once(rng: Generator, scene: Scene, kind: str, image: Canvas) -> tuple[Canvas, Alpha]:
    if kind == MISSING_PART:
        part = scene.parts[int(rng.integers(len(scene.parts)))]
        gone = np.clip(2.5 * blur(part, 0.014 * len(image)), 0, 1)
        return over(image, scene.bare, np.asarray(gone, np.float32)), part
    n = len(image)
    rows, columns = np.nonzero(scene.surface[::8, ::8] > 0.5)
    pick = int(rng.integers(len(rows)))
    at = (columns[pick] * 8.0 + rng.uniform(0, 8), rows[pick] * 8.0 + rng.uniform(0, 8))
    at = (float(np.clip(at[0], 0.14 * n, 0.86 * n)), float(np.clip(at[1], 0.14 * n, 0.86 * n)))
    return DRAWN[kind](rng, image, at)


def _fits(scene: Scene, mask: Mask, kind: str, least_side: float) -> bool:
    rows, columns = np.nonzero(mask)
    if not len(rows):
        return False
    sides = (np.ptp(rows) + 1, np.ptp(columns) + 1)
    on_surface = kind == MISSING_PART or scene.surface[mask].mean() > 0.6
    return bool(min(sides) >= least_side * len(mask) and on_surface)


def _contrast(before: Canvas, after: Canvas, mask: Mask) -> float:
    return float(np.abs(after[mask] - before[mask]).mean())


def _walk(
    rng: Generator, start: np.ndarray, heading: float, step: float, steps: int
) -> list[Point]:
    points = [(float(start[0]), float(start[1]))]
    for _ in range(steps):
        angle = heading + rng.normal(0, 0.45)
        x, y = points[-1]
        points.append((x + step * float(np.cos(angle)), y + step * float(np.sin(angle))))
    return points

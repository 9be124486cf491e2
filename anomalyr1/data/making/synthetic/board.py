"""A circuit board with traces, chips and capacitors."""

from __future__ import annotations

import cv2
import numpy as np

from anomalyr1.data.making.questions import Fact
from anomalyr1.data.making.synthetic.scene import (
    Canvas,
    Scene,
    bevel,
    box,
    drop_shadow,
    ellipse,
    jitter,
    line,
    margin,
    noise,
    over,
    plain,
    shade,
)

Generator = np.random.Generator
Place = tuple[float, float, float, float]  # x and y of the centre, half width, half height


def circuit_board(rng: Generator, n: int) -> Scene:
    """A green board with traces, pads, two chips and small components."""
    image = plain(n, jitter(rng, (0.09, 0.36, 0.20), 0.03))
    image = shade(image, 0.05 * noise(rng, n, n // 2))
    traces = np.zeros((n, n), np.float32)
    pads = []
    lanes = int(rng.integers(9, 12))
    for lane in range(lanes):
        at = (lane + 0.5) / lanes * n
        bend, step = rng.uniform(0.2, 0.8) * n, rng.choice([-1, 1]) * n / lanes
        slope = bend + abs(step)
        points = [(0.0, at), (bend, at), (slope, at + step), (float(n), at + step)]
        if lane % 2:
            points = [(y, x) for x, y in points]
        line(n, points, rng.uniform(0.008, 0.014) * n, traces)
        pads.append(points[1])
    image = over(image, jitter(rng, (0.20, 0.52, 0.30), 0.02), traces)
    image = shade(image, 0.12 * bevel(traces, 0.003 * n))
    rings, drills = np.zeros((n, n), np.float32), np.zeros((n, n), np.float32)
    for pad in pads:
        ellipse(n, pad, 0.018 * n, 0.018 * n, onto=rings)
        ellipse(n, pad, 0.008 * n, 0.008 * n, onto=drills)
    image = over(image, (0.80, 0.68, 0.36), rings)
    image = over(image, (0.07, 0.08, 0.07), drills)
    slots = rng.permutation([(0.25, 0.27), (0.73, 0.25), (0.27, 0.74), (0.74, 0.72), (0.5, 0.5)])
    places = [
        ((u + rng.uniform(-0.03, 0.03)) * n, (v + rng.uniform(-0.03, 0.03)) * n, w * n, h * n)
        for (u, v), (w, h) in zip(slots, 2 * [(0.11, 0.075)] + 2 * [(0.08, 0.06)], strict=False)
    ]
    bare = _footprints(image, places)
    image = _components(rng, bare, places)
    parts = [box(n, x - w, y - h, x + w, y + h) for x, y, w, h in places]
    base = Fact(
        "Object Details",
        "Which colour does the board have between the traces?",
        "dark green",
        ("white", "blue", "yellow"),
    )
    return Scene(image, bare, margin(n, 0.05), tuple(parts), (base,))


def _footprints(image: Canvas, places: list[Place]) -> Canvas:
    """Bare pads where the components are to sit, and the printed outline around each."""
    n = len(image)
    outlines, pads = np.zeros((n, n), np.float32), np.zeros((n, n), np.float32)
    for x, y, w, h in places:
        corners = [(x - w, y - h), (x + w, y - h), (x + w, y + h), (x - w, y + h), (x - w, y - h)]
        line(n, corners, 0.006 * n, outlines)
        for side in (-1, 1):
            for k in range(4):
                px, py = x + (k - 1.5) * w * 0.45, y + side * 0.55 * h
                box(n, px - 0.10 * w, py - 0.24 * h, px + 0.10 * w, py + 0.24 * h, pads)
    image = over(image, (0.78, 0.80, 0.76), 0.8 * outlines)
    return over(image, (0.82, 0.72, 0.42), pads)


def _components(rng: Generator, image: Canvas, places: list[Place]) -> Canvas:
    """Two chips with legs and a printed name, then ceramic capacitors between metal ends."""
    n = len(image)
    chips, caps, metal, dots = (np.zeros((n, n), np.float32) for _ in range(4))
    print_ = np.zeros((n, n), np.uint8)
    for index, (x, y, w, h) in enumerate(places):
        box(n, x - w, y - h, x + w, y + h, chips if index < 2 else caps)
        if index >= 2:
            box(n, x - w, y - h, x - 0.6 * w, y + h, metal)
            box(n, x + 0.6 * w, y - h, x + w, y + h, metal)
            continue
        for side in (-1, 1):
            for k in range(6):
                px = x + (k - 2.5) * w * 0.32
                box(n, px - 0.07 * w, y + side * h, px + 0.07 * w, y + side * 1.25 * h, metal)
        ellipse(n, (x - 0.8 * w, y - 0.65 * h), 0.05 * w, 0.05 * w, onto=dots)
        text = f"{rng.choice(list('ADKLMX'))}{rng.integers(100, 999)}"
        at = (round(x - 0.6 * w), round(y + 0.25 * h))
        cv2.putText(print_, text, at, cv2.FONT_HERSHEY_SIMPLEX, w / 62, 255, 1, cv2.LINE_AA)
    bodies = np.asarray(np.maximum(chips, caps), np.float32)
    image = drop_shadow(image, bodies, 0.014 * n)
    image = over(image, jitter(rng, (0.12, 0.12, 0.13), 0.02), chips)
    image = over(image, jitter(rng, (0.62, 0.50, 0.36), 0.04), caps)
    image = over(image, (0.75, 0.76, 0.77), metal)
    image = shade(image, 0.4 * bevel(bodies, 0.008 * n) * bodies)
    image = over(image, (0.4, 0.4, 0.4), dots)
    return over(image, (0.62, 0.62, 0.62), np.asarray(print_ / 320, np.float32))

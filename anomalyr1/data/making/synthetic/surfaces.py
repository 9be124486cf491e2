"""Flat surfaces: a brushed plate, a woven fabric, ceramic tiles."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from anomalyr1.data.making.questions import Fact
from anomalyr1.data.making.synthetic.scene import (
    Color,
    Scene,
    bevel,
    blur,
    box,
    clouds,
    drop_shadow,
    ellipse,
    jitter,
    line,
    margin,
    noise,
    other_colors,
    over,
    plain,
    shade,
)

Generator = np.random.Generator

FABRICS: Mapping[str, Color] = {
    "blue": (0.22, 0.33, 0.52),
    "beige": (0.70, 0.62, 0.48),
    "green": (0.33, 0.45, 0.30),
    "red": (0.55, 0.22, 0.24),
}


def brushed_metal(rng: Generator, n: int) -> Scene:
    """A brushed plate with a screw in each corner."""
    tone = rng.uniform(0.58, 0.70)
    image = plain(n, jitter(rng, (tone, tone, tone * 1.02), 0.015))
    streaks = 0.6 * noise(rng, n, (n, 3)) + 0.4 * noise(rng, n, (n // 3, 9))
    image = shade(image, 0.055 * streaks + 0.025 * noise(rng, n, (3, 2)))
    edge = 1 - box(n, 0.02 * n, 0.02 * n, 0.98 * n, 0.98 * n)
    image = shade(image, -0.35 * blur(edge, 0.006 * n))
    inset, radius = rng.uniform(0.13, 0.16) * n, rng.uniform(0.062, 0.07) * n
    corners = [(x, y) for y in (inset, n - inset) for x in (inset, n - inset)]
    heads = [ellipse(n, at, radius, radius) for at in corners]
    sinks, slots = np.zeros((n, n), np.float32), np.zeros((n, n), np.float32)
    for at in corners:
        ellipse(n, at, 0.62 * radius, 0.62 * radius, onto=sinks)
        turn = rng.uniform(0, np.pi)
        for angle in (turn, turn + np.pi / 2):
            dx, dy = 0.62 * radius * np.cos(angle), 0.62 * radius * np.sin(angle)
            line(n, [(at[0] - dx, at[1] - dy), (at[0] + dx, at[1] + dy)], 0.016 * n, slots)
    bare = over(image, (0.09, 0.09, 0.10), sinks)
    bare = shade(bare, 0.25 * bevel(-sinks, 0.01 * n))
    screws = np.asarray(np.max(heads, axis=0), np.float32)
    image = drop_shadow(bare, screws, 0.012 * n)
    image = over(image, jitter(rng, (0.52, 0.53, 0.55), 0.02), screws)
    image = shade(image, 0.35 * bevel(screws, 0.012 * n) * screws)
    image = over(image, (0.16, 0.16, 0.17), slots)
    details = Fact(
        "Object Structure",
        "What is in each corner of the plate?",
        "a screw position",
        ("a printed number", "a rubber foot", "a wire"),
    )
    return Scene(image, bare, margin(n, 0.05), tuple(heads), (details,))


def woven_fabric(rng: Generator, n: int) -> Scene:
    """A plain weave of one colour."""
    name = str(rng.choice(list(FABRICS)))
    threads = int(rng.integers(24, 30))
    y, x = np.mgrid[0:n, 0:n].astype(np.float32) * threads / n
    x = x + 0.12 * noise(rng, n, 6)
    y = y + 0.12 * noise(rng, n, 6)
    warp = np.abs(np.sin(np.pi * x))
    weft = np.abs(np.sin(np.pi * y))
    warp_on_top = (np.floor(x) + np.floor(y)) % 2 == 0
    height = np.where(warp_on_top, warp * (0.55 + 0.45 * weft), weft * (0.55 + 0.45 * warp))
    tilt = np.where(warp_on_top, 0.05, -0.05)
    image = plain(n, jitter(rng, FABRICS[name], 0.02))
    image = shade(image, np.asarray(0.75 * height - 0.42 + tilt, dtype=np.float32))
    image = shade(image, 0.05 * noise(rng, n, (n // 2, 4)) + 0.03 * clouds(rng, n))
    color = Fact(
        "Object Details", "Which colour does the fabric have?", name, other_colors(FABRICS, name)
    )
    return Scene(image, image, margin(n, 0.04), (), (color,))


def ceramic_tile(rng: Generator, n: int) -> Scene:
    """Four marbled tiles that meet in a cross of grout."""
    image = plain(n, jitter(rng, (0.80, 0.78, 0.73), 0.04))
    tiles = np.zeros((n, n), np.float32)
    cx, cy = rng.uniform(0.42, 0.58, 2) * n
    gap = 0.013 * n
    veins = np.zeros((n, n), np.float32)
    for x1, x2 in ((-n, cx - gap), (cx + gap, 2 * n)):
        for y1, y2 in ((-n, cy - gap), (cy + gap, 2 * n)):
            tile = box(n, x1, y1, x2, y2)
            tiles += tile
            soft = clouds(rng, n, 3, 3)
            veins += tile * (0.035 * soft + 0.03 * np.exp(-((soft / 0.12) ** 2)) * -1.6)
            veins += tile * rng.uniform(-0.025, 0.025)
    image = shade(image, veins)
    grout = shade(plain(n, jitter(rng, (0.50, 0.48, 0.45), 0.03)), 0.10 * noise(rng, n, n // 2))
    image = over(grout, image, tiles)
    image = shade(image, 0.16 * bevel(tiles, 0.008 * n))
    count = Fact(
        "Object Structure", "How many tiles meet in the image?", "four", ("two", "three", "six")
    )
    return Scene(image, image, margin(n, 0.05), (), (count,))

"""Packed goods: capsules on a belt, a printed label on a box."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from anomalyr1.data.making.questions import Fact
from anomalyr1.data.making.synthetic.scene import (
    Alpha,
    Color,
    Scene,
    bevel,
    blur,
    box,
    drop_shadow,
    ellipse,
    jitter,
    line,
    margin,
    noise,
    other_colors,
    over,
    plain,
    polygon,
    shade,
)

Generator = np.random.Generator

CAPS: Mapping[str, Color] = {
    "red": (0.78, 0.20, 0.18),
    "blue": (0.18, 0.36, 0.72),
    "green": (0.20, 0.56, 0.32),
    "orange": (0.90, 0.52, 0.15),
}
LOGOS: Mapping[str, Color] = {
    "red": (0.75, 0.16, 0.16),
    "blue": (0.12, 0.30, 0.62),
    "green": (0.12, 0.48, 0.26),
    "black": (0.12, 0.12, 0.13),
}


def capsule(rng: Generator, n: int) -> Scene:
    """Three two-coloured capsules in the pockets of a ribbed belt."""
    name = str(rng.choice(list(CAPS)))
    x = np.arange(n, dtype=np.float32)
    waves = np.sin(x * 2 * np.pi * 22 / n + rng.uniform(0, 6))
    ribs = np.asarray(waves[None].repeat(n, 0), np.float32)
    image = shade(plain(n, jitter(rng, (0.27, 0.28, 0.30), 0.02)), 0.10 * ribs)
    image = shade(image, 0.05 * noise(rng, n, n // 2))
    cap = jitter(rng, CAPS[name], 0.03)
    pockets, color_half, seams = (np.zeros((n, n), np.float32) for _ in range(3))
    profile = np.zeros((n, n), np.float32)
    shapes = []
    flip = rng.random() < 0.5
    shift, pitch = rng.uniform(-0.03, 0.03, 2), rng.uniform(0.285, 0.315)
    for row in (-1, 0, 1):
        v, u = 0.5 + shift[0] + row * pitch, 0.5 + shift[1] + rng.uniform(-0.03, 0.03)
        radius = 0.103 * n
        _stadium(n, u * n, v * n, 0.37 * n, 0.125 * n, pockets)
        shapes.append(_stadium(n, u * n, v * n, 0.345 * n, radius))
        joint = (u + rng.uniform(-0.03, 0.03)) * n
        sides = (0, joint) if flip else (joint, n)
        box(n, sides[0], v * n - radius, sides[1], v * n + radius, color_half)
        line(n, [(joint, v * n - radius), (joint, v * n + radius)], 0.007 * n, seams)
        rows = slice(int(v * n - radius), int(v * n + radius) + 2)
        across = (np.arange(n, dtype=np.float32)[rows] - v * n) / radius
        profile[rows] = across[:, None]
    bare = over(image, (0.15, 0.155, 0.165), pockets)
    bare = shade(bare, 0.5 * bevel(-pockets, 0.012 * n))
    white = np.asarray(np.max(shapes, axis=0), np.float32)
    image = over(bare, jitter(rng, (0.86, 0.84, 0.78), 0.02), white)
    image = over(image, cap, white * color_half)
    rounding = np.clip(1 - profile**2, 0, 1) ** 0.5 - 0.75
    gloss = np.exp(-(((profile + 0.45) / 0.13) ** 2)) * blur(white, 0.02 * n) ** 3 * white
    image = shade(image, np.asarray(0.5 * rounding * white, np.float32))
    image = over(image, (1.0, 1.0, 1.0), np.asarray(0.55 * gloss, np.float32))
    image = shade(image, -0.3 * seams * white)
    surface = white
    color = Fact(
        "Object Details",
        "Besides white, which colour do the capsules have?",
        name,
        other_colors(CAPS, name),
    )
    return Scene(image, bare, surface, tuple(shapes), (color,))


def printed_label(rng: Generator, n: int) -> Scene:
    """A paper label with a logo, lines of text and a bar code on cardboard."""
    name = str(rng.choice(list(LOGOS)))
    image = shade(plain(n, jitter(rng, (0.62, 0.47, 0.32), 0.03)), 0.05 * noise(rng, n, (n, 12)))
    paper = box(n, 0.06 * n, 0.08 * n, 0.94 * n, 0.92 * n)
    image = drop_shadow(image, paper, 0.012 * n)
    image = over(image, jitter(rng, (0.90, 0.90, 0.87), 0.02), paper)
    bare = shade(image, 0.012 * noise(rng, n, n // 2))
    x, y, radius = 0.23 * n, 0.27 * n, rng.uniform(0.095, 0.11) * n
    logo = ellipse(n, (x, y), radius, radius)
    sides = [
        (x + 0.6 * radius * np.cos(a), y + 0.6 * radius * np.sin(a)) for a in (-1.57, 0.5, 2.6)
    ]
    ink = over(bare, LOGOS[name], logo)
    ink = over(ink, (0.93, 0.93, 0.90), polygon(n, sides))
    lines = np.zeros((n, n), np.float32)
    for row in range(4):
        left, top = 0.40 * n, (0.20 + 0.075 * row) * n
        while left < rng.uniform(0.78, 0.84) * n:
            right = min(left + rng.uniform(0.05, 0.14) * n, 0.88 * n)
            height = 0.034 if row == 0 else 0.018
            box(n, left, top, right, top + height * n, lines)
            left = right + 0.025 * n
    ink = over(ink, (0.16, 0.16, 0.18), lines)
    bars = np.zeros((n, n), np.float32)
    at = 0.14 * n
    while at < 0.84 * n:
        width = rng.choice([0.008, 0.014, 0.02]) * n
        box(n, at, 0.60 * n, min(at + width, 0.86 * n), 0.80 * n, bars)
        at += width + rng.choice([0.009, 0.014, 0.02]) * n
    ink = over(ink, (0.10, 0.10, 0.11), bars)
    parts = (logo, box(n, 0.13 * n, 0.59 * n, 0.87 * n, 0.81 * n))
    color = Fact(
        "Object Details", "Which colour is the logo printed in?", name, other_colors(LOGOS, name)
    )
    if rng.random() < 0.5:
        color = Fact(
            "Object Structure",
            "What is printed in the lower half of the label?",
            "a bar code",
            ("a photograph", "a table of numbers", "a warning triangle"),
        )
    return Scene(ink, bare, blur(paper, 1) * margin(n, 0.12), parts, (color,))


def _stadium(
    n: int, x: float, y: float, half: float, radius: float, onto: Alpha | None = None
) -> Alpha:
    """A capsule shape that lies along x."""
    alpha = box(n, x - half + radius, y - radius, x + half - radius, y + radius, onto)
    for side in (-1, 1):
        ellipse(n, (x + side * (half - radius), y), radius, radius, onto=alpha)
    return alpha
